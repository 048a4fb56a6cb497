# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot each kernel, run the live core there, and print what came of it.

Knows which tests make the core, which want a boot of their own, and which modules no
program asks for by itself.
"""

import argparse
import compileall
import itertools
import shlex
import shutil
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from tests.kernels.guest import Kernel, Outcome, ran
from tests.planes import BY_FILTERS, PLANE
from vpngate.config import Plane

_REPOSITORY = Path(__file__).parents[2]
_ROOTS = _REPOSITORY / ".kernels"
_NEEDED = ("qemu-system-x86_64", "busybox", "cpio", "depmod")
_LONGEST = 3600.0  # seconds a kernel
_PATIENCE = 900  # seconds for each event that a test waits for
_TEST = 2400  # seconds a test
_COMPILED = ("vpngate", "tests")
_MODULES = ("tun", "ppp_async")
_CORE = (
    "tests/kernels/test_vrf.py",
    "tests/kernels/test_links.py",
    "tests/netns/test_trial.py",
    "tests/netns/test_programs_survey.py",
    "tests/netns/test_unasked.py::test_the_first_verdict_slows_both_ways_at_once",
    "tests/kernels/test_life.py",
    "tests/kernels/test_udev.py",
)
# What programs are to a kernel: the call, its verifier, and packets at the hooks, also
# of interfaces that other kernels have no modules for.
_OF_PROGRAMS = (
    "tests/netns/test_bpf_call.py",
    "tests/netns/test_bpf_flow_bits.py",
    "tests/netns/test_veth_uplinks.py",
    "tests/netns/test_bpf_as_it_went.py",
    "tests/netns/test_bpf_beside_others.py",
    "tests/netns/test_bpf_left_alone.py",
    "tests/netns/test_bpf_clsact.py",
    *(
        f"tests/netns/test_bpf_plane.py::test_{name}"
        for name in (
            "a_verdict_is_acted_on_only_while_armed_and_nobody_is_spared",
            "handshakes_are_copied_and_forgeries_are_not",
            "the_witness_tells_and_throws_the_switch",
        )
    ),
)
# Of a kernel that has loaded nothing yet: it keeps what it has loaded.
_FRESH = ("tests/kernels/test_lacking.py",)
_RUNS = ((*_CORE, *(_OF_PROGRAMS if PLANE is Plane.EBPF else ())), _FRESH)


def _command(tests: Iterable[str]) -> str:
    """What the guest runs: pytest, as on the machine itself."""
    words = [sys.executable, "-m", "pytest", "-v", "--tb=short", "--color=no"]
    words += ["-p", "no:cacheprovider", f"--timeout={_TEST}"]
    words += ["--junit-xml=/tmp/results/junit.xml", *tests]
    return "\n".join(
        (
            f"cd {shlex.quote(str(_REPOSITORY))}",
            "export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "export PYTHONDONTWRITEBYTECODE=1 VPNGATE_GUEST=1",
            f"export VPNGATE_PATIENCE={_PATIENCE} PLANE={PLANE.value}",
            f"export BY_FILTERS={BY_FILTERS or ''}",
            shlex.join(words),
        )
    )


def _told(kernel: Kernel, outcome: Outcome, seconds: float) -> str:
    report = outcome.results / "junit.xml"
    counts = "no report"
    if report.exists():
        suite = next(ET.parse(report).iter("testsuite"))
        counts = ", ".join(
            f"{suite.get(name)} {name}"
            for name in ("tests", "failures", "errors", "skipped")
        )
    ended = "passed" if outcome.status == 0 else "FAILED"
    return f"Linux {kernel.release}: {ended} ({counts}; {seconds:.0f} s)"


def main() -> int:
    """Exit status 0 if all kernels passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernels")
    parser.add_argument("--kernel", help="one of the folders in .kernels; else all")
    parser.add_argument(
        "tests", nargs=argparse.REMAINDER, help="for pytest; else the live core"
    )
    asked = parser.parse_args()
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    kernels = [
        Kernel(root.name, root)
        for root in sorted(_ROOTS.glob("*/"))
        if asked.kernel in (None, root.name)
    ]
    if missing or not kernels:
        lacking = ", ".join(missing) or "kernels in .kernels"
        print(f"make kernels: lacks {lacking}", file=sys.stderr)  # noqa: T201
        return 2
    for folder in _COMPILED:  # as the packages are: a guest takes a minute for it
        compileall.compile_dir(_REPOSITORY / folder, quiet=1)
    lines, passed = [], True
    runs = [asked.tests] if asked.tests else _RUNS
    for kernel, tests in itertools.product(kernels, runs):
        begin = time.monotonic()
        with ran(kernel, _command(tests), _MODULES, _LONGEST) as outcome:
            lines.append(_told(kernel, outcome, time.monotonic() - begin))
            passed = passed and outcome.status == 0
    print(*lines, sep="\n")  # noqa: T201
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

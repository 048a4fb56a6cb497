# SPDX-License-Identifier: GPL-2.0-or-later
"""udev sets processors for what comes out of shaping pairs, and for nothing else.

Collected by `make kernels` alone: udev hears of the machine's own interfaces.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.house import ROOT
from tests.lab.namespaces import wait_until
from vpngate.kernel.shaping.devices.naming import ADDRESS, FAR_ADDRESS

LINKS = Path("/sys/class/net")
NEAR, OURS = ADDRESS.hex(":"), FAR_ADDRESS.hex(":")
_UDEV = "/lib/systemd/systemd-udevd"
_PLACED = Path("/run/udev/rules.d/60-vpngate.rules")


def answers() -> bool:
    asked = ["udevadm", "control", "--ping"]
    return not subprocess.run(asked, capture_output=True, check=False).returncode


def place() -> None:
    """Have udev know the rule from now on."""
    _PLACED.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "systemd" / "vpngate.rules", _PLACED)


@contextlib.contextmanager
def udev() -> Iterator[None]:
    place()
    with subprocess.Popen([_UDEV]) as running:
        try:
            wait_until(answers, "udev")
            yield
        finally:
            running.terminate()


def mask(name: str) -> int:
    text = (LINKS / name / "queues/rx-0/rps_cpus").read_text()
    return int(text.replace(",", ""), 16)


@contextlib.contextmanager
def ends(*made: tuple[str, str]) -> Iterator[None]:
    """Devices of these names and addresses, each with a peer."""
    with contextlib.ExitStack() as stack:
        for number, (name, address) in enumerate(made):
            link = ("link", "add", "name", name, "address", address)
            peer = ("type", "veth", "peer", "name", f"peer{number}")
            subprocess.run(["ip", *link, *peer], check=True)
            gone = ["ip", "link", "del", name]
            stack.callback(subprocess.run, gone, check=True)
        yield


def test_far_ends_alone() -> None:
    far = ("vgr-vpngate", "vgr-vpngate.12", "vgr.0a1b2c3d")
    others = (("vgrid0", OURS), ("vgs-vpngate", NEAR), ("vgr-lan", "02:00:00:00:00:01"))
    with udev(), ends(*others, *((name, OURS) for name in far)):
        wait_until(lambda: all(map(mask, far)), "processors for all far ends")
        subprocess.run(["udevadm", "settle"], check=True)
        assert not any(mask(name) for name, _ in others)
        assert not any(mask(f"peer{number}") for number in range(6))


def test_what_is_set_already_stays() -> None:
    """Before udev hears of it, as `net.core.rps_default_mask` has it."""
    place()
    with ends(("vgr-chosen", OURS), ("vgr-vpngate", OURS)):
        (LINKS / "vgr-chosen/queues/rx-0/rps_cpus").write_text("1")
        for name in ("vgr-chosen", "vgr-vpngate"):
            heard = ["udevadm", "test", "--action=add", str(LINKS / name)]
            subprocess.run(heard, check=True, capture_output=True)
        assert mask("vgr-vpngate") not in (0, 1)
        assert mask("vgr-chosen") == 1

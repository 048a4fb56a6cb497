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

_UDEV = "/lib/systemd/systemd-udevd"
_PLACED = Path("/run/udev/rules.d/60-vpngate.rules")


@contextlib.contextmanager
def udev() -> Iterator[None]:
    _PLACED.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "systemd" / "vpngate.rules", _PLACED)
    with subprocess.Popen([_UDEV]) as running:
        try:
            subprocess.run(["udevadm", "control", "--ping"], check=True)
            yield
        finally:
            running.terminate()


def mask(name: str) -> int:
    text = Path(f"/sys/class/net/{name}/queues/rx-0/rps_cpus").read_text()
    return int(text.replace(",", ""), 16)


def test_far_ends_alone() -> None:
    far = ("vgr-vpngate", "vgr-vpngate.12", "vgr.0a1b2c3d")
    others = ("vgrid0", "vgs-vpngate")
    with udev(), contextlib.ExitStack() as stack:
        for number, name in enumerate((*others, *far)):
            peer = ("type", "veth", "peer", "name", f"peer{number}")
            subprocess.run(["ip", "link", "add", name, *peer], check=True)
            gone = ["ip", "link", "del", name]
            stack.callback(subprocess.run, gone, check=True)
        wait_until(lambda: all(map(mask, far)), "processors for all far ends")
        subprocess.run(["udevadm", "settle"], check=True)
        assert not any(map(mask, others))
        assert not any(mask(f"peer{number}") for number in range(5))

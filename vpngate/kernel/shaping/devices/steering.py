# SPDX-License-Identifier: GPL-2.0-or-later
"""Which processor takes what comes out of a device: of a flow always the same one.

Knows how the kernel is told so (receive packet steering,
Documentation/networking/scaling.rst), without which packets that one processor hands
over come before earlier ones of another; does not know whose device it is. It is told
by a file alone, which is root's, and which shows the namespace that /sys was mounted
in: where a daemon may not write it, udev does (systemd/vpngate.rules).
"""

from pathlib import Path

_INTERFACES = Path("/sys/class/net")
_MASK = Path("queues/rx-0/rps_cpus")
# Where interrupts may go: in the form of the mask, and the operator's choice.
_PROCESSORS = Path("/proc/irq/default_smp_affinity")


def steer(name: str, index: int) -> bool:
    """Have packets of a flow go on in the order that they come in; whether they do."""
    if is_steered(name, index) is False:
        try:
            (_INTERFACES / name / _MASK).write_text(_PROCESSORS.read_text())
        except OSError:
            return False
    return is_steered(name, index) is True


def is_steered(name: str, index: int) -> bool | None:
    """Whether they do; None where /sys tells nothing of that device."""
    try:
        shown = int((_INTERFACES / name / "ifindex").read_text())
        mask = (_INTERFACES / name / _MASK).read_text()
    except (OSError, ValueError):
        return None
    return mask.strip("0,\n") != "" if shown == index else None

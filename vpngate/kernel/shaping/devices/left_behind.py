# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices of a daemon that was killed, taken away.

Knows how they are told from others'; does not know who asks, nor what kinds there are.
"""

from vpngate.errors import Problem
from vpngate.kernel.shaping.devices.naming import REMEDY
from vpngate.kernel.shaping.devices.shaping_devices import ShapingDevices
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import Channel


def remove_left_behind(
    devices: ShapingDevices, channel: Channel
) -> tuple[list[str], list[Problem]]:
    """Delete the devices that a dead daemon has left, with all that waits in them.

    The names of those that are gone, and what has such a name and is not ours.
    """
    removed, foreign = [], []
    for link in reversed(devices.there()):
        if link is None:
            continue
        root = tc.queue_at(channel, link.index, tc.ROOT)
        if what := devices.objection_to(link, root):
            foreign.append(Problem(f"interface {link.name}", what, REMEDY))
        else:
            devices.delete(link)
            removed.append(link.name)
    return removed, foreign

# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of shaping devices that a daemon may have had, whatever it has now.

Knows all of them, to clear them away; does not know which one a data plane uses.
"""

from vpngate.errors import Problem
from vpngate.kernel.bpf.far_ends import FarEnds
from vpngate.kernel.shaping.devices.ifb_devices import IfbDevices
from vpngate.kernel.shaping.devices.left_behind import remove_left_behind
from vpngate.kernel.shaping.devices.shaping_devices import ShapingDevices
from vpngate.kernel.shaping.devices.veth_devices import VethDevices
from vpngate.kernel.shaping.route import Route
from vpngate.kernel.wire.channel import Channel


def remove_every_kind(
    table: str, route: Route, channel: Channel
) -> tuple[list[str], list[Problem]]:
    """Delete all devices that a dead daemon has left of a table.

    The names of those that are gone, and what has such a name and is not ours.
    """
    kinds: tuple[ShapingDevices, ...] = (
        IfbDevices(table, route, channel),
        VethDevices(table, route, channel, FarEnds(channel)),
    )
    removed: list[str] = []
    foreign: list[Problem] = []
    for devices in kinds:
        names, others = remove_left_behind(devices, channel)
        removed += names
        foreign += others
    return removed, foreign

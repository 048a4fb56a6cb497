# SPDX-License-Identifier: GPL-2.0-or-later
"""VRFs (virtual routing and forwarding): whose address an address is.

Knows that packets pass the ports of a VRF and never the VRF itself, and that the same
address may be another one's in another VRF, while a verdict names addresses alone: one
daemon acts in one VRF, or outside of all. Does not know routes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import filter as filter_names

from vpngate.attachment.machine import LeftAlone
from vpngate.kernel.wire.links import Link

VRF = "vrf"  # the kind of link


def without_packets(name: str) -> LeftAlone:
    """Why a VRF is not attached."""
    what = "it is a VRF, and packets pass by its ports alone"
    return LeftAlone(name, what, f"name those: ip link show master {name}")


def elsewhere(
    entries: Sequence[str], links: Mapping[str, Link], interfaces: Collection[str]
) -> Iterator[LeftAlone]:
    """Those of the interfaces that are in another VRF than the first one is.

    The first is that of the first entry of the configuration that means any; of those
    that a glob means, the one that was made first. So what comes later changes nothing
    for those that are there.
    """
    first = _first(entries, links, interfaces)
    if first is None:
        return
    by_index = {link.index: link for link in links.values()}
    chosen = _vrf(links[first], by_index)
    for name in sorted(interfaces):
        vrf = _vrf(links[name], by_index)
        if vrf != chosen:
            what = f"it is {_words(vrf)} and {first} {_words(chosen)}: the same address"
            yield LeftAlone(
                name,
                f"{what} may be two subscribers' there",
                "have a daemon for each VRF (gateway.table)",
            )


def _first(
    entries: Sequence[str], links: Mapping[str, Link], interfaces: Collection[str]
) -> str | None:
    for entry in entries:
        if meant := filter_names(interfaces, entry):
            return min(meant, key=lambda name: links[name].index)
    return None


def _vrf(link: Link, by_index: Mapping[int, Link]) -> str:
    """The VRF that routes what comes in by an interface; "" if none does.

    A bridge's port is in the VRF that the bridge is in. A VLAN is not in its parent's.
    """
    passed = {link.index}
    while (upper := by_index.get(link.master)) and upper.index not in passed:
        if upper.kind == VRF:
            return upper.name
        passed.add(upper.index)
        link = upper
    return ""


def _words(vrf: str) -> str:
    return f"in VRF {vrf}" if vrf else "in none"

# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters of the operator's whose actions throttled packets would pass by.

Knows that what an ifb hands back passes by the actions of tc filters on the rest of its
way out, at the interface and at all that it sends by, and by nothing else: filters go
on choosing classes. Does not know which interfaces are attached in the end.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing

from vpngate.attachment.machine import LeftAlone
from vpngate.config import CaptureSource, Config, Plane
from vpngate.errors import VpngateError
from vpngate.kernel.neighbours import egress_filters
from vpngate.kernel.wire.channel import ROUTE, Channel
from vpngate.kernel.wire.links import Link

_REMEDY = "move what they do into the forward or postrouting chain"
_ACCEPT = ", or state gateway.accept_skipped_filters = true"


def skipped_filters(
    config: Config, links: Mapping[str, Link], interfaces: Collection[str]
) -> dict[str, LeftAlone]:
    """Those of the interfaces with filters of the operator's that nobody may skip.

    None where the operator accepts that, nor where packets are only looked at. One
    whose filters cannot be read is among them; it holds up no other.
    """
    passive = config.capture.source is CaptureSource.MIRROR
    if passive or config.gateway.accept_skipped_filters:
        return {}
    found: dict[str, LeftAlone] = {}
    with closing(Channel(ROUTE)) as route:
        below = _below(links)
        for name in interfaces:
            for device in _on_the_way_out(below, links[name]):
                if why := _why(config, route, device):
                    what, remedy = why
                    who = "it" if device.name == name else f"{device.name} below it"
                    found[name] = LeftAlone(name, f"{who} {what}", remedy)
                    break
    return found


def _why(config: Config, route: Channel, device: Link) -> tuple[str, str] | None:
    """What is wrong with a device's filters, and what to do; None: nothing."""
    try:
        acts = any(one.acts for one in egress_filters(route, device.index))
    except VpngateError as error:
        fault = f"has tc filters that cannot be read ({error.lines[0]})"
        return fault, "it is tried again at the next look"
    if not acts:
        return None
    what = "has tc filters with actions at egress, which throttled packets pass by"
    # No program stands where a filter does, whatever is accepted.
    programs = config.gateway.plane is Plane.EBPF
    return what, _REMEDY if programs else _REMEDY + _ACCEPT


def _below(links: Mapping[str, Link]) -> dict[int, list[Link]]:
    """What packets go to next on their way out, by index: a parent, or ports."""
    by_index = {link.index: link for link in links.values()}
    below = defaultdict(list)
    for link in links.values():
        if link.parent in by_index:
            below[link.index].append(by_index[link.parent])
        if link.master:
            below[link.master].append(link)
    return below


def _on_the_way_out(below: Mapping[int, list[Link]], upper: Link) -> Iterator[Link]:
    """An interface, and all that its packets may leave by, each once."""
    waiting, seen = deque([upper]), {upper.index}
    while waiting:
        device = waiting.popleft()
        yield device
        for link in below.get(device.index, ()):
            if link.index not in seen:
                seen.add(link.index)
                waiting.append(link)

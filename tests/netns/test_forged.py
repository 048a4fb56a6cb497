# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody can have a neighbour slowed by speaking in its name.

    neighbour ─ lan1 ┐           ┌ wan0 ─ member
       client ─ lan0 ┴─ gateway ─┴ wan1 ─ stranger

client's flows with stranger are what they seem. Others forge both halves of every
tunnel's handshake into them: a neighbour alone, or together with a friend outside,
or, where one half is enough (`confirm = "one-way"`), either alone. The same messages
from those whose addresses they carry are what they say.
"""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.lab import forging, handshakes, victims
from tests.lab.daemon import Daemon
from tests.lab.forging import Flow
from tests.lab.topology import Lab
from tests.lab.victims import Half, Innocent, forge, named, nobody_slowed, verdicts
from vpngate.packets import Transport

VERSIONS = (4, 6)
_NEVER = 0.5  # seconds in which a verdict would have been reached
_SOON = 5.0  # seconds in which it is, also on a busy machine


def innocents(lab: Lab, version: int, *, listening: bool = False) -> list[Innocent]:
    return victims.innocents(lab.client, lab.stranger, version, listening=listening)


@contextlib.contextmanager
def reverse_path(lab: Lab, value: int) -> Iterator[None]:
    """The kernel's own filter on the subscribers' interfaces: 0 off, 1 strict."""
    keys = [f"net.ipv4.conf.{device}.rp_filter" for device in ("lan0", "lan1")]
    for key in keys:
        lab.gateway.sysctl(key, value)
    try:
        yield
    finally:
        for key in keys:
            lab.gateway.sysctl(key, 0)


@pytest.mark.parametrize(
    ("version", "rp_filter", "asks"),
    [(4, 1, True), (4, 1, False), (4, 2, False), (4, 0, False), (6, 0, False)],
    ids=["strict, asks", "strict", "loose", "off", "IPv6"],
)
def test_a_neighbour_sends_both_halves(
    lab: Lab, enforcing: Daemon, version: int, rp_filter: int, *, asks: bool
) -> None:
    """The victim is made to look like the end that asks, or that answers."""
    attacked = innocents(lab, version, listening=not asks)
    halves = [
        Half(lab.neighbour, "request", back=not asks),
        Half(lab.neighbour, "answer", back=asks),
    ]
    with (
        reverse_path(lab, rp_filter),
        nobody_slowed(enforcing, named(attacked, "wireguard", "ike-natt")),
    ):
        forge(lab.gateway, "lan1", attacked, *halves)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("first", ["a neighbour", "outside"])
def test_a_neighbour_and_a_friend_outside_send_a_half_each(
    lab: Lab, enforcing: Daemon, version: int, first: str
) -> None:
    """Each the half that would pass where it comes from; the filter is off."""
    neighbour_asks = first == "a neighbour"
    attacked = innocents(lab, version, listening=not neighbour_asks)
    inner, outer = ("request", "answer") if neighbour_asks else ("answer", "request")
    halves = [
        Half(lab.neighbour, inner, back=False),
        Half(lab.member, outer, back=True),
    ]
    if not neighbour_asks:
        halves.reverse()
    with nobody_slowed(enforcing, named(attacked, "openvpn", "ike")):
        device = "lan1" if neighbour_asks else "wan0"
        forge(lab.gateway, device, attacked, *halves)


def test_esp_in_udp_is_forged_by_a_neighbour(lab: Lab, enforcing: Daemon) -> None:
    """Running traffic, four packets each way, on a flow that is no tunnel."""
    up, down = handshakes.esp_in_udp()
    ends = lab.client.ipv4, lab.stranger.ipv4
    flow = Flow(*ends, 29_999, 4500, Transport.UDP)
    before = verdicts(enforcing)
    with forging.mouth(lab.neighbour) as mouth:
        for one, other in zip(up, down, strict=True):
            forging.tell(mouth, flow, one, back=False)
            forging.tell(mouth, flow, other, back=True)
    time.sleep(_NEVER)
    assert verdicts(enforcing) == before


def genuine(
    lab: Lab, running: Daemon, version: int, expected: set[str], *, answered: bool
) -> set[str]:
    """The names of the openings that get a verdict when their owners send them.

    Those that are expected to are given more time than the others.
    """
    throttled = set()
    with forging.mouth(lab.client) as near, forging.mouth(lab.stranger) as far:
        for one in innocents(lab, version):
            name, before = one.opening.name, verdicts(running)
            forging.tell(near, one.flow, one.opening.request, back=False)
            if answered:
                forging.tell(far, one.flow, one.opening.answer, back=True)
            if _changes(running, before, _SOON if name in expected else _NEVER):
                throttled.add(name)
    return throttled


def _changes(running: Daemon, before: dict[str, float], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if verdicts(running) != before:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_messages_from_their_owners_are_tunnels(
    lab: Lab, enforcing: Daemon, version: int
) -> None:
    """What is forged above would do, were it not forged."""
    every = {opening.name for opening in handshakes.openings()}
    assert genuine(lab, enforcing, version, every, answered=True) == every


@pytest.fixture(scope="module")
def one_way(enforcing: Daemon) -> Daemon:
    """The same daemon told, for the rest of the module, that one half is enough."""
    enforcing.settings.change(tunnels={"confirm": "one-way"})
    enforcing.reload()
    return enforcing


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("where", ["outside", "a neighbour"])
def test_one_message_is_forged_where_one_is_enough(
    lab: Lab, one_way: Daemon, version: int, where: str
) -> None:
    """As from the remote, to the victim's port, and as from the victim."""
    sender, device = (lab.member, "wan0")
    if where == "a neighbour":
        sender, device = (lab.neighbour, "lan1")
    as_victim, as_remote = (
        innocents(lab, version, listening=listening) for listening in (False, True)
    )
    flows = [*named(as_victim, "l2tp"), *named(as_remote, "l2tp", "ike")]
    with nobody_slowed(one_way, flows):
        forge(lab.gateway, device, as_victim, Half(sender, "request", back=False))
        forge(lab.gateway, device, as_remote, Half(sender, "request", back=True))


@pytest.mark.parametrize("version", VERSIONS)
def test_one_message_of_its_owner_is_enough_where_it_is_beyond_doubt(
    lab: Lab, one_way: Daemon, version: int
) -> None:
    every = {opening.name for opening in handshakes.openings() if opening.one_way}
    assert genuine(lab, one_way, version, every, answered=False) == every

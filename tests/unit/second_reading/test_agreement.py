# SPDX-License-Identifier: GPL-2.0-or-later
"""Two readers, one tunnel: they agree on what is sound, and on nothing else.

VPNGATE_EVERY_VALUE=1 tries every value of every byte that is checked (`make long`).
"""

import os

import pytest

from tests.unit.second_reading.confirmations import (
    CONFIRMATIONS,
    TUNNELS,
    Confirmation,
    both_confirm,
    confirms,
    heard,
)
from vpngate.recognition import Role
from vpngate.second_reading import Outcome, difference, second_reading

EVERY_VALUE = bool(os.environ.get("VPNGATE_EVERY_VALUE"))

each_confirmation = pytest.mark.parametrize(
    "confirmation", CONFIRMATIONS, ids=lambda c: c.name
)


def test_every_tunnel_has_confirmations() -> None:
    assert {c.tunnel for c in CONFIRMATIONS} == set(TUNNELS)


@each_confirmation
@pytest.mark.parametrize("ipv6", [False, True])
def test_both_readers_confirm(confirmation: Confirmation, *, ipv6: bool) -> None:
    tunnel = TUNNELS[confirmation.tunnel]
    packets = confirmation.packets(ipv6=ipv6)
    assert confirms(tunnel, packets)
    assert difference(tunnel, heard(tunnel, packets)) is None
    assert second_reading(tunnel, heard(tunnel, packets)) is Outcome.AGREED


def other_values(confirmation: Confirmation, value: int) -> set[int]:
    """A handful, each bit turned among them; all 255 where there is time for them.

    Not for tls-auth, which has a variant for each of seven digests.
    """
    if EVERY_VALUE and "tls-auth" not in confirmation.name:
        return set(range(256)) - {value}
    return ({0, 1, 0xFF, value ^ 0xFF} | {value ^ 1 << bit for bit in range(8)}) - {
        value
    }


@each_confirmation
def test_no_checked_byte_may_differ(confirmation: Confirmation) -> None:
    tunnel = TUNNELS[confirmation.tunnel]
    packets = confirmation.packets()
    wrong = []
    for number, said in enumerate(confirmation.said):
        for at in said.checked:
            values = other_values(confirmation, said.payload[at])
            for value in values - {*said.allowed.get(at, ())}:
                payload = bytearray(said.payload)
                payload[at] = value
                changed = list(packets)
                changed[number] = packets[number]._replace(payload=bytes(payload))
                if both_confirm(tunnel, changed):
                    wrong.append((number, at, value))
    assert wrong == []


@each_confirmation
def test_no_byte_may_be_added_or_missing(confirmation: Confirmation) -> None:
    """But in what has no length of its own, or any: ESP, and TCP's next message."""
    tunnel = TUNNELS[confirmation.tunnel]
    packets = confirmation.packets()
    free = confirmation.name == "ESP" or "tls-crypt, control" in confirmation.name
    if free or confirmation.transport.label == "tcp":
        return
    for number, whole in enumerate(packets):
        for payload in (whole.payload + b"\0", whole.payload[:-1]):
            changed = list(packets)
            changed[number] = whole._replace(payload=payload, length=len(payload))
            assert not both_confirm(tunnel, changed), number


@each_confirmation
def test_the_packets_have_to_come_from_two_ends(confirmation: Confirmation) -> None:
    tunnel = TUNNELS[confirmation.tunnel]
    packets = confirmation.packets()
    source, destination = packets[0].source, packets[0].destination
    one_way = [p._replace(source=source, destination=destination) for p in packets]
    assert not both_confirm(tunnel, one_way)


@each_confirmation
def test_one_packet_less_is_not_enough(confirmation: Confirmation) -> None:
    tunnel = TUNNELS[confirmation.tunnel]
    whole = heard(tunnel, confirmation.packets())
    if whole[0].message.role is Role.TRAFFIC:
        # The flow table shows the last step of either end.
        whole = [*whole[1:3], *whole[4:6]]
    for number in range(len(whole)):
        rest = whole[:number] + whole[number + 1 :]
        alone = len(rest) == 1 and rest[0].message.one_way
        expected = Outcome.AGREED if alone else Outcome.DIFFERED
        assert second_reading(tunnel, rest) is expected


@each_confirmation
def test_running_traffic_needs_its_first_64_bytes(confirmation: Confirmation) -> None:
    if confirmation.transport.has_ports:
        return
    tunnel = TUNNELS[confirmation.tunnel]
    packets = [
        p._replace(payload=(p.payload + bytes(1400))[:64], length=p.length + 1400)
        if confirmation.name == "ESP"
        else p._replace(payload=p.payload[:64])
        for p in confirmation.packets()
    ]
    assert both_confirm(tunnel, packets)


@each_confirmation
def test_people_can_read_what_the_second_reader_read(
    confirmation: Confirmation,
) -> None:
    read = TUNNELS[confirmation.tunnel].second()
    for packet in confirmation.packets():
        seen = read(packet)
        assert seen is not None
        text = seen.layer.show(dump=True)
        assert text.startswith(f"###[ {seen.layer.name} ]###")
        assert text == seen.layer.show(dump=True)

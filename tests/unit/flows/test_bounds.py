# SPDX-License-Identifier: GPL-2.0-or-later
"""The flow table forgets: by age, by number, by size; and it survives a flood.

VPNGATE_FLOOD sets the initiations of the flood: 1,000,000 for the whole test.
"""

import os
import tracemalloc

import pytest

from tests.unit.flows.listing import sightings
from vpngate.flows import FlowTable
from vpngate.flows.flow_table import FLOW_BYTES, TOKEN_BYTES
from vpngate.packets import Endpoint, Packet, Transport
from vpngate.recognition import Evidence, Heard, Message, Role, Sighting, Tunnel
from vpngate.tunnels import Recogniser, all_tunnels

FLOOD = int(os.environ.get("VPNGATE_FLOOD", "20000"))
SHORT = Tunnel("short", (), lambda _: None, lambda flow: (flow,), idle=180)
LONG = Tunnel("long", (), lambda _: None, lambda flow: (flow,), idle=600)
SERVER = Endpoint(bytes(15) + b"\1", 1194)


def agree(*_: object) -> bool:
    return True


def client(number: int) -> Endpoint:
    return Endpoint(bytes.fromhex("20010db8") + number.to_bytes(12), 40000)


def initiate(
    table: FlowTable, number: int, now: float, tunnel: Tunnel = SHORT
) -> Sighting | None:
    packet = Packet(Transport.UDP, client(number), SERVER, b"", 0)
    message = Message(Role.INITIATION, "hello", number.to_bytes(8))
    return table.observe(Heard(packet, message), tunnel, now)


def answer(
    table: FlowTable, number: int, now: float, tunnel: Tunnel = SHORT
) -> Sighting | None:
    packet = Packet(Transport.UDP, SERVER, client(number), b"", 0)
    message = Message(Role.RESPONSE, "hello", number.to_bytes(8))
    return table.observe(Heard(packet, message), tunnel, now)


def known(table: FlowTable) -> set[int]:
    return {int.from_bytes(s.initiator.address[4:]) for s in sightings(table)}


def test_each_tunnel_has_its_own_age() -> None:
    table = FlowTable(10, agree)
    for number, tunnel in ((1, SHORT), (2, LONG)):
        initiate(table, number, 0.0, tunnel)
        answer(table, number, 0.0, tunnel)
    assert table.expire(180.0) == 0
    assert table.expire(180.1) == 1
    assert known(table) == {2}
    assert table.expire(600.1) == 1
    assert table.counts() == {}
    assert table.bytes_used == 0


def test_no_more_go_at_once_than_asked() -> None:
    """Else whoever fills the table holds up all others when it is idle."""
    table = FlowTable(10, agree)
    for number in range(5):
        initiate(table, number, 0.0)
    assert table.expire(200.0, most=2) == 2
    assert known(table) == {2, 3, 4}
    assert table.expire(200.0, most=2) == 2
    assert table.expire(200.0, most=2) == 1


def test_messages_keep_a_flow_alive() -> None:
    table = FlowTable(10, agree)
    initiate(table, 1, 0.0)
    initiate(table, 1, 170.0)
    assert table.expire(300.0) == 0
    assert answer(table, 1, 300.0) is not None


def test_a_flow_that_nobody_expired_is_new_again_all_the_same() -> None:
    table = FlowTable(10, agree)
    initiate(table, 1, 0.0)
    assert answer(table, 1, 181.0) is None
    sighting = initiate(table, 1, 400.0)
    assert sighting is not None
    assert sighting.first_seen == 400.0


def test_a_clock_that_steps_back_does_no_harm() -> None:
    table = FlowTable(10, agree)
    initiate(table, 1, 1000.0)
    assert answer(table, 1, 10.0) is not None
    assert table.expire(11.0) == 0


def test_the_one_idle_longest_goes() -> None:
    table = FlowTable(3, agree)
    for number in (1, 2, 3):
        initiate(table, number, float(number), (SHORT, LONG)[number % 2])
    initiate(table, 1, 4.0, LONG)
    initiate(table, 4, 5.0)
    assert known(table) == {1, 3, 4}
    assert len(table) == 3


def test_unanswered_flows_give_way_to_confirmed_ones() -> None:
    table = FlowTable(16, agree)
    for number in range(4):
        initiate(table, number, 0.0)
        answer(table, number, 0.0)
    for number in range(100, 200):
        initiate(table, number, float(number))
    assert known(table) == {*range(4), *range(188, 200)}
    assert table.counts() == {
        ("short", Evidence.CONFIRMED): 4,
        ("short", Evidence.INITIATION): 12,
    }


def test_a_table_full_of_confirmed_flows_still_takes_new_ones() -> None:
    table = FlowTable(16, agree)
    for number in range(30):
        initiate(table, number, float(number))
        assert answer(table, number, number + 0.5) is not None
    # Two at a time, an eighth of the table, both are answered in the end.
    initiate(table, 30, 40.0)
    initiate(table, 31, 40.0)
    assert answer(table, 30, 41.0) is not None
    assert answer(table, 31, 41.0) is not None
    assert known(table) == set(range(16, 32))


def test_a_table_for_one() -> None:
    table = FlowTable(1, agree)
    initiate(table, 1, 0.0)
    assert answer(table, 1, 0.0) is not None
    initiate(table, 2, 1.0)
    assert known(table) == {2}


@pytest.mark.parametrize(("entries", "size"), [(0, 1 << 20), (1, FLOW_BYTES)])
def test_a_table_for_none_is_refused(entries: int, size: int) -> None:
    with pytest.raises(ValueError, match="one flow at least"):
        FlowTable(entries, agree, size)


def test_bytes_bound_it_too() -> None:
    table = FlowTable(1000, agree, 10 * (FLOW_BYTES + TOKEN_BYTES))
    for number in range(100):
        initiate(table, number, float(number))
    assert known(table) == set(range(90, 100))


@pytest.mark.slow
def test_what_a_flow_takes_is_not_understated() -> None:
    count = 5000
    table = FlowTable(count, agree)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(count):
        initiate(table, number, float(number))
        answer(table, number, float(number))
    for number in range(count):
        for direction in (Role.INITIATION, Role.TRAFFIC):
            packet = Packet(Transport.UDP, client(number), SERVER, b"", 0)
            token = number.to_bytes(16)
            heard = Heard(packet, Message(direction, "", token))
            table.observe(heard, SHORT, float(count))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before <= table.bytes_used
    assert len(table) == count


def test_a_real_handshake_in_a_flood_is_confirmed() -> None:
    """Distinct spoofed initiations; the answers to real ones come late."""
    recogniser = Recogniser(all_tunnels())
    table = FlowTable(FLOOD // 5, agree, 64 << 20)
    rate, late_by = 2000, 1000  # initiations a second; half a second late
    waiting: dict[int, Packet] = {}
    confirmed = started = 0
    responder = Endpoint(bytes(15) + b"\2", 51820)
    for number in range(FLOOD):
        now = number / rate
        index = number.to_bytes(4)
        payload = b"\1\0\0\0" + index + bytes(140)
        source = Endpoint(b"\xfd" + number.to_bytes(15), 1024 + number % 60000)
        packet = Packet(Transport.UDP, source, responder, payload, len(payload))
        found = recogniser.recognise(packet)
        assert found is not None
        table.observe(Heard(packet, found[1]), found[0], now)
        if number % 1000 == 0:
            payload = b"\2\0\0\0" + bytes(4) + index + bytes(80)
            waiting[number + late_by] = Packet(
                Transport.UDP, responder, source, payload, len(payload)
            )
            started += 1
        late = waiting.pop(number, None)
        if late is not None:
            found = recogniser.recognise(late)
            assert found is not None
            sighting = table.observe(Heard(late, found[1]), found[0], now)
            assert sighting is not None
            confirmed += sighting.evidence is Evidence.CONFIRMED
        assert len(table) <= FLOOD // 5
        assert table.bytes_used <= 64 << 20
    assert confirmed == started - len(waiting) > 0

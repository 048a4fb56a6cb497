# SPDX-License-Identifier: GPL-2.0-or-later
"""The decision tree decides as the signatures' own rules do, in fewer comparisons."""

from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.signatures.netdev_hook import Packet
from tests.unit.signatures.plain_rules import rules_of
from tests.unit.signatures.test_agreement import PACKETS, signatures
from tests.unit.signatures.traffic import frames
from tests.unit.tunnels.crafting import network
from vpngate.expressions import Base, Bitwise, Compare, Payload
from vpngate.packets import Transport
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.decision import Branch, decision
from vpngate.signatures.nft_conditions import UNFRAGMENTED, entrance
from vpngate.tunnels import all_tunnels

EVERY = [s for tunnel in all_tunnels() for s in tunnel.signatures]
BY_TRANSPORT = {
    transport: [s for s in EVERY if s.transport is transport]
    for transport in Transport
    if any(s.transport is transport for s in EVERY)
}
FRAMES = max(60, PACKETS // 100)
MAGIC = Field(4, b"\x21\x12\xa4\x42")


def walk(packet: Packet, branches: Sequence[Branch]) -> Iterator[Signature]:
    """Every signature that the tree finds in a packet, in its order."""
    for branch in branches:
        if packet.matches(branch.condition):
            if isinstance(branch.then, Signature):
                yield branch.then
            else:
                yield from walk(packet, branch.then)


def tree_for(signatures: Sequence[Signature]) -> tuple[Branch, ...]:
    """The tree behind the entrances that it stands behind."""
    return tuple(
        Branch(
            entrance(transport),
            decision([s for s in signatures if s.transport is transport]),
            transport.label,
        )
        for transport in {signature.transport for signature in signatures}
    )


def by_rules(packet: Packet, those: Sequence[Signature]) -> set[str]:
    return {s.name for s in those if any(map(packet.matches, rules_of(s)))}


def udp(name: str, *shapes: Shape, ports: tuple[int, ...] = ()) -> Signature:
    """One that takes fragments: the tree of what does not says so at every leaf."""
    return Signature(name, Transport.UDP, shapes, frozenset(ports), fragments=True)


@pytest.mark.slow
@pytest.mark.parametrize("transport", BY_TRANSPORT, ids=lambda t: t.label)
def test_it_finds_what_the_rules_find(transport: Transport) -> None:
    those = BY_TRANSPORT[transport]
    tree = tree_for(those)
    matched = 0
    for signature in those:
        for frame in frames(signature, FRAMES, 7):
            packet = Packet(frame)
            expected = by_rules(packet, those)
            assert {s.name for s in walk(packet, tree)} == expected, frame.hex()
            matched += bool(expected)
    assert 0 < matched < FRAMES * len(those)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(signatures(), signatures(), st.integers(0, 2**32))
def test_it_does_for_signatures_nobody_thought_of(
    one: Signature, other: Signature, seed: int
) -> None:
    those = [one, other]
    tree = tree_for(those)
    for signature in those:
        for frame in frames(signature, 10, seed):
            packet = Packet(frame)
            found = any(True for _ in walk(packet, tree))
            assert found is bool(by_rules(packet, those)), frame.hex()


def test_what_all_shapes_share_is_asked_once_and_first() -> None:
    shapes = (Shape((Field(0, bytes((kind,))), MAGIC)) for kind in (1, 2, 3))
    (branch,) = decision([udp("example", *shapes)])
    # They share the magic, and six bits of the first byte, which is another word.
    assert branch.condition == (Payload(Base.TRANSPORT, 12, 4), Compare(MAGIC.value))
    assert isinstance(branch.then, tuple)
    assert len(branch.then) == 3


def test_a_mask_is_left_out_where_every_bit_is_shared() -> None:
    shape = Shape((MAGIC,), ((8, 9), (12, 13), (20, 21)))
    (branch,) = decision([udp("example", shape)])
    assert branch.condition == (Payload(Base.TRANSPORT, 12, 4), Compare(MAGIC.value))


def test_few_leaves_stand_by_themselves() -> None:
    signature = udp("example", Shape((MAGIC,)), Shape((MAGIC,), ((20, 21),)))
    tree = decision([signature])
    assert [branch.then for branch in tree] == [signature, signature]
    rules = tuple((*entrance(Transport.UDP), *branch.condition) for branch in tree)
    assert rules == rules_of(signature)


def test_nothing_shared_is_no_condition() -> None:
    shapes = (Shape((Field(0, bytes((b,))),)) for b in (0x0F, 0xF0, 0x55))
    assert len(decision([udp("example", *shapes)])) == 3


def test_what_differs_fixes_nothing() -> None:
    odd = Shape((Field(4, MAGIC.value, differs=True),))
    tree = decision([udp("example", odd, Shape((MAGIC,)), Shape((MAGIC,), ((9, 10),)))])
    assert len(tree) == 3


def test_signatures_that_ask_for_a_port_come_last() -> None:
    here = udp("here", Shape((MAGIC,)), ports=(500,))
    any_port = udp("any", Shape((Field(0, b"\1"),)))
    first, *rest = decision([here, any_port])
    assert first.then is any_port
    assert [branch.then for branch in rest] == [here, here]  # either end's port


def test_those_of_one_port_stand_behind_it_together() -> None:
    one = udp("one", Shape((MAGIC,)), ports=(500,))
    two = udp("two", Shape((Field(0, b"\1"),)), ports=(500,))
    for branch in decision([one, two]):
        assert isinstance(branch.then, tuple)
        assert [leaf.then for leaf in branch.then] == [one, two]


def test_what_all_signatures_share_is_a_gate_before_their_ports() -> None:
    kinds = [Shape((Field(0, bytes((0, 0, kind)), b"\xff\0\x0f"),)) for kind in (1, 2)]
    ends = (b"\x0f", b"\xf0")
    reaching = [
        Shape((*kind.fields, Field(8, end)))
        for kind, end in zip(kinds, ends, strict=True)
    ]
    one, two = udp("one", reaching[0]), udp("two", reaching[1], ports=(500,))
    (gate,) = decision([one, two])
    # Three bytes, loaded as four since all shapes have more: the kernel is quicker.
    assert gate.condition == (
        Payload(Base.TRANSPORT, 8, 4),
        Bitwise(b"\xff\0\x0c\0", bytes(4)),
        Compare(bytes(4)),
    )
    assert isinstance(gate.then, tuple)
    assert len(gate.then) == 3
    short = decision([udp("one", kinds[0]), udp("two", kinds[1])])[0]
    assert short.condition[0] == Payload(Base.TRANSPORT, 8, 3)


def test_a_gate_that_turns_little_away_is_left_out() -> None:
    high = [Shape((Field(0, bytes((kind,)), b"\x8f"),)) for kind in (1, 2)]
    tree = decision([udp(f"kind {n}", shape) for n, shape in enumerate(high)])
    assert [branch.then for branch in tree] == [
        udp("kind 0", high[0]),
        udp("kind 1", high[1]),
    ]


@pytest.mark.parametrize("leaves", [1, 3])
def test_what_takes_no_fragments_asks_for_them_last(leaves: int) -> None:
    shapes = tuple(Shape((MAGIC, Field(8, bytes((n,))))) for n in range(leaves))
    signature = Signature("whole", Transport.UDP, shapes)
    (branch,) = decision([signature])
    assert isinstance(branch.then, tuple)
    for leaf in branch.then if leaves > 1 else (branch,):
        assert isinstance(leaf.then, tuple)
        assert tuple(each.condition for each in leaf.then) == UNFRAGMENTED
        assert [each.then for each in leaf.then] == [signature] * 2


@pytest.mark.parametrize("offset", [0, 1, 3, 6])
def test_what_is_shared_is_asked_in_a_word_that_the_kernel_is_quick_to_load(
    offset: int,
) -> None:
    text = Random(1).randbytes(13)
    shapes = (
        Shape((Field(offset, text), Field(40, bytes((kind,))))) for kind in (1, 2, 4)
    )
    (branch,) = decision([udp("example", *shapes)])
    at = -(-offset // 4) * 4
    asked = text[at - offset : at - offset + 4]
    assert branch.condition == (Payload(Base.TRANSPORT, 8 + at, 4), Compare(asked))


def test_what_not_every_shape_has_is_not_loaded() -> None:
    """A rule ends where there is nothing to load, whatever else would fit."""
    shapes = [Shape((Field(0, bytes((kind, 0x21, 0x12))),)) for kind in (1, 2, 4)]
    assert len(decision([udp("example", *shapes)])) == 3


def test_neighbours_that_are_alike_stand_behind_what_they_share() -> None:
    first = [udp(f"one_{n}", Shape((MAGIC, Field(0, bytes((n,)))))) for n in range(3)]
    other = udp("other", Shape((Field(0, b"\xff\xff"),)))
    together, alone = decision([*first, other])
    assert together.condition == (Payload(Base.TRANSPORT, 12, 4), Compare(MAGIC.value))
    assert together.asks == "one"
    assert isinstance(together.then, tuple)
    assert [leaf.then for leaf in together.then] == first
    assert alone.then is other


def test_nothing_is_asked_twice_on_the_way() -> None:
    kinds = [
        tuple(Shape((MAGIC, Field(8, bytes((m, n))))) for m in range(3))
        for n in range(2)
    ]
    (gate,) = decision([udp(f"kind_{n}", *shapes) for n, shapes in enumerate(kinds)])
    assert isinstance(gate.then, tuple)
    assert all(isinstance(leaf.then, Signature) for leaf in gate.then)
    assert len(gate.then) == 6


def test_short_ones_are_told_from_long_ones_by_their_length() -> None:
    short = tuple(Shape((Field(0, bytes((n,))),), ((40, 40 + n),)) for n in (1, 2, 4))
    (gate,) = decision([udp("short", *short)])
    assert gate.condition[0] == Payload(Base.TRANSPORT, 4, 4)
    # What all lengths have is no news: hardly a network has packets of 2,048 bytes.
    long = tuple(Shape((Field(0, bytes((n,))),), ((40, 1600 + n),)) for n in (1, 2, 4))
    assert len(decision([udp("long", *long)])) == 3


def test_an_end_is_asked_what_all_ports_share_before_each_of_them() -> None:
    kinds = {500: b"\x0f", 1701: b"\xf0", 4500: b"\x55"}
    source, destination = decision(
        [
            udp(f"at {port}", Shape((Field(0, kind),)), ports=(port,))
            for port, kind in kinds.items()
        ]
    )
    load = Payload(Base.TRANSPORT, 0, 4)
    mask, value = b"\xe8\x8e", b"\x00\x84"
    assert {port & 0xE88E for port in kinds} == {0x84}
    assert source.condition == (
        *(load, Bitwise(mask + bytes(2), bytes(4))),
        Compare(value + bytes(2)),
    )
    assert destination.condition == (
        *(load, Bitwise(bytes(2) + mask, bytes(4))),
        Compare(bytes(2) + value),
    )


def test_no_signature_no_branch() -> None:
    assert decision([]) == ()


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize(
    ("transport", "header", "most"),
    [
        (Transport.UDP, 8, 15),
        (Transport.TCP, 20, 12),
        (Transport.TCP, 32, 13),
        *((Transport.TCP, header, 40) for header in (24, 40, 44, 56, 60)),
    ],
)
def test_ordinary_traffic_is_done_with_soon(
    transport: Transport, header: int, most: int, *, ipv6: bool
) -> None:
    """What the tree costs, in expressions that the kernel evaluates."""
    raw = network(
        *(transport, b"\xff" * 600, (40000, 443)), ipv6=ipv6, tcp_header=header
    )
    ethertype = b"\x86\xdd" if ipv6 else b"\x08\x00"
    packet = Packet(bytes(12) + ethertype + raw)
    walked = 0

    def cost(branches: Sequence[Branch]) -> None:
        nonlocal walked
        for branch in branches:
            goes_on, evaluated = packet.evaluate(branch.condition)
            walked += evaluated
            if goes_on:
                assert isinstance(branch.then, tuple)
                cost(branch.then)

    cost(decision(BY_TRANSPORT[transport]))
    assert walked <= most

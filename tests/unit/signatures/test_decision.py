# SPDX-License-Identifier: GPL-2.0-or-later
"""The decision tree decides as the signatures' own rules do, in fewer comparisons."""

from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.signatures.netdev_hook import Packet
from tests.unit.signatures.test_agreement import signatures
from tests.unit.signatures.traffic import frames
from vpngate.expressions import Base, Bitwise, Compare, Payload
from vpngate.packets import Transport
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.decision import Branch, decision
from vpngate.signatures.nft import rules_of
from vpngate.tunnels import all_tunnels

EVERY = [s for tunnel in all_tunnels() for s in tunnel.signatures]
BY_TRANSPORT = {
    transport: [s for s in EVERY if s.transport is transport]
    for transport in Transport
    if any(s.transport is transport for s in EVERY)
}
MAGIC = Field(4, b"\x21\x12\xa4\x42")


def walk(packet: Packet, branches: Sequence[Branch]) -> Iterator[Signature]:
    """Every signature that the tree finds in a packet, in its order."""
    for branch in branches:
        if packet.matches(branch.condition):
            if isinstance(branch.then, Signature):
                yield branch.then
            else:
                yield from walk(packet, branch.then)


def by_rules(packet: Packet, those: Sequence[Signature]) -> set[str]:
    return {s.name for s in those if any(map(packet.matches, rules_of(s)))}


def udp(name: str, *shapes: Shape, ports: tuple[int, ...] = ()) -> Signature:
    return Signature(name, Transport.UDP, shapes, frozenset(ports))


@pytest.mark.parametrize("transport", BY_TRANSPORT, ids=lambda t: t.label)
def test_it_finds_what_the_rules_find(transport: Transport) -> None:
    those = BY_TRANSPORT[transport]
    tree = decision(those)
    matched = 0
    for signature in those:
        for frame in frames(signature, 150, 7):
            packet = Packet(frame)
            expected = by_rules(packet, those)
            assert {s.name for s in walk(packet, tree)} == expected, frame.hex()
            matched += bool(expected)
    assert 0 < matched < 150 * len(those)


@settings(max_examples=60, deadline=None)
@given(signatures(), signatures(), st.integers(0, 2**32))
def test_it_does_for_signatures_nobody_thought_of(
    one: Signature, other: Signature, seed: int
) -> None:
    those = [one] if one.transport is not other.transport else [one, other]
    tree = decision(those)
    for signature in those:
        for frame in frames(signature, 10, seed):
            packet = Packet(frame)
            found = any(True for _ in walk(packet, tree))
            assert found is bool(by_rules(packet, those)), frame.hex()


def test_what_all_shapes_share_is_asked_once_and_first() -> None:
    shapes = (Shape((Field(0, bytes((kind,))), MAGIC)) for kind in (1, 2, 3))
    (branch,) = decision([udp("example", *shapes)])
    # 1, 2 and 3 share the six high bits of the first byte, and the magic behind it.
    assert branch.condition == (
        Payload(Base.TRANSPORT, 8, 8),
        Bitwise(b"\xfc\0\0\0\xff\xff\xff\xff", bytes(8)),
        Compare(bytes(4) + MAGIC.value),
    )
    assert isinstance(branch.then, tuple)
    assert len(branch.then) == 3


def test_a_mask_is_left_out_where_every_bit_is_shared() -> None:
    shape = Shape((MAGIC,), ((8, 8), (12, 12), (20, 20)))
    (branch,) = decision([udp("example", shape)])
    assert branch.condition == (Payload(Base.TRANSPORT, 12, 4), Compare(MAGIC.value))


def test_few_leaves_stand_by_themselves() -> None:
    signature = udp("example", Shape((MAGIC,)), Shape((MAGIC,), ((20, 20),)))
    tree = decision([signature])
    assert [branch.then for branch in tree] == [signature, signature]
    assert tuple(branch.condition for branch in tree) == rules_of(signature)


def test_nothing_shared_is_no_condition() -> None:
    shapes = (Shape((Field(0, bytes((b,))),)) for b in (0x0F, 0xF0, 0x55))
    assert len(decision([udp("example", *shapes)])) == 3


def test_what_differs_fixes_nothing() -> None:
    odd = Shape((Field(4, MAGIC.value, differs=True),))
    tree = decision([udp("example", odd, Shape((MAGIC,)), Shape((MAGIC,), ((9, 9),)))])
    assert len(tree) == 3


def test_signatures_that_ask_for_a_port_come_last() -> None:
    shape = Shape((MAGIC,))
    here, any_port = udp("here", shape, ports=(500,)), udp("any", shape)
    first, *rest = decision([here, any_port])
    assert first.then is any_port
    assert [branch.then for branch in rest] == [here, here]  # either end's port


def test_those_of_one_port_stand_behind_it_together() -> None:
    one = udp("one", Shape((MAGIC,)), ports=(500,))
    two = udp("two", Shape((Field(0, b"\1"),)), ports=(500,))
    for branch in decision([one, two]):
        assert isinstance(branch.then, tuple)
        assert [leaf.then for leaf in branch.then] == [one, two]


def test_a_long_run_is_cut_to_what_a_register_holds() -> None:
    text = Random(1).randbytes(16)
    shapes = (
        Shape((Field(0, text), Field(16, text), Field(40, bytes((kind,)))))
        for kind in (1, 2, 4)
    )
    (branch,) = decision([udp("example", *shapes)])
    assert branch.condition == (Payload(Base.TRANSPORT, 8, 16), Compare(text))


def test_no_signature_no_branch() -> None:
    assert decision([]) == ()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures as programs of eBPF agree with the predicate, packet by packet.

The kernel runs them over frames that are in no queue; `test_bpf_frames.py` sends
frames that it does not take for that. The other three compilers are held to the same
predicate by `tests/unit/signatures/test_agreement.py`.

VPNGATE_AGREEMENT sets the number of packets a signature: 100,000 for the whole test,
VPNGATE_SEED another seed.
"""

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.bpf_programs import ETHERNET, NOTHING, can_be_tried, loaded, which
from tests.unit.ruleset.oddities import odd_frames
from tests.unit.signatures.test_agreement import signatures
from tests.unit.signatures.traffic import frames, payload_of
from tests.unit.tunnels import crafting
from vpngate.kernel.bpf.code.recognising import by_order
from vpngate.packets import Family, Transport
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.predicate import matches
from vpngate.tunnels import all_tunnels

SIGNATURES = by_order(s for tunnel in all_tunnels() for s in tunnel.signatures)
PACKETS = int(os.environ.get("VPNGATE_AGREEMENT", "1000"))
SEED = int(os.environ.get("VPNGATE_SEED", "1"))
FAMILIES = {b"\x08\x00": Family.IPV4, b"\x86\xdd": Family.IPV6}
OPTIONS = (0, 60, 43)


def expected(those: list[Signature], frame: bytes) -> int:
    """The number of the first that the predicate picks."""
    family = FAMILIES.get(frame[12:14])
    packet = frame[ETHERNET:]
    if family is None or not packet or packet[0] >> 4 != family:
        return NOTHING
    return next((n for n, one in enumerate(those) if matches(one, packet)), NOTHING)


def assert_agreement(program: int, those: list[Signature], frame: bytes) -> bool:
    wanted = expected(those, frame)
    assert which(program, frame) == wanted, frame.hex()
    return wanted != NOTHING


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda s: s.name)
@pytest.mark.timeout(3600)
def test_every_signature(signature: Signature) -> None:
    tried = matched = 0
    with loaded([signature]) as program:
        for frame in filter(can_be_tried, frames(signature, PACKETS, SEED)):
            matched += assert_agreement(program, [signature], frame)
            tried += 1
    assert tried > 0.9 * PACKETS
    # A test in which nothing, or all, matches would show nothing.
    assert 0.05 * PACKETS < matched < 0.95 * PACKETS, matched


@pytest.mark.timeout(3600)
def test_all_of_them_in_one_program_and_every_packet_for_all() -> None:
    found = set()
    with loaded(SIGNATURES) as program:
        for signature in SIGNATURES:
            for frame in filter(can_be_tried, frames(signature, PACKETS, SEED + 1)):
                assert_agreement(program, SIGNATURES, frame)
                found.add(expected(SIGNATURES, frame))
    assert found == {NOTHING, *range(len(SIGNATURES))}


@pytest.mark.timeout(3600)
def test_frames_that_may_be_taken_for_something_else() -> None:
    odd = odd_frames(tuple(SIGNATURES), 5 * PACKETS, SEED)
    with loaded(SIGNATURES) as program:
        matched = sum(
            assert_agreement(program, SIGNATURES, frame)
            for frame in map(untagged, odd)
            if can_be_tried(frame)
        )
    assert matched > 0.05 * PACKETS


def untagged(frame: bytes) -> bytes:
    """A frame that comes in loses its outer tag before the hook: here it has none."""
    return frame[:12] + frame[16:] if frame[12:14] == b"\x81\x00" else frame


@pytest.mark.parametrize("size", range(0, 61, 4))
@pytest.mark.parametrize("ipv6", [False, True])
def test_every_size_of_a_tcp_header(size: int, *, ipv6: bool) -> None:
    for signature in SIGNATURES:
        if signature.transport is not Transport.TCP:
            continue
        with loaded([signature]) as program:
            for shape in signature.shapes:
                frame = framed(
                    signature, payload_of(Random(SEED), shape), ipv6=ipv6, size=size
                )
                assert assert_agreement(program, [signature], frame) is (size >= 20)


def framed(
    signature: Signature, payload: bytes, *, ipv6: bool, size: int = 20
) -> bytes:
    ports = (min(signature.ports, default=40000), 443)
    packet = crafting.network(
        *(signature.transport, payload, ports), ipv6=ipv6, tcp_header=size
    )
    return bytes(12) + (b"\x86\xdd" if ipv6 else b"\x08\x00") + packet


@pytest.mark.parametrize("ipv6", [False, True])
def test_cut_after_every_byte(*, ipv6: bool) -> None:
    """Also where the IP header still promises the rest: then nothing matches."""
    for signature in SIGNATURES:
        payload = a_payload(signature)
        whole = framed(signature, payload, ipv6=ipv6)
        with loaded([signature]) as program:
            assert which(program, whole) == 0
            for size in range(len(payload)):
                frame = framed(signature, payload[:size], ipv6=ipv6)
                assert_agreement(program, [signature], frame)
            for size in range(ETHERNET + (40 if ipv6 else 20), len(whole)):
                assert not assert_agreement(program, [signature], whole[:size])


def a_payload(signature: Signature) -> bytes:
    """One that matches."""
    random = Random(SEED)
    while True:
        payload = payload_of(random, random.choice(signature.shapes))
        if expected([signature], framed(signature, payload, ipv6=False)) == 0:
            return payload


@pytest.mark.parametrize("count", [0, 1, 7, 12])
@pytest.mark.parametrize("words", [0, 3])
def test_many_extension_headers(count: int, words: int) -> None:
    """As many as are followed; no padding is needed to tell them apart."""
    (first, *_) = (s for s in SIGNATURES if s.name == "wireguard_initiation")
    frame = with_extensions(
        framed(first, b"\1\0\0\0" + bytes(144), ipv6=True), count, words
    )
    with loaded([first]) as program:
        assert assert_agreement(program, [first], frame)


def test_more_of_them_than_anybody_sends_are_left_alone() -> None:
    (first, *_) = (s for s in SIGNATURES if s.name == "wireguard_initiation")
    frame = with_extensions(framed(first, b"\1\0\0\0" + bytes(144), ipv6=True), 13, 0)
    assert expected([first], frame) == 0
    with loaded([first]) as program:
        assert which(program, frame) == NOTHING


def with_extensions(frame: bytes, count: int, words: int) -> bytes:
    head, following = frame[:ETHERNET], frame[ETHERNET + 6]
    rest = frame[ETHERNET + 40 :]
    for number in range(count):
        kind = OPTIONS[number % len(OPTIONS)]
        rest = bytes([following, words]) + bytes(6 + 8 * words) + rest
        following = kind
    fixed = bytearray(frame[ETHERNET : ETHERNET + 40])
    fixed[4:6], fixed[6] = len(rest).to_bytes(2), following
    return head + bytes(fixed) + rest


def test_a_payload_of_no_byte_may_have_the_right_length() -> None:
    """UDP says what it has; where nothing else is asked that is enough."""
    any_short = Signature("any", Transport.UDP, (Shape((), ((0, 10),)),))
    with loaded([any_short]) as program:
        for stated in (0, 7, 8, 18, 19, 0xFFFF):
            for there in range(12):
                header = b"\1\2\3\4" + stated.to_bytes(2) + bytes(6)
                total = 20 + there
                ip = bytes([0x45, 0]) + total.to_bytes(2) + bytes(5) + b"\x11"
                frame = bytes(12) + b"\x08\0" + ip + bytes(10) + header[:there]
                assert_agreement(program, [any_short], frame)


def test_the_farthest_field_there_may_be() -> None:
    far = Field(195, bytes(range(1, 17)))
    one = Signature("far", Transport.UDP, (Shape((far,)),), frozenset({7}))
    with loaded([one]) as program:
        for frame in filter(can_be_tried, frames(one, 500, SEED)):
            assert_agreement(program, [one], frame)


@settings(max_examples=max(60, PACKETS // 100), deadline=None)
@given(signatures(), st.integers(0, 2**32))
def test_signatures_nobody_thought_of(signature: Signature, seed: int) -> None:
    with loaded([signature]) as program:
        for frame in filter(can_be_tried, frames(signature, 30, seed)):
            assert_agreement(program, [signature], frame)


@settings(max_examples=max(20, PACKETS // 300), deadline=None)
@given(st.lists(signatures(), min_size=2, max_size=5), st.integers(0, 2**32))
def test_several_of_these_at_once(those: list[Signature], seed: int) -> None:
    ordered = by_order(those)
    with loaded(ordered) as program:
        for one in ordered:
            for frame in filter(can_be_tried, frames(one, 10, seed)):
                assert_agreement(program, ordered, frame)

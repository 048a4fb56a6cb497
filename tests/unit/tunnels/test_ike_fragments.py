# SPDX-License-Identifier: GPL-2.0-or-later
"""IKEv1 in a vendor's fragments: what the first one has to say to be an answer."""

import pytest

from tests.unit.tunnels.crafting import flipped, packet
from tests.unit.tunnels.test_ipsec import (
    AGGRESSIVE,
    AGGRESSIVE_ANSWER,
    FRAGMENTED_ANSWER,
    IKE,
    MAIN_ANSWER,
    fragments,
    ike,
    on_500,
    on_4500,
    padded,
    payload,
)
from vpngate.packets import Transport
from vpngate.recognition import Role
from vpngate.tunnels.ipsec import TUNNEL


@pytest.mark.parametrize(
    "fragment",
    [
        fragments(ike(payload(0, bytes(20)), 11, 4, version=1), 40)[0],  # a refusal
        fragments(AGGRESSIVE, 80)[0],  # no answer
        fragments(MAIN_ANSWER, 80)[0],  # of another exchange
        fragments(flipped(AGGRESSIVE_ANSWER, 3), 80)[0],  # another initiator's
        fragments(flipped(AGGRESSIVE_ANSWER, 21), 80)[0],  # another message id
        fragments(flipped(AGGRESSIVE_ANSWER, 17), 80)[0],  # no version
        fragments(flipped(AGGRESSIVE_ANSWER, 35), 80)[0],  # another domain
        fragments(flipped(AGGRESSIVE_ANSWER, 19, 1), 80)[0],  # encrypted inside
        fragments(padded(AGGRESSIVE_ANSWER, bytes(1)), 80)[0][:-1],
        flipped(FRAGMENTED_ANSWER, 19, 1),
        flipped(FRAGMENTED_ANSWER, 34),  # not the first
        flipped(FRAGMENTED_ANSWER, 35, 1),  # said to be the last
        flipped(FRAGMENTED_ANSWER, 35, 2),
        fragments(AGGRESSIVE_ANSWER, 27)[0],  # without the whole header
        padded(FRAGMENTED_ANSWER, bytes(1)),
    ],
)
def test_no_first_fragment_of_an_answer(fragment: bytes) -> None:
    for seen in (on_500(fragment), on_4500(fragment)):
        assert seen is None or seen.role is Role.EXCHANGE
    whole = packet(Transport.UDP, fragment, IKE)
    second = TUNNEL.second()(whole)
    assert (second.message if second else None) == TUNNEL.read(whole)

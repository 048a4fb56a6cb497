# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole conversations of IPsec, L2TP and PPTP: what confirms a flow, and what not.

Packets pass `decode`, the recogniser and the flow table, as they do in the daemon.
"""

import pytest

from tests.unit.flows.listing import sightings
from tests.unit.tunnels.conversations import CONVERSATIONS, Conversation
from tests.unit.tunnels.crafting import network
from vpngate.flows import FlowTable
from vpngate.packets import decode
from vpngate.recognition import Heard
from vpngate.tunnels import Recogniser, all_tunnels


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda c: c.name)
def test_a_conversation_amounts_to(conversation: Conversation, *, ipv6: bool) -> None:
    table = FlowTable(10, lambda *_: True)
    recogniser = Recogniser(all_tunnels())
    for now, (way, said) in enumerate(conversation.said):
        raw = network(
            conversation.transport,
            said,
            conversation.ports,
            back=way == "<",
            ipv6=ipv6,
        )
        packet = decode(raw)
        assert packet is not None
        found = recogniser.recognise(packet)
        if found is not None:
            table.observe(Heard(packet, found[1]), found[0], now / 10)
    seen = [sighting.evidence for sighting in sightings(table)]
    assert seen == ([conversation.evidence] if conversation.evidence else [])

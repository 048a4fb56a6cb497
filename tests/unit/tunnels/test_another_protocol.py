# SPDX-License-Identifier: GPL-2.0-or-later
"""A tunnel on an IP protocol of its own takes one file, like any other.

The tunnel here is on protocol 253, which is for experiments (RFC 3692, section 2.1);
its request looks like that of L2TPv3 straight over IP (RFC 3931, section 4.1.1.2).
"""

from dataclasses import replace
from itertools import product

import pytest

from tests import rulesets
from tests.unit.tunnels.crafting import network
from vpngate.capture.candidates import CandidateFilter
from vpngate.link_layers import LinkType
from vpngate.packets import Family, FlowKey, HookPoint, Packet, Transport, decode
from vpngate.recognition import Carrier, Message, Role, Tunnel
from vpngate.ruleset import names
from vpngate.ruleset.composition import compose
from vpngate.signatures import Field, Shape, Signature
from vpngate.signatures.predicate import matches
from vpngate.tunnels import Recogniser, all_carriers, all_tunnels

EXPERIMENT = Transport(253)
REQUEST = bytes(4) + b"\xc8\x03" + bytes(30)


def _read(packet: Packet) -> Message | None:
    return Message(Role.INITIATION, "a request") if packet.payload == REQUEST else None


def _covers(flow: FlowKey) -> tuple[FlowKey, ...]:
    return (flow,)


SIGNATURE = Signature(
    "experiment", EXPERIMENT, (Shape((Field(0, bytes(4) + b"\xc8\x03"),)),)
)
TUNNEL = Tunnel(
    name="experiment",
    signatures=(SIGNATURE,),
    read=_read,
    covers=_covers,
    idle=600,
    carriers=(Carrier(EXPERIMENT),),
)


def test_a_transport_is_what_its_number_says() -> None:
    assert Transport(253) is EXPERIMENT
    assert (EXPERIMENT.label, EXPERIMENT.has_ports) == ("ip_253", False)
    assert EXPERIMENT not in list(Transport)
    for number in (-1, 256):
        with pytest.raises(ValueError, match="not a valid Transport"):
            Transport(number)


@pytest.mark.parametrize("ipv6", [False, True])
def test_its_packets_are_picked_and_read(*, ipv6: bool) -> None:
    raw = network(EXPERIMENT, REQUEST, ipv6=ipv6)
    assert matches(SIGNATURE, raw)
    assert CandidateFilter.of([SIGNATURE]).matcher(LinkType.RAW)(raw)
    packet = decode(raw)
    assert packet is not None
    assert (packet.transport, packet.payload) == (EXPERIMENT, REQUEST)
    found = Recogniser([TUNNEL]).recognise(packet)
    assert found is not None
    assert found[0] is TUNNEL


def test_the_table_has_a_place_for_its_verdicts() -> None:
    ruleset = replace(
        rulesets.RULESET,
        signatures=(SIGNATURE,),
        carriers=(*all_carriers(), *TUNNEL.carriers),
    )
    table = compose(ruleset)
    sets = {one.name for one in table.sets}
    assert {"upload_ip_253_ipv4", "download_ip_253_ipv6"} <= sets
    chains = {one.name for one in table.chains}
    for point, family in product(HookPoint, Family):
        assert names.flows(point, EXPERIMENT, family) in chains


@pytest.mark.parametrize("tunnel", all_tunnels(), ids=lambda t: t.name)
@pytest.mark.parametrize("ipv6", [False, True])
def test_every_tunnel_declares_what_it_covers(tunnel: Tunnel, *, ipv6: bool) -> None:
    declared = {carrier.transport for carrier in tunnel.carriers}
    for transport in {signature.transport for signature in tunnel.signatures}:
        packet = decode(network(transport, bytes(16), (4500, 4500), ipv6=ipv6))
        assert packet is not None
        covered = {flow.transport for flow in tunnel.covers(packet.flow)}
        assert covered <= declared


def test_a_carrier_with_ports_says_no_more() -> None:
    with pytest.raises(ValueError, match="ports tell its flows apart"):
        Carrier(Transport.UDP, (Field(0, b"\x01"),))

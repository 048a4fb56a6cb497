# SPDX-License-Identifier: GPL-2.0-or-later
"""First readers broken on purpose: the second one catches each of them.

A broken reader is the real one behind spectacles: it sees the packet as it would have
to be, in one respect, or it says something else of what it saw. The packets are sound
but for that respect, so the broken reader confirms and the real one does not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from struct import pack

import pytest

from tests.unit.second_reading.confirmations import (
    CONFIRMATIONS,
    TUNNELS,
    confirms,
    heard,
)
from tests.unit.tunnels import test_ipsec as ipsec
from vpngate.packets import Packet
from vpngate.recognition import Message, Role, Tunnel
from vpngate.second_reading import Outcome, difference, second_reading

Read = Callable[[Packet], Message | None]
Spectacles = Callable[[Packet], Packet]
BY_NAME = {c.name: c for c in CONFIRMATIONS}


def with_bytes(packet: Packet, at: int, new: bytes) -> Packet:
    payload = packet.payload[:at] + new + packet.payload[at + len(new) :]
    return packet._replace(payload=payload)


def with_payload(packet: Packet, payload: bytes) -> Packet:
    return packet._replace(payload=payload, length=len(payload))


def seen_as(spectacles: Spectacles) -> Callable[[Read], Read]:
    """A reader that cannot see what the spectacles hide."""
    return lambda read: lambda packet: read(spectacles(packet))


def told_as(change: Callable[[Packet, Message], Message]) -> Callable[[Read], Read]:
    """A reader that tells what it saw wrongly."""

    def wrong(read: Read) -> Read:
        def told(packet: Packet) -> Message | None:
            message = read(packet)
            return message and change(packet, message)

        return told

    return wrong


@dataclass(frozen=True)
class Broken:
    """A way to be broken, and packets made of a confirmation's that it is blind to.

    `damage` makes the packet of that number what the real reader does not take.
    """

    name: str
    of: str
    number: int
    damage: Spectacles
    breaking: Callable[[Read], Read]

    @property
    def packets(self) -> list[Packet]:
        packets = BY_NAME[self.of].packets()
        packets[self.number] = self.damage(packets[self.number])
        return packets

    @property
    def sound(self) -> Tunnel:
        return TUNNELS[BY_NAME[self.of].tunnel]

    @property
    def tunnel(self) -> Tunnel:
        return replace(self.sound, read=self.breaking(self.sound.read))


def blind_to(name: str, of: str, number: int, at: int, *values: int) -> Broken:
    """Blind to some bytes, which are `values` in one packet of a confirmation."""
    right = BY_NAME[of].packets()[number].payload[at : at + len(values)]

    def repaired(packet: Packet) -> Packet:
        seen = packet.payload[at : at + len(values)]
        return with_bytes(packet, at, right) if seen == bytes(values) else packet

    return Broken(
        *(name, of, number),
        damage=lambda packet: with_bytes(packet, at, bytes(values)),
        breaking=seen_as(repaired),
    )


def blind_to_length(name: str, of: str, number: int, extra: int) -> Broken:
    """Blind to bytes that follow the message, or to those it lacks."""
    right = BY_NAME[of].packets()[number].payload

    def damaged(packet: Packet) -> Packet:
        longer = right + bytes(extra) if extra > 0 else right[:extra]
        return with_payload(packet, longer)

    return Broken(
        *(name, of, number),
        damage=damaged,
        breaking=seen_as(
            lambda packet: (
                with_payload(packet, right)
                if packet.length == len(right) + extra
                else packet
            )
        ),
    )


def swapped(_: Packet, message: Message) -> Message:
    other = {Role.INITIATION: Role.RESPONSE, Role.RESPONSE: Role.INITIATION}
    return message._replace(role=other.get(message.role, message.role))


def without_marker(packet: Packet) -> Packet:
    return with_payload(packet, packet.payload[len(ipsec.MARKER) :])


def with_marker(packet: Packet) -> Packet:
    marked = packet.payload.startswith(ipsec.MARKER)
    return packet if marked else with_payload(packet, ipsec.MARKER + packet.payload)


NUMBERS = count(100)
REFUSED = ipsec.ike(ipsec.payload(0, b"\0\0\0\x0e"), 41, 34, 0x20)
WG, SA_INIT, MAIN = "WireGuard, response", "IKE_SA_INIT", "IKEv1 main mode"
AUTH, PLAIN, CRYPT = "IKEv2 exchange", "OpenVPN, plain", "OpenVPN, tls-crypt, ack"
KEY_2 = "OpenVPN, tls-crypt-v2"

BLIND = [
    blind_to("WireGuard: reserved bits", WG, 0, 1, 0, 1),
    blind_to("WireGuard: the index is not looked at", WG, 1, 8, 9, 9, 9, 9),
    blind_to_length("WireGuard: length of a request", WG, 0, 3),
    blind_to_length("WireGuard: length of a response", WG, 1, -1),
    blind_to("ESP: SPI zero", "ESP", 2, 0, 0, 0, 0, 0),
    blind_to("ESP: a reserved SPI", "ESP", 3, 0, 0, 0, 0, 0x65),
    blind_to("PPTP: result", "PPTP", 1, 14, 4),
    blind_to("PPTP: error", "PPTP", 1, 15, 6),
    blind_to("PPTP: magic cookie", "PPTP", 1, 4, 0x1B),
    blind_to("PPTP: length", "PPTP", 0, 0, 0, 157),
    blind_to("enhanced GRE: version", "enhanced GRE", 0, 1, 0),
    blind_to("enhanced GRE: protocol", "enhanced GRE", 0, 2, 0x08, 0x00),
    blind_to_length("enhanced GRE: payload length", "enhanced GRE", 0, 2),
    blind_to("IKE: version 2, in which there is a 3", SA_INIT, 1, 17, 0x30),
    blind_to("IKE: version 1.1", MAIN, 1, 17, 0x11),
    blind_to("IKE: flags", SA_INIT, 1, 19, 0x28),
    blind_to("IKE: message id", SA_INIT, 0, 23, 1),
    blind_to("IKE: the initiator's SPI", SA_INIT, 1, 0, 9, 9),
    blind_to("IKE: length", SA_INIT, 1, 24, 0, 0, 0, 99),
    blind_to("IKE: the chain is not walked", SA_INIT, 1, 30, 0xFF, 0xFF),
    blind_to("IKE: reserved bits of a payload", MAIN, 0, 29, 1),
    blind_to("IKE: domain of interpretation", MAIN, 1, 32, 0, 0, 0, 2),
    blind_to("IKE: exchange", MAIN, 1, 18, 3),
    blind_to("IKE: an exchange of another number", AUTH, 1, 24 + 3, 9),
    blind_to("IKE: the responder's SPI in an exchange", AUTH, 1, 15, 9),
    blind_to("L2TP: kind of the AVP that comes first", "L2TPv2", 1, 17, 1),
    blind_to("L2TP: reserved bits of an AVP", "L2TPv2", 0, 12, 0x84),
    blind_to("L2TP: whose tunnel it is", "L2TPv2", 1, 4, 9, 9),
    blind_to("L2TP: numbers", "L2TPv3", 1, 9, 1),
    blind_to("L2TP: version", "L2TPv2", 0, 1, 0x12),
    blind_to("L2TP: value of the protocol version", "L2TPv2", 0, 26, 2),
    blind_to("OpenVPN: what is acknowledged", PLAIN, 1, 13, 1),
    blind_to("OpenVPN: how many are", PLAIN, 0, 9, 2),
    blind_to("OpenVPN: the client's session id", PLAIN, 1, 14, 9),
    blind_to("OpenVPN: key id", PLAIN, 1, 0, 0x41),
    blind_to("OpenVPN: replay id", CRYPT, 1, 9, 0, 0, 1, 0),
    blind_to("OpenVPN: who follows up", CRYPT, 2, 1, 9),
    blind_to_length("OpenVPN: length", PLAIN, 0, 1),
    blind_to_length("OpenVPN: length under tls-crypt", CRYPT, 2, 1),
    blind_to("OpenVPN: length of the wrapped key", KEY_2, 0, -2 + 54 + 299, 1, 1),
]
OTHERS = [
    Broken(
        "IKE: an answer without its SA",
        *(SA_INIT, 1),
        damage=lambda packet: with_payload(packet, REFUSED),
        breaking=seen_as(
            lambda packet: (
                with_payload(packet, ipsec.SA_INIT_ANSWER)
                if packet.payload == REFUSED
                else packet
            )
        ),
    ),
    Broken(
        "IKE: the marker",
        *(AUTH, 1),
        damage=without_marker,
        breaking=seen_as(with_marker),
    ),
    Broken(
        "WireGuard: the sender's index for the receiver's",
        *(WG, 1),
        damage=lambda packet: with_bytes(
            packet, 4, BY_NAME[WG].packets()[0].payload[4:8] + pack("<I", 9)
        ),
        breaking=told_as(
            lambda packet, message: message._replace(token=packet.payload[4:8])
        ),
    ),
    Broken(
        "OpenVPN: the server's own session id for the client's",
        *(PLAIN, 1),
        damage=lambda packet: with_bytes(
            packet,
            1,
            BY_NAME[PLAIN].packets()[0].payload[1:9] + b"\1\0\0\0\0" + b"\7" * 8,
        ),
        breaking=told_as(
            lambda packet, message: message._replace(token=packet.payload[1:9])
        ),
    ),
    Broken(
        "OpenVPN: whom an encrypted answer names is made up",
        *("OpenVPN, tls-crypt, ack", 2),
        damage=lambda packet: with_bytes(packet, 1, b"\7" * 8),
        breaking=told_as(
            lambda _, message: (
                message._replace(
                    token=BY_NAME[CRYPT].packets()[0].payload[1:9], conclusive=True
                )
                if message.role is Role.RESPONSE
                else message
            )
        ),
    ),
    Broken(
        "ESP: sequence numbers counted by the reader",
        *("ESP", 5),
        damage=lambda packet: with_bytes(packet, 4, pack(">I", 8)),
        breaking=told_as(lambda _, message: message._replace(sequence=next(NUMBERS))),
    ),
]


@pytest.mark.parametrize("broken", [*BLIND, *OTHERS], ids=lambda b: b.name)
def test_a_broken_reader_is_caught(broken: Broken) -> None:
    packets = broken.packets
    assert not confirms(broken.sound, packets)
    assert confirms(broken.tunnel, packets), "not broken enough to prove anything"
    said = heard(broken.tunnel, packets)
    assert second_reading(broken.tunnel, said) is Outcome.DIFFERED
    found = difference(broken.tunnel, said)
    assert found is not None
    assert found.facts


def test_roles_that_are_swapped_are_caught() -> None:
    confirmation = BY_NAME[WG]
    sound = TUNNELS["wireguard"]
    broken = replace(sound, read=told_as(swapped)(sound.read))
    backwards = confirmation.packets()[::-1]
    assert not confirms(sound, backwards)
    assert confirms(broken, backwards)
    assert second_reading(broken, heard(broken, backwards)) is Outcome.DIFFERED


@pytest.mark.parametrize("name", [WG, PLAIN, MAIN, "L2TPv2", "PPTP"])
def test_a_request_that_is_not_enough_alone_is_not_taken_for_one(name: str) -> None:
    confirmation = BY_NAME[name]
    sound = TUNNELS[confirmation.tunnel]
    broken = replace(
        sound, read=told_as(lambda _, m: m._replace(one_way=True))(sound.read)
    )
    request, response = heard(broken, confirmation.packets())
    assert second_reading(broken, [response]) is Outcome.DIFFERED
    alone = second_reading(broken, [request])
    assert alone is (Outcome.AGREED if name in ("L2TPv2", "PPTP") else Outcome.DIFFERED)

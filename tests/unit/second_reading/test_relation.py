# SPDX-License-Identifier: GPL-2.0-or-later
"""How the messages of a confirmation hang together, whatever they are called.

The tunnel here is one that both readers read alike: what differs is the relation.
"""

from typing import Any

import pytest

from vpngate.packets import Endpoint, Packet, Transport, parse_address
from vpngate.recognition import Dissection, Heard, Message, Role, Tunnel
from vpngate.second_reading import (
    Outcome,
    difference,
    is_available,
    second_reading,
)

CLIENT = Endpoint(parse_address("192.0.2.1"), 40000)
SERVER = Endpoint(parse_address("198.51.100.2"), 50000)
OTHER = Endpoint(parse_address("198.51.100.3"), 50000)


class Spoken:
    """A tunnel whose packets name their messages, by their payload."""

    def __init__(self) -> None:
        self.messages: dict[bytes, Message] = {}
        self.tunnel = Tunnel(
            *("spoken", (), self.read, lambda flow: (flow,), 180),
            second=lambda: lambda packet: Dissection(lambda: None, self.read(packet)),
        )

    def read(self, packet: Packet) -> Message | None:
        return self.messages.get(packet.payload)

    def say(
        self, payload: bytes, role: Role, token: bytes = b"t", **facts: object
    ) -> "Spoken":
        self.messages[payload] = Message(role, "word", token, **facts)  # type: ignore[arg-type]
        return self

    def heard(self, *said: str) -> list[Heard]:
        """`>a`: the client sends the payload a; `<a`: the server; `!a`: another."""
        ends = {">": (CLIENT, SERVER), "<": (SERVER, CLIENT), "!": (OTHER, CLIENT)}
        heard = []
        for one in said:
            raw = one[1:].encode()
            packet = Packet(Transport.UDP, *ends[one[0]], raw, len(raw))
            message = self.read(packet)
            assert message is not None
            heard.append(Heard(packet, message))
        return heard


def spoken() -> Spoken:
    """A conversation's messages: a to c open and answer, x to z, 1 to 4 flow."""
    words = (
        Spoken()
        .say(b"a", Role.INITIATION)
        .say(b"alone", Role.INITIATION, one_way=True)
        .say(b"b", Role.RESPONSE)
        .say(b"other", Role.RESPONSE, b"u")
        .say(b"veiled", Role.RESPONSE, b"", conclusive=False)
        .say(b"c", Role.FOLLOW_UP)
        .say(b"c2", Role.FOLLOW_UP, b"u")
        .say(b"x", Role.EXCHANGE)
        .say(b"y", Role.EXCHANGE)
        .say(b"z", Role.EXCHANGE, b"u")
        .say(b"ask", Role.EXCHANGE, answers=False)
        .say(b"ask2", Role.EXCHANGE, answers=False)
        .say(b"tell", Role.EXCHANGE, answers=True)
    )
    for number in range(1, 5):
        words.say(b"%d" % number, Role.TRAFFIC, b"u", sequence=number)
        words.say(b"-%d" % number, Role.TRAFFIC, b"d", sequence=(number - 3) % 2**32)
    return words


@pytest.mark.parametrize(
    ("said", "relation"),
    [
        ((">a", "<b"), None),
        ((">a", ">a", "<b"), None),
        (("<b", ">a"), "not answered"),
        ((">a", "<other"), "not answered"),
        ((">a", ">b"), "not answered"),
        ((">a", "!b"), "not one flow"),
        ((">a", "<veiled"), "not answered"),
        ((">a", "<veiled", ">c"), None),
        ((">a", "<veiled", "<c"), "not answered"),
        ((">a", ">veiled", ">c"), "not answered"),
        ((">a", "<veiled", ">c2"), "not answered"),
        (("<veiled", ">a", ">c"), "not answered"),
        ((">a", ">c"), "not answered"),
        ((">x", "<y"), None),
        ((">x", "<x"), "echo"),
        ((">x", ">y"), "not answered"),
        ((">x", "<z"), "not answered"),
        ((">ask", "<tell"), None),
        (("<tell", ">ask"), None),
        ((">ask", "<ask2"), "not answered"),
        ((">1", ">2", "<-1", "<-2"), None),
        ((">1", "<-1", ">3", "<-4"), None),  # across the end of the numbers
        ((">1", ">2", "<-1"), "not advancing"),
        ((">1", ">2", "<-2", "<-1"), "not advancing"),
        ((">1", ">2", ">3", ">4"), "not advancing"),
        ((">1", ">1", "<-1", "<-1"), "not advancing"),
        ((">x", ">2", "<-1", "<-2"), "not traffic alone"),
        ((">1", ">2", "<1", "<2"), "echo"),
        ((">1", ">2", "<2", "<3"), "echo"),
        ((">a", "<b", "<a"), "echo"),
        ((">alone",), None),
        ((">a",), "one message alone"),
        ((">b",), "one message alone"),
        ((), "not one flow"),
    ],
)
def test_a_relation_holds_or_is_named(
    said: tuple[str, ...], relation: str | None
) -> None:
    words = spoken()
    heard = words.heard(*said)
    outcome = second_reading(words.tunnel, heard)
    found = difference(words.tunnel, heard)
    if relation is None:
        assert (outcome, found) == (Outcome.AGREED, None)
    else:
        assert outcome is Outcome.DIFFERED
        assert found is not None
        assert found.facts == (relation,)


def test_every_fact_of_a_message_is_compared() -> None:
    words = spoken()
    opening, answer = words.heard(">a", "<b")
    changes: dict[str, Any] = {
        "role": Role.FOLLOW_UP,
        "name": "another word",
        "token": b"v",
        "conclusive": False,
        "sequence": 7,
        "answers": True,
        "one_way": True,
    }
    assert changes.keys() == set(Message._fields)
    for fact, value in changes.items():
        wrong = Heard(answer.packet, answer.message._replace(**{fact: value}))
        found = difference(words.tunnel, [opening, wrong])
        assert found is not None
        assert found.facts == (fact,)


def test_what_the_second_reader_does_not_know_differs() -> None:
    words = spoken()
    heard = words.heard(">a", "<b")
    del words.messages[b"b"]
    found = difference(words.tunnel, heard)
    assert found is not None
    assert (found.message, found.length, found.facts) == ("word", 1, ("no message",))


def test_whatever_a_second_reader_raises_is_a_difference() -> None:
    def raising(_: Packet) -> Dissection | None:
        raise RecursionError

    words = spoken()
    tunnel = Tunnel("raising", (), words.read, lambda f: (f,), 180, lambda: raising)
    assert second_reading(tunnel, words.heard(">a", "<b")) is Outcome.DIFFERED


@pytest.mark.parametrize("error", [ImportError, ModuleNotFoundError, ValueError])
def test_without_scapy_nothing_can_be_read(error: type[Exception]) -> None:
    def missing() -> None:
        raise error

    words = spoken()
    tunnel = Tunnel("missing", (), words.read, lambda f: (f,), 180, missing)  # type: ignore[arg-type]
    assert not is_available(tunnel)
    assert second_reading(tunnel, words.heard(">a", "<b")) is Outcome.UNAVAILABLE


def test_a_tunnel_without_a_second_reader_is_never_confirmed() -> None:
    words = spoken()
    tunnel = Tunnel("alone", (), words.read, lambda f: (f,), 180)
    assert second_reading(tunnel, words.heard(">a", "<b")) is Outcome.DIFFERED

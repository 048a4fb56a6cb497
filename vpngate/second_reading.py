# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether two readers of a flow's packets arrive at the same tunnel.

Knows how to hold a message against another reading of its packet, and how the messages
of a confirmation have to hang together; does not know any protocol, scapy, budgets or
clocks. Both checks rest on the second reader alone: of the first one's messages, only
that they are the same.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from vpngate.packets import Endpoint, Packet
from vpngate.recognition import Heard, Message, Role, Tunnel

# Sequence numbers count to here and start again (RFC 4303 section 2.2); a step of more
# than half of it is one back.
_NUMBERS = 1 << 32

# What a message closes alone, by its role and whether it is conclusive, opens with.
_OPENED_BY = {
    (Role.RESPONSE, True): Role.INITIATION,
    (Role.EXCHANGE, True): Role.EXCHANGE,
}


class Outcome(StrEnum):
    """What came of a second reading; the flow counts as confirmed after one of them."""

    AGREED = "agreed"
    DIFFERED = "differed"
    UNAVAILABLE = "unavailable"  # scapy cannot be loaded
    BUDGET = "budget"  # no time left for it


class Disagreement(NamedTuple):
    """Why two readings are not one: enough for a report, and nothing of anybody's.

    message  the name of the message that was read differently, or "" if each was read
             the same and they do not belong together
    length   of its packet's payload, bytes
    facts    what differs: fields of `Message`, "no message", or the broken relation
    """

    message: str
    length: int
    facts: tuple[str, ...]


def second_reading(tunnel: Tunnel, heard: Sequence[Heard]) -> Outcome:
    """Whether the second reader confirms what the first one did, on the same packets.

    `heard` holds the packets that confirmed a flow, in the order in which they came:
    an opening and what answers it, two halves of an exchange, packets of running
    traffic, at least two each way; or one message that is enough alone.
    """
    if not is_available(tunnel):
        return Outcome.UNAVAILABLE
    return Outcome.AGREED if difference(tunnel, heard) is None else Outcome.DIFFERED


def is_available(tunnel: Tunnel) -> bool:
    """Whether scapy can be loaded for a tunnel's second reader; loads it."""
    try:
        tunnel.second()
    except Exception:  # noqa: BLE001 - a library that is broken is none
        return False
    return True


def difference(tunnel: Tunnel, heard: Sequence[Heard]) -> Disagreement | None:
    """Where the two readings of these packets part; None where they do not.

    ImportError if scapy cannot be loaded.
    """
    read = tunnel.second()
    messages = []
    for packet, first in heard:
        try:
            seen = read(packet)
        except Exception as error:  # noqa: BLE001 - of crafted bytes scapy may make anything
            return Disagreement(first.name, packet.length, (type(error).__name__,))
        message = seen.message if seen is not None else None
        if message is None:
            return Disagreement(first.name, packet.length, ("no message",))
        facts = tuple(_unlike(first, message))
        if facts:
            return Disagreement(first.name, packet.length, facts)
        messages.append(message)
    broken = _broken_relation([packet for packet, _ in heard], messages)
    return Disagreement("", 0, (broken,)) if broken else None


def _unlike(one: Message, other: Message) -> Iterator[str]:
    """The facts in which two readings of a packet differ."""
    for fact, left, right in zip(Message._fields, one, other, strict=True):
        if left != right:
            yield fact


def _broken_relation(packets: list[Packet], messages: list[Message]) -> str | None:
    """What keeps the messages from being one confirmation; None if they are."""
    if len({packet.flow for packet in packets}) != 1:
        return "not one flow"
    if len(messages) == 1:
        return None if messages[0].one_way else "one message alone"
    if _is_echo(packets):
        return "echo"
    ends = [packet.source for packet in packets]
    if messages[-1].role is Role.TRAFFIC:
        return _broken_traffic(ends, messages)
    return None if _is_answered(ends, messages) else "not answered"


def _is_echo(packets: list[Packet]) -> bool:
    """Whether one end sent bytes that the other sent, too."""
    said: dict[Endpoint, set[bytes]] = {}
    for packet in packets:
        said.setdefault(packet.source, set()).add(packet.payload)
    one, *others = said.values()
    return any(one & other for other in others)


def _is_answered(ends: list[Endpoint], messages: list[Message]) -> bool:
    """Whether the last message closes what an earlier one opened.

    All of them name the same token, but for an answer that cannot show it.
    """
    last = messages[-1]
    earlier = list(zip(ends, messages, strict=True))[:-1]
    for at, (end, opening) in enumerate(earlier):
        if opening.token != last.token:
            continue
        if last.role is not Role.FOLLOW_UP:
            alike = opening.answers is not None and opening.answers == last.answers
            opens = _OPENED_BY.get((last.role, last.conclusive))
            if opening.role is opens and end != ends[-1] and not alike:
                return True
        elif opening.role is Role.INITIATION and end == ends[-1]:
            return any(
                other != end and message.role is Role.RESPONSE
                for other, message in earlier[at + 1 :]
            )
    return False


def _broken_traffic(ends: list[Endpoint], messages: list[Message]) -> str | None:
    """Running traffic: on one token each way, sequence numbers that go forward."""
    last: dict[tuple[Endpoint, bytes], int] = {}
    advancing = set()
    for end, message in zip(ends, messages, strict=True):
        if message.role is not Role.TRAFFIC:
            return "not traffic alone"
        stream = (end, message.token)
        if stream in last:
            step = (message.sequence - last[stream]) % _NUMBERS
            if 0 < step < _NUMBERS // 2:
                advancing.add(end)
        last[stream] = message.sequence
    return None if len(advancing) == len(("one", "other")) else "not advancing"

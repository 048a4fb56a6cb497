# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flow lacked to be confirmed, in words for people.

Knows roles, tokens and directions, as `handshake.py` does, and how to say in one line
each what was missing; does not know protocols, and decides nothing: it is asked once
the verdict stands.
"""

from collections.abc import Iterator

from vpngate.capture.account import Account, Noted
from vpngate.flows.running import ECHO, STEPS
from vpngate.packets import Endpoint
from vpngate.recognition import Role
from vpngate.second_reading import Outcome

_NO_ANSWER = "no answer seen"
_BROKEN = {
    "echo": ECHO,
    "not advancing": "the second reader does not see both ends go on",
}


def lacking(account: Account) -> tuple[str, ...]:
    """What keeps a flow from being confirmed; nothing if it is.

    Asked of a flow that was confirmed and contradicted itself, it is that.
    """
    if account.contradiction:
        return (account.contradiction,)
    if account.evidence:
        return ()
    return tuple(dict.fromkeys((*_readings(account), *_heard(account))))


def _readings(account: Account) -> Iterator[str]:
    """Yields what the second reader did not agree with."""
    if account.outcome is Outcome.UNAVAILABLE:
        yield "scapy cannot be loaded: nothing is read a second time"
    found = account.unmatched
    if found is not None:
        facts = ", ".join(_BROKEN.get(fact, fact) for fact in found.facts)
        if found.message:
            size = f"{found.message} ({found.length} bytes)"
            yield f"the two readings differ in {facts} of {size}"
        elif found.facts == ("echo",):
            yield ECHO
        else:
            yield f"the second reader sees no confirmation: {facts}"


def _heard(account: Account) -> Iterator[str]:
    """What is missing among the messages."""
    if account.outcome is not None or not account.heard:
        return
    opening = account.heard[0]
    role = opening.message.role if opening.message else None
    others = [n for n in account.heard if n.packet.source != opening.packet.source]
    if role is Role.TRAFFIC and others:
        yield (
            f"too few packets: each end has to go on {STEPS} times, in small steps "
            "forward on one SPI"
        )
    elif role is Role.TRAFFIC:
        yield f"packets of one end alone{_strays(account)}"
    elif role is Role.EXCHANGE and others:
        yield "messages of both ends seen, but not of one exchange"
    elif role is Role.EXCHANGE:
        yield f"{_NO_ANSWER}: one end's half of an exchange alone{_strays(account)}"
    else:
        yield from _answers(account)


def _answers(account: Account) -> Iterator[str]:
    """What was wrong with each answer to an initiation."""
    asked = [
        (noted.packet.source, noted.message.token)
        for noted in account.heard
        if noted.message and noted.message.role is Role.INITIATION
    ]
    answers = [
        noted
        for noted in account.heard
        if noted.message and noted.message.role is Role.RESPONSE
    ]
    if answers and not any(token for _, token in asked):
        yield "the request's own id is hidden, or not captured: none can repeat it"
        return
    for noted in answers:
        yield _answer(account, set(asked), noted)
    if not answers:
        yield f"{_NO_ANSWER}{_strays(account)}"


def _answer(account: Account, asked: set[tuple[Endpoint, bytes]], noted: Noted) -> str:
    """Returns why a response does not answer what was asked."""
    message, end = noted.message, noted.packet.source
    if message is None:
        return _NO_ANSWER
    seen = f"answer seen ({message.name})"
    if all(one == end for one, _ in asked):
        return f"{seen}, but from the end that asked"
    if not message.conclusive:
        return f"{seen}, which hides whom it answers; {_follow_up(account, end)}"
    if any(token == message.token and one != end for one, token in asked):
        return (
            f"{seen}, but the flow was forgotten by then: more than "
            f"{account.tunnel.idle} s had passed, or too many flows were open"
        )
    return (
        "answer seen, but its acknowledgement names another session "
        f"({message.name}, {noted.packet.length} bytes)"
    )


def _follow_up(account: Account, responder: Endpoint) -> str:
    """What became of the message that would show what was answered."""
    seen = any(
        noted.message is not None
        and noted.message.role is Role.FOLLOW_UP
        and noted.packet.source != responder
        for noted in account.heard
    )
    how = "names another session" if seen else "was not seen"
    return f"the initiator's next message, which would show it, {how}"


def _strays(account: Account) -> str:
    """What else the end sent that should have answered."""
    packet = account.heard[0].packet
    count = account.strays[packet.source == packet.flow.low]
    if not count:
        return "; nothing else of the other end is in the capture"
    return (
        f"; other packets of that end in the capture: {count}, none of them an answer"
    )

# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a flow was judged as it was: its evidence, and what was lacking.

Knows which messages of an account are shown, and how an explanation is spelled as JSON
and for people; does not judge, and does not dissect.
"""

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from vpngate.capture.account import Account, Noted
from vpngate.capture.missing_evidence import lacking
from vpngate.cli.printing.dissection import Blind, ShownLayer, dissected
from vpngate.cli.printing.readable_moments import moment
from vpngate.recognition import Role, Sighting

_MOST_SHOWN = 4  # messages of a flow that was not confirmed
_WIDTH = 88  # columns
_INDENT = " " * 4
_NO_MESSAGE = "no message of this tunnel"
_ONE_WAY = 'acted on alone, as confirm = "one-way" asks'


def explanation(account: Account, sighting: Sighting, *, blind: bool) -> dict[str, Any]:
    """An account as JSON has it; `blind` leaves out what could hold an address."""
    hidden = Blind() if blind else None
    lacks = list(lacking(account))
    if sighting.one_way and not account.evidence:
        lacks.append(_ONE_WAY)
    return {
        "messages": [
            {
                "name": noted.message.name if noted.message else _NO_MESSAGE,
                "from": _sender(noted, sighting),
                "seen": None if noted.seen is None else round(noted.seen, 6),
                "length": noted.packet.length,
                "captured": len(noted.packet.payload),
                "layers": [
                    _as_json(layer)
                    for layer in dissected(account.tunnel, noted.packet, hidden)
                ],
            }
            for noted in _shown(account)
        ],
        "lacking": lacks,
    }


def lines(explained: Mapping[str, Any]) -> Iterator[str]:
    """An explanation for people, below the flow's line."""
    for message in explained["messages"]:
        seen = "" if message["seen"] is None else f", {moment(message['seen'])}"
        yield (
            f"{_INDENT}{message['name']}, {message['length']} bytes, "
            f"from the {message['from']}{seen}"
        )
        for layer in message["layers"]:
            yield from _layer_lines(layer)
    for lack in explained["lacking"]:
        yield from wrap(
            f"lacking: {lack}",
            _WIDTH,
            initial_indent=_INDENT,
            subsequent_indent=f"{_INDENT}  ",
            break_on_hyphens=False,
        )


def _shown(account: Account) -> tuple[Noted, ...]:
    """The evidence, or what there is of it, and what contradicts it."""
    misfit = (account.misfit,) if account.misfit else ()
    if account.evidence:
        return account.evidence + misfit
    if misfit:
        return account.heard[: _MOST_SHOWN - 1] + misfit
    opener = account.heard[0].packet.source if account.heard else None
    openings = [n for n in account.heard if n.packet.source == opener]
    answers = [n for n in account.heard if n.packet.source != opener]
    follow_ups = [n for n in openings if n.message and n.message.role is Role.FOLLOW_UP]
    stray = [account.stray] if account.stray and not answers else []
    chosen = openings[:1] + answers[:2] + follow_ups[:1] + stray
    return tuple(sorted(chosen[:_MOST_SHOWN], key=lambda noted: noted.seen or 0.0))


def _sender(noted: Noted, sighting: Sighting) -> str:
    return "initiator" if noted.packet.source == sighting.initiator else "responder"


def _as_json(layer: ShownLayer) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "fields": {field.name: field.value for field in layer.fields},
        "text": {field.name: field.text for field in layer.fields},
    }


def _layer_lines(layer: Mapping[str, Any]) -> Iterator[str]:
    """A layer's fields, no line broken within one of them."""
    line, indent = f"{_INDENT * 2}{layer['layer']}:", " "
    for name, text in layer["text"].items():
        field = f"{name}={text}"
        if len(line) + len(indent) + len(field) > _WIDTH:
            yield line
            line, indent = _INDENT * 2, "  "
        line, indent = f"{line}{indent}{field}", "  "
    yield line

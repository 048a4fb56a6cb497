# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as `classify` prints it: a row of a table, or an object of JSON.

Knows the names of its parts and the columns' widths; does not judge, and does not
know where a flow comes from.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vpngate.cli.printing.letters import Letters
from vpngate.cli.printing.readable_moments import moment
from vpngate.packets import Endpoint, format_address
from vpngate.plaintext import plain
from vpngate.policy import Decision
from vpngate.recognition import Sighting

_COLUMNS = {  # with the width that is enough most times
    "TUNNEL": 9,
    "TRANSPORT": 9,
    "INITIATOR": 21,
    "RESPONDER": 21,
    "EVIDENCE": 10,
    "HANDSHAKES": 10,
    "FIRST SEEN (UTC)": 23,
    "VERDICT": 8,
    "REGISTRATION": 12,
    "CAPTURE": 0,
}


def answer(
    capture: str, flow: Sighting, decision: Decision, letters: Letters | None = None
) -> dict[str, Any]:
    """A flow as JSON has it, with `letters` without an address."""
    registration = decision.registration and decision.registration.id
    if letters is not None:
        registration = registration and letters.without_addresses(registration)
        capture = letters.without_addresses(capture)
    return {
        "capture": capture,
        "tunnel": flow.tunnel.name,
        "transport": flow.flow.transport.label,
        "initiator": _end(flow.initiator, letters),
        "responder": _end(flow.responder, letters),
        "evidence": flow.evidence.label,
        "first_seen": round(flow.first_seen, 6),
        "handshakes": flow.handshakes,
        "verdict": decision.verdict.value,
        "registration": registration,
    }


def _end(endpoint: Endpoint, letters: Letters | None) -> dict[str, Any]:
    address = endpoint.address
    name = letters.name(address) if letters else format_address(address)
    return {"address": name, "port": endpoint.port}


def print_line(told: Mapping[str, Any]) -> None:
    """Print a flow as one line of JSON."""
    print(json.dumps(told))


class FlowLines:
    """Rows as they come: the columns cannot wait for the widest cell of all."""

    def __init__(self) -> None:
        self._widths = dict(_COLUMNS)
        self._headed = False

    def print_row(self, told: Mapping[str, Any]) -> None:
        """Print a flow, and below it its explanation, if it has one."""
        if not self._headed:
            self._print(list(_COLUMNS))
            self._headed = True
        self._print(
            [
                told["tunnel"],
                told["transport"],
                _spell(told["initiator"]),
                _spell(told["responder"]),
                told["evidence"],
                str(told["handshakes"]),
                moment(told["first_seen"]),
                told["verdict"],
                told["registration"] or "-",
                plain(told["capture"]),
            ]
        )
        if "explanation" in told:
            from vpngate.cli.printing.explanation import lines

            for line in lines(told["explanation"]):
                print(line)

    def _print(self, cells: Sequence[str]) -> None:
        for column, cell in zip(_COLUMNS, cells, strict=True):
            self._widths[column] = max(self._widths[column], len(cell))
        widths = self._widths.values()
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        print("  ".join(padded).rstrip())


def _spell(end: Mapping[str, Any]) -> str:
    address, port = end["address"], end["port"]
    if not port:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

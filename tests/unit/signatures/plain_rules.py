# SPDX-License-Identifier: GPL-2.0-or-later
"""A signature as rules without a tree: every way to match by itself, in full.

What the decision tree is compared with, packet by packet.
"""

from collections.abc import Iterator

from vpngate.expressions import Rule
from vpngate.signatures import Signature
from vpngate.signatures.nft_conditions import (
    UNFRAGMENTED,
    compare_fields,
    entrance,
    header_conditions,
    length_conditions,
    port_condition,
)


def rules_of(signature: Signature) -> tuple[Rule, ...]:
    """One rule for each way to match; a packet matches if any one of them holds."""
    admitted: tuple[Rule, ...] = ((),) if signature.fragments else UNFRAGMENTED
    return tuple(
        (
            *entrance(signature.transport),
            *whole,
            *ports,
            *header,
            *length,
            *compare_fields(shape.fields, start),
        )
        for whole in admitted
        for ports in _port_conditions(signature)
        for header, start in header_conditions(signature.transport)
        for shape in signature.shapes
        for length in length_conditions(shape)
    )


def _port_conditions(signature: Signature) -> Iterator[Rule]:
    """The conditions of which one has to hold; an empty one for any port."""
    if not signature.ports:
        yield ()
    for ports in signature.port_ranges:
        for end in (0, 1):
            yield port_condition(end, ports)

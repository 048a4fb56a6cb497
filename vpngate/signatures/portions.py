# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures in portions, for libpcap to compile one at a time.

Knows in which order the shapes of signatures are tried; does not know libpcap's
language (`libpcap.py`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vpngate.signatures.declaration import Shape, Signature
from vpngate.signatures.libpcap import reach


def in_portions(
    signatures: Iterable[Signature], most: int
) -> Iterator[tuple[Signature, ...]]:
    """Signatures of one transport as portions of at most so many shapes each.

    The filters of the portions, tried one after the other until one passes a packet or
    runs out of bytes, are together the filter of all: shapes keep the order in which
    `filter_for` tries them. libpcap takes far longer over one long text than over its
    portions.
    """
    ordered = sorted(
        ((shape, signature) for signature in signatures for shape in signature.shapes),
        key=lambda pair: reach(pair[0]),
    )
    for start in range(0, len(ordered), most):
        shapes: dict[Signature, list[Shape]] = {}
        for shape, signature in ordered[start : start + most]:
            shapes.setdefault(signature, []).append(shape)
        yield tuple(
            replace(signature, shapes=tuple(own)) for signature, own in shapes.items()
        )

# SPDX-License-Identifier: GPL-2.0-or-later
"""From the bytes of a registry to a snapshot, with every bad row explained.

Knows which forms a registry comes in and how much of it may be bad; does not know
where the bytes came from, or whether the result may be used (`guard.py`).
"""

import hashlib
from dataclasses import dataclass

from vpngate.errors import InvalidRegistry, Problem
from vpngate.registry import envelope, sheet
from vpngate.registry.compression import decompress, is_compressed
from vpngate.registry.entries import draw_up
from vpngate.registry.envelope import Envelope
from vpngate.registry.intake import Intake
from vpngate.registry.snapshot import Registry

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Limits:
    """What of a registry is taken.

    max_bytes     of content, uncompressed
    max_rejected  share of rows (0 to 1) above which bad rows make the whole unusable;
                  a single one never does
    max_problems  how many are told one by one; all are counted
    grace         seconds for which a registration stands after its end
    """

    max_bytes: int = 512 * 2**20
    max_rejected: float = 0.05
    max_problems: int = 20
    grace: float = 0.0


@dataclass(frozen=True)
class Loaded:
    """A registry and what was wrong with its rows.

    problems  the first of them, one a field
    rejected  how many of the `rows` are not in the registry
    """

    registry: Registry
    problems: tuple[Problem, ...]
    rejected: int
    rows: int


def load(data: bytes, *, limits: Limits, now: float) -> Loaded:
    """Reads a registry: CSV or JSON, gzip or not, told apart by content.

    `now` is remembered as the time of loading. Raises InvalidRegistry for content
    that is no registry or has too many bad rows.
    """
    content = decompress(data, limits.max_bytes) if is_compressed(data) else data
    if len(content) > limits.max_bytes:
        raise _unusable(f"has more than {limits.max_bytes} bytes")
    if content.startswith(_UTF_16):
        raise _unusable("is UTF-16", "save it as UTF-8")
    if content[:64].removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] in (b"{", b"["):
        intake = Intake(envelope.place_of, limits.max_problems)
        frame = envelope.read_envelope(content, intake)
    else:
        intake = Intake(sheet.place_of, limits.max_problems)
        sheet.read_sheet(content, intake)
        frame = Envelope()
    _check_share(intake, limits)
    registry = Registry(
        current=intake.roll(),
        kept=draw_up(),
        grace=limits.grace,
        name=frame.name,
        serial=frame.serial,
        generated=frame.generated,
        expires=frame.expires,
        sentinels=frame.sentinels,
        digest=hashlib.sha256(content).hexdigest(),
        loaded=now,
        unread=intake.unread(),
    )
    return Loaded(registry, tuple(intake.problems), intake.rejected, intake.rows)


def _check_share(intake: Intake, limits: Limits) -> None:
    bad, rows = intake.rejected, intake.rows
    if bad > 1 and bad > limits.max_rejected * rows:
        summary = Problem(
            "registry",
            f"{bad} of {rows} rows are bad, more than {limits.max_rejected:.1%}",
            "mend them, or check that this is the right file",
        )
        raise InvalidRegistry([summary, *intake.problems])


def _unusable(what: str, remedy: str = "") -> InvalidRegistry:
    return InvalidRegistry([Problem("registry", what, remedy)])

# SPDX-License-Identifier: GPL-2.0-or-later
"""From the bytes of a registry to a snapshot, with every bad row explained.

Knows which forms a registry comes in and how much of it may be bad; does not know
where the bytes came from, or whether the result may be used (`guard.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from vpngate.errors import InvalidRegistry, Problem
from vpngate.expansion import look_at_nothing
from vpngate.registry.columns.entries import draw_up
from vpngate.registry.reading import csvtext, envelope
from vpngate.registry.reading.content import Content
from vpngate.registry.reading.envelope import Envelope
from vpngate.registry.reading.row_checks import RowChecks
from vpngate.registry.registry import Registry

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_ROW_BYTES = 256
_LEAST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What of a registry is taken.

    max_rows      more make the whole unusable
    max_bytes     of content, uncompressed; by default what so many rows may take
    max_rejected  share of rows (0 to 1) above which bad rows make the whole unusable;
                  a single one never does
    max_problems  how many are told one by one; all are counted
    grace         seconds for which a registration stands after its end
    """

    max_rows: int = 2_000_000
    max_bytes: int | None = None
    max_rejected: float = 0.05
    max_problems: int = 20
    grace: float = 0.0

    @property
    def content(self) -> int:
        """Bytes of content that are read at most."""
        return size_of_rows(self.max_rows) if self.max_bytes is None else self.max_bytes

    def intake(
        self, place_of: Callable[[int, str], str], look: Callable[[], None]
    ) -> RowChecks:
        """An intake with these limits."""
        return RowChecks(
            place_of, self.max_problems, self.max_rows, self.max_rejected, look
        )


def size_of_rows(rows: int) -> int:
    """Bytes that a registry of so many rows may take: a JSON one with all fields."""
    return max(_LEAST_BYTES, rows * _ROW_BYTES)


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


def load(
    data: bytes,
    *,
    limits: Limits,
    now: float,
    look: Callable[[], None] = look_at_nothing,
) -> Loaded:
    """Reads a registry: CSV or JSON, gzip or not, told apart by content.

    `now` is remembered as the time of loading; `look` is called again and again and
    ends the work by what it raises. Raises InvalidRegistry for content that is no
    registry or has too many bad rows.
    """
    content = Content(data, limits.content, look)
    head = content.head
    if head.startswith(_UTF_16):
        raise _unusable("is UTF-16", "save it as UTF-8")
    if head[:64].removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] in (b"{", b"["):
        intake = limits.intake(envelope.place_of, look)
        frame = envelope.read_envelope(content, intake)
    else:
        intake = limits.intake(csvtext.place_of, look)
        csvtext.read_csv(content, intake)
        frame = Envelope()
    look()
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
        suspend=frame.suspend,
        digest=content.digest,
        loaded=now,
        unread=intake.unread(),
    )
    return Loaded(registry, tuple(intake.problems), intake.rejected, intake.rows)


def _check_share(intake: RowChecks, limits: Limits) -> None:
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

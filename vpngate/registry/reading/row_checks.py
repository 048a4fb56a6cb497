# SPDX-License-Identifier: GPL-2.0-or-later
"""From the fields of one row to a registration, or to the reasons why not.

Knows what each field may hold; does not know how rows lie in a file.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, NoReturn

from vpngate.errors import InvalidRegistry, Problem
from vpngate.expansion import look_at_nothing
from vpngate.prefixes.prefix import Prefix, pack_prefix, parse_prefix
from vpngate.registry.columns.entries import Draft, Roll
from vpngate.registry.columns.terms import Terms
from vpngate.registry.registry import Unread
from vpngate.timekeeping.moments import ALWAYS, NEVER, parse_moment

_REGISTRATION = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TUNNEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
_MAX_TUNNELS = 16
MAX_FIELD = 1024  # characters; the longest sensible one is a tunnel list
_MAX_QUOTED = 256  # characters of a text in a message
_MAX_ENDINGS = 4096
_LOOK_EVERY = 1000  # rejected rows
# White space as Unicode has it, and what is as invisible: zero width space, word
# joiner, byte order mark.
_BLANKS = (
    "".join(character for character in map(chr, range(0x3001)) if character.isspace())
    + "\u200b\u2060\ufeff"
)
# Beyond so many rejected rows nobody is told apart any more: all are held.
_MAX_UNREAD = 100_000


class RowFields(NamedTuple):
    """One row as it was written, white space around each field removed."""

    prefix: str = ""
    registration: str = ""
    tunnels: str = ""
    valid_from: str = ""
    valid_until: str = ""


class RowChecks:
    """Takes rows one by one; keeps the good ones, counts and explains the bad.

    place_of  says where a row stands, from its number and the field at fault
    """

    def __init__(
        self,
        place_of: Callable[[int, str], str],
        max_problems: int,
        max_rows: int = 2_000_000,
        max_rejected: float = 1.0,
        look: Callable[[], None] = look_at_nothing,
    ) -> None:
        """`max_rejected` is a share of `max_rows`: who has more of them is no use.

        `look` is called now and then while rows are rejected, which takes longest.
        """
        self.problems: list[Problem] = []
        self.rows = 0
        self.rejected = 0
        self.max_rows = max_rows
        self._place_of = place_of
        self._max_problems = max_problems
        self._max_rejected = max(1.0, max_rejected * max_rows)
        self._look = look
        self._draft = Draft()
        # What stands behind prefix and registration, already noted: a registry has
        # few such endings in many rows.
        self._endings: dict[tuple[str, ...], bytes] = {}
        self._prefixes: set[Prefix] = set()
        self._registrations: set[str] = set()
        self._anyone = False

    def take(self, number: int, fields: Sequence[str]) -> None:
        """One row: its `RowFields`, of which the last ones may be missing.

        A bad one is remembered for its reasons, and for whom it names.
        """
        self.rows += 1
        if self.rows > self.max_rows:
            self.too_many("rows")
        try:
            prefix, registration, *rest = fields
            ending = self._endings.get(tuple(rest)) or self._note(*rest)
            packed = pack_prefix(prefix)
            if _REGISTRATION.fullmatch(registration):
                self._draft.add(packed, registration, ending)
                return
        except ValueError:
            pass
        self._explain(number, RowFields(*fields))

    def too_many(self, what: str, most: int = 0) -> NoReturn:
        """Raises InvalidRegistry: more of them than `most`, or than rows may be."""
        remedy = "merge neighbouring prefixes, or raise max_rows"
        problem = f"has more than {most or self.max_rows} {what}"
        raise InvalidRegistry([Problem("registry", problem, remedy)])

    def _note(self, tunnels: str = "", since: str = "", until: str = "") -> bytes:
        _check_length(tunnels, since, until)
        begin, end = _parse_validity(since, until)
        if len(self._endings) >= _MAX_ENDINGS:
            self._endings.clear()
        ending = self._draft.note(Terms(parse_tunnels(tunnels), begin, end))
        self._endings[tunnels, since, until] = ending
        return ending

    def refuse(
        self, number: int, reasons: dict[str, str], *about: RowFields | None
    ) -> None:
        """A row that has no five fields to take; `about` all that it may be about."""
        self.rows += 1
        if self.rows > self.max_rows:
            self.too_many("rows")
        self._reject(number, reasons, *about)

    def roll(self) -> Roll:
        """What was taken. The intake is spent with it."""
        return self._draft.roll()

    def unread(self) -> Unread:
        """Whom the rejected rows were about."""
        return Unread(
            frozenset(self._prefixes), frozenset(self._registrations), self._anyone
        )

    def _explain(self, number: int, fields: RowFields) -> None:
        reasons = {}
        for name, text, check in zip(RowFields._fields, fields, _CHECKS, strict=True):
            try:
                _check_length(text)
                check(text)
            except ValueError as error:
                reasons[name] = str(error)
        # Each field may be right by itself, and still:
        if not reasons:
            try:
                name = "valid_until"
                _parse_validity(fields.valid_from, fields.valid_until)
                name = "tunnels"
                self._note(*fields[2:])
            except ValueError as error:
                reasons[name] = str(error)
        self._reject(number, reasons, fields)

    def _reject(
        self, number: int, reasons: dict[str, str], *about: RowFields | None
    ) -> None:
        self.rejected += 1
        if self.rejected % _LOOK_EVERY == 0:
            self._look()
        for name, reason in reasons.items():
            if len(self.problems) < self._max_problems:
                where = self._place_of(number, name)
                self.problems.append(Problem(where, shorten(reason)))
        for each in about:
            self._hold(each)
        if self.rejected > self._max_rejected:
            what = f"has more than {self._max_rejected:.0f} bad rows"
            remedy = "mend them, or check that this is the right file"
            summary = Problem("registry", what, remedy)
            raise InvalidRegistry([summary, *self.problems])

    def _hold(self, about: RowFields | None) -> None:
        about = about or RowFields()
        prefix = _prefix_or_none(about.prefix)
        named = _REGISTRATION.fullmatch(about.registration) is not None
        full = len(self._prefixes) + len(self._registrations) >= _MAX_UNREAD
        if full or not (prefix or named):
            self._anyone = True
            return
        if prefix:
            self._prefixes.add(prefix)
        if named:
            self._registrations.add(about.registration)


def check_registration(text: str) -> None:
    """ValueError unless it is a registration's opaque name."""
    if not _REGISTRATION.fullmatch(text):
        what = f"{text!r} is not" if text else "is missing; write"
        raise ValueError(f"{what} 1 to 64 of A-Z a-z 0-9 . _ -")


@lru_cache(maxsize=4096)  # a registry has few lists in many rows
def parse_tunnels(text: str) -> tuple[str, ...]:
    """Names from `wireguard+openvpn`; any name goes, it is for the reader only."""
    if not text:
        return ()
    names = tuple(bare(name) for name in text.split("+"))
    for name in names:
        if not _TUNNEL.fullmatch(name):
            raise ValueError(f"{name!r} is not a tunnel's name")
    if len(names) > _MAX_TUNNELS:
        raise ValueError(f"more than {_MAX_TUNNELS} tunnels")
    return names


def bare(text: str) -> str:
    """A field without the blanks around it, of whatever kind they are."""
    return text.strip() if text.isascii() else text.strip(_BLANKS)


def shorten(text: str) -> str:
    """A text that may quote an endless field, short enough for one line."""
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."


def _check_length(*fields: str) -> None:
    """ValueError if one is longer than all that can be meant, blanks included."""
    for field in fields:
        if len(field) > MAX_FIELD:
            raise ValueError(f"is longer than {MAX_FIELD} characters")


def _parse_validity(since: str, until: str) -> tuple[float, float]:
    begin = parse_moment(since) if since else ALWAYS
    end = parse_moment(until) if until else NEVER
    if begin >= end:
        raise ValueError(f"{until} is not after valid_from, {since}")
    return begin, end


def _check_moment(text: str) -> None:
    if text:
        parse_moment(text)


def _check_prefix(text: str) -> None:
    if not text:
        raise ValueError("is missing")
    parse_prefix(text)


def _prefix_or_none(text: str) -> Prefix | None:
    try:
        _check_length(text)
        return parse_prefix(text)
    except ValueError:
        return None


_CHECKS: tuple[Callable[[str], object], ...] = (
    _check_prefix,
    check_registration,
    parse_tunnels,
    _check_moment,
    _check_moment,
)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The next publication of a registry, or everything that speaks against it.

Knows what follows from rows, a wish and the publication before: envelope, serial,
signature; and that it is judged as a gateway judges it, by its bytes. Does not know
files, the clock, nor how a publication takes its place (`published_pair.py`).
"""

import gzip
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from vpngate.errors import (
    FeedFault,
    InvalidRegistry,
    Problem,
    RegistryRefused,
)
from vpngate.feed.faults import Reason
from vpngate.feed.minisign import DetachedSignature, verify
from vpngate.plaintext import plain
from vpngate.publishing.secret_key import SecretKey
from vpngate.registry import (
    Accept,
    GuardSettings,
    Limits,
    Loaded,
    Objection,
    Registry,
    objections,
)
from vpngate.registry.reading.envelope import Envelope
from vpngate.registry.writing import write_registry
from vpngate.supply.reading import read
from vpngate.supply.registry_keys import published_size
from vpngate.timekeeping.moments import format_moment

_PACKED = ".gz"


@dataclass(frozen=True, slots=True)
class Wish:
    """What whoever keeps the registry wants to have published.

    file            the name of the file that gateways fetch
    lifetime        seconds from its making to its end
    suspend         why gateways are to observe; empty if they are not
    serial          the least that it may have
    key             who signs it; None if nobody does
    accept          which of the guard's objections a person lets pass
    limits, guard   how much gateways read, and what their guard insists on
    """

    name: str
    file: str
    lifetime: int
    sentinels: tuple[str, ...] = ()
    suspend: str = ""
    serial: int = 1
    key: SecretKey | None = None
    accept: Collection[Accept] = ()
    limits: Limits = field(default_factory=Limits)
    guard: GuardSettings = field(default_factory=GuardSettings)


@dataclass(frozen=True, slots=True)
class Present:
    """The publication before, as it is read now, with its signature if it has one."""

    registry: Registry
    data: bytes
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class Publication:
    """What takes its place.

    key_id     of who signed it; empty if nobody did
    accepted   what gateways will refuse all the same, until somebody there accepts it
    """

    registry: Registry
    data: bytes
    signature: bytes | None
    key_id: str
    accepted: tuple[Objection, ...]


def prepare(rows: Loaded, wish: Wish, present: Present | None, now: int) -> Publication:
    """What is to be published at `now`, in whole seconds since 1970.

    Raises all that speaks against it at once: InvalidRegistry of rows and envelope,
    or RegistryRefused of what gateways would refuse.
    """
    file, key = wish.file, wish.key
    envelope = _envelope(wish, present, now)
    data = b"".join(write_registry(rows.registry.current, envelope))
    if file.endswith(_PACKED):
        data = gzip.compress(data, mtime=0)
    wrong = [*_against_rows(rows), *_against_size(data, wish)]
    try:
        registry = read(data, file, wish.limits, now).registry
    except InvalidRegistry as error:
        raise InvalidRegistry([*wrong, *error.problems]) from None
    last = present.registry if present else None
    against = objections(last, registry, wish.guard, now)
    refused = [each for each in against if each.reason.accept not in wish.accept]
    problems = [
        replace(each.problem, where=f"{file}: {each.problem.where}") for each in refused
    ]
    problems += _against_clock(present, wish, now)
    if wrong:
        raise InvalidRegistry([*wrong, *problems])
    if problems:
        reason = refused[0].reason.value if refused else "signature_older"
        raise RegistryRefused(reason, "\n".join(map(str, problems)))
    signature = key.sign(data, trusted_comment(envelope, file)) if key else None
    accepted = tuple(each for each in against if each not in refused)
    key_id = key.public.key_id if key else ""
    return Publication(registry, data, signature, key_id, accepted)


def trusted_comment(envelope: Envelope, file: str) -> str:
    """What the signature says of its file: one line, fields separated by tabs.

    `timestamp`, `file` and `hashed` as minisign has them.
    """
    fields = (
        f"timestamp:{envelope.generated:.0f}",
        f"file:{plain(file)}",
        f"registry:{envelope.name}",
        f"serial:{envelope.serial}",
        "hashed",
    )
    return "\t".join(fields)


def misfit(present: Present | None, key: SecretKey | None, file: str) -> str:
    """Why the present signature, if it is of this key, does not fit; "" if it does."""
    if present is None or present.signature is None or key is None:
        return ""
    try:
        verify(present.data, present.signature, key.public, file)
    except FeedFault as fault:
        return "" if fault.reason == Reason.SIGNATURE_KEY else str(fault)
    return ""


def _envelope(wish: Wish, present: Present | None, now: int) -> Envelope:
    last = (present and present.registry.serial) or 0
    return Envelope(
        name=wish.name,
        serial=max(wish.serial, last + 1),
        generated=now,
        expires=now + wish.lifetime,
        sentinels=wish.sentinels,
        suspend=wish.suspend,
    )


def _against_rows(rows: Loaded) -> Iterator[Problem]:
    """A gateway leaves a bad row out; who keeps the registry mends it."""
    yield from rows.problems
    if rows.rejected > len(rows.problems):
        yield Problem("registry", f"{rows.rejected} of {rows.rows} rows cannot be used")
    made = rows.registry
    if made.name is not None or made.serial is not None or made.expires is not None:
        what = "has an envelope already, which would be lost"
        yield Problem("registry", what, "give the rows alone, as CSV")


def _against_size(data: bytes, wish: Wish) -> Iterator[Problem]:
    most = published_size(wish.limits.max_rows)
    if len(data) > most:
        what = f"would have {len(data)} bytes, more than the {most} that are fetched"
        yield Problem(wish.file, what, f"publish {wish.file}{_PACKED}")


def _against_clock(present: Present | None, wish: Wish, now: int) -> Iterator[Problem]:
    """A gateway takes no signature that says less than the one that stands."""
    if present is None or wish.key is None or Accept.OLDER in wish.accept:
        return
    before = present.registry.generated or 0.0
    if present.signature is not None:
        with suppress(FeedFault):
            parsed = DetachedSignature.parse(present.signature, wish.file)
            before = max(before, parsed.timestamp or 0)
    if now < before:
        what = f"the one before was made at {format_moment(before)}, later than now"
        remedy = "set the clock; `--accept-older` publishes it, and gateways refuse it"
        yield Problem(wish.file, what, remedy)

# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate publish`: the next publication of a registry, for who keeps it.

Knows the command's options, whom to ask for a password, and what is printed; the
rooms below know what is published, and how it takes its place.
"""

import argparse
import getpass
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vpngate.cli import complain, inputs
from vpngate.cli.printing.networks import counted, named
from vpngate.errors import InvalidRegistry, Problem, UnreadableInput, WrongUse
from vpngate.feed.minisign import MAX_SIGNATURE_BYTES
from vpngate.plaintext import plain
from vpngate.publishing.publication import (
    Present,
    Publication,
    Wish,
    misfit,
    prepare,
)
from vpngate.publishing.published_pair import SIGNATURE_SUFFIX, PublishedPair
from vpngate.publishing.secret_key import MAX_KEY_BYTES, SecretKey, read_secret_key
from vpngate.registry import Accept, compare
from vpngate.supply.reading import read
from vpngate.supply.registry_keys import guard_settings, load_limits
from vpngate.timekeeping.moments import format_moment, parse_moment
from vpngate.units import parse_duration

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

_ACCEPT = {
    Accept.REMOVALS: "it lacks many, is empty, or misses a sentinel",
    Accept.ADDITIONS: "it covers many more addresses",
    Accept.OLDER: "it has another name, or the one before was made later",
}
_LAST_EXPIRY = parse_moment("9999-12-31")


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "publish",
        help="for who keeps a registry: make, sign and replace it",
        description="For who keeps a registry: check its rows as a gateway would, write"
        " the next publication of it, sign it, and replace both files in one step.",
    )
    parser.add_argument("rows", metavar="CSV", help="who is registered")
    parser.add_argument("--name", required=True, help="of the registry")
    parser.add_argument(
        "--expires",
        metavar="DURATION",
        required=True,
        help="from now, like 7d; gateways tell when nothing newer has come by then",
    )
    parser.add_argument(
        "--output", "-o", metavar="FILE", required=True, help="what gateways fetch"
    )
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sentinel",
        metavar="PREFIX",
        action="append",
        default=[],
        help="what a whole registry holds; may be given again",
    )
    parser.add_argument(
        "--suspend", metavar="WHY", help="have gateways that get it observe"
    )
    parser.add_argument("--sign-with", metavar="KEY", help="a secret key of minisign")
    parser.add_argument(
        "--serial",
        metavar="N",
        type=int,
        default=1,
        help="at least this; by default the one after FILE's",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="judge it as gateways with this configuration do",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it would be; change nothing"
    )
    for accept, what in _ACCEPT.items():
        looked = f"a person has looked: {what}"
        parser.add_argument(f"--accept-{accept}", action="store_true", help=looked)


def run(args: argparse.Namespace) -> int:
    """Publish and print what is new; 1 if gateways would refuse it."""
    wish, path = _wish(args), Path(args.output)
    rows = read(inputs.read_bytes(args.rows), args.rows, wish.limits, time.time())
    with PublishedPair.locked(path) as pair:
        present = _present(path, wish)
        if wish.key is None and _signature(path).exists() and not args.dry_run:
            what = "is there, and would not fit any more"
            remedy = "give --sign-with, or remove it first"
            raise WrongUse(Problem(str(_signature(path)), what, remedy))
        if why := misfit(present, wish.key, str(_signature(path))):
            complain(f"warning: until now {why}")
        now = int(time.time())
        publication = prepare(rows, wish, present, now)
        were_links = path.is_symlink()
        if not args.dry_run:
            pair.replace(publication.data, publication.signature)
    print("would publish" if args.dry_run else "published    ", end="  ")
    for line in _summary(path, publication, present, now):
        print(plain(line))
    if path.is_symlink() and not were_links:
        complain(f"{path} and its signature are links: copy them with `rsync -L`")
    for objection in publication.accepted:
        remedy = f"`vpngate reload --accept-{objection.reason.accept}` on each"
        complain(f"gateways refuse it until {remedy}: {objection.problem.what}")
    return 0


def _wish(args: argparse.Namespace) -> Wish:
    """What the options say; what is wrong with them, before a key is unlocked."""
    problems, file = [], Path(args.output).name
    try:
        lifetime = int(parse_duration(args.expires))
    except ValueError as error:
        lifetime = 1
        problems.append(Problem("--expires", str(error)))
    if not 1 <= lifetime <= _LAST_EXPIRY - time.time():
        problems.append(Problem("--expires", "is not from 1s to the year 9999"))
    if not file:
        problems.append(Problem(args.output, "is a folder", "name a file in it"))
    if not args.name.strip():
        problems.append(Problem("--name", "is empty", "name the registry"))
    if args.suspend is not None and not args.suspend.strip():
        problems.append(Problem("--suspend", "is empty", "say why"))
    if args.serial < 1:
        problems.append(Problem("--serial", f"{args.serial} is not 1 or more"))
    if problems:
        raise WrongUse(*problems)
    wish = Wish(
        name=args.name,
        file=file,
        lifetime=lifetime,
        sentinels=tuple(args.sentinel),
        suspend=args.suspend or "",
        serial=args.serial,
        accept=[each for each in Accept if getattr(args, f"accept_{each}")],
    )
    if args.config is not None:
        section = inputs.read_config(args.config).registry
        limits, guard = load_limits(section), guard_settings(section)
        wish = replace(wish, limits=limits, guard=guard)
    if args.sign_with is not None:
        wish = replace(wish, key=_key(args.sign_with))
    return wish


def _key(path: str) -> SecretKey:
    try:
        text = inputs.read_bytes(path, MAX_KEY_BYTES).decode()
    except UnicodeDecodeError:
        raise UnreadableInput(Problem(path, "is not a text")) from None
    return read_secret_key(text, path, lambda: _password(path))


def _password(path: str) -> str:
    """Asked for on the terminal, whatever the streams are."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        what = "has a password, and there is no terminal to ask for it"
        raise UnreadableInput(Problem(path, what, "call it from one")) from None
    try:
        return getpass.getpass(f"Password of {plain(path)}: ")
    except EOFError:
        raise UnreadableInput(Problem(path, "has a password")) from None


def _present(path: Path, wish: Wish) -> Present | None:
    """What is published now; None if nothing is."""
    if not path.exists():
        return None
    data = inputs.read_bytes(str(path))
    try:
        loaded = read(data, str(path), wish.limits, time.time())
    except InvalidRegistry as error:
        what = "so its serial is not known"
        remedy = "move it away with its signature, and give --serial"
        last = Problem(str(path), what, remedy)
        raise InvalidRegistry([*error.problems, last]) from None
    inputs.name_rejected(loaded, str(path))
    signed = None
    if _signature(path).exists():
        signed = inputs.read_bytes(str(_signature(path)), MAX_SIGNATURE_BYTES)
    return Present(loaded.registry, data, signed)


def _signature(path: Path) -> Path:
    return path.with_name(path.name + SIGNATURE_SUFFIX)


def _summary(
    path: Path,
    publication: Publication,
    present: Present | None,
    now: int,
) -> Iterator[str]:
    registry = publication.registry
    counts = ", ".join(f"{n} {f.label}" for f, n in registry.prefixes.items())
    whole = f"{len(registry)} registrations ({counts})"
    yield f"{path}: serial {registry.serial}, {whole}"
    if registry.expires is not None:
        yield f"expires        {format_moment(registry.expires)}"
    if publication.key_id:
        yield f"signed         by key {publication.key_id}: {_signature(path)}"
    if registry.suspend:
        yield f"suspends       gateways observe: {registry.suspend}"
    if present is None:
        return
    found = compare(present.registry, registry, now)
    yield (
        f"since last     {len(found.added)} added, {len(found.removed)} removed,"
        f" {len(found.changed)} changed"
    )
    for what, these in (("more", found.gained), ("fewer", found.lost)):
        if names := named(these):
            yield f"{what:<14} {counted(these.addresses)}: {names}"

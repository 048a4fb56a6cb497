# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate lookup`: whether an address is registered, by which registration.

Knows how an answer is printed; the registry knows the answer, and `whose_registry.py`
whose it is.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vpngate.cli import complain, options
from vpngate.cli.printing.tables import show_table
from vpngate.cli.whose_registry import add_sources, of_daemon, of_files, whose_daemon
from vpngate.errors import Problem, WrongUse
from vpngate.registry import MOST, RegistryQuestion, answer, questions

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

# At once, by a daemon: `daemon/answers/questions_asked.py`.
_MOST_ASKED, _MOST_TOLD = 100, 2000
_HEADING = ("ASKED", "REGISTERED", "REGISTRATION", "PREFIX", "TUNNELS", "UNTIL")


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser("lookup", help="whether an address is registered")
    parser.add_argument("asked", metavar="ADDRESS|PREFIX|ID", nargs="+")
    add_sources(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print an answer to each question; 1 if one of them is not registered."""
    try:
        asked = list(questions(args.asked))
    except ValueError as error:
        raise WrongUse(Problem("lookup", str(error))) from None
    found = _of_daemon(args, asked)
    if found is not None:
        suspend, answers = found
        whose = whose_daemon(args)
    else:
        files = of_files(args)
        suspend, whose = files.registry.suspend, files.whose
        known = files.registry, files.now, files.protected
        answers = [answer(known[0], each, *known[1:]) for each in asked]
    if suspend:
        complain(f"the registry has gateways observe: {suspend}")
    if args.format == "json":
        for each in answers:
            options.show("json", {**each, "answered_by": whose}, list)
    else:
        show_table(_HEADING, [row for each in answers for row in _rows(each)])
        if args.config is None and args.registry is None:
            options.show("table", None, lambda: [f"answered by {whose}"])
    return 0 if all(each["registered"] for each in answers) else 1


def _of_daemon(
    args: argparse.Namespace, asked: Sequence[RegistryQuestion]
) -> tuple[str, list[dict[str, Any]]] | None:
    """Why it observes, if its registry says so, and its answers; None as `of_daemon`.

    It is asked in portions: so much that it tells everything that files would.
    """
    suspend, answers = "", []
    for portion in _portions(args.asked, asked):
        found = of_daemon(args, "lookup", {"asked": portion})
        if found is None:
            return None
        suspend = found["suspend"]
        answers += found["answers"]
    return suspend, answers


def _portions(
    texts: Sequence[str], asked: Sequence[RegistryQuestion]
) -> Iterator[list[str]]:
    portion: list[str] = []
    rows = 0
    for text, each in zip(texts, asked, strict=True):
        more = 1 if each.address is not None else MOST
        if len(portion) == _MOST_ASKED or rows + more > _MOST_TOLD:
            yield portion
            portion, rows = [], 0
        portion.append(text)
        rows += more
    yield portion


def _rows(found: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """The rows of one answer: a row a registration, at least one."""
    if "address" in found:
        yield _row(found["address"], _word(found), found)
        return
    asked = found.get("prefix") or found["id"]
    word = {"part": "in part"}.get(found.get("covered", ""), _word(found))
    for each in found["registrations"]:
        yield _row(asked, word, each)
    if found["more"]:
        yield (asked, word, f"and {found['more']} more", "", "", "")
    if not found["registrations"]:
        yield (asked, word, "", "", "", "")


def _word(found: Mapping[str, Any]) -> str:
    word = "yes" if found["registered"] else "no"
    protected = found.get("protected")
    if protected == "part":
        return f"{word}, protected in part"
    return f"{word}, protected" if protected in {True, "all"} else word


def _row(asked: str, word: str, each: Mapping[str, Any]) -> Sequence[str]:
    until = each["valid_until"] or ("-" if each["registration"] else "")
    state = each.get("state") or ("in grace" if each["in_grace"] else "in force")
    if state == "in grace":
        until = f"{each['stands_until']} (in grace)"
    elif state == "not yet":
        until = f"{until} (from {each['valid_from']})"
    elif state == "ended":
        until = f"{until} (ended)"
    registration, prefix = each["registration"] or "", each["prefix"] or ""
    return (asked, word, registration, prefix, "+".join(each["tunnels"] or ()), until)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose registry answers a question: the running daemon's, or what files have.

Knows the order (a running daemon first, unless files were named), and how it is said
whose answer it is; does not know the questions.
"""

import argparse
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vpngate.cli import complain, options
from vpngate.daemon.outside.client import request
from vpngate.errors import DaemonBusy, DaemonUnreachable, WrongUse

if TYPE_CHECKING:
    from vpngate.prefixes.intervals import Intervals
    from vpngate.registry import Registry

PATIENCE = 60.0  # seconds: a million registrations take a moment
_OLDER = "no such verb"


class OfFiles(NamedTuple):
    """A registry as it is on disk, whom the configuration protects, and at what time.

    protected  None where a registry alone was named
    """

    registry: "Registry"
    protected: "Intervals | None"
    now: float
    whose: str


def add_sources(parser: argparse.ArgumentParser) -> None:
    """`--config FILE`, `--registry FILE`, `--socket PATH`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config",
        metavar="FILE",
        help="what this configuration names, whatever a daemon has in force "
        f"(default: ask the running daemon; where none is, {options.CONFIG_PATH})",
    )
    where.add_argument(
        "--registry", metavar="FILE", help="a registry, instead of the configured one"
    )
    options.add_socket(parser)


def of_daemon(
    args: argparse.Namespace, verb: str, arguments: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The running daemon's answer; None if files were named, or none can answer."""
    if args.config is not None or args.registry is not None:
        return None
    try:
        found: dict[str, Any] = request(args.socket, verb, arguments, timeout=PATIENCE)
    except DaemonUnreachable as error:
        if isinstance(error, DaemonBusy):
            raise
        complain(*(f"{line}; looking in its files" for line in error.lines))
        return None
    except WrongUse as error:
        if not any(_OLDER in line for line in error.lines):
            raise
        complain("the running daemon is an older one; looking in its files")
        return None
    return found


def whose_daemon(args: argparse.Namespace) -> str:
    """Whose an answer of a daemon's is."""
    return f"the running daemon ({args.socket})"


def of_files(args: argparse.Namespace) -> OfFiles:
    """What the files have; InvalidConfig, UnreadableInput and the like if none do."""
    from vpngate.cli import inputs
    from vpngate.cli.printing.progress import Progress
    from vpngate.prefixes.intervals import Intervals
    from vpngate.supply.reading import insist

    now, progress = time.time(), Progress()
    if args.registry is not None:
        with progress.watch(f"reading {args.registry}", lambda: None):
            loaded = inputs.read_registry(args.registry, now)
        registry = insist(loaded.registry, args.registry, now)
        return OfFiles(registry, None, now, args.registry)
    path = args.config or options.CONFIG_PATH
    config = inputs.read_config(path)
    with progress.watch("reading the registry", lambda: None):
        registry, fault = inputs.standing(config, path, now)
    if fault is not None:
        complain(*(f"warning: {line}; not looked at" for line in fault.lines))
    protected = Intervals.of_prefixes(map(str, config.protect.prefixes))
    return OfFiles(registry, protected, now, f"the files of {path}")

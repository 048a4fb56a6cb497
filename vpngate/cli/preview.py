# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate preview`: what acting would do to the flows that are up now.

Knows how another registry or configuration is read here, where its files may be read,
and handed to the daemon, and how the answer is printed; the daemon knows the flows.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vpngate.cli import options
from vpngate.cli.printing.named_rows import show_rows
from vpngate.cli.printing.tables import show_table
from vpngate.daemon.outside.client import request

if TYPE_CHECKING:
    from vpngate.cli import Subparsers
    from vpngate.prefixes.intervals import Intervals
    from vpngate.registry import Registry

PATIENCE = 300.0  # seconds: a million flows take their time
_COLUMNS = {
    "up": "UP",
    "slowed_before": "SLOWED BEFORE",
    "would_be_slowed": "WOULD BE SLOWED",
    "left_alone": "LEFT ALONE",
    "newly_slowed": "NEWLY",
    "no_longer_slowed": "NO LONGER",
    "subscribers_newly_slowed": "SUBSCRIBERS NEWLY",
    "subscribers_no_longer_slowed": "SUBSCRIBERS NO LONGER",
}


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "preview", help="what acting would do to the flows that are up now"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--registry", metavar="FILE", help="by this registry, instead of the one there"
    )
    instead.add_argument(
        "--config", metavar="FILE", help="by this configuration and its registry"
    )
    parser.add_argument(
        "--share",
        metavar="PERCENT",
        type=int,
        help="acting on so many of the subscribers (default: as in force)",
    )
    options.add_socket(parser)
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print what would come of it; 1 if the daemon refuses to say."""
    files, arguments = [], {"share": args.share}
    if args.registry is not None:
        files.append(_of_registry(args.registry))
        arguments["registry"] = True
    elif args.config is not None:
        files += _of_config(args.config)
        arguments |= {"registry": True, "config": True}
    found = request(args.socket, "preview", arguments, timeout=PATIENCE, files=files)
    if args.format == "json":
        options.show("json", found, list)
    else:
        _show(found)
    return 0


def _of_registry(path: str) -> bytes:
    """Whom the registry in a file spares, once it is taken."""
    from vpngate.cli import inputs
    from vpngate.supply.reading import insist

    now = time.time()
    loaded = inputs.read_registry(path, now)
    return _packed(insist(loaded.registry, path, now), now)


def _of_config(path: str) -> list[bytes]:
    """The same of a configuration's registry; and the configuration."""
    from vpngate.cli import inputs
    from vpngate.cli.standing import configured

    now = time.time()
    text = inputs.read_bytes(path, inputs.LARGEST_TEXT)
    registry = configured(path, now).registry
    return [_packed(registry, now), text]


def _packed(registry: "Registry", now: float) -> bytes:
    from vpngate.prefixes.packed import pack

    spared: Intervals = registry.covered(now)
    return pack(spared)


def _show(found: Mapping[str, Any]) -> None:
    """The answer for people: a table of the tunnels, then what else is told."""
    heading, *tunnels = _table(found["tunnels"], found.get("told", {}))
    show_table(heading, tunnels)
    shown = {"share": f"{found['share']} %", "compared_with": found["compared_with"]}
    for name in ("subscribers", "registered_touched", "traffic"):
        if name in found:
            shown[name] = found[name]
    show_rows(shown)
    options.show("table", None, lambda: (f"note: {note}" for note in found["notes"]))


def _table(
    tunnels: Mapping[str, Mapping[str, Any]], told: Mapping[str, Any]
) -> Iterator[tuple[str, ...]]:
    columns = list(next(iter(tunnels.values()), {"up": 0}))
    yield ("TUNNEL", *(_COLUMNS[name] for name in columns))
    for tunnel, numbers in tunnels.items():
        yield (tunnel, *(_number(name, numbers[name], told) for name in columns))
    if not tunnels:
        yield ("none", "0")


def _number(name: str, value: int | None, told: Mapping[str, Any]) -> str:
    """A number, or about how many where it is told no closer."""
    if value is None:
        return f"fewer than {told.get('fewer_than')}"
    return f"about {value}" if name.startswith("subscribers") else str(value)

# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate lookup`: whether an address is registered, by which registration.

Knows how an answer is printed; the registry knows the answer.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netaddr import IPAddress

from vpngate.cli import complain, inputs, options
from vpngate.cli.printing.tables import aligned
from vpngate.errors import Problem, WrongUse
from vpngate.packets import format_address, parse_address
from vpngate.registry import Registry
from vpngate.supply.reading import insist
from vpngate.timekeeping.moments import format_moment

if TYPE_CHECKING:
    from vpngate.cli import Subparsers

_IPV6 = 6
_HEADING = ("ADDRESS", "REGISTERED", "REGISTRATION", "PREFIX", "TUNNELS", "UNTIL")


def add_parser(commands: "Subparsers") -> None:
    """Declare the command."""
    parser = commands.add_parser("lookup", help="whether an address is registered")
    parser.add_argument("addresses", metavar="ADDRESS", nargs="+")
    where = parser.add_mutually_exclusive_group()
    options.add_config(where)
    where.add_argument(
        "--registry", metavar="FILE", help="a registry, instead of the configured one"
    )
    options.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print an answer for each address; 1 if one of them is not registered."""
    addresses = [_address(text) for text in args.addresses]
    now = time.time()
    if args.registry is not None:
        loaded = inputs.read_registry(args.registry, now)
        registry = insist(loaded.registry, args.registry, now)
    else:
        config = inputs.read_config(args.config)
        registry, fault = inputs.standing(config, args.config, now)
        if fault is not None:
            complain(*(f"warning: {line}; not looked at" for line in fault.lines))
    if registry.suspend:
        complain(f"the registry has gateways observe: {registry.suspend}")
    answers = [answer(registry, address, now) for address in addresses]
    if args.format == "json":
        for each in answers:
            options.show("json", each, list)
    else:
        options.show("table", None, lambda: _table(answers))
    return 0 if all(each["registered"] for each in answers) else 1


def answer(registry: Registry, address: bytes, now: float) -> dict[str, Any]:
    """What the registry says of an address at a moment; None where it says nothing."""
    found = registry.lookup(address, now)
    return {
        "address": format_address(address),
        "registered": found is not None,
        "registration": found and found.id,
        "prefix": found and found.prefix,
        "tunnels": list(found.tunnels) if found else None,
        "valid_from": found and _moment(found.valid_from),
        "valid_until": found and _moment(found.valid_until),
        "in_grace": found and found.in_grace,
        "stands_until": found and _moment(found.stands_until),
    }


def _table(answers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [_HEADING]
    for each in answers:
        until = each["valid_until"] or ("-" if each["registered"] else "")
        if each["in_grace"]:
            until = f"{each['stands_until']} (in grace)"
        rows.append(
            (
                each["address"],
                "yes" if each["registered"] else "no",
                each["registration"] or "",
                each["prefix"] or "",
                "+".join(each["tunnels"] or ()),
                until,
            )
        )
    yield from aligned(rows)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else format_moment(seconds)


def _address(text: str) -> bytes:
    try:
        packed = parse_address(text)
    except ValueError:
        raise WrongUse(Problem(text, "is not an IPv4 or IPv6 address")) from None
    address = IPAddress(format_address(packed))
    # RFC 4291, 2.5.5.2: that is the IPv4 address.
    mapped = address.version == _IPV6 and address.is_ipv4_mapped()
    return bytes(address.ipv4().packed if mapped else packed)

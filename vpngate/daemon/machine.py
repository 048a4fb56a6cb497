# SPDX-License-Identifier: GPL-2.0-or-later
"""What the configuration's interfaces are on this machine, now.

Knows globs, and which interfaces must not be matched together; does not know how
the kernel lists them. Blocking, but brief.
"""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from vpngate.config import Config
from vpngate.daemon.snapshot import Machine
from vpngate.errors import MissingInterface, Problem, Refused
from vpngate.kernel.addresses import current_addresses
from vpngate.kernel.links import Link, current_links
from vpngate.kernel.shaper import ifb_name

_GLOB = frozenset("*?[")
_LOOPBACK = 772  # ARPHRD_LOOPBACK: nobody subscribes there, whatever a glob says


def look(config: Config) -> Machine:
    """The machine as it is; Refused if two matched interfaces stand on each other."""
    links = current_links()
    names = matched(config, links)
    _refuse_stacked(links, names)
    return Machine(names, current_addresses())


def insist(config: Config, machine: Machine, known: Collection[str] = ()) -> None:
    """MissingInterface for names, not globs, that do not exist.

    For names that are new in a configuration, where it is most likely a slip of the
    pen; those `known` before come and go. Who expects one later writes a glob.
    """
    absent = [
        Problem(
            f"gateway.interfaces: {name}",
            "no such interface",
            "see `ip link`; write a glob for one that comes later",
        )
        for name in config.gateway.interfaces
        if not is_glob(name) and name not in machine.interfaces and name not in known
    ]
    if absent:
        raise MissingInterface(*absent)


def is_glob(name: str) -> bool:
    """Whether an entry of `gateway.interfaces` is a pattern, of which none may be."""
    return bool(_GLOB & set(name))


def matched(config: Config, links: Mapping[str, Link]) -> tuple[str, ...]:
    """The interfaces, of those there are, that the configuration means."""
    ours = ifb_name(config.gateway.table)
    return tuple(
        sorted(
            name
            for name, link in links.items()
            if name != ours
            and link.hardware != _LOOPBACK
            and any(fnmatchcase(name, glob) for glob in config.gateway.interfaces)
        )
    )


def stacked(
    links: Mapping[str, Link], interfaces: Collection[str]
) -> list[tuple[str, str]]:
    """Pairs of which the first stands on the second: a packet would pass both."""
    names = {links[name].index: name for name in interfaces}
    return [
        (upper, lower)
        for name in interfaces
        for link in [links[name]]
        for upper, lower in [
            (name, names.get(link.parent)),
            (names.get(link.master), name),
        ]
        if upper and lower
    ]


def _refuse_stacked(links: Mapping[str, Link], interfaces: Collection[str]) -> None:
    if pairs := stacked(links, interfaces):
        raise Refused(
            *(
                Problem(
                    f"gateway.interfaces: {upper} and {lower}",
                    f"{upper} stands on {lower}: its traffic would be shaped twice",
                    "name only one of them",
                )
                for upper, lower in pairs
            )
        )

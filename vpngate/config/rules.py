# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys that are sound by themselves and still contradict each other.

Knows the combinations that are refused, as a table; does not know how a single
value is checked (`sections.py`) or how a problem is reported (`parsing.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from vpngate.config.sections import (
    CaptureSource,
    Config,
    Confirm,
    Mode,
    ReversePath,
    Side,
)
from vpngate.errors import Problem


@dataclass(frozen=True)
class KeyRule:
    """Keys that contradict each other, or one that says too much.

    `keys` are what it reads (checked only while each of them is sound by itself);
    the first one is where the problem is reported.
    """

    keys: tuple[str, ...]
    broken: Callable[[Config], bool]
    what: str
    remedy: str


def _unsigned_https(config: Config) -> bool:
    remote = any(source.startswith("https://") for source in config.registry.sources)
    return remote and not (config.registry.public_key or config.registry.allow_unsigned)


# The shortest prefix of proxies, by version: who is one of them may pass for anybody.
_WIDEST = MappingProxyType({4: 24, 6: 64})


def _trusts_strangers(config: Config) -> bool:
    proxies = config.http.trusted_proxies
    return any(each.prefixlen < _WIDEST[each.version] for each in proxies)


RULES = (
    KeyRule(
        ("gateway.mode", "capture.source"),
        lambda c: (
            (c.gateway.mode, c.capture.source) == (Mode.ENFORCE, CaptureSource.MIRROR)
        ),
        "a mirror port sees copies, so there is nothing to enforce on",
        'set mode = "observe", or capture.source = "nflog"',
    ),
    KeyRule(
        ("gateway.mode", "gateway.side", "gateway.nat"),
        lambda c: (
            (c.gateway.mode, c.gateway.side) == (Mode.ENFORCE, Side.UPLINK)
            and c.gateway.nat is not False
        ),
        "behind address translation all subscribers look like one on the uplink",
        "attach to the subscriber side, or state nat = false if nothing is translated",
    ),
    KeyRule(
        ("tunnels.confirm", "gateway.reverse_path"),
        lambda c: (
            (c.tunnels.confirm, c.gateway.reverse_path)
            == (Confirm.ONE_WAY, ReversePath.HOOKS)
        ),
        "one packet is believed only where the route back to its source is checked",
        'set confirm = "both-ways", or gateway.reverse_path = "strict"',
    ),
    KeyRule(
        ("tunnels.confirm", "gateway.side"),
        lambda c: (c.tunnels.confirm, c.gateway.side) == (Confirm.ONE_WAY, Side.UPLINK),
        "one packet from the uplink may have been sent by anybody",
        'set confirm = "both-ways", or attach to the subscriber side',
    ),
    KeyRule(
        ("http.metrics_listen", "http.listen"),
        lambda c: c.http.metrics_listen == c.http.listen,
        "is where the pages for everybody are, too",
        "choose another port, or leave it empty for the same",
    ),
    KeyRule(
        ("http.trusted_proxies",),
        _trusts_strangers,
        "trusts more than proxies: each of them may pass for anybody",
        "name single addresses, or nothing wider than a /24 (IPv6: a /64)",
    ),
    KeyRule(
        ("registry.public_key", "registry.sources", "registry.allow_unsigned"),
        _unsigned_https,
        "an https source has to be signed",
        "give the minisign public key, or state allow_unsigned = true",
    ),
    KeyRule(
        ("registry.allow_unsigned", "registry.public_key"),
        lambda c: bool(c.registry.allow_unsigned and c.registry.public_key),
        "contradicts public_key, which is always checked where it is given",
        "remove one of the two",
    ),
)


def objections(config: Config) -> tuple[Problem, ...]:
    """Why nobody can be slowed by a configuration, whatever its own mode."""
    told = config.gateway.model_copy(update={"mode": Mode.ENFORCE})
    enforcing = config.model_copy(update={"gateway": told})
    return tuple(
        Problem(rule.keys[1], rule.what, rule.remedy)
        for rule in RULES
        if "gateway.mode" in rule.keys and rule.broken(enforcing)
    )

# SPDX-License-Identifier: GPL-2.0-or-later
"""What the table's sets, counters and chains are called.

Knows the names that operators read in `nft list table`, and which name stands for
which direction, transport and family; does not know what is in them.
"""

import re

from vpngate.packets import Direction, Family, HookPoint, Transport

ARMED = "armed"
REVERSE_PATH = "reverse_path"  # a chain
REVERSE_PATH_FAILED = "reverse_path_failed"  # its counter
HELD_BACK_BY_ADDRESS = "held_back_by_address"  # counters of what is not copied
HELD_BACK_BY_SIGNATURE = "held_back_by_signature"
HELD_BACK = (HELD_BACK_BY_ADDRESS, HELD_BACK_BY_SIGNATURE)
MOST_DEVICES = 255  # of a base chain: the kernel's NFT_NETDEVICE_MAX, less one
_SPARED, _SAMPLED, _LIMITED = "spared_", "sampled_", "limited_"
_PARTS = "parts_"
# Chains, by what is asked for.
_REGISTERED = ("registered_", "not_sampled_", "witnessed_")
_GENERATION = re.compile(
    r"(?:spared_|(?:parts_)?(?:registered_|not_sampled_|witnessed_))"
    r"ipv[46]_([0-9]+)(?:_[0-9]+)?"
)
SETTLING = "settling"  # a set
_WITNESS = "witness_"


def verdict_map(direction: Direction, family: Family, transport: Transport) -> str:
    """The map from flows of that kind to HTB classes."""
    return f"{direction}_{transport.label}_{family.label}"


def flows(point: HookPoint, transport: Transport, family: Family) -> str:
    """The chain that looks for a verdict, and behind it for handshakes."""
    return f"{base(point)}_{transport.label}_{family.label}"


def of_family(point: HookPoint, family: Family) -> str:
    """The chain that tells the transports of a family apart."""
    return f"{base(point)}_{family.label}"


def throttle(direction: Direction, family: Family) -> str:
    """The chain of packets that have a verdict."""
    return f"throttle_{direction}_{family.label}"


def throttled_counter(direction: Direction) -> str:
    """The counter of packets on their way to the ifb."""
    return f"throttled_{direction}"


def traffic_counter(direction: Direction) -> str:
    """The counter of all packets at that direction's hook."""
    return f"traffic_{direction}"


def spared_counter(family: Family) -> str:
    """The counter of packets that had a verdict and were left alone all the same."""
    return f"spared_{family.label}"


def witness(family: Family) -> str:
    """The chain that looks at packets where throttled ones wait; and its counter."""
    return f"{_WITNESS}{family.label}"


def witness_found(family: Family) -> str:
    """The chain of a packet that should not be there."""
    return f"{_WITNESS}found_{family.label}"


def witness_base(number: int) -> str:
    """The chain that stands at the egress hook of the ifb of that number."""
    return f"{_WITNESS}ifb_{number}"


def is_lasting(name: str) -> bool:
    """Whether that is a chain that stays whatever the rules of the others are."""
    return name.startswith(_WITNESS) or is_registered(name)


def waiting_set(family: Family) -> str:
    """The set of a few address pairs whose packets have just gone to an ifb."""
    return f"waiting_{family.label}"


def spared_set(family: Family, generation: int, part: int = 0) -> str:
    """The set of registered addresses: they are never throttled.

    Large changes fill sets of the next generation before rules ask them. Where there
    are many addresses, each set has a part of them, counted from 1.
    """
    return f"{_SPARED}{family.label}_{generation}" + (f"_{part}" if part else "")


def parts_map(chain: str, generation: int) -> str:
    """The map that leads from a chain's addresses to the chains of their parts."""
    return f"{_PARTS}{chain}_{generation}"


def part(chain: str, generation: int, number: int) -> str:
    """The chain that does for one part what another does for all."""
    return f"{chain}_{generation}_{number}"


def generation_of(name: str) -> int | None:
    """The generation of a set or chain that asks registered addresses, if it is one."""
    found = _GENERATION.fullmatch(name)
    return int(found[1]) if found else None


def is_registered(name: str) -> bool:
    """Whether that is a chain that asks whether addresses are registered."""
    return name.startswith(_REGISTERED)


def protected_set(family: Family) -> str:
    """The small set of addresses that are never throttled, whatever is registered."""
    return f"protected_{family.label}"


def watched_set(family: Family) -> str:
    """Those of them that have been protected for a while: what the witness asks."""
    return f"watched_{family.label}"


def base(point: HookPoint, number: int = 1) -> str:
    """The chain that stands at that hook; the second is `ingress_2`."""
    name = point.name.lower()
    return name if number == 1 else f"{name}_{number}"


def is_base(name: str) -> bool:
    """Whether that is a chain that stands at a hook, whichever its number."""
    first, _, number = name.partition("_")
    at_hook = first in {base(point) for point in HookPoint}
    return at_hook and (not number or number.isdecimal()) and not name.endswith("_")


def trial(point: HookPoint) -> str:
    """The chain, without rules, that shows whether interfaces can be hooked."""
    return f"{base(point)}_trial"


def transport_candidates(point: HookPoint, transport: Transport) -> str:
    """The chain that compares packets of that transport with its signatures."""
    return f"{base(point)}_{transport.label}"


def whole(point: HookPoint, signature: str) -> str:
    """The chain that lets whole packets of that signature go on, and no fragments."""
    return f"{base(point)}_whole_{signature}"


def copies(point: HookPoint, signature: str) -> str:
    """The chain that hands packets of that signature to user space."""
    return f"{base(point)}_copy_{signature}"


def sample(point: HookPoint, signature: str) -> str:
    """The chain that hands a few of that signature's packets to user space."""
    return f"{base(point)}_sample_{signature}"


def address_share(point: HookPoint) -> str:
    """The chain that looks whether an address has had its share of the copies."""
    return f"{base(point)}_address_share"


def address_set(point: HookPoint, end: str, family: Family) -> str:
    """The set that limits copies per address at that end of a packet."""
    return f"{_LIMITED}{base(point)}_{end}_{family.label}"


def sampled_set(signature: str, family: Family) -> str:
    """The set that limits that signature's copies per pair of addresses."""
    return f"{_SAMPLED}{signature}_{family.label}"


def is_sampled_set(name: str) -> bool:
    """Whether that is a set that limits copies: it comes and goes with the rules."""
    return name.startswith((_SAMPLED, _LIMITED))

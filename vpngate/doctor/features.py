# SPDX-License-Identifier: GPL-2.0-or-later
"""What each feature of the kernel is for, and what its absence means.

Knows features as a table of need, cost and remedy, and what was found when they were
tried; does not know how they are tried.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from vpngate.config import Plane
from vpngate.doctor.findings import Finding, Weight
from vpngate.kernel.survey.passage import Passage
from vpngate.kernel.survey.trial import Attempt, Feature
from vpngate.packets import Direction

# nftables has had the egress hook since 5.16. Before 6.12 a verdict that is refreshed
# forgets its own idle time, and gets the longest there is.
OLDEST, KEEPS_IDLE_TIMES = (5, 16), (6, 12)
# Programs set a packet's time of departure since the first. Since the other they stand
# at hooks by links, which end with the daemon.
OLDEST_FOR_PROGRAMS, HAS_LINKS = (5, 18), (6, 6)
_BY_FILTERS = (
    "each packet costs half as much again, and the queue of an interface loses what is"
    " in it, as the daemon starts and as it stops"
)


class Need(Enum):
    """What vpngate cannot do without a feature."""

    ALL = Weight.MISSING, "nothing is recognised, nothing is slowed"
    ENFORCING = Weight.MISSING, "vpngate can observe, and slow nothing"
    COMFORT = Weight.COST, ""

    @property
    def weight(self) -> Weight:
        """How bad its absence is."""
        return self.value[0]

    @property
    def cost(self) -> str:
        """What its absence costs, unless the feature has its own words for that."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Known:
    """What a feature is for, its absence's cost, its module or CONFIG_ option."""

    need: Need
    source: str
    cost: str = ""


FEATURES: Mapping[Feature, Known] = {
    Feature.NFTABLES: Known(Need.ALL, "nf_tables, with CONFIG_NF_TABLES_NETDEV"),
    Feature.OWNER: Known(Need.ALL, "nf_tables of Linux 5.12 or later"),
    Feature.INGRESS: Known(
        Need.ALL, "nf_tables, with CONFIG_NF_TABLES_NETDEV and CONFIG_NETFILTER_INGRESS"
    ),
    Feature.EGRESS: Known(
        Need.ALL, "nf_tables of Linux 5.16 or later, with CONFIG_NETFILTER_EGRESS"
    ),
    Feature.FORWARD: Known(Need.ENFORCING, "nft_fwd_netdev"),
    Feature.FORWARD_OUT: Known(Need.ENFORCING, "nft_fwd_netdev of Linux 5.17 or later"),
    Feature.COPY: Known(Need.ALL, "nft_log and nfnetlink_log"),
    Feature.REVERSE_PATH: Known(
        Need.ALL,
        "nft_fib_netdev, with CONFIG_NFT_FIB_NETDEV",
        'nothing is recognised, but with gateway.reverse_path = "hooks"',
    ),
    Feature.INTERVALS: Known(Need.ALL, "nf_tables"),
    Feature.TIMEOUTS: Known(Need.ALL, "nf_tables"),
    Feature.DYNAMIC: Known(Need.ALL, "nf_tables, with nft_limit"),
    Feature.IFB: Known(Need.ENFORCING, "ifb"),
    Feature.HTB: Known(Need.ENFORCING, "sch_htb"),
    Feature.TBF: Known(Need.ENFORCING, "sch_tbf"),
    Feature.FQ_CODEL: Known(
        Need.COMFORT,
        "sch_fq_codel",
        "within a slowed subscriber's queue one flow can fill the place of the others",
    ),
    Feature.PROGRAMS: Known(Need.ALL, "CONFIG_BPF_SYSCALL, and CAP_BPF, CAP_PERFMON"),
    Feature.CLSACT: Known(Need.ALL, "sch_ingress and cls_bpf"),
    Feature.TCX: Known(
        Need.COMFORT, "Linux 6.6 or later, with CONFIG_NET_XGRESS", _BY_FILTERS
    ),
    Feature.PAIR: Known(Need.ENFORCING, "veth, and programs of Linux 5.18 or later"),
}


def judge_release(release: str, plane: Plane = Plane.NFTABLES) -> Finding:
    """What the kernel's version alone says."""
    where = f"kernel {release}"
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None:
        return Finding(Weight.UNKNOWN, where, "is no version that can be compared")
    version = (int(numbers[1]), int(numbers[2]))
    if plane is Plane.EBPF:
        return _of_programs(where, version)
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return Finding(
            Weight.MISSING,
            where,
            f"is older than {oldest}, the oldest with nftables at egress",
            Need.ALL.cost,
            "install a newer kernel",
        )
    if version < KEEPS_IDLE_TIMES:
        return Finding(
            Weight.COST,
            where,
            "forgets a verdict's own idle time when it is refreshed",
            "idle verdicts end after 10 minutes instead of 3 to 10",
            "Linux 6.12 or later does not",
        )
    return Finding(Weight.SOUND, where, "is new enough")


def _of_programs(where: str, version: tuple[int, int]) -> Finding:
    if version >= HAS_LINKS:
        return Finding(Weight.SOUND, where, "is new enough")
    if version >= OLDEST_FOR_PROGRAMS:
        links = ".".join(map(str, HAS_LINKS))
        what = "has no links for programs: they stand by filters of clsact"
        remedy = f"Linux {links} or later has them"
        return Finding(Weight.COST, where, what, _BY_FILTERS, remedy)
    oldest = ".".join(map(str, OLDEST_FOR_PROGRAMS))
    what = f"is older than {oldest}, the oldest for the eBPF plane"
    remedy = 'install a newer kernel, or choose gateway.plane = "nftables"'
    return Finding(Weight.MISSING, where, what, Need.ALL.cost, remedy)


def judge_attempts(attempts: Iterable[Attempt]) -> Iterator[Finding]:
    """What was found when single features were asked for."""
    for attempt in attempts:
        where = f"kernel: {attempt.feature}"
        known = FEATURES[attempt.feature]
        if not attempt.objection:
            yield Finding(Weight.SOUND, where, "tried, works")
        else:
            yield Finding(
                known.need.weight,
                where,
                f"is not there ({attempt.objection})",
                known.cost or known.need.cost,
                f"it comes with {known.source}",
            )


def judge_untried(module: str) -> Finding:
    """Returns the finding on a module not tried: loading it has side effects."""
    return Finding(
        Weight.UNKNOWN,
        f"kernel: {module}",
        "a module that is there and not loaded; loading it makes interfaces on this"
        " machine, so that it was not tried",
        "",
        f"to have it tried: modprobe {module} numifbs=0",
    )


def judge_passages(passages: Mapping[Direction, Passage]) -> Iterator[Finding]:
    """What became of the packets that were sent through the whole data plane."""
    for direction, passage in passages.items():
        where = f"kernel: {direction} through the whole data plane"
        if passage.whole:
            sent = f"{passage.sent} packets sent, recognised, shaped, and arrived"
            yield Finding(Weight.SOUND, where, sent)
            continue
        lost = passage.arrived < passage.sent
        cost = f"{direction}s that are to be slowed are lost"
        yield Finding(
            Weight.MISSING,
            where,
            f"of {passage.sent} packets of a flow with a verdict"
            f" {passage.counted} were found, {passage.shaped} shaped, and"
            f" {passage.arrived} arrived",
            cost if lost else f"{direction}s are not slowed",
            "report it, with the kernel's version",
        )


def judge_copies(source: str, seen: Collection[Direction | None]) -> Finding:
    """Whether both messages of a handshake came out of the capture.

    Kernels before 6.1.108 and 6.11 have read some packets at egress from the wrong
    place on (Linux commits 0ae8e4cca787 and 5fd062891897).
    """
    where = f"capture: {source}"
    missing = [f"the {direction}" for direction in Direction if direction not in seen]
    if not missing:
        return Finding(Weight.SOUND, where, "a handshake was sent, and received")
    return Finding(
        Weight.MISSING,
        where,
        f"a handshake was sent, and not received: {' and '.join(missing)}",
        Need.ALL.cost,
        "take a newer kernel, or report it with the kernel's version",
    )


def judge_reverse_path(*, stray_came: bool) -> Finding:
    """Whether what came in from an address that does not live there was passed over."""
    where = "kernel: the way back to a source"
    if not stray_came:
        return Finding(Weight.SOUND, where, "tried, a forged source is no evidence")
    return Finding(
        Weight.MISSING,
        where,
        "tried, a forged source is taken for a real one",
        "anybody could have others slowed",
        "do not enforce; report it with the kernel's version",
    )

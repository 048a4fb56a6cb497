# SPDX-License-Identifier: GPL-2.0-or-later
"""How soon new tunnels have their verdicts with settings as shipped.

A row of the bench.
"""

from collections.abc import Iterator

from bench.contract import Curve, Effort, Figure, Row
from bench.gate import gate

RATE = 200.0  # new tunnels a second
P50, P99 = 15.0, 50.0  # milliseconds
_KNOWN = 2000


def measure(effort: Effort) -> Iterator[Figure | Curve]:
    """Of subscribers with several tunnels, then of one tunnel each."""
    seconds = effort.pick(whole=60.0, quick=10.0, tiny=1.0)
    for name, subscribers in (
        (f"of {_KNOWN:,} subscribers", _KNOWN),
        ("each of a new subscriber", round(RATE * seconds) + 1000),
    ):
        with gate() as at:
            seen = at.handshakes(RATE, seconds, subscribers)
        for part, bound in ((50, P50), (99, P99)):
            yield Figure(
                f"{RATE:.0f} a second, {name}, p{part}",
                "ms",
                what="vpngate",
                ours=[seen.percentile(part)],
                at_most=bound,
                note=f"worst {seen.percentile(100):.0f} ms",
            )
        yield Figure(
            f"{RATE:.0f} a second, {name}, without a verdict",
            "%",
            what="vpngate",
            ours=[100 * seen.lost],
            at_most=1.0,
        )


ROW = Row(
    "latency",
    "From an answer on the wire to its verdict",
    measure,
    seconds=180,
    root=True,
    about=(
        f"{RATE:.0f} new WireGuard tunnels a second, at random moments, with settings "
        "as shipped, once all of subscribers that have several, once each of a "
        "subscriber who is new and needs classes first. Seen from outside the daemon, "
        "as in `handshakes`."
    ),
)

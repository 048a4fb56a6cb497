# SPDX-License-Identifier: GPL-2.0-or-later
"""What rows that fill the kernel share is what they say that it is."""

from bench.kernel import beside_flows, flow

SIZE = 30_000
FLOWS = 100_000
SUBSCRIBERS = (500, 20_000)


def test_flows_are_nobodys_who_is_registered() -> None:
    """Else none of them has a verdict, and a row measures the cost of nothing."""
    full = beside_flows(SIZE)
    flows = [flow(n, some) for some in SUBSCRIBERS for n in range(0, FLOWS, 7)]
    ends = {end.address for each in flows for end in (each.subscriber, each.remote)}
    assert len(ends) > SIZE / 2
    assert not any(map(full.contains, ends))
    assert len(full) > SIZE / 2

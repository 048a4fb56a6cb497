# SPDX-License-Identifier: GPL-2.0-or-later
"""Which answers make the shaper do without fq_codel, with a channel that plays them."""

import errno
from collections.abc import Sequence
from typing import cast

import pytest
from pyroute2 import IPRoute

from vpngate.errors import KernelRefused
from vpngate.kernel.detour.ifbs import Shaper
from vpngate.kernel.wire.channel import Change, Channel, Failure


class Kernel:
    """Fails the changes whose name begins so, as long as they ask for fq_codel."""

    def __init__(self, *failing: str, number: int) -> None:
        self._failing = failing
        self._number = number
        self.seen: list[bytes] = []

    def each(self, changes: Sequence[Change]) -> list[Failure]:
        self.seen = [one.data for one in changes]
        if not any(b"fq_codel" in data for data in self.seen):
            return []
        return [
            Failure(one.what, self._number, "")
            for one in changes
            if one.what.startswith(self._failing)
        ]


def shaper(kernel: Kernel) -> Shaper:
    one = Shaper("t", cast("IPRoute", None), cast("Channel", kernel))
    one.set_rate(5_000_000)
    return one


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EOPNOTSUPP])
def test_a_kernel_without_fq_codel_gets_plain_queues(number: int) -> None:
    kernel = Kernel("queue", number=number)
    shaper(kernel).add_classes([2, 3])
    assert any(b"bfifo" in data for data in kernel.seen)


@pytest.mark.parametrize(
    "kernel",
    [
        Kernel("queue", number=errno.ENOMEM),
        Kernel("class", "queue", number=errno.ENOENT),  # the root is gone
    ],
)
def test_another_failure_does_not_cost_fq_codel(kernel: Kernel) -> None:
    one = shaper(kernel)
    for _ in range(2):
        with pytest.raises(KernelRefused):
            one.add_classes([2])
        assert any(b"fq_codel" in data for data in kernel.seen)

# SPDX-License-Identifier: GPL-2.0-or-later
"""What a refused transaction says of the kernel, with a channel that refuses."""

import errno
from collections.abc import Sequence
from typing import cast

import pytest

from vpngate.errors import MissingFeature
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire.channel import Change, Channel
from vpngate.kernel.wire.failures import Failure, Rejected


class Refusing:
    def __init__(self, failure: Failure) -> None:
        self._failure = failure

    def commit(self, _: Sequence[Change]) -> None:
        raise Rejected([self._failure])


def table(what: str, number: int) -> OwnedTable:
    refusing = Refusing(Failure(what, number, ""))
    return OwnedTable(cast("Channel", refusing), "vpngate")


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOENT])
def test_a_kernel_without_fwd_at_egress_is_told_in_one_line_which_one_has_it(
    number: int,
) -> None:
    with pytest.raises(MissingFeature) as caught:
        table("rule 'slow UDP' in chain egress", number).introduce_slowing([])
    [line] = caught.value.lines
    assert "Linux 5.17 or later" in line
    assert "can observe" in line


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("rule 'slow UDP' in chain egress", errno.EINVAL),
        ("elements of spared_ipv4_1", errno.ENOENT),
    ],
)
def test_another_refusal_is_told_as_it_is(what: str, number: int) -> None:
    with pytest.raises(Rejected):
        table(what, number).introduce_slowing([])

# SPDX-License-Identifier: GPL-2.0-or-later
"""What nftables' sets answer is told rightly, whatever was lost, left, or is gone."""

import socket

import pytest

from tests.lab.plane import in_gateway
from tests.lab.topology import Lab
from tests.netns.test_comparison import FULL, Meddling, answers_are_right, meddle
from vpngate.kernel.live import LiveDataPlane
from vpngate.kernel.table.readback import STEP, about
from vpngate.kernel.wire import elements
from vpngate.kernel.wire.failures import Unanswered
from vpngate.packets import Family


def test_a_set_that_is_gone_spares_nobody(lab: Lab) -> None:
    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(FULL)
        sets = plane._steps.spared
        rows = about(*sets.held.of(Family.IPV4))[:STEP]
        for name, held in (("nowhere", False), (sets.cut.names(Family.IPV4)[0], True)):
            found = plane._do(plane._steps.table.holds, [name] * len(rows), rows)
            assert (await found).tolist() == [held] * len(rows)

    in_gateway(lab, scenario)


def test_answers_that_were_lost_or_left_are_not_taken_for_others(lab: Lab) -> None:
    """Each look is by the answers to its own questions, whatever became of the last."""

    async def scenario(plane: LiveDataPlane) -> None:
        await plane.start(FULL)
        table = plane._steps.table
        channel = table._channel
        name = plane._steps.spared.cut.names(Family.IPV4)[0]
        held = elements.get(table.name, name, bytes([10, 3, 7, 0]))
        meddle(plane, Meddling(Family.IPV4, ("10.3.7.0/25",)))
        await plane._do(channel._send, [(held, 0)] * 300)  # and nobody reads them
        assert await answers_are_right(plane, Family.IPV6)
        assert not await answers_are_right(plane, Family.IPV4)
        channel._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the least
        with pytest.raises(Unanswered, match="No buffer space"):
            await plane.verify()
        assert plane._sparing.disagreements == 0  # not known is not wrong
        channel._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        assert await answers_are_right(plane, Family.IPV6)
        assert not await answers_are_right(plane, Family.IPV4)
        assert not (await plane.compare()).equal
        assert "spared" in await plane.verify()
        assert await answers_are_right(plane, Family.IPV4)

    in_gateway(lab, scenario)

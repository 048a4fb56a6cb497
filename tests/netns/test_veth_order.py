# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of a flow leave a shaping pair in the order that they came to it."""

import contextlib
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import diverted
from tests.lab.topology import Lab

pytestmark = pytest.mark.netns

FAST = 100_000_000
RATE, SIZE, SENT = 2 * FAST, 1300, 40_000

_way = pytest.mark.parametrize("up", [True, False], ids=["upload", "download"])


def ends(
    lab: Lab, number: int, *, up: bool
) -> tuple[socket.socket, socket.socket, tuple[str, int]]:
    """Who sends, who receives, and where."""
    near, far = (
        (lab.client.at(4), 40_090 + number),
        (lab.stranger.at(4), 50_090 + number),
    )
    (sender, own), (receiver, port) = (near, far) if up else (far, near)
    address = receiver.address, port
    return diverted.bound(sender, own), diverted.bound(receiver, port), address


def numbers_at(arriving: socket.socket) -> list[int]:
    """Of all that comes, until nothing has come for two seconds."""
    numbers: list[int] = []
    with contextlib.suppress(TimeoutError):
        while True:
            numbers.append(int.from_bytes(arriving.recv(2000)[:4], "big"))
    return numbers


@_way
def test_packets_keep_their_order_under_load(lab: Lab, *, up: bool) -> None:
    """Faster than they may pass: some are dropped, none is overtaken."""

    def scenario() -> None:
        sending, arriving, address = ends(lab, 0, up=up)
        with diverted.pairs(FAST) as made, sending, arriving:
            made.stand_at("lan0")
            made.divert(1, 40_090, 50_090)
            for number in range(3000):
                data = number.to_bytes(4, "big") + bytes(1196)
                sending.sendto(data, address)
            numbers = numbers_at(arriving)
            assert len(numbers) > 300
            assert numbers == sorted(set(numbers))

    lab.gateway.call(scenario, with_sys=True)


def send_on(processor: int, sending: socket.socket, address: tuple[str, int]) -> None:
    """Numbered packets, half as many again as two such flows may pass together."""
    os.sched_setaffinity(0, {processor})  # of this thread
    begin = time.monotonic()
    for number in range(SENT):
        time.sleep(max(begin + number * SIZE * 8 / (0.75 * RATE) - time.monotonic(), 0))
        sending.sendto(number.to_bytes(4, "big") + bytes(SIZE - 4), address)


@_way
def test_processors_that_empty_a_pair_in_turn_reorder_nothing(
    lab: Lab, *, up: bool
) -> None:
    """Flows of one subscriber, each sent by a processor of its own."""

    def scenario() -> None:
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(diverted.pairs(RATE))
            made.stand_at("lan0")
            pool = stack.enter_context(ThreadPoolExecutor())
            arrived = []
            for number, processor in enumerate(sorted(os.sched_getaffinity(0))[:2]):
                sending, arriving, address = ends(lab, number, up=up)
                stack.enter_context(sending)
                stack.enter_context(arriving)
                made.divert(1, 40_090 + number, 50_090 + number)
                arrived.append(pool.submit(numbers_at, arriving))
                pool.submit(send_on, processor, sending, address)
            for numbers in (one.result() for one in arrived):
                assert len(numbers) > SENT // 10
                assert numbers == sorted(set(numbers))

    lab.gateway.call(scenario, with_sys=True)

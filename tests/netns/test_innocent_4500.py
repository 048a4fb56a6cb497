# SPDX-License-Identifier: GPL-2.0-or-later
"""A call, a film, a game or a download whose port happens to be 4500 is not IPsec.

Four constant bytes and four that grow are what ESP in UDP shows, and uTP, SRT, KCP
and RTP in TURN channels show the same. Each is sent at 40 Mbit/s, on that port at the
subscriber's end and at the other, with a control beside it on a port of no interest.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import load, rates, torrent
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.topology import Lab

_RATE = 40e6  # bit/s each way
_NATT = 4500
_SECONDS = 2.0
_ELSEWHERE = 6881
# Seconds. While a connection opens every packet is another kind; later a few more
# are looked at, and those are alike.
_DOWNLOADING = 12.0
_LOOKS = 3
_numbers = itertools.count(1)


# A pair of addresses shows a daemon a few packets that look alike, and no more: each
# test has a daemon of its own, and each flow of it a pair.
@pytest.fixture
def fresh(lab: Lab) -> Iterator[Daemon]:
    with daemon(lab.gateway, enforcing_settings(lab, f"{next(_numbers)}")) as running:
        yield running


@contextlib.contextmanager
def nothing_throttled(lab: Lab, running: Daemon) -> Iterator[None]:
    """No verdict in the block, and not a packet in any class."""
    before = _acted(lab, running)
    yield
    time.sleep(0.6)  # the daemon's reading of its counters is no older
    assert _acted(lab, running) == before


def _acted(lab: Lab, running: Daemon) -> dict[str, float]:
    return {
        "flows": running.metric("vpngate_flows_total", verdict="throttle"),
        "packets": running.metric("vpngate_throttled_packets_total"),
        "bytes": sum(load.shaped_bytes(lab.gateway).values()),
    }


@pytest.mark.parametrize("framing", ["srt", "kcp", "turn"])
def test_what_counts_in_its_first_bytes_is_no_tunnel(
    lab: Lab, fresh: Daemon, framing: str
) -> None:
    flows = {
        "at the other end": (lab.client, (41_000, _NATT)),
        "at the subscriber's": (lab.neighbour, (_NATT, 6000)),
        "control": (lab.client, (41_100, 6100)),
    }
    with nothing_throttled(lab, fresh), contextlib.ExitStack() as stack:
        speaking = {
            name: stack.enter_context(
                load.exchange(
                    *(subscriber.at(), lab.stranger.at()),
                    up=_RATE,
                    down=_RATE,
                    ports=ports,
                    framing=framing,
                )
            )
            for name, (subscriber, ports) in flows.items()
        }
        time.sleep(_SECONDS)
        said = {name: flow.stop() for name, flow in speaking.items()}
    control = said.pop("control")
    for name, conversation in said.items():
        for way, other in zip(conversation, control, strict=True):
            assert rates.share_of_control(way, other) >= rates.LIKE_CONTROL, name


@pytest.fixture(scope="module")
def shared(lab: Lab) -> Path:
    return torrent.content(lab.folder)


def _download(lab: Lab, shared: Path) -> list[float]:
    """bit/s of downloads on port 4500, encrypted and not, and of one on another."""
    seeder = lab.stranger.at()
    with contextlib.ExitStack() as stack:
        for port in (_NATT, _ELSEWHERE):
            stack.enter_context(torrent.seeder(seeder, port, shared))
        flows = [
            stack.enter_context(
                torrent.download(
                    *(leecher.at(), seeder, shared),
                    port=port,
                    rate=_RATE,
                    encrypted=encrypted,
                )
            )
            for leecher, port, encrypted in (
                (lab.client, _NATT, True),
                (lab.neighbour, _NATT, False),
                (lab.client, _ELSEWHERE, True),
            )
        ]
        for flow in flows:
            flow.wait_until_under_way()
        time.sleep(_DOWNLOADING)
        return [flow.stop() for flow in flows]


def test_a_download_by_utp_is_no_tunnel(lab: Lab, fresh: Daemon, shared: Path) -> None:
    """Downloads yield to each other: it takes one look of a few to see their rate.

    What is slowed has less than half of the control's rate in every look.
    """
    with nothing_throttled(lab, fresh):
        seen = []
        for _ in range(_LOOKS):
            *measured, control = _download(lab, shared)
            if min(measured) >= control / 2 > 1.1 * rates.RATE:
                return
            seen.append((*measured, control))
        pytest.fail(f"bit/s on port 4500, and beside it: {seen}")

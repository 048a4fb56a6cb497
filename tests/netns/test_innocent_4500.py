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
_DOWNLOADING = 3.0  # seconds
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


def _download(lab: Lab, shared: Path, *, encrypted: bool) -> tuple[float, float]:
    """bit/s of a download on port 4500, and of one beside it on another."""
    with contextlib.ExitStack() as stack:
        flows = [
            stack.enter_context(
                torrent.download(
                    *(lab.client.at(), lab.stranger.at(), shared),
                    port=port,
                    rate=_RATE,
                    encrypted=encrypted,
                )
            )
            for port in (_NATT, 6881)
        ]
        for flow in flows:
            flow.wait_until_under_way()
        time.sleep(_DOWNLOADING)
        measured, control = [flow.stop() for flow in flows]
        return measured, control


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_a_download_by_utp_is_no_tunnel(
    lab: Lab, fresh: Daemon, shared: Path, *, encrypted: bool
) -> None:
    """Two downloads yield to each other: it takes one look of a few to see their rate.

    What is slowed has less than half of the control's rate in every look.
    """
    with nothing_throttled(lab, fresh):
        seen = []
        for _ in range(_LOOKS):
            measured, control = _download(lab, shared, encrypted=encrypted)
            if measured >= control / 2 > 1.1 * rates.RATE:
                return
            seen.append((measured, control))
        pytest.fail(f"bit/s on port 4500 and beside it: {seen}")

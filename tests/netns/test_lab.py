# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab itself: it counts what it claims to count, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab import load, rates, wireguard
from tests.lab.namespaces import PATIENCE
from tests.lab.rates import Way
from tests.lab.topology import Lab

_ROOT = Path(__file__).parents[2]
_DROP_EVERY_TENTH = """table netdev lossy {
    counter dropped { }
    chain drops {
        type filter hook ingress device "lan0" priority 0
        meta l4proto udp numgen inc mod 10 == 0 counter name dropped drop
    }
}"""
_DROP_ONE_IN_TWENTY = """table netdev harmful {
    chain drops {
        type filter hook ingress device "lan0" priority 0
        meta l4proto udp numgen inc mod 20 == 0 drop
    }
}"""
_HALF = 2.5e6  # bit/s
_KILLED = """
import sys, time
from tests.lab import topology, wireguard
with topology.build() as lab, wireguard.tunnel(lab.client, lab.member):
    print(lab.folder, flush=True)
    time.sleep(60)
"""


def test_stream_counts_each_datagram_that_is_lost(lab: Lab) -> None:
    lab.gateway.run("nft", "-f", "-", stdin=_DROP_EVERY_TENTH)
    try:
        arrivals = load.run_stream(
            lab.client.at(), lab.stranger.at(), rate=5e6, seconds=1.0
        )
        counter = lab.gateway.run(
            "nft", "list", "counter", "netdev", "lossy", "dropped"
        )
    finally:
        lab.gateway.run("nft", "delete", "table", "netdev", "lossy")
    dropped = int(re.findall(r"packets (\d+)", counter)[0])
    assert arrivals.lost == dropped > 0
    assert list(arrivals.missing) == list(range(0, arrivals.missing[-1] + 1, 10))


def test_a_flow_that_loses_a_twentieth_is_not_called_untouched(lab: Lab) -> None:
    flow = Way(lab.client.at(), lab.stranger.at())
    control = Way(lab.member.at(), lab.stranger.at())
    assert rates.beside_plain(lab, flow, control).faults == []
    lab.gateway.run("nft", "-f", "-", stdin=_DROP_ONE_IN_TWENTY)
    try:
        harmed = rates.beside_plain(lab, flow, control)
    finally:
        lab.gateway.run("nft", "delete", "table", "netdev", "harmful")
    assert len(harmed.faults) == 1


def test_a_class_is_measured_while_it_has_something_to_pass(lab: Lab) -> None:
    """Its rate comes out, also where the sender is away for half of the time."""
    for words in (
        "qdisc add dev wan1 root handle 1: htb default 10",
        f"class add dev wan1 parent 1: classid 1:10 htb rate {_HALF / 1e6}mbit",
        "qdisc add dev wan1 parent 1:10 bfifo limit 100k",
    ):
        lab.gateway.run("tc", *words.split())
    ways = lab.client.at(), lab.stranger.at()
    stop = threading.Event()

    def send_now_and_then() -> None:
        while not stop.is_set():
            load.run_stream(*ways, rate=5 * _HALF, seconds=1.5)

    with ThreadPoolExecutor() as pool:
        sending = pool.submit(send_now_and_then)
        try:
            measured = rates.rates_of(
                lambda: load.classes(lab.gateway, "wan1"), 2 * _HALF
            )
        finally:
            stop.set()
        sending.result()
    lab.gateway.run("tc", "qdisc", "del", "dev", "wan1", "root")
    assert measured == {"wan1 1:10": pytest.approx(_HALF, rel=rates.TOLERANCE)}


def test_wires_carry_no_packet_that_a_wire_could_not(lab: Lab) -> None:
    """No 64 KiB aggregates: TCP crosses the gateway in packets of its MTU."""
    watching = """table netdev sizes {
        counter big { }
        chain own {
            type filter hook ingress device "lan0" priority 0
            ip length > 1500 counter name big
        }
    }"""
    lab.gateway.run("nft", "-f", "-", stdin=watching)
    try:
        assert load.tcp_rate(lab.client.at(), lab.stranger.at(), seconds=1) > 0
        counter = lab.gateway.run("nft", "list", "counter", "netdev", "sizes", "big")
    finally:
        lab.gateway.run("nft", "delete", "table", "netdev", "sizes")
    assert "packets 0 " in counter


def test_handshake_can_be_repeated(lab: Lab) -> None:
    with wireguard.tunnel(lab.client, lab.member, version=6) as tunnel:
        first = tunnel.handshake_time()
        tunnel.shake_hands()
        assert tunnel.handshake_time() >= first > 0


def test_nothing_survives_a_killed_run() -> None:
    """Programs die with the run, and the namespaces with them."""
    run = subprocess.Popen(
        [sys.executable, "-c", _KILLED], stdout=subprocess.PIPE, cwd=_ROOT, text=True
    )
    assert run.stdout is not None
    folder = run.stdout.readline().strip()
    children = _children(run.pid)
    assert len(children) == 2
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    subprocess.run(["rm", "-r", folder], check=True)


def _children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in found if int(pid) != os.getpid()]

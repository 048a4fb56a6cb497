# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab itself: it counts what it claims to count, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.lab import load, wireguard
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Lab

_ROOT = Path(__file__).parents[2]
_DROP_EVERY_TENTH = """table netdev lossy {
    counter dropped { }
    chain drops {
        type filter hook ingress device "lan0" priority 0
        meta l4proto udp numgen inc mod 10 == 0 counter name dropped drop
    }
}"""
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

# SPDX-License-Identifier: GPL-2.0-or-later
"""Random payloads do not pass the prefilter: fewer than 1 in 100,000.

VPNGATE_RANDOM_PAYLOADS sets how many of each transport: 2,000,000 for the whole test.
"""

import os
from collections.abc import Iterator
from random import Random

import cypcap
import pytest

from tests.unit.tunnels import crafting
from vpngate.packets import Transport
from vpngate.signatures.libpcap import filter_for
from vpngate.tunnels import all_tunnels

PAYLOADS = int(os.environ.get("VPNGATE_RANDOM_PAYLOADS", "100000"))
SEED = 7
LONGEST = 1400
SIGNATURES = [s for tunnel in all_tunnels() for s in tunnel.signatures]
PORT_NUMBERS = 65536


def random_packets(transport: Transport, seed: int) -> Iterator[bytes]:
    """From the IP header on; random ports and a payload of random bytes and length."""
    random = Random(seed)
    pool = random.randbytes(16 << 20)
    last = len(pool) - LONGEST
    whole = crafting.network(transport, bytes(LONGEST), (40000, 50000))
    start = len(whole) - LONGEST
    ports_at = 20
    headers = {
        size: crafting.network(transport, bytes(size), (40000, 50000))[:start]
        for size in range(LONGEST + 1)
    }
    for _ in range(PAYLOADS):
        size, at = random.randrange(LONGEST + 1), random.randrange(last)
        header = headers[size]
        ports = pool[at + 1000 : at + 1004]
        head = header[:ports_at] + ports + header[ports_at + 4 :]
        yield head + pool[at : at + size]


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
@pytest.mark.timeout(1800)
def test_random_payloads(transport: Transport) -> None:
    dead = cypcap.open_dead(cypcap.DatalinkType.RAW, 65535)
    # What looks alike in every packet shows nothing in one: ESP in UDP is a port.
    chosen = [s for s in SIGNATURES if s.transport is transport and not s.sampled]
    match = dead.compile(filter_for(chosen)).offline_filter
    header = cypcap.Pkthdr()
    passed = 0
    for packet in random_packets(transport, SEED):
        header.caplen = header.len = len(packet)
        passed += bool(match(header, packet))
    assert passed <= PAYLOADS // 100_000, f"seed {SEED}"

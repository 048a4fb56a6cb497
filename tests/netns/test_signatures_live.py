# SPDX-License-Identifier: GPL-2.0-or-later
"""A live kernel sees the same packets match as the Python predicate does.

    namespace of this module's one thread; it ends with the thread
      packet socket ──► veth va ══ veth vb ──► ingress: one signature's rules ──► sets

Each frame carries a number where no signature looks: in IPv4's identification, in
IPv6's flow label. What matches leaves its number in a set.

VPNGATE_LIVE_AGREEMENT sets the number of packets a signature: 10,000 for the whole
test.
"""

import ctypes
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from tests.lab.namespaces import wait_until
from tests.unit.signatures.plain_rules import rules_of
from tests.unit.signatures.traffic import ETHERNET, frames
from vpngate.expressions import (
    Base,
    ChainVerdict,
    Compare,
    DynamicSet,
    Meta,
    MetaKey,
    NamedCounter,
    Payload,
    SetOperation,
    VerdictCode,
)
from vpngate.kernel.wire import messages
from vpngate.kernel.wire.channel import NETFILTER, Channel
from vpngate.packets import HookPoint
from vpngate.ruleset.table import (
    Chain,
    DataType,
    Hook,
    Line,
    Nature,
    Set,
    Table,
)
from vpngate.signatures import Signature
from vpngate.signatures.predicate import matches
from vpngate.tunnels import all_tunnels

_Result = TypeVar("_Result")

PACKETS = int(os.environ.get("VPNGATE_LIVE_AGREEMENT", "2000"))
SEED = 11
SIGNATURES = [s for tunnel in all_tunnels() for s in tunnel.signatures]

_CLONE_NEWNET = 0x40000000
_OUR_MAC = bytes.fromhex("020000000001")  # of the frames' sender
_FAMILIES = {
    # EtherType; where four bytes with the number stand; where in them, and in frames
    "ipv4": (b"\x08\x00", 4, 0, ETHERNET + 4),
    "ipv6": (b"\x86\xdd", 0, 2, ETHERNET + 2),
}


@pytest.fixture(scope="module")
def inside() -> Iterator[ThreadPoolExecutor]:
    """A thread in a namespace of its own, with a veth pair."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter() -> None:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        for line in (
            "link add va mtu 9000 type veth peer name vb mtu 9000",
            "link set va up",
            "link set vb up",
        ):
            subprocess.run(["ip", *line.split()], check=True)

    with ThreadPoolExecutor(1) as executor:
        executor.submit(enter).result()
        yield executor


def in_thread(executor: ThreadPoolExecutor, call: Callable[[], _Result]) -> _Result:
    return executor.submit(call).result()


def table_for(signature: Signature) -> Table:
    sets = tuple(
        Set(name, (DataType.IPV4_ADDR,), Nature.DYNAMIC, "numbers", (), 600, 1 << 17)
        for name in _FAMILIES
    )
    note = [
        Line(
            (
                *(Meta(MetaKey.PROTOCOL), Compare(ethertype)),
                Payload(Base.NETWORK, at, 4),
                DynamicSet(name, SetOperation.UPDATE),
            ),
            f"note the number, {name}",
        )
        for name, (ethertype, at, _, _) in _FAMILIES.items()
    ]
    jump = ChainVerdict(VerdictCode.JUMP, "note")
    match = [Line((*rule, jump), signature.name) for rule in rules_of(signature)]
    enter = (ChainVerdict(VerdictCode.JUMP, "match"),)
    count = (Payload(Base.LINK, 6, 6), Compare(_OUR_MAC), NamedCounter("seen"))
    hook = Hook(HookPoint.INGRESS, 0, ("vb",))
    return Table(
        "agreement",
        sets,
        ("seen",),
        (
            Chain("note", tuple(note)),
            Chain("match", tuple(match)),
            Chain("start", tuple(Line(rule, "") for rule in (count, enter)), hook),
        ),
    )


def install(channel: Channel, table: Table) -> None:
    channel.commit(
        [
            messages.new_table(table.name),
            *(messages.new_set(table.name, each) for each in table.sets),
            *(messages.new_counter(table.name, each) for each in table.counters),
            *messages.new_chains(table.name, table.chains),
        ]
    )


def listed(*what: str) -> list[dict[str, dict[str, list[object]]]]:
    command = ["nft", "--json", "list", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["nftables"]  # type: ignore[no-any-return]


def seen() -> int:
    counter = listed("counter", "netdev", "agreement", "seen")[-1]["counter"]
    return int(str(counter["packets"]))


def numbers(family: str) -> set[int]:
    _, _, inside_key, _ = _FAMILIES[family]
    content = listed("set", "netdev", "agreement", family)[-1]["set"]
    found = set()
    for element in content.get("elem", []):
        assert isinstance(element, dict)
        key = socket.inet_aton(element["elem"]["val"])
        found.add(int.from_bytes(key[inside_key : inside_key + 2]))
    return found


def numbered(signature: Signature) -> Iterator[bytes]:
    """Frames that a kernel takes as IPv4 or IPv6, each with its number."""
    places = {ethertype: at for ethertype, _, _, at in _FAMILIES.values()}
    for number, frame in enumerate(frames(signature, PACKETS, SEED)):
        at = places[frame[12:14]]
        if len(frame) >= at + 2:
            yield frame[:at] + number.to_bytes(2) + frame[at + 2 :]


def send(all_frames: list[bytes]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("va", 0))
        for frame in all_frames:
            sender.send(frame)


def expected(signature: Signature, all_frames: list[bytes], family: str) -> set[int]:
    ethertype, _, _, at = _FAMILIES[family]
    version = int(family[-1])
    return {
        int.from_bytes(frame[at : at + 2])
        for frame in all_frames
        if frame[12:14] == ethertype
        and frame[ETHERNET] >> 4 == version
        and matches(signature, frame[ETHERNET:])
    }


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda s: s.name)
def test_agreement(signature: Signature, inside: ThreadPoolExecutor) -> None:
    all_frames = list(numbered(signature))

    def run() -> dict[str, set[int]]:
        channel = Channel(NETFILTER)
        try:
            install(channel, table_for(signature))
            send(all_frames)
            wait_until(lambda: seen() == len(all_frames), "the last frame")
            return {family: numbers(family) for family in _FAMILIES}
        finally:
            channel.close()

    found = in_thread(inside, run)
    assert len(all_frames) > 0.9 * PACKETS
    for family in _FAMILIES:
        wanted = expected(signature, all_frames, family)
        assert found[family] == wanted, f"seed {SEED}"
        assert wanted

# SPDX-License-Identifier: GPL-2.0-or-later
"""libpcap's reader, called by hand: what passes comes out, and nothing stays behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.capture import crafted
from tests.unit.capture.crafted import HANDSHAKE, START
from vpngate.capture.classic_bpf import packed
from vpngate.capture.files import savefile
from vpngate.capture.files.record import Damage
from vpngate.capture.files.savefile import OneByOne, Savefile
from vpngate.errors import MissingFeature
from vpngate.link_layers import LAYOUTS, LinkType

PORTS = (48, 0, 0, 0)  # ldb [0]: any program that loads
LONG = [  # frames of 150 bytes and more: of a handshake the first
    (0x80, 0, 0, 0),
    (0x35, 0, 1, 150),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "capture.pcap"
    path.write_bytes(crafted.pcap(HANDSHAKE * 300))
    return path


SCARCE = """
import resource, sys
from pathlib import Path
from vpngate.capture.files.savefile import Savefile

with Savefile(Path(sys.argv[1])) as opened:
    batches = opened.batches()
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + int(sys.argv[2]), -1))
    try:
        sizes = [len(b.frame(n)[1]) for b in batches for n in range(len(b))]
    except MemoryError:
        print("no room")
    else:
        print(len(sizes), *sorted(set(sizes)))
"""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_everything_comes_out_in_order(capture: Path) -> None:
    with Savefile(capture) as opened:
        assert opened.link_type == crafted.ETHERNET
        found = list(opened)
    assert [frame for _, frame in found] == HANDSHAKE * 300
    assert [moment for moment, _ in found] == [START + n for n in range(900)]


def test_only_what_passes(capture: Path) -> None:
    with Savefile(capture) as opened:
        opened.set_filter(packed(LONG))
        assert [frame for _, frame in opened] == HANDSHAKE[:1] * 300


@pytest.mark.parametrize("link_type", sorted({*LAYOUTS, LinkType.NFLOG}))
def test_one_by_one_it_is_the_same(tmp_path: Path, link_type: int) -> None:
    """Of each link type, also where libpcap writes no files of it."""
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(crafted.pcap(HANDSHAKE * 300, link_type))
    found = []
    for reader in (OneByOne, Savefile):
        with reader(capture) as opened:
            opened.set_filter(packed(LONG))
            found.append((opened.link_type, list(opened), opened.position()))
    assert found[0] == found[1]


def test_what_stands_before_damage_comes_first(capture: Path) -> None:
    capture.write_bytes(capture.read_bytes()[:-1])
    found: list[tuple[float, bytes]] = []
    with Savefile(capture) as opened, pytest.raises(Damage, match="truncated"):
        found.extend(opened)
    assert len(found) == 899


def test_nothing_stays_open(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "no capture").write_bytes(b"no capture at all, whatever it is")
    before = descriptors()
    for _ in range(20):
        with Savefile(capture) as opened:
            next(iter(opened))
        with pytest.raises(Damage):
            Savefile(tmp_path / "no capture")
    assert descriptors() == before


def test_what_is_closed_is_not_asked(capture: Path) -> None:
    """libpcap would end the process."""
    with Savefile(capture) as opened:
        half = iter(opened)
        next(half)
    for ask in (opened.position, lambda: opened.set_filter(packed(LONG))):
        with pytest.raises((OSError, ValueError)):
            ask()
    with pytest.raises(ValueError, match="closed"):
        list(opened)
    with pytest.raises(ValueError, match="closed"):
        list(half)


def test_how_far_it_is(capture: Path) -> None:
    with Savefile(capture) as opened:
        begun = opened.position()
        list(opened)
        assert 0 < begun <= opened.position() == capture.stat().st_size


def test_a_program_that_is_none(capture: Path) -> None:
    with Savefile(capture) as opened, pytest.raises(ValueError, match="BPF"):
        opened.set_filter(packed([PORTS]))  # it does not end


def test_a_libpcap_without_a_function_is_one_line(
    capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(savefile, "_LIBPCAP", (("pcap_fly", None),))
    savefile._libraries.cache_clear()
    with pytest.raises(MissingFeature, match=r"pcap_fly.*; install"):
        Savefile(capture)
    savefile._libraries.cache_clear()


def test_what_there_is_no_room_for_is_not_left_out_in_silence(tmp_path: Path) -> None:
    """libpcap does not look whether what it dumps is taken."""
    capture = tmp_path / "burst.pcap"
    capture.write_bytes(crafted.pcap([bytes(60_000)] * 64 + [bytes(100)] * 3000))
    told = [
        subprocess.run(
            [sys.executable, "-c", SCARCE, capture, str(more << 18)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for more in (8, 12, 22, 48)
    ]
    assert set(told) == {"no room", "3064 100 60000"}

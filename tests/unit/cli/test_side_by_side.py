# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify --jobs`: several processes, and not a byte of difference."""

import gzip
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.capture import crafted
from tests.unit.capture.crafted import HANDSHAKE
from vpngate.cli import main, side_by_side
from vpngate.cli.side_by_side import in_order
from vpngate.errors import UnreadableInput

PATIENCE = 60  # seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Captures in many states, of very different sizes."""
    folder = tmp_path / "captures"
    (folder / "empty").mkdir(parents=True)
    many = [
        crafted.ethernet(crafted.udp(HANDSHAKE[0][42:], port=p)) for p in range(900)
    ]
    for name, content in {
        "a-many.pcap": crafted.pcap(many),
        "b.pcap": crafted.pcap(HANDSHAKE),
        "c-cut.pcap": crafted.pcap(HANDSHAKE)[:-1],
        "d.pcapng.gz": gzip.compress(crafted.pcapng(HANDSHAKE)),
        "e-cut.pcap.gz": gzip.compress(crafted.pcap(HANDSHAKE))[:-9],
        "f-text.pcap": b"no capture",
        "g-none.pcap": b"",
        "h-radio.pcap": crafted.pcap(HANDSHAKE, crafted.RADIOTAP),
        "i\x1b[2J.pcap": crafted.pcap(HANDSHAKE),
    }.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("options", [[], ["--explain"], ["--no-addresses"]])
@pytest.mark.parametrize("form", ["table", "json"])
def test_the_answer_is_that_of_one_process(
    capsys: pytest.CaptureFixture[str], folder: Path, options: list[str], form: str
) -> None:
    last = folder / "b.pcap"
    given = [folder, folder / "empty", folder / "not-there", last]
    arguments = ["classify", "--format", form, *options, *map(str, given), "--jobs"]
    told = [(main([*arguments, jobs]), *capsys.readouterr()) for jobs in ("1", "3")]
    status, out, err = told[0]
    assert told[1] == told[0]
    assert status == 2
    assert (
        out.count("192.0.2.1" if "--no-addresses" not in options else "wireguard") > 900
    )
    assert err.count("\n") == 7


@pytest.mark.parametrize("jobs", ["0", "-1", "many"])
def test_no_number_of_captures(folder: Path, jobs: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["classify", "--jobs", jobs, str(folder)])
    assert ended.value.code == 2


def test_results_come_in_order() -> None:
    def slow_first(item: int) -> tuple[int, int]:
        time.sleep(0.3 * (item == 0))
        return item, os.getpid()

    results = list(in_order(slow_first, range(8), 2))
    assert [item for item, _ in results] == list(range(8))
    assert len({pid for _, pid in results}) == 2
    assert os.getpid() not in {pid for _, pid in results}


def test_a_process_that_is_ended_is_one_error() -> None:
    def ended(item: int) -> int:
        if item:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    with pytest.raises(UnreadableInput, match="ended from outside"):
        list(in_order(ended, range(4), 2))


def test_a_process_without_memory_is_one_error() -> None:
    def greedy(item: int) -> int:
        return len(bytes(sys.maxsize // 2 if item else 1))

    with pytest.raises(UnreadableInput, match="no memory left"):
        list(in_order(greedy, range(4), 2))


def test_more_than_may_wait_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "MOST_WAITING", 3)
    taken = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    found = in_order(lambda item: -item, items(), 2)
    assert next(found) == 0
    assert len(taken) <= 4
    assert list(found) == [-number for number in range(1, 20)]


def test_no_room_for_what_was_found_is_one_line(folder: Path, tmp_path: Path) -> None:
    program = (
        "import resource, sys; from vpngate.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"sys.exit(main(['classify', '--jobs', '2', {str(folder)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "cannot be kept: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == [folder]


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(child) for child in text.split()]


def is_gone(pid: int) -> bool:
    """Whether a process has ended, whoever may still have to take note of it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii")
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def until(holds: object) -> None:
    assert callable(holds)
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, b""), (signal.SIGKILL, -9, b""), (None, 2, b"ended from")],
)
def test_no_process_stays_behind(
    tmp_path: Path, number: signal.Signals | None, status: int, said: bytes
) -> None:
    """Interrupted, ended, or one of them ended: while two long captures are read."""
    frame = crafted.ethernet(crafted.udp(bytes(1000)))
    record = struct.pack("<IIII", 1_700_000_000, 0, len(frame), len(frame)) + frame
    paths = [tmp_path / name for name in ("one.pcap", "other.pcap")]
    for path in paths:
        path.write_bytes(crafted.pcap([]) + record)
        # A hole whose records are all empty: long to read, and takes no room.
        os.truncate(path, 40 << 30)
    command = [sys.executable, "-m", "vpngate", "classify", "--jobs", "2"]
    with subprocess.Popen(
        ["env", "--default-signal=INT", *command, *paths],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        until(lambda: len(children_of(process.pid)) == 2 or process.poll() is not None)
        children = children_of(process.pid)
        if number is None:
            os.kill(children[0], signal.SIGKILL)
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (status, b"")
    assert (said in err, err.count(b"\n")) == (True, len(said) > 0)
    until(lambda: all(map(is_gone, children)))
    assert set(tmp_path.iterdir()) == set(paths)

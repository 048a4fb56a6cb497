# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify`: what it prints about captures, and how it ends."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.capture import crafted
from tests.unit.capture.crafted import HANDSHAKE, START
from vpngate.cli import main

Run = Callable[..., tuple[int, list[str], list[str]]]

HANDSHAKE_ANSWER = {
    "tunnel": "wireguard",
    "transport": "udp",
    "initiator": {"address": "192.0.2.1", "port": 40000},
    "responder": {"address": "198.51.100.2", "port": 51820},
    "evidence": "confirmed",
    "first_seen": START,
    "handshakes": 1,
    "verdict": "throttle",
    "registration": None,
}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs it: the status, the lines of stdout and of stderr."""

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        status = main(["classify", *map(str, arguments)])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "captures"
    (folder / "sub").mkdir(parents=True)
    (folder / "whole.pcap").write_bytes(crafted.pcap(HANDSHAKE))
    (folder / "sub" / "first.pcapng.gz").write_bytes(
        gzip.compress(crafted.pcapng(HANDSHAKE[:1]))
    )
    (folder / "none.pcap").write_bytes(crafted.pcap([]))
    return folder


def answers(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_json_is_a_line_a_flow(run: Run, folder: Path) -> None:
    status, out, err = run("--format", "json", folder)
    assert (status, err) == (0, [])
    first, whole = answers(out)
    assert whole == {"capture": "whole.pcap", **HANDSHAKE_ANSWER}
    assert first == {
        "capture": "sub/first.pcapng.gz",
        **HANDSHAKE_ANSWER,
        "evidence": "initiation",
        "handshakes": 0,
        "verdict": "none",
    }


def test_a_file_has_the_name_that_was_given(run: Run, folder: Path) -> None:
    given = f"{folder}/./whole.pcap"
    _, out, _ = run("--format", "json", given)
    assert [answer["capture"] for answer in answers(out)] == [given]


def test_the_table_is_aligned(run: Run, folder: Path) -> None:
    status, out, err = run(folder)
    assert (status, err) == (0, [])
    heading, *rows = out
    assert len(rows) == 2
    for name, cell in (
        ("INITIATOR", "192.0.2.1:40000"),
        ("FIRST SEEN (UTC)", "2023-11-14 22:13:20.250"),
        ("REGISTRATION", "-"),
    ):
        assert {row.index(f"  {cell}  ") + 2 for row in rows} == {heading.index(name)}


def test_a_name_cannot_command_the_terminal(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "\x1b[2Jname.pcap"
    path.write_bytes(crafted.pcap(HANDSHAKE))
    _, out, _ = run(path)
    assert "\x1b" not in "".join(out)
    assert out[-1].endswith(r"\x1b[2Jname.pcap")


@pytest.mark.parametrize("prefix", ["192.0.2.0/24", "198.51.100.2/32"])
def test_a_registered_end_allows(
    run: Run, folder: Path, tmp_path: Path, prefix: str
) -> None:
    registry = tmp_path / "registry.csv"
    registry.write_text(f"prefix,registration\n{prefix},R-7\n")
    capture = folder / "whole.pcap"
    _, out, err = run("--format", "json", "--registry", registry, capture)
    (answer,) = answers(out)
    assert (answer["verdict"], answer["registration"]) == ("allow", "R-7")
    assert err == []


def test_bad_rows_of_the_registry_are_told(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry.csv"
    registry.write_text("prefix,registration\n203.0.113.0/24,R-1\nnonsense,R-2\n")
    status, out, err = run("--registry", registry, folder / "whole.pcap")
    assert (status, len(out)) == (0, 2)
    assert len(err) == 1
    assert "nonsense" in err[0]


def test_damage_is_one_line_and_status_2(run: Run, folder: Path) -> None:
    (folder / "cut.pcap").write_bytes(crafted.pcap(HANDSHAKE)[:-1])
    status, out, err = run("--format", "json", folder)
    assert status == 2
    assert [a["capture"] for a in answers(out)].count("cut.pcap") == 1
    assert len(answers(out)) == 3
    assert len(err) == 1
    assert "cut.pcap: damaged capture" in err[0]


def test_unreadable_input_does_not_stop_the_rest(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("a text file\n")
    status, out, err = run(
        "--format", "json", text, tmp_path / "nothing", folder / "whole.pcap"
    )
    assert status == 2
    assert len(answers(out)) == 1
    assert [line.startswith("vpngate: ") for line in err] == [True, True]


def test_a_flow_that_was_idle_is_still_one_flow(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "later.pcap"
    # One packet a second: the same two, again and again, then once more a day later.
    again = [frame for _ in range(2) for frame in HANDSHAKE[:2]]
    day = 86400
    content = bytearray(crafted.pcap(again))
    at = 24
    for number, frame in enumerate(again):
        if number >= 2:
            seconds = int.from_bytes(content[at : at + 4], "little") + day
            content[at : at + 4] = seconds.to_bytes(4, "little")
        at += 16 + len(frame)
    path.write_bytes(content)
    _, out, _ = run("--format", "json", path)
    (answer,) = answers(out)
    assert answer["first_seen"] == START
    assert answer["handshakes"] == 2


def test_a_time_that_no_calendar_has_is_shown_as_it_is(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "far.pcapng"
    whole_seconds = crafted.option(9, b"\0")
    path.write_bytes(
        crafted.section()
        + crafted.interface(options=whole_seconds)
        + crafted.enhanced(HANDSHAKE[0], ticks=1 << 60)
    )
    status, (_, row), err = run(path)
    assert (status, err) == (0, [])
    assert str(1 << 60) in row


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    many = folder / "many.pcap"
    many.write_bytes(
        crafted.pcap(
            [
                crafted.ethernet(crafted.udp(crafted.INITIATION, port=port))
                for port in range(1024, 11024)
            ]
        )
    )
    classify = [sys.executable, "-m", "vpngate", "classify", str(many)]
    with subprocess.Popen(
        classify, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"TUNNEL")
        process.stdout.close()
        assert process.stderr.read() == b""

# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify` on captures that are damaged, foreign, mixed, or badly named."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.capture import crafted
from tests.unit.cli.classifying import Classify, classify
from tests.unit.second_reading.confirmations import CONFIRMATIONS
from tests.unit.tunnels import test_wireguard as wireguard
from tests.unit.tunnels.crafting import network
from vpngate.packets import Transport

__all__ = ["classify"]

HANDSHAKE = crafted.HANDSHAKE
FORMS: tuple[list[str], ...] = ([], ["--format", "json"])


@pytest.mark.parametrize("link_type", [127, 105, 274])
@pytest.mark.parametrize("form", ["pcap", "pcapng", "gzip"])
@pytest.mark.parametrize("how", [[], ["--explain", "--no-addresses"]])
def test_link_types_that_are_not_understood_are_one_line(
    classify: Classify, link_type: int, form: str, how: list[str]
) -> None:
    """802.11 with radiotap and bare, and one of frames with a header of their own."""
    content = crafted.pcap(HANDSHAKE, link_type)
    if form == "pcapng":
        packets = b"".join(crafted.enhanced(frame) for frame in HANDSHAKE)
        content = crafted.section() + crafted.interface(link_type) + packets
    elif form == "gzip":
        content = gzip.compress(content)
    path = classify.folder / "foreign.pcap"
    path.write_bytes(content)
    assert classify.text(*how, path) == ""
    (line,) = classify.err
    assert f"link type {link_type}" in line
    assert classify.status == 2


def test_frames_of_another_link_type_do_not_hide_the_others(classify: Classify) -> None:
    path = classify.folder / "mixed.pcapng"
    path.write_bytes(
        crafted.section()
        + crafted.interface(crafted.RADIOTAP)
        + crafted.interface()
        + b"".join(crafted.enhanced(frame, n) for frame in HANDSHAKE for n in (0, 1))
    )
    (flow,) = classify.flows("--explain", path)
    assert flow["evidence"] == "confirmed"
    assert classify.status == 2
    assert len(classify.err) == 1


def test_both_families_and_every_tunnel_in_one_capture(classify: Classify) -> None:
    """As many flows as conversations, each with its own explanation and letters."""
    chosen = [c for c in CONFIRMATIONS if c.name in ("ESP", "PPTP", "IKE_SA_INIT")]
    assert len(chosen) == 3
    frames = [
        network(c.transport, said.payload, c.ports, back=said.back, ipv6=ipv6)
        for number in range(6)
        for c in chosen
        for ipv6 in (False, True)
        for said in c.said[number : number + 1]
    ]
    path = classify.folder / "both.pcap"
    path.write_bytes(crafted.pcap(frames, crafted.RAW))
    flows = classify.flows("--explain", "--no-addresses", path)
    assert [flow["evidence"] for flow in flows] == ["confirmed"] * 6
    assert all(flow["explanation"]["lacking"] == [] for flow in flows)
    letters = {
        flow[end]["address"] for flow in flows for end in ("initiator", "responder")
    }
    assert letters == set("ABCD")


@pytest.mark.parametrize("form", FORMS, ids=["table", "json"])
def test_a_name_commands_nothing(classify: Classify, form: list[str]) -> None:
    names = ["\x1b[2J.pcap", "a\nb.pcap", "\x9b31m.pcap", "\u202egpj.pcap", "\x7f.pcap"]
    for name in names:
        (classify.folder / name).write_bytes(crafted.pcap(HANDSHAKE)[:-1])
    (classify.folder / "\udcff.pcap").write_bytes(crafted.pcap(HANDSHAKE))
    for how in ([], ["--explain"], ["--explain", "--no-addresses"]):
        out = classify.text(*form, *how, classify.folder)
        assert all(line.isprintable() for line in out.splitlines())
        assert out.count("confirmed") == len(names) + 1
        assert len(classify.err) == len(names)
        assert all(line.isprintable() for line in classify.err)


@pytest.mark.parametrize("form", FORMS, ids=["table", "json"])
def test_a_damaged_capture_is_explained_up_to_there(
    classify: Classify, form: list[str]
) -> None:
    path = classify.folder / "cut.pcap"
    path.write_bytes(crafted.pcap(HANDSHAKE[:2])[:-1])
    out = classify.text("--explain", *form, path)
    assert "no answer seen; nothing else" in out
    assert classify.status == 2
    assert len(classify.err) == 1


def many(folder: Path) -> Path:
    """A capture whose explanation is more than a pipe holds."""
    frames = [
        crafted.ethernet(crafted.udp(crafted.INITIATION, port=port))
        for port in range(1024, 4024)
    ]
    path = folder / "many.pcap"
    path.write_bytes(crafted.pcap(frames))
    return path


@pytest.mark.parametrize("form", FORMS, ids=["table", "json"])
def test_a_reader_that_leaves_is_no_error(tmp_path: Path, form: list[str]) -> None:
    path = str(many(tmp_path))
    argv = [sys.executable, "-m", "vpngate", "classify", "--explain", *form, path]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + 13


def test_a_pipe_is_explained_like_a_file(classify: Classify) -> None:
    path = classify.capture(
        Transport.UDP,
        wireguard.PORTS,
        [(wireguard.INITIATION, False), (wireguard.RESPONSE, True)],
    )
    (told,) = classify.flows("--explain", path)
    argv = [sys.executable, "-m", "vpngate", "classify", "--explain"]
    done = subprocess.run(
        [*argv, "--format", "json", "/dev/stdin"],
        input=path.read_bytes(),
        capture_output=True,
        check=True,
        cwd=Path.cwd(),
    )
    assert json.loads(done.stdout) == {**told, "capture": "/dev/stdin"}

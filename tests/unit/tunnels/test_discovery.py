# SPDX-License-Identifier: GPL-2.0-or-later
"""Tunnels are found, not listed, and asked only about what they might read."""

import subprocess
import sys
from pathlib import Path

import pytest

import vpngate.tunnels
from tests.unit.tunnels import crafting
from vpngate.packets import Packet, Transport
from vpngate.recognition import Message, Role, Tunnel, sees_nothing
from vpngate.signatures import Field, Shape, Signature
from vpngate.tunnels import Recogniser, all_tunnels

PACKAGE = Path(vpngate.tunnels.__file__).parent


def output_of(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_module_that_defines_a_tunnel_is_found() -> None:
    defining = {
        path.stem
        for path in PACKAGE.glob("*.py")
        if "\nTUNNEL = " in path.read_text() and path.stem != "__init__"
    }
    assert {tunnel.name for tunnel in all_tunnels()} == defining


def test_a_new_module_is_all_it_takes(tmp_path: Path) -> None:
    source = (PACKAGE / "wireguard.py").read_text()
    new = source.replace('name="wireguard"', 'name="another"')
    (tmp_path / "another.py").write_text(new)
    code = (
        f"import vpngate.tunnels as t; t.__path__.append({str(tmp_path)!r}); "
        "print(*(tunnel.name for tunnel in t.all_tunnels()))"
    )
    assert {"another", "wireguard"} <= set(output_of(code).split())


def test_names_of_tunnels_and_signatures_are_unique() -> None:
    names = [tunnel.name for tunnel in all_tunnels()]
    assert names == sorted(set(names))
    signatures = [s.name for tunnel in all_tunnels() for s in tunnel.signatures]
    assert len(signatures) == len(set(signatures))
    assert all(
        name.isascii() and name.replace("_", "").isalnum() for name in signatures
    )


def test_recognition_does_not_load_scapy() -> None:
    code = (
        "import sys; from vpngate.tunnels import all_tunnels, Recogniser; "
        "Recogniser(all_tunnels()); print('scapy' in sys.modules)"
    )
    assert output_of(code) == "False"


@pytest.mark.parametrize("command", ["check", "status", "lookup", "--help"])
def test_commands_that_recognise_nothing_do_not_load_scapy(
    command: str, tmp_path: Path
) -> None:
    """Half a second, and 60 MB: only for who is about to confirm a flow."""
    (tmp_path / "registry.csv").write_text("prefix,registration\n203.0.113.0/24,R-1\n")
    config = tmp_path / "vpngate.toml"
    config.write_text(
        f"[gateway]\ninterfaces = ['lan0']\n"
        f"[registry]\nsources = ['{tmp_path}/registry.csv']\n"
    )
    words = {
        "check": ["check", "--config", str(config)],
        "status": ["status", "--socket", str(tmp_path / "none.sock")],
        "lookup": ["lookup", "203.0.113.7", "--config", str(config)],
        "--help": ["--help"],
    }[command]
    code = (
        "import sys; from vpngate.cli import main\n"
        "try:\n"
        f"    main({words!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('scapy' in sys.modules)"
    )
    assert output_of(code).splitlines()[-1] == "False"


def test_every_tunnel_has_a_second_reader() -> None:
    for tunnel in all_tunnels():
        assert tunnel.second is not sees_nothing
        assert tunnel.second()(crafting.packet(Transport.UDP, b"", (9, 9))) is None


def test_a_tunnel_file_may_hold_its_own_scapy_part(tmp_path: Path) -> None:
    source = (PACKAGE / "wireguard.py").read_text()
    new = (
        source.replace('name="wireguard"', 'name="another"')
        .replace(
            "    from vpngate.tunnels.messages import wireguard  # noqa: PLC0415",
            "    from scapy.packet import Raw as raw  # noqa: PLC0415",
        )
        .replace("    return wireguard.read", "    return lambda packet: None")
    )
    assert new.count("lambda packet: None") == 1
    (tmp_path / "another.py").write_text(new)
    code = (
        f"import sys, vpngate.tunnels as t; t.__path__.append({str(tmp_path)!r})\n"
        "[tunnel] = [one for one in t.all_tunnels() if one.name == 'another']\n"
        "before = 'scapy' in sys.modules\n"
        "print(before, tunnel.second()(None), 'scapy' in sys.modules)"
    )
    assert output_of(code) == "False None True"


class Asked:
    """A tunnel that notes what it is asked about."""

    def __init__(self, *signatures: Signature) -> None:
        self.payloads: list[bytes] = []
        self.tunnel = Tunnel("asked", signatures, self.read, lambda f: (f,), 180)

    def read(self, packet: Packet) -> Message | None:
        self.payloads.append(packet.payload)
        return Message(Role.INITIATION, "hello") if packet.payload[1:] else None


def asked(asking: Asked, transport: Transport, payload: bytes, port: int) -> bool:
    before = len(asking.payloads)
    packet = crafting.packet(transport, payload, (port, 9))
    Recogniser([asking.tunnel]).recognise(packet)
    return len(asking.payloads) > before


def test_readers_are_chosen_by_transport_port_and_first_byte() -> None:
    asking = Asked(
        Signature(
            "with_ports",
            Transport.UDP,
            (Shape((Field(0, b"\x10\x20", b"\xf0\xff"),)),),
            frozenset({77}),
        ),
        Signature("any_port", Transport.UDP, (Shape((Field(0, b"\x30"),)),)),
        Signature("not", Transport.TCP, (Shape((Field(0, b"\x40", differs=True),)),)),
        Signature("later", Transport.GRE, (Shape((Field(1, b"\x40"),)),)),
    )
    assert asked(asking, Transport.UDP, b"\x1f\x99", 77)
    assert not asked(asking, Transport.UDP, b"\x1f\x99", 78)
    assert not asked(asking, Transport.UDP, b"\x2f\x99", 77)
    assert asked(asking, Transport.UDP, b"\x30", 78)
    assert asked(asking, Transport.TCP, b"\x41", 78)
    assert not asked(asking, Transport.TCP, b"\x40", 78)
    assert asked(asking, Transport.GRE, b"\x99", 0)
    assert not asked(asking, Transport.ESP, b"\x30", 0)
    assert not asked(asking, Transport.UDP, b"", 77)


def test_a_field_of_many_bytes_that_differs_says_nothing_of_the_first() -> None:
    shape = Shape((Field(0, b"\x40\x41", differs=True),))
    asking = Asked(Signature("not", Transport.TCP, (shape,)))
    assert asked(asking, Transport.TCP, b"\x40\x99", 78)


def test_a_recogniser_gives_the_tunnel_and_its_message() -> None:
    signature = Signature("a", Transport.UDP, (Shape((Field(0, b"\x30"),)),))
    tunnel = Asked(signature).tunnel
    packet = crafting.packet(Transport.UDP, b"\x30\x31", (1, 2))
    recogniser = Recogniser([tunnel])
    found = (tunnel, Message(Role.INITIATION, "hello"))
    assert recogniser.recognise(packet) == found
    alone = crafting.packet(Transport.UDP, b"\x30", (1, 2))
    assert recogniser.recognise(alone) is None

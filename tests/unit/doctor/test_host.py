# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read of this machine, as far as it can be known beforehand."""

import errno
import os
import socket
from pathlib import Path

import pytest

from vpngate.doctor import host
from vpngate.doctor.host import Caller, User

STRANGER = 60123  # a number that no user has


def test_the_caller() -> None:
    who = host.caller()
    assert who.uid == os.geteuid()
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff")
    )
    assert f"{who.capabilities:016x}" in line
    assert Caller(0, 0b1000).has(3)
    assert not Caller(0, 0b1000).has(2)


def test_the_user_that_the_daemon_will_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "UNIT_USER", "nobody-of-that-name")
    me = host.user_of_unit(host.caller())
    assert (me.uid, me.is_caller) == (os.geteuid(), True)
    assert host.user_of_unit(Caller(STRANGER, 0)).name == f"uid {STRANGER}"
    monkeypatch.setattr(host, "UNIT_USER", "nobody")
    unit = host.user_of_unit(Caller(0, 0))
    assert (unit.name, unit.is_caller) == ("nobody", False)
    assert host.user_of_unit(Caller(STRANGER, 0)).is_caller


@pytest.mark.parametrize(
    ("mode", "uid", "group", "writable"),
    [
        (0o700, 0, 0, True),
        (0o500, 0, 0, False),
        (0o770, 1, 0, True),
        (0o707, 1, 0, False),
        (0o703, 1, 1, True),
        (0o702, 1, 1, False),
        (0o775, 1, 1, False),
    ],
)
def test_a_folder_for_another_user(
    tmp_path: Path,
    mode: int,
    uid: int,
    group: int,
    writable: bool,  # noqa: FBT001
) -> None:
    """`uid` and `group` say how far the user is from the folder's own."""
    place = tmp_path / "state"
    place.mkdir()
    place.chmod(mode)
    owner = place.stat()
    user = User(
        "x",
        owner.st_uid + uid or STRANGER,
        frozenset({owner.st_gid + group}),
        is_caller=False,
    )
    if user.uid == STRANGER:
        os.chown(place, STRANGER, -1)
    found = host.folder(str(place), user)
    assert (found.exists, found.writable) == (True, writable)


def test_a_folder_that_is_yet_to_be_made(tmp_path: Path) -> None:
    me = User("me", os.geteuid(), frozenset(), is_caller=True)
    wanted = tmp_path / "a" / "b"
    found = host.folder(str(wanted), me)
    assert (found.exists, found.nearest, found.writable) == (False, str(tmp_path), True)
    (tmp_path / "a").touch()
    assert not host.folder(str(wanted), me).writable, "a file stands in its place"
    unit_as_root = User("root", 0, frozenset(), is_caller=False)
    assert host.folder(str(tmp_path), unit_as_root).writable
    assert host.folder("", me).nearest == "."


def test_an_address_to_listen_on() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as server:
            server.bind((address, 0))
            server.listen()
            port = server.getsockname()[1]
            assert host.may_listen(address, port) == errno.EADDRINUSE
        assert host.may_listen(address, port) == 0
    assert host.may_listen("192.0.2.1", 9753) == errno.EADDRNOTAVAIL


def test_the_clock_and_ports_are_told_of() -> None:
    assert host.is_clock_synchronised() in (True, False)
    assert 0 <= host.first_free_port() <= 65536


def test_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With lists of our own: whether there are modules depends on the machine."""
    monkeypatch.setattr(host, "_MODULES", tmp_path)
    monkeypatch.setattr(host, "_PROC", tmp_path)
    assert not host.is_loadable("ifb")
    assert host.first_free_port() == 1024
    folder = tmp_path / os.uname().release
    folder.mkdir()
    (folder / "modules.dep").write_text("kernel/drivers/net/ifb.ko.xz:\n")
    (tmp_path / "modules").write_text("veth 1 2\n")
    assert host.is_loadable("ifb")
    assert not host.is_loadable("sch_htb")
    (tmp_path / "modules").write_text("ifb 1 2\n")
    assert not host.is_loadable("ifb")


@pytest.mark.parametrize(
    ("chosen", "told"),
    [({}, []), ({"ipv4": 0, "ipv6": 1}, ["ipv6"]), ({"ipv4": 2}, [])],
)
def test_who_chooses_a_next_hop_by_ports(
    chosen: dict[str, int],
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "_PROC", tmp_path)
    for family, policy in chosen.items():
        folder = tmp_path / "sys/net" / family
        folder.mkdir(parents=True)
        (folder / "fib_multipath_hash_policy").write_text(f"{policy}\n")
    named = [f"net.{family}.fib_multipath_hash_policy" for family in told]
    assert host.routed_by_ports() == named

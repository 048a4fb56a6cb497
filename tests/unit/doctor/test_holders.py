# SPDX-License-Identifier: GPL-2.0-or-later
"""From a socket to the process that holds it: this one."""

import os
import socket
from pathlib import Path

from vpngate.doctor import holders
from vpngate.doctor.holders import NOBODY_KNOWN, Holder


def test_whoever_listens_in_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert holders.behind_socket(str(path)) is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert holders.behind_socket(str(path)) is None, "left behind"
        server.listen()
        found = holders.behind_socket(str(path))
    assert found is not None
    assert found.process == os.getpid()
    assert found.name == Path("/proc/self/comm").read_text().strip()


def test_whoever_listens_on_a_port() -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as server:
            server.bind((host, 0))
            port = server.getsockname()[1]
            assert holders.of_tcp_port(port) == NOBODY_KNOWN
            server.listen()
            assert holders.of_tcp_port(port).process == os.getpid()


def test_whoever_has_a_netlink_socket() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as one:
        one.bind((0, 0))
        port = one.getsockname()[0]
        assert holders.of_netlink_port(port).process == os.getpid()
    assert holders.of_netlink_port(port) == NOBODY_KNOWN


def test_what_is_said_of_a_process() -> None:
    assert str(Holder(7, "ulogd")) == "ulogd (7)"
    assert str(Holder(7, "")) == "process (7)"
    assert "cannot be seen" in str(NOBODY_KNOWN)
    assert Holder(7, "vpngate").is_daemon
    assert not Holder(7, "ulogd").is_daemon
    assert Holder(7, "a").may_be(Holder(7, "a"))
    assert not Holder(7, "a").may_be(Holder(8, "a"))
    assert NOBODY_KNOWN.may_be(Holder(8, "a"))

# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of privileges, folders, addresses, the clock and the daemon."""

import errno

import pytest

from tests.unit.doctor.settings import config
from vpngate.config import CaptureSource, Plane
from vpngate.doctor import surroundings
from vpngate.doctor.findings import Weight
from vpngate.doctor.holders import NOBODY_KNOWN, Holder
from vpngate.doctor.host import Caller, Folder, User
from vpngate.errors import Problem

CONFIG = config()
WHERE = "http.listen 127.0.0.1:9753"
ADMIN, RAW = 1 << surroundings.NET_ADMIN, 1 << surroundings.NET_RAW
UNIT = User("vpngate", 900, frozenset({900}), is_caller=False)
CALLER = User("root", 0, frozenset({0}), is_caller=True)
DAEMON, OTHER = Holder(100, "vpngate"), Holder(200, "nginx")


@pytest.mark.parametrize(
    ("source", "capabilities", "name", "weight"),
    [
        (CaptureSource.NFLOG, ADMIN, "CAP_NET_ADMIN", Weight.SOUND),
        (CaptureSource.NFLOG, RAW, "CAP_NET_ADMIN", Weight.MISSING),
        (CaptureSource.MIRROR, RAW, "CAP_NET_RAW", Weight.SOUND),
        (CaptureSource.MIRROR, ADMIN, "CAP_NET_RAW", Weight.MISSING),
    ],
)
def test_privileges(
    source: CaptureSource, capabilities: int, name: str, weight: Weight
) -> None:
    (finding,) = surroundings.judge_caller(Caller(1000, capabilities), source)
    assert (finding.weight, finding.where) == (weight, f"privilege {name}")


@pytest.mark.parametrize("missing", ["CAP_BPF", "CAP_PERFMON"])
def test_programs_take_two_privileges_more(missing: str) -> None:
    numbers = {"CAP_BPF": 39, "CAP_PERFMON": 38}
    held = ADMIN | sum(1 << n for name, n in numbers.items() if name != missing)
    asked = Caller(1000, held), CaptureSource.NFLOG, Plane.EBPF
    found = {one.where: one.weight for one in surroundings.judge_caller(*asked)}
    assert found == {
        f"privilege {name}": Weight.MISSING if name == missing else Weight.SOUND
        for name in ("CAP_NET_ADMIN", *numbers)
    }


def test_root_is_told_that_less_is_enough() -> None:
    _, note = surroundings.judge_caller(Caller(0, ADMIN | RAW), CaptureSource.NFLOG)
    assert (note.weight, note.where) == (Weight.SOUND, "user root")


def test_the_configuration() -> None:
    sound = surroundings.judge_configuration("v.toml", ())
    assert (sound.weight, sound.where) == (Weight.SOUND, "v.toml")
    one = surroundings.judge_configuration("v.toml", [Problem("a", "b")])
    assert (one.weight, one.what[:10]) == (Weight.MISSING, "1 problem,")
    two = surroundings.judge_configuration("v.toml", [Problem("a", "b")] * 2)
    assert two.what.startswith("2 problems,")
    assert "vpngate check --config v.toml" in two.remedy


@pytest.mark.parametrize(
    ("folder", "user", "weight", "words"),
    [
        (Folder("/s", "/s", writable=True), CALLER, Weight.SOUND, "writable (as root)"),
        (Folder("/s", "/", writable=True), CALLER, Weight.SOUND, "made by the daemon"),
        (Folder("/s", "/s", writable=False), UNIT, Weight.MISSING, "cannot be written"),
        (Folder("/s", "/", writable=False), UNIT, Weight.MISSING, "is not there"),
        (
            Folder("/var/lib/vpngate", "/var/lib", writable=False),
            UNIT,
            Weight.SOUND,
            "is made by the unit",
        ),
        (
            Folder("/run/vpngate", "/run", writable=False),
            CALLER,
            Weight.MISSING,
            "is not there",
        ),
    ],
)
def test_folders(folder: Folder, user: User, weight: Weight, words: str) -> None:
    state = surroundings.judge_state(folder, user)
    socket = surroundings.judge_socket(folder, user)
    for finding in (state, socket):
        assert (finding.weight, finding.where) == (weight, f"folder {folder.path}")
        assert words in finding.what


@pytest.mark.parametrize(
    ("answer", "holder", "daemon", "weight", "words"),
    [
        (0, None, None, Weight.SOUND, "is free"),
        (errno.EADDRINUSE, DAEMON, DAEMON, Weight.SOUND, "held by the daemon"),
        (errno.EADDRINUSE, NOBODY_KNOWN, DAEMON, Weight.SOUND, "held by the daemon"),
        (errno.EADDRINUSE, OTHER, DAEMON, Weight.CONFLICT, "nginx (200)"),
        (errno.EADDRINUSE, OTHER, None, Weight.CONFLICT, "nginx (200)"),
        (errno.EADDRINUSE, NOBODY_KNOWN, None, Weight.CONFLICT, "cannot be seen"),
        (errno.EACCES, None, None, Weight.MISSING, "needs a privilege"),
        (errno.EADDRNOTAVAIL, None, None, Weight.MISSING, "cannot be used: "),
    ],
)
def test_the_address_of_the_pages(
    answer: int,
    holder: Holder | None,
    daemon: Holder | None,
    weight: Weight,
    words: str,
) -> None:
    finding = surroundings.judge_listen(WHERE, answer, holder, daemon)
    assert (finding.weight, finding.where) == (weight, WHERE)
    assert words in finding.what


def test_a_port_for_the_privileged() -> None:
    (finding,) = surroundings.judge_port(WHERE, 80, 1024, 0)
    assert (finding.weight, finding.where) == (Weight.COST, WHERE)
    assert list(surroundings.judge_port(WHERE, 80, 80, 0)) == []
    assert list(surroundings.judge_port(WHERE, 80, 1024, errno.EACCES)) == []
    assert list(surroundings.judge_port(WHERE, 9753, 1024, 0)) == []


def test_both_listeners_are_looked_at() -> None:
    (first,) = surroundings.places_of(CONFIG)
    assert first == ("http.listen", ("127.0.0.1", 9753))
    both = config('[http]\nmetrics_listen = "192.0.2.1:9754"\n')
    assert list(surroundings.places_of(both)) == [
        first,
        ("http.metrics_listen", ("192.0.2.1", 9754)),
    ]


@pytest.mark.parametrize(
    ("synchronised", "weight"),
    [(True, Weight.SOUND), (False, Weight.COST), (None, Weight.UNKNOWN)],
)
def test_the_clock(synchronised: bool | None, weight: Weight) -> None:  # noqa: FBT001
    assert surroundings.judge_clock(synchronised).weight is weight


def test_a_running_daemon() -> None:
    assert "none is running" in surroundings.judge_daemon(None, "/s").what
    finding = surroundings.judge_daemon(DAEMON, "/s")
    assert finding.what == "a daemon is running: vpngate (100)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('mode = "enforce"\n', True),
        ('mode = "observe"\n', False),
        ('mode = "enforce"\n[tunnels]\nenabled = ["wireguard"]\n', False),
    ],
)
def test_ipsec_is_more_than_vpns(text: str, *, told: bool) -> None:
    gateway = 'interfaces = ["lan0"]\n' + text
    found = list(surroundings.judge_tunnels(config(gateway=gateway)))
    assert [one.weight for one in found] == [Weight.COST] * told


@pytest.mark.parametrize(
    ("mode", "plane", "told"),
    [
        ("observe", Plane.NFTABLES, 0),
        ("enforce", Plane.NFTABLES, 1),
        ("enforce", Plane.EBPF, 0),
    ],
)
def test_uplinks_that_are_chosen_by_ports(mode: str, plane: Plane, told: int) -> None:
    chosen = f'mode = "{mode}"\nplane = "{plane.value}"'
    asked = config(gateway=f'interfaces = ["lan0"]\n{chosen}')
    assert not list(surroundings.judge_uplinks(asked, []))
    found = list(surroundings.judge_uplinks(asked, ["net.ipv4.x"]))
    assert [(one.weight, one.where) for one in found] == told * [
        (Weight.COST, "net.ipv4.x")
    ]

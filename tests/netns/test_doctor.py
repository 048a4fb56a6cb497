# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor on a gateway: alone, beside every kind of conflict; it leaves no trace."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import topology
from tests.lab.daemon import VPNGATE, Settings, daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE, Namespace, wait_until
from tests.lab.topology import Lab
from vpngate.capture.live.nflog import NflogCapture
from vpngate.packets import Direction

_ABLE, _NOT = 0, 1
_LOOKED_AGAIN = 6.0  # seconds: the daemon looks for addresses every 5


@dataclass(frozen=True)
class Answer:
    """What the doctor said: its exit status, and the findings' texts by place."""

    status: int
    findings: dict[str, tuple[str, str]]  # where: (weight, what and cost)

    @property
    def grave(self) -> list[str]:
        """The places of what is missing or in conflict."""
        weights = ("missing", "conflict")
        return [w for w, (weight, _) in self.findings.items() if weight in weights]


@pytest.fixture(scope="module")
def settings(lab: Lab) -> Settings:
    return enforcing_settings(lab, "doctor")


def _command(settings: Settings, *more: str) -> tuple[str, ...]:
    files = ("--config", str(settings.config), "--socket", str(settings.socket))
    return (VPNGATE, "doctor", *files, *more)


def _ask(lab: Lab, settings: Settings, prefix: tuple[str, ...] = ()) -> Answer:
    """Ask for JSON; nothing may be on stderr."""
    done = subprocess.run(
        lab.gateway.command((*prefix, *_command(settings, "--format", "json"))),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["able"] is (done.returncode == _ABLE)
    return Answer(
        done.returncode,
        {
            each["where"]: (each["weight"], f"{each['what']}; {each['cost']}")
            for each in found["findings"]
        },
    )


def _takes(words: str, settings: Settings) -> bool:
    """Whether tc takes it, in a namespace where nothing else is."""
    place = Namespace("scratch", settings.folder)
    try:
        place.ip("link add a0 type veth peer b0")
        place.run("tc", "qdisc", "add", "dev", "a0", "clsact")
        place.run("tc", *shlex.split(words))
    except Exception:  # noqa: BLE001 - whatever it says, it does not
        return False
    else:
        return True
    finally:
        place.close()


def test_a_gateway_that_is_fit(lab: Lab, settings: Settings) -> None:
    """What this kernel lacks for comfort costs something, and no more."""
    answer = _ask(lab, settings)
    assert (answer.status, answer.grave) == (_ABLE, [])
    comforts = {
        "fq_codel": "qdisc add dev a0 root fq_codel",
    }
    for name, words in comforts.items():
        weight = "sound" if _takes(words, settings) else "costs"
        assert answer.findings[f"kernel: {name}"][0] == weight
    for where in (
        "kernel: nftables: hook egress",
        "kernel: ifb",
        "kernel: nftables: fwd at egress",
        "kernel: upload through the whole data plane",
        "kernel: download through the whole data plane",
        "capture: NFLOG",
        "interfaces lan0, lan1",
        "other rules",
        "http.listen 127.0.0.1:9753",
    ):
        assert answer.findings[where][0] == "sound"
    assert answer.findings["interfaces lan0, lan1"][1].startswith("veth, Ethernet, up")


def test_the_lines_for_people(lab: Lab, settings: Settings) -> None:
    *lines, last = lab.gateway.run(*_command(settings)).splitlines()
    assert last.startswith("vpngate can do its whole job here (")
    assert {line.split()[0] for line in lines} <= {"costs", "sound"}


def test_on_the_uplink_the_directions_swap() -> None:
    """And the machine itself has to drop forged sources, everywhere."""
    with topology.build() as lab:
        settings = enforcing_settings(lab, "uplink")
        uplink = {"side": "uplink", "nat": False, "interfaces": ["wan*"]}
        settings.change(gateway=uplink)
        assert "IPv6" in _ask(lab, settings).grave
        topology.filter_sources(lab.gateway)
        answer = _ask(lab, settings)
    assert (answer.status, answer.grave) == (_ABLE, [])
    for direction in Direction:
        where = f"kernel: {direction} through the whole data plane"
        assert answer.findings[where][0] == "sound"


def test_whom_the_configuration_protects_does_not_matter_to_the_trial(
    lab: Lab,
) -> None:
    settings = enforcing_settings(lab, "protecting")
    settings.change(protect={"prefixes": ["0.0.0.0/1", "128.0.0.0/1"]})
    answer = _ask(lab, settings)
    assert (answer.status, answer.grave) == (_ABLE, [])


def test_a_mirror_port(lab: Lab) -> None:
    settings = enforcing_settings(lab, "mirror")
    settings.change(gateway={"mode": "observe"}, capture={"source": "mirror"})
    answer = _ask(lab, settings)
    assert (answer.status, answer.grave) == (_ABLE, [])
    assert answer.findings["capture: a mirror port"][0] == "sound"


@dataclass(frozen=True)
class Neighbour:
    """Something of the operator's: how it comes and goes, and what is to be found."""

    up: str
    down: str
    where: str
    weight: str
    words: str


def _late(hook: str, family: str = "netdev", device: str = "lan0") -> str:
    return (
        f"nft add table {family} own {{ chain late {{ type filter hook {hook}"
        f" device {device} priority 600; }}; }}"
    )


def _rule(rule: str) -> str:
    return (
        "nft add table inet own { chain c { type filter hook forward priority 0;"
        f" {rule}; }}; }}"
    )


def _rid(family: str) -> str:
    return f"nft delete table {family} own"


_CONFLICTS = {
    "later ingress chain": Neighbour(
        *(_late("ingress"), _rid("netdev"), "nftables chain netdev own late"),
        *("conflict", "comes after vpngate's (ingress, priority 600, on lan0)"),
    ),
    "later ingress chain, inet": Neighbour(
        *(_late("ingress", "inet"), _rid("inet"), "nftables chain inet own late"),
        *("conflict", "throttled packets pass it by"),
    ),
    "later egress chain": Neighbour(
        *(_late("egress"), _rid("netdev"), "nftables chain netdev own late"),
        *("conflict", "throttled packets pass it by"),
    ),
    "egress chain elsewhere": Neighbour(
        _late("egress", device="wan0"),
        *(_rid("netdev"), "nftables chain netdev own late"),
        *("costs", "does not see throttled packets"),
    ),
    "table of our name": Neighbour(
        "nft add table netdev vpngate",
        "nft delete table netdev vpngate",
        *("nftables table netdev vpngate", "conflict", "is not vpngate's"),
    ),
    "filter at ingress": Neighbour(
        "tc qdisc add dev lan0 clsact; tc filter add dev lan0 ingress pref 9 u32"
        " match u32 0 0 action mirred egress mirror dev wan0",
        "tc qdisc del dev lan0 clsact",
        *("tc filter u32 pref 9 at ingress of lan0", "costs", "(mirred)"),
    ),
    "filter at egress": Neighbour(
        "tc qdisc add dev lan0 clsact; tc filter add dev lan0 egress pref 9 u32"
        " match u32 0 0 action mirred egress mirror dev wan0",
        "tc qdisc del dev lan0 clsact",
        *("tc filter u32 pref 9 at egress of lan0", "conflict", "is left alone"),
    ),
    "filter of the root's queue": Neighbour(
        "tc qdisc add dev lan0 root handle 1: htb; tc filter add dev lan0 parent 1:"
        " pref 9 u32 match u32 0 0 action mirred egress mirror dev wan0",
        "tc qdisc del dev lan0 root",
        *("tc filter u32 pref 9 at egress of lan0", "conflict", "is left alone"),
    ),
    "ifb of our name": Neighbour(
        *("ip link add ifb-vpngate type ifb", "ip link del ifb-vpngate"),
        *("interface ifb-vpngate", "conflict", "was not made by vpngate"),
    ),
    "another device of our name": Neighbour(
        "ip link add ifb-vpngate type veth peer name other0",
        *("ip link del ifb-vpngate", "interface ifb-vpngate"),
        *("conflict", "is not an ifb"),
    ),
    "interface down": Neighbour(
        *("ip link add lan9 type veth peer name other0", "ip link del lan9"),
        *("interface lan9", "costs", "is down"),
    ),
    "bridge and port": Neighbour(
        "ip link add lan8 type bridge; ip link add lan9 type veth peer name other0;"
        " ip link set lan9 master lan8",
        "ip link del lan9; ip link del lan8",
        *("interface lan9", "costs", "lan8 stands on it"),
    ),
}


@contextlib.contextmanager
def _present(lab: Lab, neighbour: Neighbour) -> Iterator[None]:
    def quoted(words: str) -> str:
        """nft's braces and semicolons are not for the shell."""
        if not words.startswith("nft"):
            return words
        head, brace, rest = words.partition("{")
        return f"{head}{shlex.quote(brace + rest)}" if brace else words

    lab.gateway.run("sh", "-ec", quoted(neighbour.up))
    try:
        yield
    finally:
        lab.gateway.run("sh", "-ec", quoted(neighbour.down))


@pytest.mark.parametrize("name", _CONFLICTS)
def test_what_stands_in_the_way_is_named(
    lab: Lab, settings: Settings, name: str
) -> None:
    neighbour = _CONFLICTS[name]
    with _present(lab, neighbour):
        answer = _ask(lab, settings)
    weight, text = answer.findings[neighbour.where]
    assert weight == neighbour.weight
    assert neighbour.words in text
    expected = [] if weight == "costs" else [neighbour.where]
    assert answer.grave == expected
    assert answer.status == (_NOT if expected else _ABLE)


def test_a_group_and_an_address_that_are_taken(lab: Lab, settings: Settings) -> None:
    def listen() -> socket.socket:
        server = socket.create_server(("127.0.0.1", 9753))
        server.listen()
        return server

    with lab.gateway.call(lambda: NflogCapture(5170)), lab.gateway.call(listen):
        answer = _ask(lab, settings)
    assert answer.status == _NOT
    assert answer.grave == ["NFLOG group 5170", "http.listen 127.0.0.1:9753"]
    for where in answer.grave:
        assert f"({os.getpid()})" in answer.findings[where][1]


def test_a_running_daemon_is_no_conflict_with_itself(lab: Lab) -> None:
    settings = enforcing_settings(lab, "running")
    with daemon(lab.gateway, settings) as running:
        before = _settled_table(lab)
        known = f"a daemon is running: vpngate ({running.process.pid})"
        answer = _ask(lab, settings)
        assert (answer.status, answer.grave) == (_ABLE, [])
        assert answer.findings["daemon"][1].startswith(known)
        listen = answer.findings["http.listen 127.0.0.1:9753"]
        assert listen == ("sound", "is held by the daemon; ")
        elsewhere = enforcing_settings(lab, "elsewhere")
        assert not elsewhere.socket.exists()
        answer = _ask(lab, elsewhere)
        assert (answer.status, answer.grave) == (_ABLE, [])
        assert answer.findings["daemon"][1].startswith(known)
        after = lab.gateway.run("nft", "list", "table", "netdev", "vpngate")
        assert _timeless(before) == _timeless(after)
        assert running.ask("status")["healthy"]


def _settled_table(lab: Lab) -> str:
    """The table once the gateway's own addresses, which come by and by, are in it."""
    listings = [""]

    def stands() -> bool:
        listings.append(lab.gateway.run("nft", "list", "table", "netdev", "vpngate"))
        time.sleep(_LOOKED_AGAIN)
        return _timeless(listings[-2]) == _timeless(listings[-1])

    wait_until(stands, "a table that stands still", PATIENCE)
    return listings[-1]


def _timeless(listing: str) -> list[str]:
    """A table without what moves by itself: the switch's time, and counters."""
    lines = listing.splitlines()
    return [line for line in lines if "expires" not in line and "packets" not in line]


def test_what_a_killed_daemon_left_is_told(lab: Lab) -> None:
    settings = enforcing_settings(lab, "killed")
    with daemon(lab.gateway, settings) as running:
        running.process.send(signal.SIGKILL)
        running.process.wait()
    answer = _ask(lab, settings)
    assert (answer.status, answer.grave) == (_ABLE, [])
    assert "was left behind" in answer.findings["interface ifb-vpngate"][1]
    with daemon(lab.gateway, settings):
        pass  # clears it away
    assert "interface ifb-vpngate" not in _ask(lab, settings).findings


@pytest.mark.parametrize(
    ("kept", "status", "grave"),
    [("", _NOT, ["privilege CAP_NET_ADMIN"]), (",+net_admin", _ABLE, [])],
)
def test_without_privileges_it_says_what_it_could_not_do(
    lab: Lab, settings: Settings, kept: str, status: int, grave: list[str]
) -> None:
    without = ("setpriv", "--inh-caps=-all", f"--bounding-set=-all{kept}")
    answer = _ask(lab, settings, without)
    assert (answer.status, answer.grave) == (status, grave)
    weight, text = answer.findings["kernel: features"]
    assert (weight, "CAP_SYS_ADMIN" in text) == ("unknown", True)
    assert answer.findings["other rules"][0] == ("sound" if kept else "unknown")
    assert answer.findings["interfaces lan0, lan1"][0] == "sound"


def test_without_the_right_to_send_it_tries_what_it_can(
    lab: Lab, settings: Settings
) -> None:
    without = ("setpriv", "--inh-caps=-all", "--bounding-set=-net_raw")
    answer = _ask(lab, settings, without)
    assert (answer.status, answer.grave) == (_ABLE, [])
    assert answer.findings["kernel: nftables: hook egress"][0] == "sound"
    weight, text = answer.findings["kernel: the whole data plane"]
    assert (weight, "CAP_NET_RAW" in text) == ("unknown", True)


_LOOKS = (
    ("ip", "-details", "link"),
    ("ip", "address"),
    ("ip", "rule"),
    ("nft", "list", "ruleset"),
    ("tc", "qdisc"),
    ("ip", "netns"),
)


def _look(lab: Lab) -> list[str]:
    """The gateway, and the machine that it stands on."""
    on_host = [
        subprocess.run(words, capture_output=True, text=True, check=True).stdout
        for words in _LOOKS
    ]
    return on_host + [lab.gateway.run(*words) for words in _LOOKS]


def test_nothing_is_touched(lab: Lab, settings: Settings) -> None:
    before = _look(lab)
    files = sorted(settings.folder.rglob("*"))
    assert _ask(lab, settings).status == _ABLE
    assert _look(lab) == before
    assert sorted(settings.folder.rglob("*")) == files


@pytest.mark.parametrize("device", ["vg-near", "ifb-vpngate"])
def test_killed_in_the_middle_it_leaves_nothing(
    lab: Lab, settings: Settings, device: str
) -> None:
    """Killed as soon as the device stands in its own namespace."""
    before = _look(lab)
    found: list[int] = []
    with lab.gateway.running(*_command(settings)) as process:
        own = Path("/proc", str(process.pid), "task")

        def there() -> bool:
            for thread in own.iterdir():
                with contextlib.suppress(OSError):
                    if device in (thread / "net" / "dev").read_text():
                        found.append((thread / "ns" / "net").stat().st_ino)
            return bool(found)

        wait_until(there, f"{device} in the doctor's namespace")
        process.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    namespaces = set()
    for entry in Path("/proc").glob("[0-9]*/task/*/ns/net"):
        with contextlib.suppress(OSError):
            namespaces.add(entry.stat().st_ino)
    assert found[0] not in namespaces
    assert _look(lab) == before
    assert _ask(lab, settings).status == _ABLE

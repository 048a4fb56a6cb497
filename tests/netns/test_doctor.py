# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor on a gateway: alone, beside every kind of conflict; it leaves no trace."""

import contextlib
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab import topology
from tests.lab.asking_doctor import ABLE, UNABLE, ask, command
from tests.lab.daemon import Settings, daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE, Namespace, wait_until
from tests.lab.questions import QUESTION
from tests.lab.topology import Lab
from vpngate.packets import Direction

_TRIES = 20
_LOOKED_AGAIN = 6.0  # seconds: the daemon looks for addresses every 5


@pytest.fixture(scope="module")
def settings(lab: Lab) -> Settings:
    return enforcing_settings(lab, "doctor")


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
    answer = ask(lab, settings)
    assert (answer.status, answer.grave) == (ABLE, [])
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
    *lines, last = lab.gateway.run(*command(settings)).splitlines()
    assert last.startswith("vpngate can do its whole job here (")
    assert {line.split()[0] for line in lines} <= {"costs", "sound"}


def test_on_the_uplink_the_directions_swap() -> None:
    """And the machine itself has to drop forged sources, everywhere."""
    with topology.build() as lab:
        settings = enforcing_settings(lab, "uplink")
        uplink = {"side": "uplink", "nat": False, "interfaces": ["wan*"]}
        settings.change(gateway=uplink)
        assert "IPv6" in ask(lab, settings).grave
        topology.filter_sources(lab.gateway)
        answer = ask(lab, settings)
    assert (answer.status, answer.grave) == (ABLE, [])
    for direction in Direction:
        where = f"kernel: {direction} through the whole data plane"
        assert answer.findings[where][0] == "sound"


def test_whom_the_configuration_protects_does_not_matter_to_the_trial(
    lab: Lab,
) -> None:
    settings = enforcing_settings(lab, "protecting")
    settings.change(protect={"prefixes": ["0.0.0.0/1", "128.0.0.0/1"]})
    answer = ask(lab, settings)
    assert (answer.status, answer.grave) == (ABLE, [])


def test_a_mirror_port(lab: Lab) -> None:
    settings = enforcing_settings(lab, "mirror")
    settings.change(gateway={"mode": "observe"}, capture={"source": "mirror"})
    answer = ask(lab, settings)
    assert (answer.status, answer.grave) == (ABLE, [])
    assert answer.findings["capture: a mirror port"][0] == "sound"


def test_a_running_daemon_is_no_conflict_with_itself(lab: Lab) -> None:
    settings = enforcing_settings(lab, "running")
    with daemon(lab.gateway, settings) as running:
        before = _settled_table(lab)
        known = f"a daemon is running: vpngate ({running.process.pid})"
        answer = ask(lab, settings)
        assert (answer.status, answer.grave) == (ABLE, [])
        assert answer.findings["daemon"][1].startswith(known)
        listen = answer.findings["http.listen 127.0.0.1:9753"]
        assert listen == ("sound", "is held by the daemon; ")
        elsewhere = enforcing_settings(lab, "elsewhere")
        assert not elsewhere.socket.exists()
        answer = ask(lab, elsewhere)
        assert (answer.status, answer.grave) == (ABLE, [])
        assert answer.findings["daemon"][1].startswith(known)
        after = lab.gateway.run("nft", "list", "table", "netdev", "vpngate")
        assert _timeless(before) == _timeless(after)
        assert running.ask("status")["healthy"]


def _settled_table(lab: Lab) -> str:
    """The table once the gateway's own addresses, which come by and by, are in it."""

    def listing() -> str:
        return lab.gateway.run("nft", "list", "table", "netdev", "vpngate")

    listings = [listing()]

    def stands() -> bool:
        time.sleep(_LOOKED_AGAIN)
        listings.append(listing())
        return _timeless(listings[-2]) == _timeless(listings[-1])

    wait_until(stands, "a table that stands still", PATIENCE)
    return listings[-1]


def _timeless(listing: str) -> list[str]:
    """A table without what moves by itself: the switch's time, counters, questions."""
    moving = ("expires", "packets", QUESTION)
    lines = listing.splitlines()
    return [line for line in lines if not any(word in line for word in moving)]


def test_what_a_killed_daemon_left_is_told(lab: Lab) -> None:
    settings = enforcing_settings(lab, "killed")
    with daemon(lab.gateway, settings) as running:
        running.process.send(signal.SIGKILL)
        running.process.wait()
    answer = ask(lab, settings)
    assert (answer.status, answer.grave) == (ABLE, [])
    assert "was left behind" in answer.findings["interface ifb-vpngate"][1]
    with daemon(lab.gateway, settings):
        pass  # clears it away
    assert "interface ifb-vpngate" not in ask(lab, settings).findings


@pytest.mark.parametrize(
    ("kept", "status", "grave"),
    [("", UNABLE, ["privilege CAP_NET_ADMIN"]), (",+net_admin", ABLE, [])],
)
def test_without_privileges_it_says_what_it_could_not_do(
    lab: Lab, settings: Settings, kept: str, status: int, grave: list[str]
) -> None:
    without = ("setpriv", "--inh-caps=-all", f"--bounding-set=-all{kept}")
    answer = ask(lab, settings, without)
    assert (answer.status, answer.grave) == (status, grave)
    weight, text = answer.findings["kernel: features"]
    assert (weight, "CAP_SYS_ADMIN" in text) == ("unknown", True)
    assert answer.findings["other rules"][0] == ("sound" if kept else "unknown")
    assert answer.findings["interfaces lan0, lan1"][0] == "sound"


def test_without_the_right_to_send_it_tries_what_it_can(
    lab: Lab, settings: Settings
) -> None:
    without = ("setpriv", "--inh-caps=-all", "--bounding-set=-net_raw")
    answer = ask(lab, settings, without)
    assert (answer.status, answer.grave) == (ABLE, [])
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
    assert ask(lab, settings).status == ABLE
    assert _look(lab) == before
    assert sorted(settings.folder.rglob("*")) == files


def _killed_at(lab: Lab, settings: Settings, device: str) -> int | None:
    """Kill one that has the device; the number of its namespace, None if it had ended.

    Looked at without a pause, for as long as it lives.
    """
    with lab.gateway.running(*command(settings)) as process:
        threads, found = Path("/proc", str(process.pid), "task"), None
        while found is None and process.exit_status is None:
            with contextlib.suppress(OSError):
                found = _namespace_with(device, threads)
        process.send(signal.SIGKILL)
        killed = process.wait() == -signal.SIGKILL
    return found if killed else None


def _namespace_with(device: str, threads: Path) -> int | None:
    for thread in threads.iterdir():
        with contextlib.suppress(OSError):
            if device in (thread / "net" / "dev").read_text():
                return (thread / "ns" / "net").stat().st_ino
    return None


@pytest.mark.parametrize("device", ["vg-near", "ifb-vpngate"])
def test_killed_in_the_middle_it_leaves_nothing(
    lab: Lab, settings: Settings, device: str
) -> None:
    """Killed as soon as the device stands in its own namespace.

    It stands there for a moment: where that went by unseen, another try.
    """
    before = _look(lab)
    tries = (_killed_at(lab, settings, device) for _ in range(_TRIES))
    own = next((one for one in tries if one is not None), None)
    assert own is not None, f"{device} was never seen in the doctor's namespace"
    namespaces = set()
    for entry in Path("/proc").glob("[0-9]*/task/*/ns/net"):
        with contextlib.suppress(OSError):
            namespaces.add(entry.stat().st_ino)
    assert own not in namespaces
    assert _look(lab) == before
    assert ask(lab, settings).status == ABLE

# SPDX-License-Identifier: GPL-2.0-or-later
"""What a killed daemon leaves is cleared away, and nothing of anybody else's."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.lab import load, wireguard
from tests.lab.attachings import by_filters
from tests.lab.daemon import VPNGATE, Settings, daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Lab
from tests.planes import DEVICE, PLANE
from vpngate.config import Plane
from vpngate.kernel.shaping.devices.naming import ADDRESS

_DONE, _NO = 0, 1  # exit status
# With our names: an ifb that somebody shapes by, what is no ifb, and a table that has
# nothing of ours in it.
_FOREIGN = """
ip link add ifb-vpngate up type ifb
tc qdisc add dev ifb-vpngate root handle 1: htb
ip link add ifb-vpngate.1 type veth peer name other0
ip link add vgs-vpngate up type ifb
nft add table netdev vpngate
nft add set netdev vpngate mine '{ type ipv4_addr; }'
"""
# What keeps a daemon from its own devices.
_IN_THE_WAY = {
    Plane.NFTABLES: ("ifb-vpngate", "ifb-vpngate.1"),
    Plane.EBPF: ("vgs-vpngate",),
}


@dataclass(frozen=True)
class Ending:
    status: int
    told: list[str]
    complaints: list[str]


def _end(lab: Lab, *argv: str) -> Ending:
    done = subprocess.run(
        lab.gateway.command(argv),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ending(done.returncode, done.stdout.splitlines(), done.stderr.splitlines())


def _clear(lab: Lab, settings: Settings, prefix: tuple[str, ...] = ()) -> Ending:
    return _end(lab, *prefix, VPNGATE, "clear", "--config", str(settings.config))


def _tables(lab: Lab) -> str:
    return lab.gateway.run("nft", "list", "tables")


def test_what_a_killed_daemon_left_goes_and_not_before(lab: Lab) -> None:
    settings = enforcing_settings(lab, "killed")
    with (
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
        daemon(lab.gateway, settings) as running,
    ):
        tunnel.shake_hands()
        running.wait_until(
            lambda: running.metric("vpngate_throttled_flows") == 1, "the verdict"
        )
        refused = _clear(lab, settings)
        assert (refused.status, refused.told) == (_NO, [])
        (line,) = refused.complaints
        assert "a process owns it" in line
        assert load.shaping_devices(lab.gateway) == [DEVICE]
        assert running.metric("vpngate_throttled_flows") == 1
        assert running.metric("vpngate_deadman_armed") == 1

        running.process.send(signal.SIGKILL)
        running.process.wait()
        assert load.shaping_devices(lab.gateway) == [DEVICE]
        filters = ["filters of interface lan0", "filters of interface lan1"]
        left = [f"interface {DEVICE}", *(filters if by_filters() else ())]
        told = [f"removed  {one}" for one in left]
        assert _clear(lab, settings) == Ending(_DONE, told, [])
    assert load.shaping_devices(lab.gateway) == []
    assert "vpngate" not in _tables(lab)
    assert _clear(lab, settings) == Ending(_DONE, ["nothing was left behind"], [])


def test_pairs_that_a_killed_daemon_left_go_too(lab: Lab) -> None:
    settings = enforcing_settings(lab, "pairs")
    lab.gateway.ip(
        *(
            f"link add {near} address {ADDRESS.hex(':')} type veth peer name {far}"
            for near, far in (("vgs-vpngate", "vgr-vpngate"), ("vgs-vpngate.9", "p9"))
        )
    )
    assert _clear(lab, settings) == Ending(
        _DONE,
        ["removed  interface vgs-vpngate.9", "removed  interface vgs-vpngate"],
        [],
    )
    assert "vg" not in lab.gateway.run("ip", "link", "show", "type", "veth")


@contextlib.contextmanager
def _foreign_objects(lab: Lab) -> Iterator[None]:
    lab.gateway.run("sh", "-ec", _FOREIGN)
    try:
        yield
    finally:
        for words in (
            "ip link del ifb-vpngate",
            "ip link del ifb-vpngate.1",
            "ip link del vgs-vpngate",
            "nft delete table netdev vpngate",
        ):
            lab.gateway.run(*words.split(), check=False)


def test_what_only_has_such_a_name_stays_and_is_named(lab: Lab) -> None:
    settings = enforcing_settings(lab, "foreign")
    with _foreign_objects(lab):
        ending = _clear(lab, settings)
        assert (ending.status, ending.told) == (_NO, ["nothing was left behind"])
        places = [line.split(": ")[1] for line in ending.complaints]
        assert places == [
            "nftables table netdev vpngate",
            "interface ifb-vpngate.1",
            "interface ifb-vpngate",
            "interface vgs-vpngate",
        ]
        assert all(line.endswith("left alone") for line in ending.complaints)
        shown = lab.gateway.run("tc", "qdisc", "show", "dev", "ifb-vpngate")
        assert "htb 1: root" in shown
        assert "ifb-vpngate.1" in lab.gateway.run("ip", "link")
        assert "set mine" in lab.gateway.run("nft", "list", "ruleset")

        started = _end(
            lab,
            *(VPNGATE, "run", "--config", str(settings.config)),
            *("--socket", str(settings.socket)),
        )
        assert started.status == _NO
        for device in _IN_THE_WAY[PLANE]:
            assert any(f"interface {device}: exists" in c for c in started.complaints)
        shown = lab.gateway.run("tc", "qdisc", "show", "dev", "ifb-vpngate")
        assert "htb 1: root" in shown


def test_without_privileges_it_is_one_line(lab: Lab) -> None:
    settings = enforcing_settings(lab, "unprivileged")
    without = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
    ending = _clear(lab, settings, prefix=without)
    assert (ending.status, ending.told) == (_NO, [])
    (line,) = ending.complaints
    assert "CAP_NET_ADMIN" in line

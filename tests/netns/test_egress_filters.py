# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the operator's tc filters act at egress, an interface is left alone, and named.

Throttled downloads would pass their actions by. While some stand, nothing is slowed
there, the other interface goes on, and whoever accepts it has the interface attached.
Filters that choose classes see throttled packets as they see all others.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.lab import load, operators, rates, wireguard
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.namespaces import Namespace
from tests.lab.topology import Lab
from tests.unit.daemon.gatehouse import config
from vpngate.attachment.skipped_filters import skipped_filters
from vpngate.kernel.wire.links import current_links

_CLSACT = """
tc qdisc add dev lan0 clsact
tc filter add dev lan0 egress u32 match u32 0 0 action mirred egress mirror dev lo
"""
_ROOT = """
tc qdisc add dev lan0 root handle 1: htb
tc filter add dev lan0 parent 1: u32 match u32 0 0 action mirred egress mirror dev lo
"""
_BRIDGED = '[gateway]\ninterfaces = ["br0"]\n'
_FILTERS = {"clsact": _CLSACT, "root": _ROOT}


@contextlib.contextmanager
def _present(lab: Lab, where: str) -> Iterator[None]:
    lab.gateway.run("sh", "-ec", _FILTERS[where])
    try:
        yield
    finally:
        lab.gateway.run("tc", "qdisc", "del", "dev", "lan0", where)


def _interfaces(running: Daemon, state: str) -> float:
    return running.metric("vpngate_interfaces", state=state)


@pytest.mark.parametrize("where", _FILTERS)
def test_while_filters_stand_it_is_left_alone_and_named(lab: Lab, where: str) -> None:
    with (
        daemon(lab.gateway, enforcing_settings(lab, f"filters-{where}")) as running,
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
    ):
        running.wait_for_flow("wireguard", "throttle")
        assert _interfaces(running, "attached") == 2
        with _present(lab, where):
            running.wait_until(
                lambda: _interfaces(running, "left_alone") == 1, "lan0 left alone"
            )
            named = running.ask("status")["interfaces_left_alone"]
            assert list(named) == ["lan0"]
            assert "accept_skipped_filters" in named["lan0"]
            running.process.expect("interface lan0: left alone")
            before = load.shaped_bytes(lab.gateway)
            sent = load.run_stream(tunnel.server, tunnel.client, rate=2e6, seconds=1.0)
            assert sent.lost == 0
            assert load.shaped_bytes(lab.gateway) == before
        running.wait_until(
            lambda: _interfaces(running, "attached") == 2, "lan0 attached again"
        )
        assert running.ask("status")["interfaces_left_alone"] == {}


def test_who_accepts_that_filters_are_skipped_has_it_attached(lab: Lab) -> None:
    settings = enforcing_settings(lab, "accepting")
    settings.change(gateway={"accept_skipped_filters": True})
    with (
        _present(lab, "clsact"),
        daemon(lab.gateway, settings) as running,
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
    ):
        running.wait_for_flow("wireguard", "throttle")
        assert _interfaces(running, "left_alone") == 0
        measured = rates.class_rates(lab, tunnel.server, tunnel.client)
    assert measured == [pytest.approx(rates.RATE, rel=rates.TOLERANCE)]


def test_what_a_bridge_sends_by_counts_as_its_own(tmp_path: Path) -> None:
    """The kernel skips actions at a port, too: what the ifb marked goes on marked."""
    place = Namespace("scratch", tmp_path)
    found = partial(
        place.call,
        lambda: skipped_filters(config(_BRIDGED), current_links(), ["br0"]),
    )
    try:
        place.ip(
            "link add br0 type bridge",
            "link add port0 type veth peer name port1",
            "link set port0 master br0",
        )
        assert found() == {}
        place.run("sh", "-ec", _CLSACT.replace("lan0", "port0"))
        assert found()["br0"].what.startswith("port0 below it has tc filters")
        place.run("tc", "qdisc", "del", "dev", "port0", "clsact")
        assert found() == {}
    finally:
        place.close()


_MARK = 0xC0000007
_OWN_RATE = 2e6  # bit/s of the operator's class: slower than ours, so that it shows


def test_own_mark_puts_throttled_downloads_into_own_class(lab: Lab) -> None:
    """A mark set while forwarding, an HTB class chosen by the whole of that mark."""
    with (
        daemon(lab.gateway, enforcing_settings(lab, "classes")) as running,
        wireguard.tunnel(lab.client, lab.stranger) as tunnel,
    ):
        running.wait_for_flow("wireguard", "throttle")
        marking = f"""table inet operator {{
            chain own {{
                type filter hook forward priority 0
                udp sport {tunnel.port} meta mark set {_MARK}
            }}
        }}"""
        with (
            operators.table(lab.gateway, marking),
            operators.classes(lab.gateway, "lan0", _MARK, _OWN_RATE),
            load.stream(tunnel.server, tunnel.client, rate=3 * rates.RATE),
        ):
            own = rates.rates_of(lambda: load.classes(lab.gateway, "lan0"), _OWN_RATE)
            before = load.shaped_bytes(lab.gateway)
            assert _interfaces(running, "left_alone") == 0
        assert load.shaped_bytes(lab.gateway) != before  # by way of vpngate's class
    assert own["lan0 1:10"] == pytest.approx(_OWN_RATE, rel=rates.TOLERANCE)

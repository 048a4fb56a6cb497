# SPDX-License-Identifier: GPL-2.0-or-later
"""A gateway follows a registry that `vpngate publish` writes where nginx serves it.

    subscriber ── lan0 gateway: the daemon; nginx on an address of its loopback

It asks every second, while one publication comes right after the other, and moves to
another key without a moment in which no source has a registry for it.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.certificates import Authority
from tests.lab.asked_kernel import spares
from tests.lab.daemon import VPNGATE, Daemon, Settings, daemon
from tests.lab.namespaces import PATIENCE, Namespace
from tests.lab.served import SERVER, Mirror, Portal

pytestmark = [
    pytest.mark.skipif(
        shutil.which("nginx") is None or shutil.which("minisign") is None,
        reason="needs nginx and minisign (Debian packages)",
    ),
    pytest.mark.timeout(240),
]

MORE = "198.51.100.0/24,R-3\n"
STORM = 8


@dataclass
class Site:
    portal: Portal
    settings: Settings
    gateway: Daemon
    nginx: Mirror


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        )
        (folder / "authority").mkdir()
        authority = Authority(folder / "authority")
        namespace = Namespace("gateway", folder)
        stack.callback(namespace.close)
        namespace.ip(
            "link set lo up",
            f"addr add {SERVER}/32 dev lo",
            "link add lan0 type veth peer name subscriber",
            "addr add 100.64.0.1/24 dev lan0",
            "link set lan0 up",
            "link set subscriber up",
        )
        nginx = Mirror(namespace, folder / "nginx", 8441, authority)
        portal = Portal(folder, folder / "nginx" / "www")
        settings = Settings(folder / "daemon")
        settings.change(
            gateway={"mode": "enforce", "interfaces": ["lan0"]},
            registry={
                "sources": [nginx.url],
                "public_key": portal.new_key("first"),
                "refresh": "1s",
            },
        )
        portal.publish("first")
        stack.callback(nginx.stop)
        nginx.start()
        program = ("env", f"SSL_CERT_FILE={authority.path}", VPNGATE, "run")
        gateway = stack.enter_context(daemon(namespace, settings, program))
        yield Site(portal, settings, gateway, nginx)


def serial(gateway: Daemon) -> float:
    return gateway.metric("vpngate_registry_serial")


def refusals(gateway: Daemon) -> float:
    """Loads refused, but for a look that fell on a change again and again."""
    told = "vpngate_registry_loads_refused_total"
    return gateway.metric(told) - gateway.metric(told, reason="signature_wrong")


def test_a_gateway_follows_what_is_published(site: Site) -> None:
    portal, gateway = site.portal, site.gateway
    assert serial(gateway) == 1
    portal.rows.write_text(portal.rows.read_text() + MORE)
    seen = [serial(gateway)]
    for _ in range(STORM):
        portal.publish("first")
        seen.append(serial(gateway))
    last = 1 + STORM
    gateway.wait_until(lambda: serial(gateway) == last, f"serial {last}", PATIENCE)
    assert seen == sorted(seen)
    assert spares(gateway, "198.51.100.5")

    # Another key, under another name, until the gateway has moved.
    key = portal.new_key("second")
    options = ("--serial", "100")
    portal.publish("second", *options, file="registry-2.json")
    url = site.nginx.url.replace("registry.json", "registry-2.json")
    site.settings.change(registry={"sources": [url], "public_key": key})
    gateway.command("reload")
    assert serial(gateway) == 100
    portal.publish("second", file="registry-2.json")
    gateway.wait_until(lambda: serial(gateway) == 101, "serial 101", PATIENCE)
    assert spares(gateway, "203.0.113.5")
    assert refusals(gateway) == 0

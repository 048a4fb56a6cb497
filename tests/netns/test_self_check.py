# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has a slowed tunnel is told so by the gateway's page, and nobody else is."""

import contextlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from jsonschema import Draft202012Validator

from tests.house import ROOT
from tests.lab import wireguard
from tests.lab.daemon import daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Host, Lab

pytestmark = pytest.mark.timeout(300)

# The gateway, as the subscribers see it; where its page listens.
GATEWAY = "100.64.1.1"
PORT = 8080
YES = "A VPN tunnel of your address is slowed now"
NO = "No VPN tunnel of your address is slowed now"


def ask(
    host: Host, typed: str | None = None, path: str = "/check", **headers: str
) -> str:
    """The page as a host gets it; with `typed`, the answer about that address."""
    body = (
        None if typed is None else urllib.parse.urlencode({"address": typed}).encode()
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://{GATEWAY}:{PORT}{path}", body, named)

    def get() -> str:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    return host.namespace.call(get)


def is_told(host: Host, words: str) -> bool:
    """Whether the page says so; no oftener than it answers, which is once a second."""
    with contextlib.suppress(urllib.error.HTTPError):  # 429, 503: not yet
        if words in ask(host):
            return True
    time.sleep(1)
    return False


def test_a_slowed_subscriber_is_told_and_nobody_else(lab: Lab) -> None:
    settings = enforcing_settings(lab, "page")
    settings.change(
        http={
            "listen": f"{GATEWAY}:{PORT}",
            "metrics_listen": "127.0.0.1:9753",
            "trusted_proxies": [],
        },
        log={"level": "debug"},
    )
    own, other = lab.client.ipv4, lab.neighbour.ipv4
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(daemon(lab.gateway, settings))
        assert NO in ask(lab.client)
        stack.enter_context(wireguard.tunnel(lab.client, lab.stranger))
        stack.enter_context(wireguard.tunnel(lab.neighbour, lab.member))
        running.wait_for_flow("wireguard", "throttle")
        running.wait_for_flow("wireguard", "allow")
        running.wait_until(lambda: is_told(lab.client, YES), "the page to tell")
        assert f"Your address {own} is not registered" in ask(lab.client)
        assert YES in ask(lab.client, own)
        # The other one: about itself no, about the first nothing at all.
        assert NO in ask(lab.neighbour)
        before = ask(lab.neighbour, own)
        assert f"{own} is not registered" in before
        assert YES not in before
        assert NO not in before
        forged = ask(lab.neighbour, own, X_Forwarded_For=own, Forwarded=f"for={own}")
        assert forged == before
        assert f"Your address {other}" in ask(lab.neighbour, X_Forwarded_For=own)
        # Whose tunnel is registered at its other end: not slowed, and it says why.
        assert "is registered" in ask(lab.neighbour, lab.member.ipv4)

        told = json.loads(ask(lab.neighbour, path="/report.json"))
        schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
        assert [*Draft202012Validator(schema).iter_errors(told)] == []
        assert told["slowed_flows"] >= 1
        by_command = json.loads(running.command("report", "--format", "json"))
        assert by_command["classes"] == told["classes"]
        page = ask(lab.neighbour, path="/")
        assert "This gateway slows unregistered VPN tunnels" in page
        for address in (own, other, lab.stranger.ipv4, lab.member.ipv4):
            assert address not in json.dumps(told)
            assert address not in page
            assert address not in running.process.output()
        # What no longer is acted on is slowed no more.
        running.command("observe")
        assert NO in ask(lab.client)
        assert before != ask(lab.neighbour, own)  # the stance is another one

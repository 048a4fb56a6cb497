# SPDX-License-Identifier: GPL-2.0-or-later
"""What a preview foresees of real tunnels is what enforcing then does to them."""

import contextlib
import json
import re
import sys
from collections import Counter
from typing import Any

import pytest

from tests.lab import bpf_daemon, l2tp, openvpn, wireguard
from tests.lab.daemon import Daemon, Settings, daemon
from tests.lab.topology import Lab
from tests.planes import PLANE
from vpngate.config import Plane

pytestmark = pytest.mark.timeout(300)

# As nft lists a flow: source, destination, both ports in hex.
_ELEMENT = re.compile(r"(100\.64\.\S+) \. (198\.51\.\S+) \. 0x([0-9a-f]{8}) ")


def _preview(running: Daemon, *argv: str) -> dict[str, Any]:
    answer = json.loads(running.command("preview", "--format", "json", *argv))
    assert isinstance(answer, dict)
    return answer


def _slowed(running: Daemon, tunnels: dict[int, str]) -> Counter[str]:
    """The flows that the kernel has verdicts on, by tunnel; `tunnels` by its port."""
    if PLANE is Plane.EBPF:
        keys = bpf_daemon.verdicts(running.process.pid, "upload_ipv4")
        return Counter(tunnels[int.from_bytes(key[10:12], "big")] for key in keys)
    listed = running.namespace.run("nft", "list", "map", "netdev", "vpngate", _UPLOADS)
    found = _ELEMENT.findall(listed)
    assert len(found) == len(set(found))
    return Counter(tunnels[_to(ports)] for _, _, ports in found)


def _to(ports: str) -> int:
    """The destination's port, of two in network order that nft prints as a number."""
    both = int(ports, 16).to_bytes(4, sys.byteorder)
    return int.from_bytes(both[2:])


_UPLOADS = "upload_udp_ipv4"


def test_what_is_foreseen_is_what_happens(lab: Lab) -> None:
    settings = Settings(lab.folder / "previewed")
    settings.change(gateway={"interfaces": ["lan*"]})
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(daemon(lab.gateway, settings))
        up = stack.enter_context
        own = up(wireguard.tunnel(lab.client, lab.stranger))
        other = up(wireguard.tunnel(lab.neighbour, lab.stranger))
        up(wireguard.tunnel(lab.client, lab.member))
        routed = up(openvpn.tunnel(lab.client, lab.stranger))
        up(l2tp.tunnel(lab.neighbour, lab.stranger))
        for tunnel, count in {"wireguard": 2, "openvpn": 1, "l2tp": 1}.items():
            running.wait_for_flow(tunnel, "throttle", count)
        running.wait_for_flow("wireguard", "allow")

        found = _preview(running)
        foreseen = {
            name: numbers["would_be_slowed"]
            for name, numbers in found["tunnels"].items()
        }
        assert foreseen == {"wireguard": 2, "openvpn": 1, "l2tp": 1}
        assert found["tunnels"]["wireguard"]["left_alone"] == 1
        assert found["subscribers"]["would_be_slowed"] == 2
        assert found["registered_touched"] == 0
        _asks_about_another_registry(running, lab)
        told = running.ask("status")["enforcing_would_have"]
        assert {n: c for n, c in told["slowed_flows"].items() if c} == foreseen
        assert (told["touched_registered"], told["bytes_of_these"]) == (0, None)
        assert told["bytes_of_all"]["upload"] > 0

        told = lab.gateway.run("nft", "list", "ruleset")
        assert PLANE is Plane.EBPF or _UPLOADS in told
        ports = {own.port: "wireguard", other.port: "wireguard"}
        ports |= {routed.port: "openvpn", 1701: "l2tp"}
        assert _slowed(running, ports) == {}
        running.command("enforce")
        running.wait_until(
            lambda: running.metric("vpngate_throttled_flows") >= sum(foreseen.values()),
            "as many verdicts as were foreseen",
        )
        assert _slowed(running, ports) == foreseen
        now = _preview(running)["tunnels"]
        assert {n: t["would_be_slowed"] for n, t in now.items()} == foreseen
        assert {t["newly_slowed"] for t in now.values()} == {0}
        assert running.ask("status")["enforcing_would_have"] is None


def _asks_about_another_registry(running: Daemon, lab: Lab) -> None:
    """By a file that the caller has, of few subscribers: it is not told how few."""
    file = lab.folder / "theirs.csv"
    file.write_text("prefix,registration\n198.51.100.0/24,R-1\n")
    found = _preview(running, "--registry", str(file))
    assert found["compared_with"] == "enforcing what is in force"
    assert found["tunnels"]["openvpn"]["slowed_before"] == 1
    assert found["told"] == {"fewer_than": 10, "in_steps_of": 5}
    assert "preview {" in running.process.output()  # with the uid of who asked

# SPDX-License-Identifier: GPL-2.0-or-later
"""Real WireGuard between two hosts of the lab: wireguard-go and wg(8).

Knows how to bring a tunnel up and to make it shake hands again; does not know who
is registered.
"""

import contextlib
import itertools
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import Namespace, wait_until
from tests.lab.topology import Host, Place

_networks = itertools.count(1)
_MTU = 1380  # outer packets fit 1500 bytes over IPv4 and IPv6
# Packets that wait for a program which is not scheduled, half a second of an untouched
# load. No more: behind the shaper they wait, too, until the next test.
_QUEUE = 1_000
_FLOOD = 0.03  # seconds; initiations closer than 0.02 s are dropped as a flood


def _keys() -> tuple[str, str]:
    def wg(*argv: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["wg", *argv], input=stdin, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    private = wg("genkey")
    return private, wg("pubkey", stdin=private)


@dataclass(frozen=True)
class WireGuard:
    """A tunnel that is up; `client` and `server` are its inner ends."""

    client: Place
    server: Place
    device: str
    port: int  # the server's, UDP
    _peer: str  # the server's public key
    _settings: tuple[str, ...]  # of the server as the client's peer

    def shake_hands(self) -> None:
        """A fresh handshake, by forgetting peer and session; returns when done."""
        here = self.client.namespace
        time.sleep(_FLOOD)
        here.run("wg", "set", self.device, "peer", self._peer, "remove")
        here.run("wg", "set", self.device, "peer", self._peer, *self._settings)
        self.wait_for_handshake()

    def handshake_time(self) -> int:
        """Seconds since the epoch of the newest handshake, 0 if there was none."""
        answer = self.client.namespace.run(
            "wg", "show", self.device, "latest-handshakes"
        )
        return int(answer.split()[1])

    def wait_for_handshake(self) -> None:
        wait_until(
            lambda: self.handshake_time() > 0,
            f"a handshake of {self.device}",
        )


def _start(stack: contextlib.ExitStack, namespace: Namespace, device: str) -> None:
    # The control socket lies in a folder that all namespaces share.
    control = Path(f"/var/run/wireguard/{device}.sock")
    stack.callback(control.unlink, missing_ok=True)
    process = stack.enter_context(
        namespace.running("env", "LOG_LEVEL=verbose", "wireguard-go", "-f", device)
    )
    process.expect("UAPI listener started")


@contextlib.contextmanager
def tunnel(client: Host, server: Host, *, version: int = 4) -> Iterator[WireGuard]:
    """A tunnel from client to server over IP `version`, its first handshake done."""
    number = next(_networks)
    near, far = f"10.77.{number}.1", f"10.77.{number}.2"
    port = 51_000 + number
    mark = secrets.token_hex(4)
    with contextlib.ExitStack() as stack:
        for host, end in ((client, "c"), (server, "s")):
            _start(stack, host.namespace, f"wg{mark}{end}")
        (near_private, near_public), (far_private, far_public) = _keys(), _keys()
        outer = server.at(version).address
        endpoint = f"[{outer}]:{port}" if version == 6 else f"{outer}:{port}"
        settings = (
            *("endpoint", endpoint, "allowed-ips", f"{far}/32"),
            *("persistent-keepalive", "25"),
        )
        server.namespace.run(
            *("wg", "set", f"wg{mark}s", "listen-port", str(port)),
            *("private-key", "/dev/stdin"),
            *("peer", near_public, "allowed-ips", f"{near}/32"),
            stdin=far_private,
        )
        client.namespace.run(
            *("wg", "set", f"wg{mark}c", "private-key", "/dev/stdin"),
            stdin=near_private,
        )
        for host, end, own in ((client, "c", near), (server, "s", far)):
            host.namespace.ip(
                f"addr add {own}/30 dev wg{mark}{end}",
                f"link set wg{mark}{end} mtu {_MTU} txqueuelen {_QUEUE} up",
            )
        client.namespace.run("wg", "set", f"wg{mark}c", "peer", far_public, *settings)
        made = WireGuard(
            client=Place(client.namespace, near),
            server=Place(server.namespace, far),
            device=f"wg{mark}c",
            port=port,
            _peer=far_public,
            _settings=settings,
        )
        made.wait_for_handshake()
        yield made

# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration behind `make demo`: a gateway, real tunnels, one table.

Knows the story: measure, start the daemon with config/ as shipped but enforcing,
have the tunnels shake hands, measure again. Says what it does on stderr, prints
the table on stdout, leaves nothing behind. Without root it checks the shipped
configuration and looks addresses up, and says what it left out.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab import load, topology, wireguard
from tests.lab.daemon import VPNGATE, Daemon, Settings, daemon
from tests.lab.namespaces import PATIENCE, LabError
from tests.lab.topology import Lab, Place
from tests.lab.wireguard import WireGuard

_SECONDS = 3  # of each measurement
# What a subscriber's line may carry. Flat out, the two cores that run hosts, gateway
# and tunnels would be measured, and with them what the hooks cost a packet.
_OFFERED = 200e6  # bit/s of each download
_PROGRAMS = ("ip", "nft", "tc", "ethtool", "iperf3", "wireguard-go", "wg", "setpriv")
_VERDICTS = ("throttle", "allow")
_METRICS = (
    "vpngate_throttled_flows",
    "vpngate_throttled_bytes_total",
    "vpngate_throttle_dropped_packets_total",
    "vpngate_verdict_latency_seconds_count",
)


@dataclass
class Traffic:
    """One row of the table."""

    name: str
    client: Place
    server: Place
    tunnel: WireGuard | None = None
    recognised: str = ""
    verdict: str = ""
    before: float = 0.0  # bit/s
    after: float = 0.0

    def measure(self) -> float:
        return load.tcp_rate(
            self.client,
            self.server,
            seconds=_SECONDS,
            download=True,
            offered=_OFFERED,
        )


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)  # noqa: T201 - a program


def _print(text: str = "") -> None:
    print(text, flush=True)  # noqa: T201 - a program


def _spell(rate: float) -> str:
    return f"{rate / 1e6:,.1f} Mbit/s"


@contextlib.contextmanager
def _traffic(lab: Lab) -> Iterator[list[Traffic]]:
    client, member, stranger = lab.client, lab.member, lab.stranger
    with (
        wireguard.tunnel(client, member) as registered,
        wireguard.tunnel(client, stranger) as unregistered,
    ):
        yield [
            Traffic(
                f"WireGuard to {member.ipv4} (registered)",
                registered.client,
                registered.server,
                registered,
            ),
            Traffic(
                f"WireGuard to {stranger.ipv4} (not registered)",
                unregistered.client,
                unregistered.server,
                unregistered,
            ),
            Traffic(f"plain download from {stranger.ipv4}", client.at(), stranger.at()),
        ]


def _counted(running: Daemon) -> dict[tuple[str, str], float]:
    """Flows so far, by tunnel and verdict, as the daemon's metrics have them."""
    return {
        (tunnel, verdict): running.metric(
            "vpngate_flows_total", tunnel=tunnel, verdict=verdict
        )
        for tunnel in ("wireguard", "openvpn", "ipsec", "l2tp", "pptp")
        for verdict in _VERDICTS
    }


def _observe(
    running: Daemon, act: Callable[[], object], patience: float = PATIENCE
) -> tuple[str, str]:
    """What the daemon made of `act`: tunnel and verdict, by what it counted."""
    before = _counted(running)

    def news() -> list[tuple[str, str]]:
        return [what for what, n in _counted(running).items() if n > before[what]]

    act()
    with contextlib.suppress(LabError):
        running.wait_until(lambda: bool(news()), "a new flow", patience)
    tunnel, verdict = (news() or [("no tunnel", "left alone")])[0]
    return tunnel, verdict


def _table(rows: list[Traffic]) -> None:
    cells = [("traffic", "recognised as", "verdict", "before", "after")]
    cells += [
        (row.name, row.recognised, row.verdict, _spell(row.before), _spell(row.after))
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    for line in cells:
        left = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)]
        right = [f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)]
        _print("  ".join([*left[:3], *right[3:]]).rstrip())


def _epilogue(running: Daemon) -> None:
    _print()
    _print(f"Each is a download of {_spell(_OFFERED)}; the slower class has 5 Mbit/s.")
    _print("On the gateway, while it stood:")
    for path, what in (
        ("/", "status page"),
        ("/healthz", "health"),
        ("/metrics", "metrics"),
    ):
        status, _ = running.fetch(path)
        _print(f"  {what:<12} http://127.0.0.1:9753{path}  answered {status}")
    for name in _METRICS:
        _print(f"  {name:<40} {running.metric(name):>12,.0f}")


def _show(lab: Lab) -> None:
    with contextlib.ExitStack() as stack:
        _say("bringing up two WireGuard tunnels, one to a registered server")
        rows = stack.enter_context(_traffic(lab))
        _say("measuring without vpngate")
        for row in rows:
            row.before = row.measure()
        _say("starting vpngate with config/ as shipped, but enforcing")
        settings = Settings(lab.folder / "daemon")
        settings.change(gateway={"mode": "enforce"})
        running = stack.enter_context(daemon(lab.gateway, settings))
        _say("the tunnels shake hands again; measuring with vpngate")
        for row in rows:
            if row.tunnel is not None:
                found = _observe(running, row.tunnel.shake_hands)
                row.after = row.measure()
            else:
                found = _observe(running, partial(_remeasure, row), _SECONDS)
            row.recognised, row.verdict = found
        _table(rows)
        _epilogue(running)
        _say("cleaning up")


def _remeasure(row: Traffic) -> None:
    row.after = row.measure()


def _without_root() -> None:
    """What can be shown of it: the shipped configuration, and who is registered."""
    with tempfile.TemporaryDirectory(prefix="vpngate-") as folder:
        settings = Settings(Path(folder) / "daemon")
        for command in (
            ("check", "--config", str(settings.config)),
            (
                *("lookup", "203.0.113.10", "198.51.100.10"),
                *("--registry", str(settings.registry)),
            ),
        ):
            _say(f"vpngate {' '.join(command[:2])} ...")
            subprocess.run([VPNGATE, *command], check=False)


def main() -> int:
    """Run the demonstration; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if os.geteuid() != 0:
        _say(
            "not root: no network namespaces, so no gateway, no tunnels and no "
            "measurements; run it as root to see them. What needs no root:"
        )
        _without_root()
        return 0
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        _say(f"missing: {', '.join(missing)}; `make demo` as root installs them")
        return 1
    _say("building a gateway that masquerades, between two subscribers and two servers")
    try:
        with topology.build(masquerade=True) as lab:
            _show(lab)
    except LabError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

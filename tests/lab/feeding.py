# SPDX-License-Identifier: GPL-2.0-or-later
"""A small gateway whose registry comes from a TLS server, signed.

    subscriber ── lan0 gateway: the daemon, and the server on its loopback

Knows how to publish well and badly, how to reload, and what a daemon shows of its
registry in kernel, tree, disk, status and metrics; does not know what it should show.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.faults.certificates import Authority
from tests.faults.misdeeds import Row
from tests.faults.registry_server import RegistryServer
from tests.faults.scenes import PATH, Scene
from tests.faults.signing import Signer
from tests.lab import asked_kernel
from tests.lab.daemon import VPNGATE, Daemon, Settings, daemon
from tests.lab.namespaces import PATIENCE, Namespace, settle
from tests.lab.questions import QUESTION

_ROOT = Path(__file__).parents[2]
_BORN = 1_600_000_000  # when serial 0 was signed, seconds since 1970
NAME = "faults"
SENTINEL = "10.70.0.0/24"
_PREFIXES = [f"10.70.{n}.0/24" for n in range(40)]
_PREFIXES += [f"2001:db8:{n:x}::/48" for n in range(20)]
# Addresses, and whose they are as long as nothing is put in force by mistake.
HOLDERS = {
    "10.70.0.1": "R-0",
    "10.70.39.255": "R-39",
    "2001:db8::1": "R-40",
    "2001:db8:13:ffff::1": "R-59",
    "10.72.0.1": None,
    "192.0.2.1": None,
    "198.51.100.1": None,
    "2001:db9::1": None,
}

_FILLER = "filler"
_LOOK = """
nft --stateless list table netdev vpngate && tc qdisc &&
tc filter show dev lan0 ingress && tc filter show dev lan0 egress
"""
_COUNTED = re.compile(r"direct_packets_stat \d+")  # which tc shows in any case
# What changes by itself: as time passes, and as addresses of the machine come. And
# packets are asked for no verdict once nobody was slowed for a while.
_OF_ITSELF = re.compile(
    r"(set (?:settling|(?:waiting|watched|protected)_ipv\d) \{[^}]*?)"
    r"\s*elements = \{[^}]*\}"
    rf"|\n[^\n]*{re.escape(QUESTION)}[^\n]*"
)

Page = dict[str, Any]


def newcomer(serial: int) -> str:
    """The prefix that came with this serial."""
    return f"10.71.{serial}.0/24"


def page(serial: int) -> Page:
    """Registry number `serial`: one more prefix than the one before."""
    prefixes = _PREFIXES + [newcomer(n) for n in range(serial + 1)]
    registrations = [
        {"prefix": prefix, "registration": f"R-{place}"}
        for place, prefix in enumerate(prefixes)
    ]
    return {"registry": NAME, "serial": serial, "registrations": registrations}


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    status: int
    stdout: str
    complaints: list[str]


@dataclass(frozen=True)
class Standing:
    """What a registry that is not taken must leave as it was.

    kernel   the whole table, and what shapes, without counters and remaining times,
             and without what changes by itself
    spared   the sets of registered addresses, as nft lists them, by name
    tree     whose the addresses in HOLDERS are
    status   what `vpngate status` says of the registry, the last refusal left out
    disk     the files of the last good registry
    """

    kernel: str
    spared: dict[str, str]
    tree: dict[str, str | None]
    status: dict[str, Any]
    disk: dict[str, bytes]


class Feeding:
    """The gateway's namespace, the server in it, and the daemon's settings.

    `running` starts the daemon; the rest is about the one that runs.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.serial = 0
        self.namespace = Namespace("gateway", folder)
        stack.callback(self.namespace.close)
        self.namespace.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.namespace.ip(
            "link set lo up",
            "link add lan0 type veth peer name subscriber",
            "addr add 100.64.0.1/24 dev lan0",
            "link set lan0 up",
            "link set subscriber up",
        )
        settle(self.namespace)
        for name in ("trusted", "stranger"):
            (folder / name).mkdir()
        self._trusted = Authority(folder / "trusted")
        self._stranger = Authority(folder / "stranger")
        self._context = self._trusted.context("localhost", "127.0.0.1")
        self.signer = Signer()
        self.server = RegistryServer(self._context)
        self.namespace.call(self.server.__enter__)
        stack.callback(self.server.__exit__)
        self.settings = Settings(folder / "daemon")
        self.state = folder / "state"
        self.settings.change(
            gateway={"mode": "enforce", "interfaces": ["lan0"]},
            registry={
                "sources": [self.server.url(PATH)],
                "public_key": self.signer.public,
                "sentinels": [SENTINEL],
                "state": str(self.state),
            },
        )
        self.publish()

    # The publisher's side.

    def publish(self) -> None:
        """The next serial, signed, on a server that behaves."""
        self.serial += 1
        self.server.context = self._context
        self.ask_at(self.server.url(PATH))
        self.offer(json.dumps(page(self.serial)).encode(), self.serial)

    def offer(self, content: bytes, signed: int | None = None) -> None:
        """Any content, signed as of serial `signed`: by default later than the last."""
        moment = _BORN + (self.serial + 1 if signed is None else signed)
        comment = f"timestamp:{moment}\tfile:registry\thashed"
        signature = self.signer.sign(content, comment)
        self.server.publish(PATH, content, Content_Type="application/json")
        self.server.publish(PATH + ".minisig", signature, Content_Type="text/plain")

    def alter(self, change: Callable[[Page], object], *, signed: int = 1) -> None:
        """What would be the next serial, changed, and signed after the last."""
        altered = page(self.serial + 1)
        change(altered)
        self.offer(json.dumps(altered).encode(), self.serial + signed)

    @contextlib.contextmanager
    def misbehaving(self, row: Row) -> Iterator[None]:
        """A server that does what the row says, for the length of a with block."""
        with contextlib.ExitStack() as later:
            content = json.dumps(page(self.serial)).encode()
            self.offer(content, self.serial)
            scene = Scene(
                self.server,
                self.signer,
                content,
                self.server.url(PATH),
                self._trusted,
                self._stranger,
                later,
            )
            self.namespace.call(lambda: row.stage(scene))
            self.ask_at(scene.url)
            yield

    def ask_at(self, *urls: str) -> None:
        """The sources in the daemon's configuration."""
        self.settings.change(registry={"sources": list(urls)})

    # The daemon's side.

    @property
    def program(self) -> tuple[str, ...]:
        """The daemon's command line, without its options."""
        trusted = f"SSL_CERT_FILE={self._trusted.path}"
        python = (sys.executable, "-m", "tests.lab.impatient")
        return ("env", trusted, f"PYTHONPATH={_ROOT}", *python)

    @contextlib.contextmanager
    def running(self, mounts: str = "") -> Iterator[Daemon]:
        """The daemon, for the length of a with block."""
        with daemon(self.namespace, self.settings, self.program, mounts) as started:
            self.daemon = started
            yield started

    def start_in_vain(self) -> Ending:
        """Start the daemon, which has to end by itself."""
        files = ("--config", str(self.settings.config))
        return self.end(*self.program, *files, "--socket", str(self.settings.socket))

    def end(self, *argv: str) -> Ending:
        """Run a command in the namespace to its end."""
        done = subprocess.run(
            self.namespace.command(argv),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ending(done.returncode, done.stdout, done.stderr.splitlines())

    def reload(self, *options: str) -> Ending:
        """`vpngate reload`, the real command."""
        socket = ("--socket", str(self.settings.socket))
        return self.end(VPNGATE, "reload", *socket, *options)

    def told(self) -> dict[str, Any]:
        """What `vpngate status`, the real command, says of the registry.

        It ends with 1 where that has not been refreshed for a while.
        """
        socket = ("--socket", str(self.settings.socket))
        ending = self.end(VPNGATE, "status", *socket, "--format", "json")
        status = json.loads(ending.stdout)
        registry: dict[str, Any] = status["registry"]
        return registry

    def status(self) -> dict[str, Any]:
        """The same, asked for directly, which is quicker."""
        registry: dict[str, Any] = self.daemon.ask("status")["registry"]
        return registry

    def refusals(self) -> dict[str, float]:
        """Loads refused until now, by those reasons that there were."""
        return {
            sample.labels["reason"]: sample.value
            for family in text_string_to_metric_families(
                self.daemon.fetch("/metrics")[1]
            )
            for sample in family.samples
            if sample.name == "vpngate_registry_loads_refused_total" and sample.value
        }

    @property
    def disk(self) -> Path:
        """The state folder as the daemon sees it."""
        return Path(f"/proc/{self.daemon.process.pid}/root{self.state}")

    def spared(self) -> dict[str, str]:
        """The kernel's sets of registered addresses."""
        return asked_kernel.spared(self.daemon)

    def spares(self, prefix: str) -> bool:
        """Whether the kernel's set holds the prefix's first address, now."""
        return asked_kernel.spares(self.daemon, prefix.partition("/")[0])

    def tree(self) -> dict[str, str | None]:
        """Whose the addresses are, by the tree in force."""
        found: dict[str, str | None] = self.daemon.ask(
            "look_up", addresses=list(HOLDERS)
        )
        return found

    def standing(self) -> Standing:
        """Everything that a refusal must not change, as it is now."""
        status = self.status()
        del status["last_refusal"]
        return Standing(
            kernel=_OF_ITSELF.sub(
                r"\1", _COUNTED.sub("", self.namespace.run("sh", "-c", _LOOK))
            ),
            spared=self.spared(),
            tree=self.tree(),
            status=status,
            disk={
                path.name: path.read_bytes()
                for path in self.disk.iterdir()
                if path.name != _FILLER
            },
        )

    def metric(self, name: str) -> float:
        """A metric about the registry."""
        return self.daemon.metric(f"vpngate_registry_{name}")

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """No room in the state folder (a small file system), for a with block."""
        filler = self.disk / _FILLER
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            filler.unlink()


@contextlib.contextmanager
def feeding() -> Iterator[Feeding]:
    """Everything but the daemon, for the length of a with block."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vpngate-"))
        yield Feeding(Path(folder), stack)

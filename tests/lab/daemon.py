# SPDX-License-Identifier: GPL-2.0-or-later
"""The real daemon on the lab's gateway, and what it says of itself.

Knows how to write its configuration, start and stop it, and read its control
socket, metrics and health; does not know what it should say.
"""

import contextlib
import shutil
import signal
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.lab.namespaces import PATIENCE, LabError, Namespace, Process, wait_until
from tests.lab.topology import Site
from tests.planes import BY_FILTERS, PLANE
from vpngate.daemon.outside.client import request
from vpngate.errors import DaemonUnreachable

# The command, as users have it but where a run asks for programs by filters.
_INSTALLED = Path(sys.executable).with_name("vpngate")
VPNGATE = str(
    Path(__file__).with_name("vpngate-by-filters") if BY_FILTERS else _INSTALLED
)
_ROOT = Path(__file__).parents[2]
SHIPPED = _ROOT / "config"
# Runs a module of these tests as a program.
PYTHON = ("env", f"PYTHONPATH={_ROOT}", sys.executable)
# The daemon with more verbs (`harness.py`).
HARNESS = (*PYTHON, "-m", "tests.lab.harness")
_LISTEN = "127.0.0.1:9753"
_ANSWER = PATIENCE / 18  # seconds to an answer: 10, more where a processor is emulated

Sections = Mapping[str, Mapping[str, Any]]


def toml(sections: Sections) -> str:
    """A configuration as TOML: tables of plain values, lists and inline tables."""

    def spell(value: Any) -> str:
        match value:
            case bool():
                return str(value).lower()
            case str():
                return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
            case Mapping():
                inner = ", ".join(f"{k} = {spell(v)}" for k, v in value.items())
                return f"{{ {inner} }}"
            case list() | tuple():
                return "[" + ", ".join(map(spell, value)) + "]"
            case _:
                return str(value)

    lines = []
    for name, keys in sections.items():
        lines += [f"[{name}]", *(f"{k} = {spell(v)}" for k, v in keys.items()), ""]
    return "\n".join(lines)


class Settings:
    """The files of one daemon: config/ as shipped, moved into a folder of its own.

    Only what ties them to a machine is changed (paths), and what `change` is told.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.config = folder / "vpngate.toml"
        self.registry = folder / "registry.csv"
        self.socket = folder / "control.sock"
        shutil.copy(SHIPPED / "registry.csv", self.registry)
        self._sections: dict[str, dict[str, Any]] = tomllib.loads(
            (SHIPPED / "vpngate.toml").read_text()
        )
        self.change(
            registry={"sources": [str(self.registry)], "state": str(folder / "state")},
            gateway={"plane": PLANE.value},
        )

    def change(self, **sections: Mapping[str, Any]) -> None:
        """Set keys and write the file: `change(throttle={"rate": "5mbit"})`."""
        for name, keys in sections.items():
            self._sections.setdefault(name, {}).update(keys)
        self.config.write_text(toml(self._sections))

    def restore(self, text: str) -> None:
        """The file as it was once, with all that has been changed since forgotten."""
        self._sections = tomllib.loads(text)
        self.config.write_text(text)

    def register(self, *prefixes: str, registration: str = "R-2001") -> None:
        """Add registrations to the file; the daemon sees them when it reloads."""
        with self.registry.open("a") as file:
            file.writelines(f"{prefix},{registration},,,\n" for prefix in prefixes)


def enforcing_settings(lab: Site, name: str = "daemon") -> Settings:
    """Settings of a daemon that enforces towards all subscribers of the lab."""
    settings = Settings(lab.folder / name)
    settings.change(
        gateway={"mode": "enforce", "interfaces": ["lan*"]},
    )
    return settings


def total(samples: Iterable[Sample], **labels: str) -> float:
    """The sum of those that carry `labels`; 0.0 if none does."""
    wanted = labels.items()
    return sum(one.value for one in samples if wanted <= one.labels.items())


class Daemon:
    """A running daemon."""

    def __init__(
        self, namespace: Namespace, settings: Settings, process: Process
    ) -> None:
        self.namespace = namespace
        self.settings = settings
        self.process = process

    def ask(self, verb: str, **arguments: Any) -> Any:
        """The answer to a verb on the control socket."""
        return request(self.settings.socket, verb, arguments, timeout=_ANSWER)

    def command(self, *argv: str) -> str:
        """The stdout of a `vpngate` command that talks to this daemon."""
        return self.namespace.run(VPNGATE, *argv, "--socket", str(self.settings.socket))

    def fetch(self, path: str) -> tuple[int, str]:
        """Status and body of a page, asked for on the gateway itself."""

        def get() -> tuple[int, str]:
            url = f"http://{_LISTEN}{path}"
            try:
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        return self.namespace.call(get)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of `name` that carry `labels`; 0.0 if none does."""
        return total(self.samples(name), **labels)

    def samples(self, name: str) -> list[Sample]:
        """Those of a metric, all of one moment; no other line of the page is read."""
        lines = self.fetch("/metrics")[1].splitlines()
        told = "\n".join(line for line in lines if line.startswith(name)) + "\n"
        return [
            sample
            for family in text_string_to_metric_families(told)
            for sample in family.samples
            if sample.name == name
        ]

    def wait_until(
        self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE
    ) -> None:
        """Wait; if it does not come true, say so with the daemon's last words."""
        try:
            wait_until(condition, what, timeout)
        except LabError as error:
            raise LabError(f"{error}\n{self.process.tail()}") from None

    def wait_for_flow(self, tunnel: str, verdict: str, count: int = 1) -> None:
        """Wait until `count` flows of `tunnel` were given `verdict`."""
        labels = {"tunnel": tunnel, "verdict": verdict}
        self.wait_until(
            lambda: self.metric("vpngate_flows_total", **labels) >= count,
            f"{count} flows of {tunnel} with verdict {verdict}",
        )

    def reload(self) -> None:
        """SIGHUP; returns when the reload is through (the metric's time has moved)."""
        name = "vpngate_config_last_reload_success_timestamp_seconds"
        before = self.metric(name)
        self.process.send(signal.SIGHUP)
        self.wait_until(lambda: self.metric(name) > before, "a successful reload")

    def _answers(self) -> bool:
        if self.process.exit_status is not None:
            raise LabError(f"the daemon ended:\n{self.process.tail()}")
        try:
            self.ask("status")
            self.fetch("/healthz")
        except (DaemonUnreachable, OSError):
            return False
        return True

    def wait_until_ready(self) -> None:
        self.wait_until(self._answers, "the daemon's first answer")


@contextlib.contextmanager
def daemon(
    namespace: Namespace,
    settings: Settings,
    program: tuple[str, ...] = (VPNGATE, "run"),
    mounts: str = "",
) -> Iterator[Daemon]:
    """The daemon, ready, for the length of a with block.

    `mounts` are shell commands run before it, in a mount namespace of its own.
    """
    command = (*program, "--config", str(settings.config))
    command = (*command, "--socket", str(settings.socket))
    with namespace.running(*command, mounts=mounts) as process:
        started = Daemon(namespace, settings, process)
        started.wait_until_ready()
        yield started

# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Prometheus in a namespace, with the rules that are shipped, in a hurry.

Knows how to make seconds of its minutes, and how to ask it; does not know what gateways
show. What is shipped is taken as it is but for addresses and times.
"""

import contextlib
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.namespaces import PATIENCE, LabError, Namespace, Process, wait_until

_SHIPPED = Path(__file__).parents[2] / "config" / "prometheus"
_LISTEN = "127.0.0.1:9090"
_SCRAPE = "1s"
HOLD = "2s"  # an alert's `for`, whatever it is

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """One series that a query has, over a while: each value that is a number."""

    labels: dict[str, str]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    namespace: Namespace
    process: Process

    def _ask(self, path: str, **parameters: str) -> Any:
        url = f"http://{_LISTEN}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"

        def get() -> Any:
            try:
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    return json.load(answer)["data"]
            except urllib.error.HTTPError as error:
                with error:
                    raise LabError(f"{url}: {error.read().decode()}") from None

        return self.namespace.call(get)

    def now(self, expr: str) -> dict[frozenset[tuple[str, str]], float]:
        """What a query has now, by labels."""
        return {
            frozenset(each["metric"].items()): float(each["value"][1])
            for each in self._ask("query", query=expr)["result"]
        }

    def number(self, expr: str) -> float | None:
        """What a query that has one answer has now; None if it has none."""
        found = list(self.now(expr).values())
        return found[0] if found else None

    def over(self, expr: str, start: float, end: float) -> list[Answer]:
        """What a query has had, second by second."""
        whole = self._ask(
            *("query_range",), query=expr, start=str(start), end=str(end), step=_SCRAPE
        )
        answers = []
        for each in whole["result"]:
            numbers = [float(value) for _, value in each["values"]]
            values = tuple(number for number in numbers if number == number)  # noqa: PLR0124 - NaN
            if values:
                answers.append(Answer(each["metric"], values))
        return answers

    def wait_until(self, expr: str, value: float | None) -> None:
        """Wait until a query has this for its one answer, or none."""
        try:
            wait_until(lambda: self.number(expr) == value, f"{expr} == {value}")
        except LabError as error:
            told = f"{error}; it is {self.now(expr)}\n{self.process.tail()}"
            raise LabError(told) from None

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, and the instance of each."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("instance", ""))
            for alert in self._ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def _answers(self) -> bool:
        if self.process.exit_status is not None:
            raise LabError(f"prometheus ended:\n{self.process.tail()}")
        try:
            self._ask("query", query="1")
        except (OSError, LabError):
            return False
        return True


@contextlib.contextmanager
def prometheus(
    namespace: Namespace, folder: Path, targets: Sequence[str]
) -> Iterator[Prometheus]:
    """One that asks these targets every second, for the length of a with block."""
    shutil.copytree(_SHIPPED, folder)
    whole = (folder / "prometheus.yml").read_text()
    listed = re.search(r"- targets:\n(?: +- gateway-.*\n)+", whole)
    if listed is None:
        raise LabError("prometheus.yml has no targets to replace")
    whole = whole.replace(listed[0], f"- targets: {json.dumps(list(targets))}\n")
    (folder / "prometheus.yml").write_text(whole.replace("15s", _SCRAPE))
    alerts = folder / "alerts.yml"
    hurried = re.sub(r"for: \d+\w", f"for: {HOLD}", alerts.read_text())
    alerts.write_text(hurried)
    command = (
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={_LISTEN}",
        "--log.level=warn",
    )
    with namespace.running(*command) as process:
        started = Prometheus(namespace, process)
        wait_until(started._answers, "prometheus answers")
        yield started

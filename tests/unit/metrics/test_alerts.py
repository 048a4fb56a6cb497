# SPDX-License-Identifier: GPL-2.0-or-later
"""The alerts about freshness, by promtool, on days that were recorded.

A day is what a daemon's own parts expose every four minutes: they load registries from
files as in every other test, an hour apart, by a clock that the test moves.
"""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import NOW, REGISTRY, Gatehouse
from tests.unit.metrics.promtool import alone
from vpngate.errors import VpngateError
from vpngate.timekeeping.moments import format_moment

MINUTES, DAY = 4, 24  # between scrapes; hours
HOUR = 3600.0
LABELS = {"instance": "gateway:9753", "job": "vpngate"}
FRESHNESS = ("registry_last_", "registry_expires_", "registry_source_failures_total")
REFRESHED, EXPIRED = "VpngateRegistryNotRefreshed", "VpngateRegistryExpired"
REFUSED, SOURCE = "VpngateRegistryRefused", "VpngateRegistrySourceFails"
ALERTS = (REFRESHED, EXPIRED, REFUSED, SOURCE)

Series = dict[str, list[str]]  # in promtool's notation
Event = Callable[[Desk], object]

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool"
)


def scrape(gatehouse: Gatehouse, step: int, day: Series) -> None:
    """Note what is exposed now, with moments as promtool counts them, from 0."""
    for family in gatehouse.metrics.registry.collect():
        for sample in family.samples:
            name = sample.name
            if not name.removeprefix("vpngate_").startswith(FRESHNESS):
                continue
            moment = name.endswith("_timestamp_seconds")
            labels = ",".join(f'{k}="{v}"' for k, v in (sample.labels | LABELS).items())
            values = day.setdefault(f"{name}{{{labels}}}", [])
            values += ["_"] * (step - len(values))  # it was not there yet
            values.append(f"{sample.value - NOW if moment else sample.value:f}")


async def recorded(desk: Desk, events: dict[int, Event]) -> Series:
    """A day of refreshes; what happens at which hour, before that hour's refresh."""
    day: Series = {}
    gatehouse = await desk.open()
    # As the daemon does, for each reason.
    cast("Any", gatehouse.metrics._source_failures).labels("file_missing")
    steps = 60 // MINUTES
    for step in range(DAY * steps + 1):
        desk.now = NOW + step * MINUTES * 60.0
        if step % steps == 0:
            if event := events.get(step // steps):
                event(desk)
            try:
                await desk.reloader.reload()
            except VpngateError:
                assert desk.reloader.freshness.failure
        scrape(gatehouse, step, day)
    return day


def expectation(alert: str, hours: float, *, fires: bool) -> dict[str, object]:
    """What promtool is to find; without annotations it compares labels alone."""
    level = "info" if alert == SOURCE else "warning"
    group = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    labels = {"alertname": alert, "alertstate": "firing", "severity": level} | LABELS
    if alert == SOURCE:
        labels["reason"] = "file_missing"
    spelled = ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()))
    found = [{"labels": f"ALERTS{{{spelled}}}", "value": 1}]
    return {
        "expr": group,
        "eval_time": f"{round(hours * 60)}m",
        "exp_samples": found if fires else [],
    }


def judge(folder: Path, day: Series, firing: dict[str, tuple[float, float]]) -> str:
    """What promtool has to say: nothing, if each fires in its hours and not outside."""
    checks = []
    for alert in ALERTS:
        since, until = firing.get(alert, (DAY + 1, DAY + 1))
        checks += [
            expectation(alert, hours, fires=since <= hours < until)
            for hours in (quarter / 4 for quarter in range(DAY * 4))
        ]
    series = [
        {
            "series": name,
            "values": " ".join(values),
        }
        for name, values in day.items()
    ]
    rules = folder / "about_freshness.yml"
    rules.write_text(alone(*ALERTS))
    page = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": f"{MINUTES}m",
                "input_series": series,
                "promql_expr_test": checks,
            }
        ],
    }
    path = folder / "day.yml"
    path.write_text(json.dumps(page))
    done = subprocess.run(
        ["promtool", "test", "rules", path],
        capture_output=True,
        check=False,
        text=True,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path)
    monkeypatch.setattr(time, "time", lambda: desk.now)
    return desk


def away(desk: Desk) -> None:
    desk.registry.rename(desk.folder / "away.csv")


def back(desk: Desk) -> None:
    (desk.folder / "away.csv").rename(desk.registry)


def broken(desk: Desk) -> None:
    desk.registry.write_text("no registry")


def mended(desk: Desk) -> None:
    desk.registry.write_text(REGISTRY)


def published(serial: int, hours: float) -> Event:
    row = {"prefix": "203.0.113.0/24", "registration": "R-1"}
    ends = format_moment(NOW + hours * HOUR)
    page = {"serial": serial, "expires": ends, "registrations": [row]}
    return lambda desk: desk.registry.write_text(json.dumps(page))


def second_source(desk: Desk) -> None:
    first = desk.folder / "first.csv"
    first.write_text(REGISTRY)
    old = f'sources = ["{desk.registry}"]'
    new = f'sources = ["{first}", "{desk.registry}"]'
    desk.config.write_text(desk.config.read_text().replace(old, new))


DAYS: dict[str, tuple[dict[int, Event], dict[str, tuple[float, float]]]] = {
    "unchanged": ({}, {}),
    "no source": ({8: away, 14: back}, {REFRESHED: (10.25, 14), REFUSED: (8.25, 14)}),
    "refused": ({8: broken, 9: mended}, {REFUSED: (8.25, 9)}),
    "expired": ({10: published(1, 10.5), 16: published(2, 99)}, {EXPIRED: (10.75, 16)}),
    "published in time": ({1: published(1, 9), 8: published(2, 99)}, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DAYS)
def test_each_kind_of_staleness_fires_and_nothing_else(
    desk: Desk, tmp_path: Path, name: str
) -> None:
    events, firing = DAYS[name]
    day = asyncio.run(recorded(desk, events))
    assert judge(tmp_path, day, firing) == ""
    # And promtool does look: with the hours wrong it objects.
    assert judge(tmp_path, day, {REFRESHED: (1, 2)}) != ""


def test_a_source_that_fails_while_another_one_has_it(
    desk: Desk, tmp_path: Path
) -> None:
    second_source(desk)
    first = desk.folder / "first.csv"
    events: dict[int, Event] = {
        7: lambda _: first.unlink(),
        10: lambda _: first.write_text(REGISTRY),
    }
    day = asyncio.run(recorded(desk, events))
    found = judge(tmp_path, day, {SOURCE: (7, 11)})
    assert found == ""

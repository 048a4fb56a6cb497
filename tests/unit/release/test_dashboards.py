# SPDX-License-Identifier: GPL-2.0-or-later
"""The dashboards are those that are written, in Grafana's form, and ask what exists."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from release.dashboards import FILES, FOLDER
from release.grid import WIDTH, written
from tests.lab.dashboards import asked, panels
from tests.unit.metrics.test_metrics import PINNED

each_file = pytest.mark.parametrize("name", FILES)
OTHERS = {"up", "ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}


def page(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return found


@each_file
def test_the_files_are_what_is_written(name: str) -> None:
    assert (FOLDER / name).read_text() == written(FILES[name]), "make dashboards"


@each_file
def test_grafana_knows_every_key(name: str) -> None:
    """Its library reads the file, and loses nothing of it when it writes it again."""
    register_default_plugins()
    read = Dashboard.from_json(page(name))
    again = json.loads(json.dumps(read, cls=JSONEncoder))
    for panel in again["panels"]:
        if panel["type"] == "table":  # these are the defaults, which it writes down
            custom = panel["fieldConfig"]["defaults"].pop("custom")
            assert custom == {"align": "auto", "inspect": False}
    assert again == page(name)
    odd = page(name) | {"paneels": []}
    assert json.loads(json.dumps(Dashboard.from_json(odd), cls=JSONEncoder)) != odd


@each_file
def test_panels_stand_beside_each_other(name: str) -> None:
    places = [panel["gridPos"] for panel in page(name)["panels"]]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    numbers = [panel["id"] for panel in page(name)["panels"]]
    assert len(set(numbers)) == len(numbers)


@each_file
def test_each_panel_says_what_it_is_and_asks_of_what_is_chosen(name: str) -> None:
    for panel in panels(name):
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'job="$job"' in target["expr"]


@each_file
def test_only_metrics_that_exist_are_asked_for(name: str) -> None:
    exprs = " ".join(t["expr"] for panel in panels(name) for t in panel["targets"])
    asked = set(re.findall(r"\b([a-zA-Z_:]+)\{", exprs))
    known = {re.sub("_count$", "_bucket", metric) for metric in PINNED} | set(PINNED)
    assert asked
    assert asked - known - OTHERS == set()


def test_every_metric_is_on_a_dashboard() -> None:
    exprs = " ".join(
        target["expr"]
        for name in FILES
        for panel in panels(name)
        for target in panel["targets"]
    )
    shown = {re.sub("_count$", "_bucket", metric) for metric in PINNED}
    # When something was made or taken; whether it was, and how long ago, is shown.
    moments = {metric for metric in shown if metric.endswith("_timestamp_seconds")}
    assert {metric for metric in shown - moments if f"{metric}{{" not in exprs} == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_prometheus_can_read_every_question(tmp_path: Path) -> None:
    exprs = [
        asked(target["expr"], "gw1:9753")
        for name in FILES
        for panel in panels(name)
        for target in panel["targets"]
    ]
    rules = [{"record": f"asked:{n}", "expr": expr} for n, expr in enumerate(exprs)]
    path = tmp_path / "rules.yml"
    done = []
    for more in ([], [{"record": "asked:wrong", "expr": "sum by (("}]):
        path.write_text(
            json.dumps({"groups": [{"name": "asked", "rules": [*rules, *more]}]})
        )
        command = ["promtool", "check", "rules", "--lint=none", str(path)]
        done.append(subprocess.run(command, capture_output=True, check=False))
    assert (done[0].returncode, done[0].stderr) == (0, b"")
    assert done[1].returncode != 0

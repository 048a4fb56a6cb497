# SPDX-License-Identifier: GPL-2.0-or-later
"""The page and its plots, from what a run found and nothing else."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import page
from bench.contract import Curve, Effort, Figure
from bench.result import Result, from_json
from bench.table import table
from bench.words import number
from tests.house import ROOT
from tests.unit.bench.found import (
    ALONE,
    BUSY,
    EVERYTHING,
    MISSED,
    QUIET,
    RATIO,
    result,
    row,
)

SVG = "{http://www.w3.org/2000/svg}"
FILES = page.files(EVERYTHING)
PLOTS = {name: text for name, text in FILES.items() if name.endswith(".svg")}


def test_every_figure_is_told_with_its_spread_and_its_bound() -> None:
    told = FILES[page.PAGE]
    for line in (
        "| a load | vpngate: 2 (1.5 to 2.5) s | nft -f: 2 | 1 (0.75 to 1.25) |",
        "(0.75 to 1.25) | at most 1.25: holds |",
        "| idle | vpngate: 4 ms |  |  | at most 3: MISSED |",
        "exponent 1.00 | at most 1.1: holds |",
        "- a load: all of it",
    ):
        assert line in told


def test_a_bar_in_a_name_ends_no_cell() -> None:
    assert "p99 \\| worst" in FILES[page.PAGE]
    cells = re.compile(r"(?<!\\)\|")
    for block in re.findall(r"(?:^\|.*\n)+", FILES[page.PAGE], re.MULTILINE):
        assert len({len(cells.findall(line)) for line in block.splitlines()}) == 1


def test_a_row_that_failed_is_named_on_top_and_in_its_place() -> None:
    told = FILES[page.PAGE]
    assert told.count("broken") >= 2
    assert "no <figure> \\| at all" in told


def test_the_page_shows_every_plot_and_no_other() -> None:
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", FILES[page.PAGE])
    assert sorted(shown) == sorted(PLOTS)
    assert len(PLOTS) == 3


@pytest.mark.parametrize("text", PLOTS.values(), ids=PLOTS)
def test_a_plot_can_be_heard_and_seen_in_the_dark(text: str) -> None:
    root = ET.fromstring(text)
    for tag in ("title", "desc"):
        found = root.find(f"{SVG}{tag}")
        assert found is not None
        assert found.text
    assert "prefers-color-scheme: dark" in text
    assert "nan" not in text
    assert "inf" not in text.replace("information", "")


@pytest.mark.parametrize("text", PLOTS.values(), ids=PLOTS)
def test_nothing_is_drawn_outside(text: str) -> None:
    root = ET.fromstring(text)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for one in root.iter():
        for key, most in (("x1", width), ("x2", width), ("cx", width), ("y1", height)):
            if key in one.attrib:
                assert 0 <= float(one.attrib[key]) <= most


def test_what_was_never_above_nought_has_a_plot_too() -> None:
    nothing = Figure("added", "ns", "ours", [0.0, -1.0], "bare", [10.0, 10.0])
    some = Figure("more", "ns", "ours", [5.0, 6.0], "bare", [10.0, 10.0])
    made = page.files(result(row("forward", nothing, some)))
    [plot] = [text for name, text in made.items() if name.endswith(".svg")]
    assert "more, to bare" in plot


def test_nothing_but_noughts() -> None:
    same = Figure("lost", "%", "ours", [0.0], "bare", [10.0])
    curve = Curve("flat", "s", "flows", [1, 10], [2, 2])
    made = page.files(result(row("forward", same, curve)))
    assert "nan" not in "".join(made.values())


def test_units_that_look_alike_have_plots_of_their_own() -> None:
    figures = [
        Figure(f"{unit} {n}", unit, "ours", [1.0]) for unit in ("s", "µs") for n in "ab"
    ]
    made = page.files(result(row("load", *figures)))
    assert sum(name.endswith(".svg") for name in made) == 2


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (result(row("load", RATIO), effort=Effort.QUICK), "--quick"),
        (EVERYTHING, "did not come to their end: broken"),
        (result(replace(row("load", RATIO), noise=(QUIET, BUSY))), "Others had work"),
        (replace(result(row("load", RATIO)), missing=("idle",)), "lacks rows: idle"),
    ],
)
def test_a_run_that_tells_less_says_so(run: Result, says: str) -> None:
    assert says in page.files(run)[page.PAGE]


def test_a_whole_run_on_a_quiet_machine_has_no_caveat() -> None:
    assert "**" not in page.files(result(row("load", RATIO)))[page.PAGE]


def test_written_and_read_again(tmp_path: Path) -> None:
    (tmp_path / page.FOLDER).mkdir()
    old = tmp_path / page.FOLDER / "old.svg"
    old.write_text("of a run before")
    page.write(EVERYTHING, tmp_path)
    assert not old.exists()
    assert page.written(tmp_path) == EVERYTHING
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")} == {
        *FILES
    }


def test_the_page_of_this_repository_is_the_one_of_its_figures() -> None:
    docs = ROOT / "docs"
    wanted = page.files(from_json((docs / page.FIGURES).read_text()))
    for name, text in wanted.items():
        assert (docs / name).read_text() == text, name
    there = {f"{page.FOLDER}/{path.name}" for path in (docs / page.FOLDER).iterdir()}
    assert there == wanted.keys() - {page.PAGE}


def test_the_table_has_a_line_for_each() -> None:
    lines = table(EVERYTHING).splitlines()
    for item in (RATIO, MISSED, ALONE):
        assert any(line.startswith(item.name) for line in lines)
    assert "  FAILED: ValueError: no <figure> | at all" in lines


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (0.00012345, "0.000123"),
        (0.0000012, "1.2e-06"),
        (1.5, "1.5"),
        (12.345, "12.3"),
        (999.9, "1,000"),
        (123456.7, "123,457"),
    ],
)
def test_numbers_are_short(value: float, told: str) -> None:
    assert number(value) == told

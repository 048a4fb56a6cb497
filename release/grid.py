# SPDX-License-Identifier: GPL-2.0-or-later
"""Panels on a screen, in the form that Grafana reads.

Knows the few kinds of panel that ours have, and where they stand; does not know what
they ask. Built with Grafana's own library, which knows the form.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as form
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Kind = Literal["lines", "number", "name", "yes", "table"]

WIDTH = 24  # columns of a screen
_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_YES_NO = {
    "0": model.ValueMappingResult(text="no", color="red"),
    "1": model.ValueMappingResult(text="yes", color="green"),
}
# Width and height.
_SIZE = {"lines": (8, 8), "table": (24, 9)}
_SMALL = (3, 4)


@dataclass(frozen=True)
class Ask:
    """A question to Prometheus, and what each answer is called on the screen."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """What is asked, why, and how the answers are shown.

    lines    over time
    number   the last one; `name`: not its value but what it is called; `yes`: 1 or 0
    table    a row for each gateway, a column for each question
    unit     Grafana's name for it
    """

    title: str
    text: str
    asks: tuple[Ask, ...]
    kind: Kind = "lines"
    unit: str = "short"


@dataclass(frozen=True)
class Board:
    """A dashboard: rows of panels, and which labels are chosen above them."""

    uid: str
    title: str
    text: str
    rows: Mapping[str, Sequence[Panel]]
    choices: Mapping[str, str]  # by label: the query that has its values


def written(board: Board) -> str:
    """The dashboard as a file."""
    whole = (
        form.Dashboard(board.title)
        .uid(board.uid)
        .description(board.text)
        .tags(["vpngate"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("1m")
        .with_variable(
            form.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    for label, query in board.choices.items():
        whole.with_variable(
            form.QueryVariable(label)
            .label(label.capitalize())
            .query(query)
            .datasource(_SOURCE)
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
        )
    numbers = count(1)
    for title, panels in board.rows.items():
        whole.with_row(form.Row(title).id(next(numbers)))
        for panel in panels:
            whole.with_panel(_built(panel).id(next(numbers)))
    return json.dumps(whole.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _built(panel: Panel) -> Any:
    """The panel by its builder, of which each kind has another class."""
    made: Any
    match panel.kind:
        case "lines":
            made = (
                timeseries.Panel()
                .min(0)
                .span_nulls(False)
                .legend(
                    common.VizLegendOptions()
                    .display_mode(words.LegendDisplayMode.LIST)
                    .placement(words.LegendPlacement.BOTTOM)
                    .show_legend(True)
                    .calcs([])
                )
            )
        case "table":
            made = table.Panel()
            _side_by_side(made, panel)
        case _:
            made = stat.Panel().reduce_options(
                common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
            )
    if panel.kind == "name":
        made.text_mode(words.BigValueTextMode.NAME)
    if panel.kind == "yes":
        made.mappings([model.ValueMap(options=_YES_NO)])
    if panel.kind in {"name", "number", "yes"}:
        made.graph_mode(words.BigValueGraphMode.NONE)
    width, height = _SIZE.get(panel.kind, _SMALL)
    made.title(panel.title).description(panel.text).unit(panel.unit)
    made.datasource(_SOURCE).span(width).height(height)
    for number, ask in enumerate(panel.asks):
        made.with_target(_target(ask, panel.kind, chr(ord("A") + number)))
    return made


def _target(ask: Ask, kind: Kind, name: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(ask.expr).ref_id(name).datasource(_SOURCE)
    query.legend_format(ask.legend or "__auto")
    if kind == "table":
        query.format(PromQueryFormat.TABLE)
    return query.range() if kind == "lines" else query.instant()


def _side_by_side(made: table.Panel, panel: Panel) -> None:
    """A row for each gateway: what is the same in all questions is told once."""
    names = {
        f"Value #{chr(ord('A') + number)}": ask.legend
        for number, ask in enumerate(panel.asks)
    }
    hidden = [f"Time {n}" for n in range(1, len(panel.asks) + 1)] + ["Time", "job"]
    tidy = {"excludeByName": dict.fromkeys(hidden, True), "renameByName": names}
    for step, options in (
        ("joinByField", {"byField": "instance", "mode": "outer"}),
        ("organize", tidy),
    ):
        made.with_transformation(
            model.DataTransformerConfig(id_val=step, options=options)
        )

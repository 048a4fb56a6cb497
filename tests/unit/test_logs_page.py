# SPDX-License-Identifier: GPL-2.0-or-later
"""Every line of the log has an event's name, and docs/logs.md says what it means.

Knows how a call that logs looks in the source; does not know what is logged.
"""

import ast
import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.house import PACKAGE, ROOT, parsed, sources
from vpngate.log_events import event_of, named, place_of

PAGE = ROOT / "docs" / "logs.md"
METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
NAME = re.compile(r"[a-z]+(_[a-z]+)*")
# The event that stands for what other libraries log (`outside/logs.py`).
OF_LIBRARIES = "library"


CALL = re.compile(rf"\.\s*({'|'.join(METHODS)})\s*\(")


@cache
def that_may_log() -> list[Path]:
    """The sources with a call of such a name: the others need not be parsed."""
    return [path for path in sources() if CALL.search(path.read_text())]


def loggers(tree: ast.Module) -> set[str]:
    """The names that a module has for loggers."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)  # no table: to write it out takes its time
        and "getLogger" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Whatever is logged in a module, also without a name for the logger."""
    known = loggers(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if (
                attr in METHODS  # asked first: to write out whose it is takes its time
            ):
                whose = ast.unparse(value)
                if whose in known or whose == "logging" or "getLogger" in whose:
                    yield node


def name_of(call: ast.Call) -> str | None:
    """The event that a call names; None if it names none in the one way there is."""
    for keyword in call.keywords:
        match keyword:
            case ast.keyword(
                arg="extra",
                value=ast.Call(
                    func=ast.Name(id="named"), args=[ast.Constant(value=str() as name)]
                ),
            ):
                return name
    return None


def rows() -> list[tuple[str, str]]:
    """Names and levels of the page's one table."""
    row = r"^\| `([a-z_]+)` \| ([a-z, ]+) \|"
    return re.findall(row, PAGE.read_text(), re.MULTILINE)


@cache
def in_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in that_may_log():
        for call in calls(parsed(path)):
            if name := name_of(call):
                assert isinstance(call.func, ast.Attribute)
                level = call.func.attr.replace("exception", "error")
                found.setdefault(name, set()).add(level)
    return found


def where(path: Path, call: ast.Call) -> str:
    return f"{path.relative_to(PACKAGE)}:{call.lineno}"


def test_every_call_names_its_event() -> None:
    without = [
        where(path, call)
        for path in that_may_log()
        for call in calls(parsed(path))
        if NAME.fullmatch(name_of(call) or "") is None
    ]
    assert without == []
    assert len(in_code()) > 40


@pytest.mark.parametrize(
    "line",
    [
        '_log.info("x")',
        '_log.info("x", extra={"event": "x"})',
        '_log.info("x", extra=named(name))',
        'logging.getLogger("vpngate").error("x")',
        'logging.warning("x")',
    ],
)
def test_a_call_without_is_found(line: str) -> None:
    tree = ast.parse(f"import logging\n_log = logging.getLogger('a')\n{line}\n")
    (call,) = calls(tree)
    assert name_of(call) is None


def test_the_table_has_every_event_once() -> None:
    told = [name for name, _ in rows()]
    assert told == sorted(set(told))
    assert set(told) == in_code().keys() | {OF_LIBRARIES}


def test_the_table_has_the_level_of_each() -> None:
    for name, levels in rows():
        if name != OF_LIBRARIES:
            told = set(levels.split(", "))
            known = in_code()[name]
            assert told == known or ("log" in known and told > known - {"log"}), name


def test_no_field_takes_another_ones_place() -> None:
    record = logging.makeLogRecord(named("x", event="y", message="z", name="n"))
    told = event_of(record)
    assert told is not None
    assert (told.name, told.fields["event"]) == ("x", "y")
    assert event_of(logging.makeLogRecord({})) is None


def test_where_an_error_came_up_is_told_without_what_it_says() -> None:
    def deep(text: str) -> None:
        raise ValueError(text)

    try:
        deep("203.0.113.77")
    except ValueError as error:
        told = place_of(error)
    assert re.fullmatch(r"ValueError at .*test_logs_page\.py:\d+ < .*:\d+", told)
    assert "203.0.113.77" not in told
    assert place_of(ValueError("x")) == "ValueError at ?"

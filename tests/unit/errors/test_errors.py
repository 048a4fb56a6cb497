# SPDX-License-Identifier: GPL-2.0-or-later
"""Every error: its lines, its exit status, its place in the tree."""

import inspect

import pytest

from vpngate import errors
from vpngate.errors import (
    FeedFault,
    InvalidConfig,
    Problem,
    RegistryRefused,
    VpngateError,
)

EVERY_KIND = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, VpngateError)
]


def test_a_problem_is_one_line() -> None:
    assert str(Problem("a.toml: x", "is odd")) == "a.toml: x: is odd"
    assert (
        str(Problem("a.toml: x", "is odd", "mend it")) == "a.toml: x: is odd; mend it"
    )


def test_an_invalid_input_holds_every_problem() -> None:
    problems = [Problem("a", "is odd"), Problem("b", "is even", "mend it")]
    error = InvalidConfig(iter(problems))
    assert error.problems == tuple(problems)
    assert error.lines == ["a: is odd", "b: is even; mend it"]


@pytest.mark.parametrize("kind", [RegistryRefused, FeedFault])
def test_a_reason_is_kept_for_the_metric(
    kind: type[RegistryRefused] | type[FeedFault],
) -> None:
    error = kind("empty", Problem("r.csv", "holds nothing"))
    assert (error.reason, error.lines) == ("empty", ["r.csv: holds nothing"])


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_tree_in_the_docstring_is_the_tree(kind: type[VpngateError]) -> None:
    drawing = (errors.__doc__ or "").splitlines()
    line = next(line for line in drawing if kind.__name__ in line.split())
    if kind is not VpngateError:
        depth = line.index(kind.__name__)
        parent = kind.__mro__[1].__name__
        above = drawing[: drawing.index(line)]
        nearest = next(
            each
            for each in reversed(above)
            if any(c.isalpha() for c in each) and _indent(each) < depth
        )
        assert parent in nearest.split()
    stated = line.split()[-1]
    if stated.isdigit():
        assert kind.exit_status == int(stated)


def _indent(line: str) -> int:
    return next(place for place, char in enumerate(line) if char.isalpha())

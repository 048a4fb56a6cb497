# SPDX-License-Identifier: GPL-2.0-or-later
"""diff: what it prints, and how it ends."""

import json
from pathlib import Path

from tests.unit.cli.conftest import REGISTRY, TO_2099, Run


def test_diff(run: Run, registry: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    text = REGISTRY.replace("192.0.2.128/25,R-2,,,", "192.0.2.128/25,R-2,pptp,,")
    new.write_text(text + "203.0.113.0/24,R-5,,,\n")
    status, out, err = run("diff", registry, new)
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        "+  203.0.113.0/24  R-5",
        "<  192.0.2.128/25  R-2",
        ">  192.0.2.128/25  R-2  pptp",
        "1 added, 0 removed, 1 changed",
        "gained: 256 ipv4 addresses and 0 ipv6 /64: 203.0.113.0/24",
        "the guard would take it",
    ]


def test_diff_that_the_guard_would_refuse(
    run: Run, registry: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.csv"
    new.write_text("prefix,registration\n2001:db8::/32,R-3\n")
    status, out, err = run("diff", registry, new, "--format", "json")
    assert (status, err) == (1, [])
    found = json.loads(out)
    assert [row["prefix"] for row in found["removed"]] == [
        "192.0.2.0/24",
        "192.0.2.128/25",
        "198.51.100.0/24",
    ]
    assert found["changed"][0]["old"]["valid_until"] == TO_2099
    assert found["changed"][0]["new"]["valid_until"] is None
    prefixes = [found[each]["prefixes"] for each in ("gained", "lost")]
    assert prefixes == [[], ["192.0.2.0/24"]]  # the other one was not in force
    (objection,) = found["guard"]
    assert objection["reason"] == "removed_too_many"
    assert objection["overridable"] is True
    status, out, _ = run("diff", registry, new)
    assert (status, out.splitlines()[-1][:27]) == (1, "the guard would refuse it: ")


def test_a_change_of_suspend_is_told_first(run: Run, tmp_path: Path) -> None:
    page = {"registrations": [{"prefix": "192.0.2.0/24", "registration": "R-1"}]}
    plain, first, second = (tmp_path / name for name in ("plain", "first", "second"))
    plain.write_text(json.dumps(page))
    first.write_text(json.dumps(page | {"suspend": "a mistake"}))
    second.write_text(json.dumps(page | {"suspend": "another"}))
    for old, new, line in (
        (plain, first, "has gateways observe: a mistake"),
        (first, second, "has gateways observe: another (until now: a mistake)"),
        (second, plain, "no longer has gateways observe (until now: another)"),
    ):
        status, out, err = run("diff", old, new)
        assert (status, err, out.splitlines()[0]) == (0, [], line)
    told = json.loads(run("diff", plain, first, "--format", "json")[1])
    assert next(iter(told)) == "suspend"
    assert told["suspend"] == {"old": None, "new": "a mistake"}
    told = json.loads(run("diff", first, first, "--format", "json")[1])
    assert told["suspend"] is None

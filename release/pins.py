# SPDX-License-Identifier: GPL-2.0-or-later
"""Which packages vpngate is made with, and for what: to run, to build, to work on it.

Knows pyproject.toml and constraints.txt; does not know where packages come from, nor
who says what each of them needs.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
# What builds a package that is published without a wheel for some machine.
SOURCE_BUILDS = {"cypcap": "setuptools", "pytricia": "setuptools"}
# Those of them that have no wheel at all.
NO_WHEELS = {"pytricia"}

# The lines of `Requires-Dist` of a package, by its canonical name.
Needs = Callable[[str], Iterable[str]]

_PIN = re.compile(r"([\w.-]+)==([\w.!]+)", re.ASCII)


def project() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for, by what it is for: run, build, dev, bench."""
    page = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        "run": page["project"]["dependencies"],
        "build": page["build-system"]["requires"],
        **page["project"]["optional-dependencies"],
    }
    return {use: [*map(Requirement, lines)] for use, lines in asked.items()}


def pins() -> dict[str, str]:
    """The version of each package that constraints.txt holds, by canonical name."""
    found: dict[str, str] = {}
    for line in CONSTRAINTS.read_text().splitlines():
        if line and not line.startswith("#"):
            pin = _PIN.fullmatch(line)
            if pin is None:
                raise ValueError(f"{CONSTRAINTS.name}: {line!r} is not NAME==VERSION")
            found[canonicalize_name(pin[1])] = pin[2]
    return found


def by_use(needs: Needs) -> dict[str, dict[str, str]]:
    """The pins by use; what runs is not also named as what builds, and so on.

    ValueError if something that is needed is not pinned, or the other way round.
    """
    asked, rest = project(), pins()
    asked["build"] += map(Requirement, SOURCE_BUILDS.values())
    found: dict[str, dict[str, str]] = {}
    for use in asked:
        names = set(closure(asked[use], needs))
        if missing := names - pins().keys():
            raise ValueError(f"{CONSTRAINTS.name} lacks {', '.join(sorted(missing))}")
        found[use] = {name: rest.pop(name) for name in sorted(names & rest.keys())}
    if rest:
        raise ValueError(f"{CONSTRAINTS.name}: nobody needs {', '.join(sorted(rest))}")
    return found


def closure(asked: Iterable[Requirement], needs: Needs) -> Iterator[str]:
    """The names asked for, and those that they need in turn."""
    ahead, seen = list(asked), set()
    while ahead:
        requirement = ahead.pop()
        name = canonicalize_name(requirement.name)
        wanted = (name, *sorted(requirement.extras))
        if wanted in seen:
            continue
        seen.add(wanted)
        yield name
        for line in needs(name):
            needed = Requirement(line)
            extras = requirement.extras or {""}
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in extras):
                ahead.append(needed)

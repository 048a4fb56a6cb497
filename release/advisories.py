# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a version that vpngate may run with is known to be unsafe.

Knows the advisories in advisories.toml, and compares them with what pyproject.toml
and constraints.txt allow; asks nobody. Run by `make advisories`.
"""

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from release.pins import pins, project

LIST = Path(__file__).with_suffix(".toml")
_ZERO = Version("0")


@dataclass(frozen=True)
class Advisory:
    """A package is unsafe from a version on, until another."""

    package: str
    id: str
    fixed: Version
    since: Version = _ZERO

    def concerns(self, version: Version) -> bool:
        """Whether this version is unsafe."""
        return self.since <= version < self.fixed


def known() -> list[Advisory]:
    """The advisories in the list."""
    page = tomllib.loads(LIST.read_text())
    return [
        Advisory(
            canonicalize_name(each["package"]),
            each["id"],
            Version(each["fixed"]),
            Version(each.get("since", "0")),
        )
        for each in page["advisory"]
    ]


def lowest(requirement: Requirement) -> Version:
    """The lower bound, "0" if there is none."""
    bounds = [s.version for s in requirement.specifier if s.operator in (">=", "==")]
    return max(map(Version, bounds), default=_ZERO)


def findings(
    asked: Iterable[Requirement],
    pinned: Mapping[str, str],
    advisories: Iterable[Advisory],
) -> Iterator[str]:
    """A line for each advisory that a bound lets in, or that a pin runs into.

    A bound lets in every version from its lower end on: one below `fixed` is too low,
    whenever what is unsafe came in.
    """
    bounds: dict[str, Version] = {canonicalize_name(r.name): lowest(r) for r in asked}
    for advisory in advisories:
        name, what = advisory.package, f"{advisory.id}, fixed in {advisory.fixed}"
        if name in bounds and bounds[name] < advisory.fixed:
            yield f"{name}>={bounds[name]} lets in {what}"
        if name in pinned and advisory.concerns(Version(pinned[name])):
            yield f"{name}=={pinned[name]} has {what}"


def main() -> None:
    """Print what is wrong; exit status 1 if anything is."""
    advisories = known()
    found = [*findings(project()["run"], pins(), advisories)]
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"no bound and no pin is open to the {len(advisories)} known advisories")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

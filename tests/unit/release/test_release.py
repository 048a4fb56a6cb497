# SPDX-License-Identifier: GPL-2.0-or-later
"""What vpngate is made with: every pin has hashes, no bound is known to be unsafe."""

import re
from importlib.metadata import distribution, requires
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from release import advisories, bill, pins
from release.advisories import Advisory, findings
from tests.house import PACKAGE, ROOT

USES = ("run", "build", "dev", "bench")
ARCHITECTURE = ROOT / "docs" / "architecture.md"


def hashed(use: str) -> dict[str, list[str]]:
    """The pins of a requirements file, and the hashes of each."""
    text = (ROOT / "requirements" / f"{use}.txt").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    for _, *options in lines:
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", o) for o in options)
    return {pin: options for pin, *options in lines}


def test_every_pin_has_its_hashes_and_nothing_else_is_installed() -> None:
    found = [pin for use in USES for pin in hashed(use)]
    pinned = [f"{name}=={version}" for name, version in pins.pins().items()]
    assert sorted(found) == sorted(pinned), "make hashes"
    assert all(options for use in USES for options in hashed(use).values())


def test_what_is_compiled_has_a_hash_for_each_machine_and_python() -> None:
    # Three Pythons; what is built from source has one file for all other machines.
    assert len(hashed("run")["numpy==" + distribution("numpy").version]) == 6
    assert len(hashed("run")["cypcap==" + distribution("cypcap").version]) == 4


def test_what_runs_is_hashed_as_what_runs() -> None:
    peers = {canonicalize_name(one.name) for one in pins.project()["bench"]}
    others = [pin.partition("==")[0] for pin in hashed("bench")]

    def needs(name: str) -> list[str]:
        # What the bench compares with is not installed for tests: `make hashes` asks.
        if name in others:
            return others if name in peers else []
        return requires(name) or []

    asked = pins.by_use(needs)
    for use, chosen in asked.items():
        assert [f"{n}=={v}" for n, v in chosen.items()] == [*hashed(use)], "make hashes"


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()))
def test_no_address_is_recorded(path: Any) -> None:
    assert "://" not in path.read_text()
    assert "index" not in path.read_text()


def test_no_bound_and_no_pin_is_known_to_be_unsafe() -> None:
    asked = pins.project()["run"]
    assert [*findings(asked, pins.pins(), advisories.known())] == []


@pytest.mark.parametrize(
    ("bound", "pin", "lines"),
    [
        ("urllib3>=2.6.3,<3", "2.8.0", ["urllib3>=2.6.3 lets in X, fixed in 2.7.0"]),
        ("urllib3>=2.7,<3", "2.8.0", []),
        ("urllib3>=2.7,<3", "2.6.9", ["urllib3==2.6.9 has X, fixed in 2.7.0"]),
        ("urllib3<3", "2.5.0", ["urllib3>=0 lets in X, fixed in 2.7.0"]),
        ("elsewhere>=1", "2.8.0", []),
    ],
)
def test_bounds_and_pins_are_compared_with_advisories(
    bound: str, pin: str, lines: list[str]
) -> None:
    known = [Advisory("urllib3", "X", Version("2.7.0"), since=Version("2.6.0"))]
    assert [*findings([Requirement(bound)], {"urllib3": pin}, known)] == lines


def test_the_bill_names_all_that_runs_and_what_each_needs() -> None:
    found = bill.bill()
    names = [part["name"] for part in found["components"]]
    assert [f"{part['name']}=={part['version']}" for part in found["components"]] == [
        *hashed("run")
    ]
    needed = {each["ref"]: each["dependsOn"] for each in found["dependencies"]}
    assert set(needed) == {
        found["metadata"]["component"]["bom-ref"],
        *(part["bom-ref"] for part in found["components"]),
    }
    direct = [canonicalize_name(r.name) for r in pins.project()["run"]]
    ours = needed[found["metadata"]["component"]["bom-ref"]]
    assert sorted(ref.rpartition("/")[2].partition("@")[0] for ref in ours) == sorted(
        direct
    )
    assert set(direct) < set(names)
    (parser,) = [p for p in found["components"] if p["name"] == "pycparser"]
    (binding,) = [r for r in needed if "/cffi@" in r]
    assert parser["bom-ref"] in needed[binding]
    assert all(part["licenses"] for part in found["components"])


def test_the_page_about_the_house_says_what_each_dependency_is_for() -> None:
    asked = {canonicalize_name(r.name) for r in pins.project()["run"]}
    told = re.findall(r"(?m)^\| `([\w-]+)` \|", ARCHITECTURE.read_text())
    assert asked <= set(told)


def test_each_dependency_is_imported_where_it_runs() -> None:
    imported = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for requirement in pins.project()["run"]:
        module = requirement.name.replace("-", "_")
        assert re.search(rf"(?m)^\s*(import|from) {module}\b", imported), module


def test_a_wheel_carries_the_templates_of_the_pages() -> None:
    builder = WheelBuilder(str(ROOT))
    carried = {file.relative_path for file in builder.recurse_included_files()}
    templates = sorted((PACKAGE / "public" / "templates").iterdir())
    assert len(templates) >= 5
    assert {str(path.relative_to(ROOT)) for path in templates} <= carried

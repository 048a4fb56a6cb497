# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents name exists: links, commands, metrics, keys, reasons.

Knows where each of them is declared; does not know whether a sentence is true.
"""

import re
import tomllib
from pathlib import Path

import pytest

from tests.house import PACKAGE, ROOT
from vpngate.cli import COMMANDS
from vpngate.config.changes import COLD
from vpngate.registry.guard import Refusal

DOCS = ROOT / "docs"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
]
each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a document that are written in `language`."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL
    )


def commands(path: Path) -> set[str]:
    """The words behind `vpngate` wherever a document shows it being typed."""
    return set(re.findall(r"(?:`|# |\$ |bin/)vpngate ([a-z]+)", path.read_text()))


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        other = path.parent / name if name else path
        assert other.is_file(), target
        heads = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
        anchors = [
            re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in heads
        ]
        assert not anchor or anchor in anchors, target


@each_document
def test_commands_exist(path: Path) -> None:
    assert commands(path) <= set(COMMANDS)


def test_the_readme_shows_every_command() -> None:
    rows = re.findall(r"^\| `vpngate ([a-z]+)", DOCUMENTS[0].read_text(), re.MULTILINE)
    assert rows == list(COMMANDS)


@each_document
def test_metrics_exist(path: Path) -> None:
    source = "".join(file.read_text() for file in (PACKAGE / "metrics").glob("*.py"))
    # A few are put together of `registry_` and the rest.
    known = set(re.findall(r'"(?:vpngate_)?([a-z_]+)"', source))
    known |= {f"registry_{name}" for name in known}
    named = set(re.findall(r"\bvpngate_([a-z_]+)", path.read_text()))
    assert {name.removesuffix("_total") for name in named} <= known


@each_document
def test_configurations_are_toml(path: Path) -> None:
    shipped = tomllib.loads((ROOT / "config" / "vpngate.toml").read_text())
    for text in blocks(path, "toml"):
        for section, keys in tomllib.loads(text).items():
            assert keys.keys() <= shipped[section].keys()


def test_what_needs_a_restart_is_told() -> None:
    text = (DOCS / "operating.md").read_text()
    told = text.partition("These need a restart:")[2].partition(". ")[0]
    for key in COLD:
        assert key.rpartition(".")[2] in told, key
    assert len(re.findall("`", told)) == 2 * len(COLD)


def test_what_nobody_can_overrule_is_told_apart() -> None:
    text = (DOCS / "fleet.md").read_text()
    overruled, _, mended = text.partition("A person may overrule")[2].partition(". `")
    assert {r for r in Refusal if f"`{r}`" in overruled} == {
        r for r in Refusal if r.overridable
    }
    mended = "`" + mended.partition("\n")[0]
    assert {r for r in Refusal if f"`{r}`" in mended} == {
        r for r in Refusal if not r.overridable
    }

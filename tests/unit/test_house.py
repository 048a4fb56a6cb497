# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds the floors and habits of the house.

Knows the rules; `tests/house.py` knows the rooms and reads their source.
"""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import (
    FLOOR,
    INSIDE,
    LEVEL,
    PACKAGE,
    PURE,
    ROOT,
    alcove_of,
    alcoves_known,
    imports,
    levels_inside,
    room_of,
    rooms_known,
    sources,
)

FILE_LINES = 320
FILE_LINES_INSIDE = 300  # of a room with floors inside: there is place for another
FILES_A_LEVEL = 12
TEST_LINES = 450  # tables of cases are long
FUNCTION_LINES = 45
LICENCE = "# SPDX-License-Identifier: GPL-2.0-or-later"

# A library, and the only rooms that may know it.
CONFINED = {
    "pyroute2": {"kernel", "capture"},
    "prometheus_client": {"metrics"},
    "urllib3": {"feed"},
    "h11": {"http"},
    "cryptography": {"feed"},
    "cypcap": {"capture", "signatures"},
    "pydantic": {"config"},
    "argparse": {"cli"},
}
# What a pure room does not touch: files, sockets, clocks, the environment, logs.
IMPURE = {
    "asyncio",
    "logging",
    "os",
    "pathlib",
    "random",
    "select",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
NOW_AND_FILES = {"datetime.now", "datetime.utcnow", "datetime.today", "open", "input"}

FILES = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sources()]
EVERY_FILE = [
    pytest.param(path, id=str(path.relative_to(ROOT)))
    for folder in ("vpngate", "tests", "bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in sources()} - {""}
    assert rooms - set(LEVEL) == set(), "give the room its floor in tests/house.py"


@pytest.mark.parametrize("path", FILES)
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    if room:
        up = {known for known in rooms_known(path) if LEVEL[known] >= LEVEL[room]}
        assert up == set(), f"{room} is below or beside what it imports"


@pytest.mark.parametrize("room", INSIDE)
def test_every_part_of_a_large_room_has_a_floor(room: str) -> None:
    assert {alcove_of(path) for path in sources(room)} - {""} == set(
        levels_inside(room)
    )


@pytest.mark.parametrize("path", FILES)
def test_imports_inside_a_room_go_down_only(path: Path) -> None:
    if part := alcove_of(path):
        levels = levels_inside(room_of(path))
        up = {one for one in alcoves_known(path) if levels[one] >= levels[part]}
        assert up == set(), f"{part} is below or beside what it imports"


@pytest.mark.parametrize("room", INSIDE)
def test_no_level_of_a_large_room_is_crowded(room: str) -> None:
    levels = Counter(
        path.parent for path in sources(room) if path.name != "__init__.py"
    )
    assert {level: n for level, n in levels.items() if n > FILES_A_LEVEL} == {}


@pytest.mark.parametrize("path", FILES)
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    used = {module.partition(".")[0] for module in imports(path)}
    strays = {
        library
        for library in used & set(CONFINED)
        if room_of(path) not in CONFINED[library]
    }
    assert strays == set()


@pytest.mark.parametrize("path", FILES)
def test_the_first_two_floors_are_pure(path: Path) -> None:
    if FLOOR.get(room_of(path)) not in PURE:
        return
    used = {module.partition(".")[0] for module in imports(path)}
    assert used & IMPURE == set()
    tree = ast.parse(path.read_text())
    calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert calls & NOW_AND_FILES == set()


@pytest.mark.parametrize("path", FILES)
def test_the_ground_floor_needs_the_standard_library_only(path: Path) -> None:
    if FLOOR.get(room_of(path)) == "ground":
        used = {module.partition(".")[0] for module in imports(path)}
        assert used - set(sys.stdlib_module_names) - {"vpngate"} == set()


@pytest.mark.parametrize("path", EVERY_FILE)
def test_every_file_says_its_licence_first(path: Path) -> None:
    assert path.read_text().splitlines()[:1] == [LICENCE]


@pytest.mark.parametrize("path", FILES)
def test_every_module_says_what_it_knows(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert said, "a module opens by saying what it is"
    if path.parent != PACKAGE or room_of(path):
        words = said.lower().replace("\n", " ")
        assert "know" in words, "... and what it knows and does not know"


@pytest.mark.parametrize("path", EVERY_FILE)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    limit = TEST_LINES
    if PACKAGE in path.parents:
        limit = FILE_LINES_INSIDE if room_of(path) in INSIDE else FILE_LINES
    assert lines <= limit, "which second concern has moved in?"


@pytest.mark.parametrize("path", FILES)
def test_functions_are_short(path: Path) -> None:
    long = {
        function.name: length
        for function in _functions(path)
        if (length := function.end_lineno - function.lineno + 1) > FUNCTION_LINES  # type: ignore[operator]
    }
    assert long == {}


def test_nothing_names_a_machine_or_a_download() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert paths
    telling = [f"/{folder}/" for folder in ("work", "farm", "root", "home")]
    telling += [f"{host}.org/" for host in ("pypi", "files.pythonhosted")]
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in paths
        if path.is_file() and path.name != "LICENSE"
        for word in telling
        if word in path.read_text(errors="replace")
    ]
    assert found == []


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node

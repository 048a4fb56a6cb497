# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds the floors and habits of the house.

Knows the rules; `tests/house.py` knows the rooms and reads their source.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.draw_house import PAGE, redrawn
from tests.house import (
    FLOOR,
    LEVEL,
    PACKAGE,
    PURE,
    ROOT,
    WITHIN,
    dotted,
    folders,
    imports,
    members,
    members_known,
    parsed,
    room_of,
    rooms_known,
    sources,
)
from vpngate.cli import COMMANDS

FILE_LINES = 300
LEVEL_FILES = 12
TEST_LINES = 400  # tables of cases are long
FUNCTION_LINES = 45
LICENCE = "# SPDX-License-Identifier: GPL-2.0-or-later"

# A second reader bears the name of the tunnel that it reads.
SECOND_READERS = PACKAGE / "tunnels" / "messages"

# A library, and the only rooms that may know it.
CONFINED = {
    "pyroute2": {"kernel", "capture"},
    "prometheus_client": {"metrics"},
    "urllib3": {"feed"},
    "h11": {"http"},
    "cryptography": {"feed", "publishing"},
    "cypcap": {"capture", "signatures"},
    "pydantic": {"config"},
    "argparse": {"cli"},
    "jinja2": {"public"},
    "markupsafe": {"public"},
    "rich": {"cli"},
}
# What of the daemon is for who is not it, but `vpngate run` which is its start.
DAEMON, CLIENT = "vpngate.daemon.", "vpngate.daemon.outside.client"
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
# What follows from an event: above the second floor, and as pure.
PURE_ABOVE = {
    PACKAGE / "daemon" / "applying" / name for name in ("events.py", "transition.py")
}
NOW_AND_FILES = {"datetime.now", "datetime.utcnow", "datetime.today", "open", "input"}

# A rule is one test that walks over all files: a test a file takes far longer.
FILES = tuple(sources())
FOLDERS = tuple(folders())
EVERY_FILE = tuple(
    path
    for folder in ("vpngate", "tests", "bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
)


def of_each(
    paths: Iterable[Path], faults: Callable[[Path], Collection[object]]
) -> dict[str, Collection[object]]:
    """What is wrong with which path, by its name; empty where nothing is."""
    found = {str(path.relative_to(ROOT)): faults(path) for path in paths}
    assert found
    return {name: wrong for name, wrong in found.items() if wrong}


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in sources()} - {""}
    assert rooms - set(LEVEL) == set(), "give the room its floor in tests/house.py"


def test_imports_go_down_only() -> None:
    def up(path: Path) -> set[str]:
        """The rooms above, or beside: the package's own files know whom they like."""
        room = room_of(path)
        known = rooms_known(path) if room else ()
        return {each for each in known if LEVEL[each] >= LEVEL[room]}

    assert of_each(FILES, up) == {}


def test_doctor_and_commands_ask_the_daemon_by_its_client() -> None:
    def past_it(path: Path) -> list[str]:
        known = [name for name in imports(path) if name.startswith(DAEMON)]
        return [name for name in known if not name.startswith(CLIENT)]

    assert of_each(sources("doctor", "cli"), past_it) == {}


def test_the_drawing_is_the_house() -> None:
    page = PAGE.read_text()
    assert page == redrawn(page), "make house"


@pytest.mark.parametrize("page", [PAGE, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_pages_name_files_that_there_are(page: Path) -> None:
    named = set(re.findall(r"`([a-z_0-9/]+\.py)`", page.read_text()))
    there = {
        path.as_posix()
        for folder in ("vpngate", "tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert named
    assert [name for name in named if not _ends_one_of(there, name)] == []


@pytest.mark.parametrize("room", WITHIN)
def test_imports_go_down_inside_a_room(room: str) -> None:
    folder = PACKAGE.joinpath(*room.split("."))
    level = {name: at for at, names in enumerate(WITHIN[room]) for name in names}
    assert tuple(sorted(level)) == members(folder), (
        "tests/house.py gives each its floor"
    )
    up = {
        (name, known)
        for name in level
        for known in members_known(folder, name)
        if level[known] >= level[name]
    }
    assert up == set()


def test_nothing_is_imported_in_a_circle() -> None:
    for folder in FOLDERS:
        graph = {name: members_known(folder, name) for name in members(folder)}
        tuple(TopologicalSorter(graph).static_order())  # CycleError names the circle


def test_a_level_is_seen_at_a_glance() -> None:
    def too_many(folder: Path) -> list[str]:
        files = [name for name in members(folder) if not (folder / name).is_dir()]
        if folder == PACKAGE / "cli":  # a command is found by its own name
            files = [name for name in files if name not in COMMANDS]
        return files if len(files) > LEVEL_FILES else []

    assert of_each(FOLDERS, too_many) == {}, "which rooms would these have?"


def test_a_name_of_a_class_means_one_thing() -> None:
    where: dict[str, set[str]] = {}
    for path in sources():
        for name in _public_names(path):
            where.setdefault(name, set()).add(dotted(path))
    twice = {name: places for name, places in where.items() if len(places) > 1}
    assert twice == {}, "what does each mean, in its field's words?"


def test_a_name_of_a_file_stands_once() -> None:
    names = Counter(
        path.name
        for path in sources()
        if not path.name.startswith("__") and path.parent != SECOND_READERS
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_libraries_stay_in_their_rooms() -> None:
    def strays(path: Path) -> set[str]:
        used = {module.partition(".")[0] for module in imports(path)}
        return {
            library
            for library in used & set(CONFINED)
            if room_of(path) not in CONFINED[library]
        }

    assert of_each(FILES, strays) == {}


def test_the_first_two_floors_are_pure() -> None:
    def impure(path: Path) -> set[str]:
        used = {module.partition(".")[0] for module in imports(path)}
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Call)
        }
        return used & IMPURE | calls & NOW_AND_FILES

    pure = {path for path in FILES if FLOOR.get(room_of(path)) in PURE}
    assert pure >= {PACKAGE / "policy.py"}
    assert set(FILES) >= PURE_ABOVE
    assert of_each(sorted(pure | PURE_ABOVE), impure) == {}


def test_the_ground_floor_needs_the_standard_library_only() -> None:
    def foreign(path: Path) -> set[str]:
        used = {module.partition(".")[0] for module in imports(path)}
        return used - set(sys.stdlib_module_names) - {"vpngate"}

    ground = [path for path in FILES if FLOOR.get(room_of(path)) == "ground"]
    assert of_each(ground, foreign) == {}


def test_every_file_says_its_licence_first() -> None:
    def other(path: Path) -> list[str]:
        first = path.read_text().splitlines()[:1]
        return [] if first == [LICENCE] else [*first, "is not the licence"]

    assert of_each(EVERY_FILE, other) == {}


def test_every_module_says_what_it_is() -> None:
    def silent(path: Path) -> list[str]:
        return [] if ast.get_docstring(parsed(path)) else ["has no docstring"]

    assert of_each(FILES, silent) == {}


def test_files_are_short() -> None:
    def too_long(path: Path) -> list[int]:
        lines = len(path.read_text().splitlines())
        limit = FILE_LINES if PACKAGE in path.parents else TEST_LINES
        return [lines] if lines > limit else []

    assert of_each(EVERY_FILE, too_long) == {}, "which second concern has moved in?"


def test_functions_are_short() -> None:
    def too_long(path: Path) -> list[tuple[str, int]]:
        return [
            (function.name, length)
            for function in _functions(path)
            if (length := function.end_lineno - function.lineno + 1) > FUNCTION_LINES  # type: ignore[operator]
        ]

    assert of_each(FILES, too_long) == {}


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


def _public_names(path: Path) -> Iterator[str]:
    """Classes and names of types that a module defines at its top."""
    for node in parsed(path).body:
        names = [node.name] if isinstance(node, ast.ClassDef) else []
        if isinstance(node, ast.Assign):
            names = [each.id for each in node.targets if isinstance(each, ast.Name)]
        yield from (
            name
            for name in names
            if name[0].isalpha() and name != name.upper()
            if name[0].isupper()
        )


def _ends_one_of(paths: set[str], name: str) -> bool:
    return any(path.endswith(f"/{name}") for path in paths)


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node

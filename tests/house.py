# SPDX-License-Identifier: GPL-2.0-or-later
"""The house: which room stands on which floor, and who imports whom.

Knows the floors of vpngate and how to read imports from source; does not import
anything of it. Imports go down only; rooms of one floor do not know each other.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vpngate"

# From the ground up. A vocabulary that rooms of one floor share lies below them.
FLOORS = (
    ("ground", ("log_events", "plaintext")),
    ("ground", ("errors", "expansion", "packets", "units", "expressions")),
    ("ground", ("link_layers", "signatures")),
    ("ground", ("recognition",)),
    ("mezzanine", ("bounds", "prefixes", "timekeeping")),
    ("first", ("config", "registry", "tunnels", "flows", "second_reading")),
    ("second", ("policy", "ruleset", "stance")),
    ("second", ("plan",)),
    ("third", ("accepting",)),
    ("third", ("kernel", "capture", "feed", "metrics", "http")),
    ("third", ("attachment", "supply")),
    ("third", ("publishing", "snapshot")),
    ("third", ("public",)),
    ("fourth", ("daemon",)),
    ("fourth", ("doctor",)),
    ("roof", ("cli",)),
)
ROOF = "roof"
PURE = ("ground", "mezzanine", "first", "second")

# The floors inside a room, from the ground up: its files, and its rooms as a whole.
# What is not named here imports in no circle.
WITHIN = {
    "attachment": (("machine",), ("skipped_filters", "vrfs"), ("look",)),
    "bounds": (("window",), ("capture_loss", "spared_packets", "throttled_share")),
    "capture": (
        ("classic_bpf", "prefilter"),
        ("beginnings",),
        ("candidates",),
        ("account", "files", "live"),
        ("esp_columns", "missing_evidence", "summaries"),
        ("steady",),
        ("replay",),
    ),
    "capture.files": (
        ("batch", "record"),
        ("pcap", "pcapng", "savefile", "several"),
        ("search",),
        ("file",),
    ),
    "capture.live": (
        ("devices", "nflog_messages", "source"),
        ("mirror", "nflog", "ring"),
    ),
    "cli": (
        ("inputs", "options", "printing", "side_by_side"),
        ("standing", "watching", "whose_registry"),
        (
            *("bundle", "check", "classify", "clear", "diff", "doctor", "expiring"),
            *("lookup", "preview", "publish", "reload", "run", "status", "steering"),
            "transparency_report",
        ),
    ),
    "cli.steering": (("order",), ("confirm", "enforce", "observe")),
    "daemon": (
        ("outside", "threads", "wall_clock"),
        ("capture_and_plane", "garbage", "kept", "traffic"),
        ("in_force",),
        ("facts", "first_snapshot"),
        ("wellbeing",),
        ("answers", "fetches", "preview"),
        ("applying",),
        ("halting", "lookout", "stance"),
        ("reloader",),
        ("reload_requests",),
        ("gateway",),
    ),
    "daemon.answers": (("questions_asked",),),
    "daemon.applying": (
        ("events",),
        ("announcements", "at_once", "in_kernel", "transition"),
        ("applier",),
    ),
    "daemon.halting": (("samples",), ("halts",)),
    "daemon.kept": (("kept_stance", "share_key"),),
    "daemon.outside": (
        (
            *("callers", "closing", "logs", "memory_image", "served_pages"),
            "service_manager",
        ),
        ("handed_over",),
        ("client", "listening"),
        ("control",),
    ),
    "daemon.traffic": (
        ("judging", "observed"),
        ("pipeline", "second_reader"),
        ("capture_loop", "catching_up"),
    ),
    "daemon.preview": (
        ("proposal", "ration", "telling"),
        ("outlook",),
        ("previewer",),
    ),
    "daemon.stance": (("stance_time", "verbs"),),
    "daemon.wellbeing": (
        (
            *("deadman", "foresight", "freshness", "kernel_counters", "last_hour"),
            "loop_lag",
        ),
        ("health", "public_facts", "self_check"),
        ("opened_pages", "report"),
    ),
    "feed": (
        ("faults",),
        ("answer", "minisign", "schedule"),
        ("settings",),
        ("sources", "state"),
        ("feed",),
    ),
    "feed.sources": (
        ("deadline", "localfile"),
        ("gzip_check", "tls_client"),
        ("https",),
        ("delivery",),
    ),
    "feed.state": (("manifest", "statefolder"), ("store",)),
    "kernel": (
        ("plane", "wire"),
        ("neighbours",),
        ("bpf",),
        ("table",),
        ("shaping",),
        ("detour",),
        ("programmed",),
        ("clearing", "lanes", "way"),
        ("steps",),
        ("bpf_steps",),
        ("comparing", "sparing"),
        ("mending",),
        ("dryrun", "live"),
        ("survey",),
    ),
    "kernel.bpf": (
        ("syscall",),
        ("maps", "programs"),
        ("assembly", "plane_maps", "spared_arrays"),
        ("ipsec_paths", "needs"),
        ("code",),
        ("far_ends", "kernel_clock", "marks", "taken_off"),
        ("in_the_way",),
    ),
    "kernel.programmed": (
        (
            *("attachments", "chain_news", "flow_bits", "made_ahead", "memory"),
            "unfit",
        ),
        ("at_hooks", "flow_maps", "stage_slots"),
        ("programmed_table",),
        ("eligible", "near_ends", "spared_in_force"),
        ("program_hooks",),
    ),
    "kernel.programmed.attachments": (
        ("attachment",),
        ("by_filters", "by_links"),
        ("chosen",),
    ),
    "kernel.bpf.needs": (("bridge_chains", "kernel_release", "root_filters"),),
    "kernel.bpf.code": (
        ("finding", "sifting", "way_back"),
        ("asking", "counting", "recognising"),
        ("flow_verdicts", "handing"),
        ("stages",),
        ("hooked",),
    ),
    "prefixes": (("prefix", "rows"), ("intervals",), ("packed",)),
    "public": (
        ("charts", "check_rate", "question", "wording"),
        ("address_standing", "caller", "rendering", "transparency"),
        ("check_page", "status_page"),
    ),
    "publishing": (("published_pair", "secret_key"), ("publication",)),
    "registry": (
        ("columns",),
        ("registration",),
        ("registry",),
        ("reading",),
        ("grace",),
        ("comparison", "endings", "guard", "questions", "writing"),
    ),
    "registry.columns": (("terms", "tree"), ("entries",)),
    "registry.grace": (("departures", "persistence"),),
    "registry.reading": (
        ("content", "jsontext", "row_checks"),
        ("csvtext", "envelope"),
        ("loading",),
    ),
    "stance": (
        ("allowance",),
        ("stance",),
        ("kept", "stance_events", "words"),
        ("transitions",),
    ),
    "supply": (
        ("fleet_key", "memory", "reading", "registry_keys"),
        ("offers",),
        ("keeper",),
    ),
}

LEVEL = {room: level for level, (_, rooms) in enumerate(FLOORS) for room in rooms}
FLOOR = {room: floor for floor, rooms in FLOORS for room in rooms}


def sources(*rooms: str) -> Iterator[Path]:
    """The modules of the rooms, or of the whole house."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if not rooms or room_of(path) in rooms:
            yield path


def room_of(path: Path) -> str:
    """The room that a module belongs to; empty for the package's own files."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first.startswith("__") else first


def is_covered(test: Path) -> bool:
    """Whether a test file is of a room below the roof, so that its coverage counts.

    The roof's commands run what the tests of other rooms have run.
    """
    folder = ROOT / "tests" / "unit"
    if folder not in test.parents:
        return False
    first = test.relative_to(folder).parts[0]
    room = first.removesuffix(".py").removeprefix("test_")
    return FLOOR.get(room, ROOF) != ROOF


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a module imports anywhere in it, by its full name."""
    return tuple(_imports(parsed(path), path))


@cache
def parsed(path: Path) -> ast.Module:
    """The source of a module, parsed once for everybody who asks."""
    return ast.parse(path.read_text(), str(path))


def _imports(tree: ast.Module, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def members(folder: Path) -> tuple[str, ...]:
    """What stands at one level: modules and folders of modules, by name."""
    names = {
        path.relative_to(folder).parts[0].removesuffix(".py")
        for path in folder.rglob("*.py")
    }
    return tuple(sorted(name for name in names if not name.startswith("__")))


def folders() -> Iterator[Path]:
    """The package, and every folder of modules below."""
    yield from (path.parent for path in sorted(PACKAGE.rglob("__init__.py")))


def dotted(path: Path) -> str:
    """The name of a module or folder, the package's left out."""
    return ".".join(path.relative_to(PACKAGE).parts).removesuffix(".py")


def members_known(folder: Path, member: str) -> set[str]:
    """What one member of a folder imports of the others."""
    above = ".".join(("vpngate", *folder.relative_to(PACKAGE).parts, ""))
    path = folder / member
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    known = {
        module.removeprefix(above).split(".")[0]
        for file in files
        for module in imports(file)
        if module.startswith(above)
    }
    return known & set(members(folder)) - {member}


def rooms_known(path: Path) -> set[str]:
    """The rooms that a module knows, its own aside."""
    own = {module for module in imports(path) if module.startswith("vpngate.")}
    return {module.split(".")[1] for module in own} & set(LEVEL) - {room_of(path)}

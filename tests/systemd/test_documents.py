# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents show being typed on a gateway, typed there, block by block.

A scene is what a section presumes, and what happens between its blocks (where it
yields). The lines are typed as they stand, and have to end and print as the document
says. What a person answers to apt is answered by a setting.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.documents import ON_A_MACHINE, RUN_BY, blocks
from tests.house import ROOT
from tests.lab.systemd import Machine
from tests.lab.topology import Lab
from tests.systemd.desk import (
    INSTALLING,
    NEWER,
    NEWER_FILE,
    PACKAGE,
    PLACE,
    Desk,
    make_newer,
)
from tests.systemd.service import UNIT

pytestmark = pytest.mark.timeout(1800)  # seconds, on a busy machine

_REGISTRY = "/etc/vpngate/registry.csv"
_CARRIER = "198.51.100.77"  # somebody's Wi-Fi calling
_FAR_END = "198.51.100.10"  # as the document has it; the lab's stranger
_HOST = f"""\
vpngate_package: {PACKAGE}
vpngate_settings:
  gateway:
    interfaces: ["lan*"]
"""

Scene = Callable[[Desk, Path], Iterator[None]]


def five_minutes(desk: Desk, scratch: Path) -> Iterator[None]:
    desk.put()
    desk.capture(scratch)
    desk.before["vpngate status"] = desk.be_seen
    yield
    yield
    yield


def a_package(desk: Desk, _: Path) -> Iterator[None]:
    desk.put()
    yield


def observing(desk: Desk, _: Path) -> Iterator[None]:
    desk.observe()
    yield


def enforcing(desk: Desk, _: Path) -> Iterator[None]:
    desk.enforce()
    yield


def a_slow_vpn(desk: Desk, _: Path) -> Iterator[None]:
    """Somebody is protected already, and stays so; the far end is added to the list."""
    desk.service.settings.change(protect={"prefixes": [f"{_CARRIER}/32"]})
    desk.enforce()
    yield
    yield
    config = desk.machine.path("/etc/vpngate/vpngate.toml")
    standing = f'"{_CARRIER}/32"'
    before = config.read_text()
    assert before.count(standing) == 1
    config.write_text(before.replace(standing, f'{standing}, "{_FAR_END}/32"'))
    yield
    assert desk.service.throttled() == 0
    for address in (_CARRIER, _FAR_END):
        said = desk.machine.attempt("vpngate", "lookup", address).stdout
        assert "no, protected" in said, said


def a_feed_that_failed(desk: Desk, _: Path) -> Iterator[None]:
    desk.observe()
    registry = desk.machine.path(_REGISTRY)
    whole = registry.read_text()
    registry.unlink()
    yield
    registry.write_text(whole)
    yield
    rows = whole.splitlines(keepends=True)
    desk.machine.path("/srv/new.csv").write_text("".join(rows[:-1]))
    yield


def halted(desk: Desk, _: Path) -> Iterator[None]:
    desk.halt()
    yield
    yield


def rolled_out(desk: Desk, _: Path) -> Iterator[None]:
    archives = "/srv/ansible"
    if not list(desk.machine.path(archives).glob("ansible-core_*.deb")):
        pytest.skip("Ansible could not be had when the root was made")
    line = f"apt-get -qq --yes install {archives}/*.deb"
    desk.machine.run("sh", "-c", line, timeout=INSTALLING)
    place = desk.machine.path(PLACE)
    shutil.copytree(ROOT / "config" / "ansible", place, dirs_exist_ok=True)
    (place / "inventory").write_text(
        "[gateways]\ngw1 ansible_connection=local"
        " ansible_python_interpreter=/usr/bin/python3\n"
    )
    (place / "host_vars").mkdir()
    (place / "host_vars" / "gw1.yml").write_text(_HOST)
    yield
    assert desk.machine.show(UNIT, "ActiveState") == "active"


def upgraded(desk: Desk, scratch: Path) -> Iterator[None]:
    desk.observe()
    make_newer(desk.machine, scratch)
    desk.put(NEWER, NEWER_FILE)
    yield
    assert "-99~" in desk.machine.run("dpkg-query", "-W", "vpngate")


def gone_back(desk: Desk, scratch: Path) -> Iterator[None]:
    make_newer(desk.machine, scratch)
    install = ("dpkg", "--force-confold", "-i", NEWER)
    desk.machine.run(*install, timeout=INSTALLING)
    desk.service.control("start")
    yield
    desk.put()
    desk.put(NEWER, NEWER_FILE)
    yield
    assert "-99~" not in desk.machine.run("dpkg-query", "-W", "vpngate")
    yield
    assert not desk.machine.path("/var/lib/vpngate").exists()


SCENES: dict[tuple[str, str], Scene] = {
    ("README.md", "Five minutes"): five_minutes,
    ("docs/high-availability.md", "The same subscribers on every gateway"): observing,
    ("docs/operating.md", "Install"): a_package,
    ("docs/operating.md", "Then enforce"): observing,
    ("docs/operating.md", "What to watch"): enforcing,
    ("docs/playbooks.md", "What to type when"): enforcing,
    ("docs/playbooks.md", "A subscriber says his VPN is slow"): a_slow_vpn,
    ("docs/playbooks.md", "The feed failed"): a_feed_that_failed,
    ("docs/playbooks.md", "It halted"): halted,
    ("docs/playbooks.md", "Roll out to 40 gateways"): rolled_out,
    ("docs/playbooks.md", "Upgrade"): upgraded,
    ("docs/playbooks.md", "Go back"): gone_back,
}


# Those that begin without vpngate; they come first, for the others it is there.
BARE = (
    ("README.md", "Five minutes"),
    ("docs/operating.md", "Install"),
    ("docs/playbooks.md", "Roll out to 40 gateways"),
)


@pytest.fixture
def desk(place: tuple[str, str], bare: Machine, lab: Lab) -> Iterator[Desk]:
    """Somebody who answers yes to apt, and to dpkg that his files are to stay."""
    bare.path("/etc/apt/apt.conf.d/yes").write_text('APT::Get::Assume-Yes "true";\n')
    bare.path("/etc/dpkg/dpkg.cfg.d/keep").write_text("force-confdef\nforce-confold\n")
    with ExitStack() as stay:
        made = Desk(bare, lab, stay)
        made.clear(bare=place in BARE)
        yield made
        bare.attempt("systemctl", "stop", UNIT)


def test_a_scene_for_every_section_that_is_typed_here() -> None:
    assert set(SCENES) == {at for at, by in RUN_BY.items() if by == ON_A_MACHINE}


@pytest.mark.parametrize(
    "place",
    sorted(SCENES, key=lambda place: place not in BARE),
    ids=lambda place: place[1],
)
def test_what_is_shown_happens(
    place: tuple[str, str], desk: Desk, tmp_path: Path
) -> None:
    """A scene yields for each block, or the last time for all that are left."""
    scene = SCENES[place](desk, tmp_path)
    typed = [block for block in blocks("console") if block.place == place]
    assert typed
    for block in typed:
        next(scene, None)
        desk.type(block)
    next(scene, None)

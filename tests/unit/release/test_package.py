# SPDX-License-Identifier: GPL-2.0-or-later
"""What a package and a wheel are made of; `make package-test` installs the package."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from release import package
from release.debian_copyright import copyright_page
from release.wheel_hook import ManualHook
from tests.house import ROOT

SCRIPTS = sorted((ROOT / "release" / "debian").glob("p*"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of a package but the packages that it runs with."""
    folder = tmp_path_factory.mktemp("tree")
    package._files(folder)
    package._documents(folder, "0-1~deb12", "bookworm", "3.11", 1_790_000_000)
    package._control(folder, "0-1~deb12", "amd64", "3.11")
    return folder


def test_everything_has_its_place(tree: Path) -> None:
    for name in (
        "etc/vpngate/vpngate.toml",
        "etc/vpngate/registry.csv",
        "usr/lib/systemd/system/vpngate.service",
        "usr/lib/sysusers.d/vpngate.conf",
        "usr/lib/tmpfiles.d/vpngate.conf",
        "usr/lib/udev/rules.d/60-vpngate.rules",
        "usr/share/man/man1/vpngate.1.gz",
        "usr/share/man/man5/vpngate.toml.5.gz",
        "usr/share/man/man5/vpngate-registry.5.gz",
        "usr/share/bash-completion/completions/vpngate",
        "usr/share/zsh/vendor-completions/_vpngate",
        "usr/share/vpngate/systemd/ebpf.conf",
        "usr/share/vpngate/systemd/mirror.conf",
        "usr/share/vpngate/ansible/roles/vpngate/tasks/main.yml",
        "usr/share/doc/vpngate/copyright",
        "usr/share/doc/vpngate/README.md",
        "usr/share/doc/vpngate/docs/pipeline.svg",
        "DEBIAN/postinst",
    ):
        assert (tree / name).is_file(), name


def test_all_of_config_is_in_it(tree: Path) -> None:
    placed = {path.name for path in (tree / "usr/share/vpngate").iterdir()}
    placed |= {path.name for path in (tree / "etc/vpngate").iterdir()}
    assert placed - {"systemd"} == {path.name for path in (ROOT / "config").iterdir()}


def test_no_file_names_a_place_that_is_not_the_packages(tree: Path) -> None:
    for path in (*(tree / "usr/lib").rglob("*"), *(tree / "DEBIAN").iterdir()):
        if path.is_file():
            # But where a script looks for what stands before the package's own.
            text = re.sub(r"(?m)^ *for folder in .*", "", path.read_text())
            assert not re.search(r"/opt/|/usr/local|/tmp/|/ho[m]e/", text)


def test_its_head_can_be_read_by_dpkg(tree: Path) -> None:
    fields = dict(
        line.split(": ", 1)
        for line in (tree / "DEBIAN/control").read_text().splitlines()
        if line[:1].isalpha()
    )
    assert fields["Version"] == "0-1~deb12"
    assert fields["Depends"].startswith("python3.11, ")
    assert "{" not in (tree / "DEBIAN/control").read_text()
    conffiles = (tree / "DEBIAN/conffiles").read_text().split()
    assert all((tree / name.lstrip("/")).is_file() for name in conffiles)
    sums = (tree / "DEBIAN/md5sums").read_text().splitlines()
    files = {path for path in (tree / "usr").rglob("*") if path.is_file()}
    assert {tree / line.split("  ")[1] for line in sums} == files


def test_a_later_release_of_debian_has_the_later_version() -> None:
    numbers = [number for _, number in package.RELEASES.values()]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_its_scripts_are_read_by_a_plain_shell(path: Path) -> None:
    subprocess.run(["sh", "-n", path], check=True)
    assert "set -e" in path.read_text()


# A word that is a command: the first, behind an operator, or what another runs.
_OWN_COMMAND = re.compile(r"(?m)(?:^|[;&|!({]|\bif|--)[ \t]*((?:/\S*)?vpngate)(?= )")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_its_scripts_run_the_packages_own_command(path: Path) -> None:
    """Another in /usr/local comes first where only the name is given."""
    called = set(_OWN_COMMAND.findall(path.read_text()))
    assert called <= {"/usr/bin/vpngate"}
    assert called or path.name != "postinst"


def test_the_licence_of_each_companion_is_told() -> None:
    packages = Path(sys.modules["pydantic"].__file__ or "").parents[1]
    page = copyright_page(packages, "usr/lib/vpngate/lib")
    for pin in package.pinned():
        name = pin.partition("==")[0].replace("-", "[-_]")
        files = rf"(?ims)^Files: usr/lib/vpngate/lib/\*/{name}\*$.+?^License: (.+?)$"
        told = re.search(files, page)
        assert told, pin
        assert "unknown" not in told[1]


def test_a_wheel_carries_configuration_and_units(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = {
        name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()
    }
    assert {
        "share/vpngate/vpngate.toml",
        "share/vpngate/ansible/gateways.yml",
        "share/vpngate/systemd/vpngate.service",
    } <= names


def test_and_the_manual_where_it_has_been_made(tmp_path: Path) -> None:
    nothing: Any = None
    hook = ManualHook(str(tmp_path), {}, nothing, nothing, str(tmp_path), "wheel")
    data: dict[str, dict[str, str]] = {"shared_data": {}}
    hook.initialize("standard", data)
    assert data == {"shared_data": {}}
    share = tmp_path / "dist" / "manual" / "share"
    share.mkdir(parents=True)
    hook.initialize("standard", data)
    assert data == {"shared_data": {str(share): "share"}}

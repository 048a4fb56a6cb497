# SPDX-License-Identifier: GPL-2.0-or-later
"""The package in a bare Debian: installed, started, upgraded, removed, purged.

The machine is as debootstrap made it, its systemd is PID 1, and nothing of this
repository is in it but the package.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab import load, systemd
from tests.lab.systemd import Machine, eventually
from tests.lab.topology import Lab
from tests.systemd.desk import INSTALLING, NEWER, PACKAGE, UPGRADE, make_newer
from tests.systemd.service import COMMAND, DROP_INS, UNIT, Service

pytestmark = pytest.mark.timeout(1800)  # seconds, on a busy machine

_CONFIG = "/etc/vpngate/vpngate.toml"
_POSTINST = "/var/lib/dpkg/info/vpngate.postinst"
# Of dpkg, systemd and passwd, whatever they are asked to do.
_OF_OTHERS = (
    *("/var/lib/dpkg", "/var/lib/systemd", "/var/log", "/var/cache", "/srv"),
    *("/etc/*-", "/etc/.pwd.lock"),
)
# A folder of a root and a package. The root is only read.
_IMAGE = """\
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/tree
cd "$1"
mount -t overlay overlay -o lowerdir=.,upperdir=/mnt/upper,workdir=/mnt/work /mnt/tree
cp "$2" /mnt/tree/srv/vpngate.deb
cd /mnt/tree
mount -t proc proc proc
for each in null zero urandom; do
    touch dev/$each
    mount --bind /dev/$each dev/$each
done
chroot . dpkg -i /srv/vpngate.deb
chroot . vpngate check
chroot . dpkg --verify vpngate
chroot . dpkg -P vpngate
test ! -e usr/lib/vpngate
test ! -e etc/vpngate
! grep vpngate etc/passwd etc/group
"""
_MARK = "# set by the operator\n"


def is_up(machine: Machine) -> bool:
    return machine.show(UNIT, "ActiveState") == "active"


def main_process(machine: Machine) -> str:
    return machine.show(UNIT, "MainPID")


def standing(machine: Machine) -> set[str]:
    """Every file of a machine, and everybody known; not what others write down."""
    pruned = " -o ".join(f"-path '{each}'" for each in _OF_OTHERS)
    files = machine.shell(f"find / -xdev \\( {pruned} \\) -prune -o -print")
    people = machine.shell("cat /etc/passwd /etc/shadow /etc/group /etc/gshadow")
    return {*files.splitlines(), *people.splitlines()}


def test_from_a_bare_debian_and_back(bare: Machine, tmp_path: Path) -> None:
    machine = bare
    found = standing(machine)
    assert not machine.path("/etc/vpngate").exists()
    machine.run("dpkg", "-i", PACKAGE, timeout=INSTALLING)

    # Installed: sound, harmless, and nothing runs by itself.
    assert not is_up(machine)
    assert machine.attempt("systemctl", "is-enabled", UNIT).stdout == "disabled\n"
    machine.run("vpngate", "check")
    assert machine.shell("stat -c '%U %a' /var/lib/vpngate") == "vpngate 750\n"
    machine.run("dpkg", "--verify", "vpngate")

    # Started, and reloaded with what the operator has set.
    config = machine.path(_CONFIG)
    config.write_text(_MARK + config.read_text().replace('"lan0"', '"lan*"'))
    machine.run("systemctl", "enable", "--now", UNIT)
    assert machine.show(UNIT, "StatusText").startswith("observe on ")
    machine.run("vpngate", "status")
    machine.run("systemctl", "reload", UNIT)

    # Upgraded: the operator's configuration stays, the daemon is the new one.
    make_newer(machine, tmp_path)
    kept, before = config.read_text(), main_process(machine)
    machine.run(*UPGRADE, NEWER, timeout=INSTALLING)
    assert config.read_text() == kept
    assert machine.path(f"{_CONFIG}.dpkg-dist").read_text().startswith("# of a later")
    assert is_up(machine)
    assert main_process(machine) != before
    assert "-99~" in machine.run("dpkg-query", "-W", "vpngate")

    # Removed: stopped, nothing runs or is left in the kernel, the files of his stay.
    state = machine.path("/var/lib/vpngate")
    assert any(state.iterdir())
    machine.run("dpkg", "-r", "vpngate")
    assert not is_up(machine)
    assert "vpngate" not in machine.gateway.run("nft", "list", "tables")
    assert config.read_text() == kept
    assert any(state.iterdir())
    assert not machine.path("/usr/lib/vpngate").exists()
    wants = machine.path("/etc/systemd/system/multi-user.target.wants")
    assert not [path for path in wants.iterdir() if path.name == UNIT]

    # Purged: as it was.
    machine.run("dpkg", "-P", "vpngate")
    assert standing(machine) == found
    assert machine.attempt("dpkg-query", "-W", "vpngate").status != 0


def test_a_removal_clears_what_a_daemon_that_was_killed_left(
    bare: Machine, lab: Lab
) -> None:
    """One that was run by hand: no unit has seen it end. What is his is named."""
    machine, by_hand = bare, "by-hand.service"
    machine.run("dpkg", "-i", PACKAGE, timeout=INSTALLING)
    Service(machine)  # set to enforce
    socket = "--socket=/run/by-hand.sock"
    machine.run("systemd-run", f"--unit={by_hand}", "--collect", COMMAND, "run", socket)
    eventually(lambda: bool(load.shaping_devices(lab.gateway)), "where packets wait")
    machine.run("systemctl", "kill", "--signal=KILL", by_hand)
    eventually(lambda: machine.show(by_hand, "ActiveState") == "inactive", "its end")
    assert load.shaping_devices(lab.gateway)
    own = machine.path("/etc/vpngate/share.key")
    own.write_text("of the operator\n")
    done = machine.attempt("dpkg", "-P", "vpngate")
    assert done.status == 0
    assert "the files in /etc/vpngate\n" in done.stderr
    assert load.shaping_devices(lab.gateway) == []
    assert "vpngate" not in lab.gateway.run("nft", "list", "tables")
    for line in ("qdisc show", "class show dev lan0", "filter show dev lan0"):
        assert "htb" not in lab.gateway.run("tc", *line.split())
    assert own.exists()
    machine.run("getent", "passwd", "vpngate")
    machine.run("rm", "-r", "/etc/vpngate")


def test_an_upgrade_under_a_configuration_that_is_wrong(
    bare: Machine, tmp_path: Path
) -> None:
    """The daemon that runs is worth more than one that would not start."""
    machine = bare
    machine.run("dpkg", "-i", PACKAGE, timeout=INSTALLING)
    machine.run("systemctl", "start", UNIT)
    before = main_process(machine)
    machine.path(_CONFIG).write_text("[gateway]\ninterfaces = 7\n")
    make_newer(machine, tmp_path)
    done = machine.attempt(*UPGRADE, NEWER, timeout=INSTALLING)
    assert done.status == 0
    assert "is left alone" in done.stderr
    assert main_process(machine) == before
    assert is_up(machine)

    # Sound, but not for the service's user to read; and others' files stand before.
    machine.shell(f"cp {_CONFIG}.dpkg-dist {_CONFIG} && chmod 600 {_CONFIG}")
    others = (f"/etc/systemd/system/{UNIT}", "/usr/local/bin/vpngate")
    for other in others:
        machine.run("cp", f"/usr/lib/systemd/system/{UNIT}", other)
    again = machine.attempt(_POSTINST, "configure", timeout=INSTALLING)
    machine.run("rm", *others)
    assert again.status == 0
    assert "is left alone" in again.stderr
    assert all(f"{other} stands before" in again.stderr for other in others)
    assert main_process(machine) == before

    # To read for him it is restarted, though nobody has enabled it.
    machine.run("chmod", "644", _CONFIG)
    last = machine.attempt(_POSTINST, "configure", timeout=INSTALLING)
    assert last.status == 0
    assert "is left alone" not in last.stderr
    assert main_process(machine) != before
    assert is_up(machine)
    machine.run("dpkg", "-P", "vpngate")


def test_what_is_in_it(bare: Machine) -> None:
    machine = bare
    machine.run("dpkg", "-i", PACKAGE, timeout=INSTALLING)
    unit = machine.path(f"/usr/lib/systemd/system/{UNIT}").read_text()
    commands = re.findall(r"(?m)^Exec\w+=-?(\S+)", unit)
    assert set(commands) == {COMMAND}
    listed = machine.run("dpkg", "-L", "vpngate").split()
    for path in (
        *(f"{DROP_INS}/{name}.conf" for name in ("mirror", "notify-reload")),
        *(f"/usr/share/man/man{n}.gz" for n in ("1/vpngate.1", "5/vpngate.toml.5")),
        "/usr/share/man/man5/vpngate-registry.5.gz",
        "/usr/share/bash-completion/completions/vpngate",
        "/usr/share/zsh/vendor-completions/_vpngate",
        "/usr/share/vpngate/prometheus",
        "/usr/share/doc/vpngate/copyright",
        _CONFIG,
    ):
        assert path in listed
    # Nothing of where it was made; nothing that only other people's pip would want.
    own = r"grep -rlIE '/opt/|/tmp/|dist/package' /usr/lib/vpngate/bin /etc/vpngate"
    assert machine.attempt("sh", "-c", own).status == 1
    machine.run("dpkg", "-P", "vpngate")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts")
@pytest.mark.parametrize("release", systemd.releases())
def test_into_an_image_that_is_not_running(release: str) -> None:
    """As images are made: no systemd, no network, no memory to share, no module."""
    if reason := systemd.lacking(release):
        pytest.skip(reason)
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    command += ["sh", "-euxc", _IMAGE, "sh", str(systemd.root(release))]
    command += [str(systemd.packages(release)[-1])]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=2 * INSTALLING
    )
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, said
    assert "configuration  /etc/vpngate/vpngate.toml: sound" in done.stdout, said


@pytest.mark.skipif(shutil.which("lintian") is None, reason="needs lintian")
@pytest.mark.parametrize("release", systemd.releases())
def test_debian_has_nothing_to_say_against_it(release: str) -> None:
    if reason := systemd.lacking(release):
        pytest.skip(reason)
    package = systemd.packages(release)[-1]
    command = ["lintian", "--allow-root", "--fail-on", "error", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

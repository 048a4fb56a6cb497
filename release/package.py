# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the Debian package of each release: `make package`.

Knows where a package has its files, and pip, which takes only wheels whose hashes are
in requirements/run.txt; does not know what is in them. What comes out is the same for
the same commit: moments are that of the commit, or SOURCE_DATE_EPOCH.

The packages that vpngate runs with are in a virtual environment of its own below
/usr/lib/vpngate, whose Python is the release's: Debian's versions of them are others.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

from release.debian_copyright import copyright_page
from release.manual.__main__ import write as write_manual
from vpngate import __version__

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
PARTS = Path(__file__).with_name("debian")

# Which Python each release has, and the number that its versions are told by.
RELEASES = {"bookworm": ("3.11", 12), "trixie": ("3.13", 13)}
MACHINES = {
    "amd64": "x86_64"
}  # for others a wheel is missing (constraints.txt: cypcap)
MAINTAINER = os.environ.get("MAINTAINER") or "vpngate <vpngate@localhost>"

_HOME = "usr/lib/vpngate"
_CONFIGURATION = ("vpngate.toml", "registry.csv")
_SHARED = "usr/share/vpngate"
_DOC = "usr/share/doc/vpngate"
_SCRIPTS = ("postinst", "prerm", "postrm")
# What starts: deaf to the caller's PYTHON... variables and to packages in his home.
_COMMAND = """\
#!/usr/lib/vpngate/bin/python3 -I
import sys

from vpngate.cli import main

sys.exit(main())
"""


def main() -> None:
    """Build for the releases that are named, by default all of them."""
    epoch = os.environ.setdefault("SOURCE_DATE_EPOCH", moment_of_commit())
    wheel = own_wheel()
    for release in sys.argv[1:] or RELEASES:
        print(build(release, wheel, int(epoch)).relative_to(ROOT))


def moment_of_commit() -> str:
    """When what stands here was committed; SystemExit outside of a repository."""
    asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit("no repository: set SOURCE_DATE_EPOCH")
    return done.stdout.strip()


def own_wheel() -> Path:
    """The wheel of vpngate itself, below dist/."""
    folder = DIST / "wheels"
    for old in folder.glob("vpngate-*.whl"):
        old.unlink()
    _pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", ROOT)
    (wheel,) = folder.glob("vpngate-*.whl")
    return wheel


def build(release: str, wheel: Path, epoch: int) -> Path:
    """The package of one release, below dist/."""
    python, number = RELEASES[release]
    machine = _run("dpkg", "--print-architecture").strip()
    if machine not in MACHINES:
        sys.exit(f"there are no wheels for {machine}: see docs/operating.md, Install")
    revision = os.environ.get("REVISION") or "1"
    version = f"{__version__}-{revision}~deb{number}"
    tree = DIST / "package" / release
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    _environment(tree, python, MACHINES[machine], wheel)
    _files(tree)
    _documents(tree, version, release, python, epoch)
    _control(tree, version, machine, python)
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)
        if not path.is_symlink():
            # Libraries come with whatever bits they were packed with.
            path.chmod(0o755 if path.is_dir() or runs(path, tree) else 0o644)
    package = DIST / f"vpngate_{version}_{machine}.deb"
    # Of how many threads compress, the bytes depend.
    pack = ("dpkg-deb", "--root-owner-group", "-Zxz", "--threads-max=2", "--build")
    part = package.with_suffix(".part")
    _run(*pack, str(tree), str(part))
    return part.replace(package)


def runs(path: Path, tree: Path) -> bool:
    """Whether a file is a command, or a script of dpkg's."""
    return path.parent in {tree / _HOME / "bin", tree / "DEBIAN"} and path.name in {
        "vpngate",
        *_SCRIPTS,
    }


def _environment(tree: Path, python: str, machine: str, wheel: Path) -> None:
    """The virtual environment: as `python3 -m venv` makes it, but for its own pip."""
    home = tree / _HOME
    packages = home / "lib" / f"python{python}" / "site-packages"
    wheels = DIST / "wheels" / python
    ours = [f"--python-version={python}", "--only-binary=:all:", "--no-deps"]
    ours += [f"--platform=manylinux{each}_{machine}" for each in ("_2_28", "2014")]
    pinned = ROOT / "requirements" / "run.txt"
    _pip("download", *ours, "--require-hashes", f"--dest={wheels}", f"-r{pinned}")
    install = ["install", *ours, "--no-index", "--no-compile", f"--target={packages}"]
    _pip(*install, "--require-hashes", f"--find-links={wheels}", f"-r{pinned}")
    _pip(*install, f"--find-links={wheel.parent}", f"vpngate=={__version__}")
    # Commands of others, with this machine's Python; what is placed by hand below.
    for folder in ("bin", "share"):
        shutil.rmtree(packages / folder, ignore_errors=True)
    for record in packages.glob("*.dist-info/RECORD"):  # pip has no say here
        record.unlink()
    (home / "bin").mkdir()
    (home / "bin" / "python3").symlink_to(f"../../../bin/python{python}")
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    )
    _place(tree, f"{_HOME}/bin/vpngate", _COMMAND)
    (tree / "usr/bin").mkdir()
    (tree / "usr/bin/vpngate").symlink_to("../lib/vpngate/bin/vpngate")


def _files(tree: Path) -> None:
    """What stands beside the program: service, configuration, manual, alerts."""
    units = ROOT / "systemd"
    _copy(units / "vpngate.service", tree / "usr/lib/systemd/system/vpngate.service")
    _copy(units / "vpngate.sysusers", tree / "usr/lib/sysusers.d/vpngate.conf")
    _copy(units / "vpngate.tmpfiles", tree / "usr/lib/tmpfiles.d/vpngate.conf")
    _copy(units / "vpngate.rules", tree / "usr/lib/udev/rules.d/60-vpngate.rules")
    for drop_in in sorted(units.glob("*.conf")):
        _copy(drop_in, tree / _SHARED / "systemd" / drop_in.name)
    config = ROOT / "config"
    for name in _CONFIGURATION:
        _copy(config / name, tree / "etc/vpngate" / name)
    for path in sorted(config.iterdir()):
        if path.name not in _CONFIGURATION:
            _copy(path, tree / _SHARED / path.name)
    write_manual(tree / "usr")
    for page in sorted((tree / "usr/share/man").glob("*/*")):
        _pack(page)


def _documents(tree: Path, version: str, release: str, python: str, epoch: int) -> None:
    folder = tree / _DOC
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").iterdir())):
        inside = path.relative_to(ROOT)
        _copy(path, folder / inside)
    _copy(ROOT / "CHANGELOG.md", folder / "changelog")
    _pack(folder / "changelog")
    _place(
        tree,
        f"{_DOC}/changelog.Debian",
        f"vpngate ({version}) {release}; urgency=medium\n\n"
        f"  * vpngate {__version__}, see changelog.gz, and the packages that it runs"
        " with:\n"
        + "".join(f"    {pin}\n" for pin in pinned())
        + f"\n -- {MAINTAINER}  {formatdate(epoch)}\n",
    )
    _pack(folder / "changelog.Debian")
    packages = tree / _HOME / "lib" / f"python{python}" / "site-packages"
    _place(tree, f"{_DOC}/copyright", copyright_page(packages, f"{_HOME}/lib"))
    overrides = (PARTS / "lintian-overrides").read_text()
    _place(tree, "usr/share/lintian/overrides/vpngate", overrides)


def pinned() -> list[str]:
    """What vpngate runs with, as NAME==VERSION."""
    lines = (ROOT / "requirements" / "run.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line[:1].isalnum()]


def _control(tree: Path, version: str, machine: str, python: str) -> None:
    """The package's own description, its scripts, and the sums of its files."""
    size = sum(max(each.stat().st_size, 1) for each in _regular(tree))
    control = (
        (PARTS / "control")
        .read_text()
        .format(
            version=version,
            architecture=machine,
            maintainer=MAINTAINER,
            python=f"python{python}",
            size=-(-size // 1024),
        )
    )
    sums = "".join(
        f"{hashlib.md5(each.read_bytes()).hexdigest()}  {each.relative_to(tree)}\n"  # noqa: S324 - what dpkg knows
        for each in _regular(tree / "usr")
    )
    _place(tree, "DEBIAN/control", control)
    _place(tree, "DEBIAN/md5sums", sums)
    kept = "".join(f"/etc/vpngate/{name}\n" for name in _CONFIGURATION)
    _place(tree, "DEBIAN/conffiles", kept)
    for name in _SCRIPTS:
        _place(tree, f"DEBIAN/{name}", (PARTS / name).read_text())


def _regular(tree: Path) -> Iterator[Path]:
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _place(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _pack(path: Path) -> None:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    path.unlink()


def _pip(verb: str, *words: object) -> None:
    _run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check"),
        *(verb, "--quiet", "--quiet", *map(str, words)),
    )


def _run(*words: str) -> str:
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own words
    return done.stdout


if __name__ == "__main__":
    main()

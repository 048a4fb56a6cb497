# SPDX-License-Identifier: GPL-2.0-or-later
"""Publishing on a disk that is full, or where files may not be large."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.publishers import ROWS, Portal
from vpngate.cli import main

MANY = "".join(f"2001:db8:{n:x}::/48,R-{n:08}\n" for n in range(3_000))


@pytest.fixture
def portal(tmp_path: Path) -> Portal:
    return Portal(tmp_path)


@pytest.mark.parametrize("signed", [True, False])
def test_a_file_too_large_for_the_limit(
    portal: Portal, capfd: pytest.CaptureFixture[str], *, signed: bool
) -> None:
    """EFBIG, in a child with a limit on file sizes."""
    arguments = [*portal.arguments, "--accept-additions"]
    if not signed:
        at = arguments.index("--sign-with")
        del arguments[at : at + 2]
    assert main(arguments) == 0
    before, shown = portal.beside(), portal.look()
    portal.rows.write_text(ROWS + MANY)
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 99
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
            sys.stderr = os.fdopen(2, "w", closefd=False)
            status = main(arguments)
            sys.stderr.flush()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    what = "cannot be written (File too large); make room; what was there stands"
    assert line == f"vpngate: {portal.path}: {what}"
    assert (portal.beside(), portal.look()) == (before, shown)
    assert main(arguments) == 0
    assert portal.look() != shown


DISK_FULL = """
import pathlib, sys
from tests.faults.publishers import ROWS, Portal
from vpngate.cli import main
portal = Portal(pathlib.Path(sys.argv[1]))
arguments = [*portal.arguments, "--accept-additions", "--accept-removals"]
assert main(arguments) == 0
filler = portal.www / "filler"
refused = 0
for pages in range(40):
    # Room for so many pages: for nothing, for a folder, for one file and not the other.
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            size = file.tell()
        file.truncate(max(0, size - 4096 * pages))
    before, last = portal.look(), portal.serial()
    beside = portal.beside()
    status = main(arguments)
    if status == 0:
        break
    assert status == 2
    refused += 1
    assert portal.look() == before
    assert portal.beside() == beside
assert status == 0
assert portal.serial() == last + 1
print(refused)
"""


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_disk_full(portal: Portal) -> None:
    """ENOSPC on a file system of a mebibyte, for the registry or for its signature.

    What was published stands, nothing half-written takes up room, and once there is
    some the next one is published.
    """
    mount = (
        f'mount -t tmpfs -o size=1m tmpfs "$0" && exec "{sys.executable}" -c "$1" "$0"'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, str(portal.www), DISK_FULL],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    refused, told = done.stdout.splitlines()[-1], done.stderr.splitlines()[1:]
    assert int(refused) > 1
    assert len(told) == int(refused)
    for line in told:
        what = "cannot be written (No space left on device); make room; what was there"
        assert what in line

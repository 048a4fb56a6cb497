# SPDX-License-Identifier: GPL-2.0-or-later
"""Which pinned packages that vpngate runs with have a newer version within its bounds.

Knows what pyproject.toml asks for and constraints.txt pins, and has pip say what it
would install today; changes nothing. Run by `make behind`, which needs a network; `make
repin` moves one of them.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from release.pins import pins, project


def newest() -> dict[str, str]:
    """What pip would choose for what runs, were nothing pinned; asks its index."""
    asked = [str(requirement) for requirement in project()["run"]]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run"]
        command += ["--ignore-installed", f"--report={report}", *asked]
        subprocess.run(command, check=True)  # noqa: S603 - pip, on our own bounds
        chosen = json.loads(report.read_text())["install"]
    return {
        canonicalize_name(each["metadata"]["name"]): each["metadata"]["version"]
        for each in chosen
    }


def behind(pinned: Mapping[str, str], chosen: Mapping[str, str]) -> Iterator[str]:
    """A line for each pin with something newer, and for what is not pinned."""
    for name, version in sorted(chosen.items()):
        if name not in pinned:
            yield f"{name} {version} would be needed, too"
        elif Version(pinned[name]) < Version(version):
            yield f"{name} {pinned[name]} -> {version}"


def main() -> None:
    """Print them; exit status 1 if there are any."""
    found = [*behind(pins(), newest())]
    print("\n".join(found) or "nothing newer within the bounds of pyproject.toml")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes what is made of the program itself: `make manual`.

In the repository, docs/configuration.md and config/vpngate.toml; a test holds that they
are current. Below the folder that is named, manual pages and completions, at the places
where a package has them.
"""

import sys
from pathlib import Path

from release.manual import command_page, completions, configuration, registry_page

ROOT = Path(__file__).parents[2]
COMMITTED = {
    "docs/configuration.md": configuration.document,
    "config/vpngate.toml": configuration.shipped,
}
INSTALLED = {
    "share/man/man1/vpngate.1": command_page.manual,
    "share/man/man5/vpngate.toml.5": configuration.manual,
    "share/man/man5/vpngate-registry.5": registry_page.manual,
    "share/bash-completion/completions/vpngate": completions.bash,
    "share/zsh/vendor-completions/_vpngate": completions.zsh,
}


def write(folder: Path) -> None:
    """What a package installs, below `folder` as below /usr."""
    for name, made in INSTALLED.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made())


if __name__ == "__main__":
    for name, made in COMMITTED.items():
        (ROOT / name).write_text(made())
    write(Path(sys.argv[1]))
    print(*COMMITTED, f"and, below {sys.argv[1]}:", *INSTALLED, sep="\n")

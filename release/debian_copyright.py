# SPDX-License-Identifier: GPL-2.0-or-later
"""The copyright file of a Debian package: vpngate's licence, and its companions'.

Knows what installed packages say of themselves, and Debian's form for it (DEP 5); the
licences' own texts are in the package, beside each companion.
"""

import re
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path

_HEAD = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: vpngate

Files: *
Copyright: the authors of vpngate
License: GPL-2+

License: GPL-2+
 This program is free software; you can redistribute it and/or modify it under the
 terms of the GNU General Public License as published by the Free Software Foundation;
 either version 2 of the License, or (at your option) any later version. On Debian
 systems its text is in /usr/share/common-licenses/GPL-2.
"""


def copyright_page(packages: Path, below: str) -> str:
    """The page for what is in `packages`, which a user finds below `below`."""
    paragraphs = [_HEAD]
    for folder in sorted(packages.glob("*.dist-info"), key=lambda path: path.name):
        about = message_from_string((folder / "METADATA").read_text())
        if about["Name"] != "vpngate":
            paragraphs.append(_paragraph(packages, folder, about, below))
    return "\n".join(paragraphs)


def _paragraph(packages: Path, folder: Path, about: Message, below: str) -> str:
    name, licence = about["Name"], _licence(about)
    texts = sorted(_texts(folder))
    where = [f"/{below}/{packages.parent.name}/site-packages/{each}" for each in texts]
    said = [f" See /{below[: below.rindex('/')]}." if not where else f" {where[0]}"]
    said += [f" {each}" for each in where[1:]]
    short = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{name}-{licence}")
    who = about["Author"] or about["Author-email"] or about["Maintainer"]
    return "\n".join(
        [
            f"Files: {below}/*/{name.replace('-', '_')}*",
            f"Copyright: {' '.join((who or f'the authors of {name}').split())}",
            f"License: {short}",
            f" {licence}; its text is in",
            *said,
            "",
        ]
    )


def _licence(about: Message) -> str:
    if expression := about["License-Expression"]:
        return str(expression)
    kinds = about.get_all("Classifier") or []
    names = [kind.rpartition(" :: ")[2] for kind in kinds if kind[:7] == "License"]
    return names[0] if names else (about["License"] or "unknown").partition("\n")[0]


def _texts(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and re.match(r"(?i)(licen|copying|notice)", path.name):
            yield f"{folder.name}/{path.relative_to(folder)}"

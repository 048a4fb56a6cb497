# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a bill of materials: what vpngate runs with, as CycloneDX 1.6 in JSON.

Knows what the installed packages say of themselves, and the hashes that they were
installed by; asks nobody else. Run by `make bill`, for a file beside a release.

Format: ECMA-424 (https://ecma-international.org/publications-and-standards/standards/ecma-424/)
"""

import json
import re
import sys
from collections.abc import Iterator
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, cast

from vpngate import __version__

ROOT = Path(__file__).parent.parent
_PIN = re.compile(r"(?m)^([\w.-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[\w.-]+")


def main() -> None:
    """Write dist/vpngate-VERSION.cdx.json, and say so."""
    target = ROOT / "dist" / f"vpngate-{__version__}.cdx.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(bill(), indent=1) + "\n")
    print(target.relative_to(ROOT))


def bill() -> dict[str, Any]:
    """The document; the same for the same release."""
    parts = dict(sorted(components()))
    ours = f"pkg:pypi/vpngate@{__version__}"
    named = {name: part["bom-ref"] for name, part in parts.items()}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": "vpngate",
                "version": __version__,
                "purl": ours,
                "licenses": [{"expression": "GPL-2.0-or-later"}],
            }
        },
        "components": [*parts.values()],
        "dependencies": [
            {"ref": ours, "dependsOn": _needed("vpngate", named)},
            *(
                {"ref": ref, "dependsOn": _needed(name, named)}
                for name, ref in named.items()
            ),
        ],
    }


def components() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each package that vpngate runs with; SystemExit if another version is here."""
    for pin in _PIN.finditer((ROOT / "requirements" / "run.txt").read_text()):
        name, version, hashes = pin.groups()
        package = distribution(name)
        if package.version != version:
            sys.exit(
                f"{name} {package.version} is installed, not {version}: make setup"
            )
        purl = f"pkg:pypi/{name}@{version}"
        # Read like the head of a mail, which is what it is.
        about = cast("Message", package.metadata)
        yield (
            name,
            {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "description": about.get("Summary", ""),
                "purl": purl,
                **_licence(about),
                # Of each file that pip may choose from.
                "properties": [
                    {"name": "vpngate:sha256", "value": digest}
                    for digest in _HASH.findall(hashes)
                ],
            },
        )


def _licence(about: Message) -> dict[str, Any]:
    """What a package says of its licence: an expression (PEP 639), else its words."""
    if expression := about.get("License-Expression"):
        return {"licenses": [{"expression": expression}]}
    classes = about.get_all("Classifier") or []
    names = [c.rpartition(" :: ")[2] for c in classes if c.startswith("License ::")]
    name = names[0] if names else (about.get("License") or "").partition("\n")[0]
    return {"licenses": [{"license": {"name": name}}]} if name else {}


def _needed(name: str, named: dict[str, str]) -> list[str]:
    """References to those that a package needs, of those that are installed for us."""
    lines = distribution(name).requires or []
    names = [found[0] for line in lines if (found := _NAME.match(line))]
    canonical = {re.sub(r"[-_.]+", "-", each).lower() for each in names}
    return sorted(named[each] for each in canonical & named.keys())


if __name__ == "__main__":
    main()

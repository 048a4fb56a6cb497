# SPDX-License-Identifier: GPL-2.0-or-later
"""vpngate.toml in three forms: the shipped file, its manual page, and a document.

Knows how each is laid out; `keys.py` has what they say.
"""

import textwrap
from collections.abc import Iterator

from release.manual.keys import Key, sections
from release.manual.roff import Page
from vpngate import __version__

_WIDTH = 88
_COMMENT = 32  # columns before what stands beside a key
_HEAD = """\
# SPDX-License-Identifier: GPL-2.0-or-later
# vpngate. Every key is shown with its default; only `interfaces` has none. What each
# may hold: vpngate.toml(5), docs/configuration.md.
# `vpngate check` tells what is wrong with this file; `vpngate reload` applies it.
"""
_VALUES = """\
The file is TOML. Every key has a default but `gateway.interfaces`. Keys that do not \
exist, values that cannot be, and keys that contradict each other are errors; \
`vpngate check` tells all of them at once, by file and key.

Durations are written `500ms`, `30s`, `10m`, `72h`, `7d`; rates `512kbit`, `5mbit`, \
`1gbit` (decimal multiples of bits a second); shares `5%`.

`vpngate reload`, or SIGHUP, reads the file again. One with an error, or one that \
changes what needs a restart, is refused, a line a key, and nothing is changed."""
_WHERE = (
    "`/etc/vpngate/vpngate.toml`, or what `--config` names."
    " [config/vpngate.toml](../config/vpngate.toml) is the file as it is shipped;"
    " [operating.md](operating.md) tells how the keys are used."
)
_FOLDER = (
    "Files below /home, /root and /tmp are not seen by the service, so registries and"
    " keys belong into /etc/vpngate, readable by the user vpngate."
)


def shipped() -> str:
    """config/vpngate.toml: every key, and half a line on what it is for."""
    parts = [_HEAD]
    for section in sections():
        parts.append(f"\n[{section.name}]\n")
        if section.name == "halt":
            about = section.about.rstrip(".")
            parts.append(f'# {about}: docs/operating.md, "It halted".\n')
        parts += [f"{line}\n" for key in section.keys for line in _shipped_key(key)]
    return "".join(parts)


def _shipped_key(key: Key) -> Iterator[str]:
    stated = key.default or key.name == "interfaces"
    setting = f"{'' if stated else '# '}{key.name} = {key.shown}"
    beside = textwrap.wrap(key.summary, _WIDTH - _COMMENT - 2, break_on_hyphens=False)
    first = f"{setting:<{_COMMENT}}# "
    # A longer setting has its words to itself where they fit, else below.
    if len(first) > _COMMENT + 2:
        if len(beside) == 1 and len(setting) + 3 + len(beside[0]) <= _WIDTH:
            yield f"{setting}   # {beside[0]}"
            return
        yield setting
        first = " " * _COMMENT + "# "
    for line in beside:
        yield f"{first}{line}"
        first = " " * _COMMENT + "# "


def document() -> str:
    """docs/configuration.md."""
    lines = [
        "<!-- Made by `make manual` from vpngate/config; a test holds that it is. -->",
        "",
        "# The configuration",
        "",
        _WHERE,
        "",
        _VALUES,
        "",
        _FOLDER,
    ]
    for section in sections():
        lines += ["", f"## [{section.name}]", "", section.about]
        for key in section.keys:
            lines += ["", f"### {section.name}.{key.name}", "", _facts(key), ""]
            lines.append("\n\n".join(_told(key)))
    return "\n".join(_wrapped(lines)) + "\n"


def _wrapped(lines: list[str]) -> Iterator[str]:
    for line in lines:
        for paragraph in line.split("\n"):
            long = len(paragraph) > _WIDTH and not paragraph.startswith(("<", "#"))
            if long:
                yield from textwrap.wrap(
                    paragraph, _WIDTH, break_on_hyphens=False, break_long_words=False
                )
            else:
                yield paragraph


def manual() -> str:
    """vpngate.toml(5)."""
    page = Page("vpngate.toml", 5, f"vpngate {__version__}", "File Formats")
    page.named("configuration of vpngate")
    page.section("SYNOPSIS")
    page.plain("`/etc/vpngate/vpngate.toml`")
    page.section("DESCRIPTION")
    page.text(_VALUES)
    page.text(_FOLDER)
    for section in sections():
        page.section(f"[{section.name}]")
        page.plain(section.about)
        for key in section.keys:
            page.tagged(f"`{key.name}`", _facts(key), *_told(key))
    page.section("EXAMPLE")
    page.text("The least that a gateway needs:")
    page.example(least())
    page.section("SEE ALSO")
    page.plain("`vpngate`(1), `vpngate-registry`(5)")
    return str(page)


def least() -> list[str]:
    """The shortest file that is one."""
    return ["[gateway]", 'interfaces = ["lan0"]']


def _facts(key: Key) -> str:
    default = f"default `{key.default}`" if key.default else "no default"
    live = f"needs a restart: {key.restart}" if key.restart else "changes live"
    return f"{_capital(key.kind)}; {default}; {live}."


def _told(key: Key) -> list[str]:
    return [f"{_capital(key.summary)}.", *([key.more] if key.more else [])]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

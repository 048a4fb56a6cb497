# SPDX-License-Identifier: GPL-2.0-or-later
"""vpngate-registry(5): the two forms of a registry.

Knows what each field and key means, in words; that none is missing, and no other named,
is held against the reader's own lists.
"""

from release.manual.roff import Page
from vpngate import __version__
from vpngate.registry.reading.envelope import ENVELOPE_KEYS
from vpngate.registry.reading.row_checks import RowFields

_WHAT = """\
A registry says whose VPN tunnels are registered, by ranges of addresses. Either end \
of a tunnel inside a valid registration is enough, whichever tunnel it is. Files are \
UTF-8, as CSV or as JSON, packed by gzip or not. `vpngate publish` makes the second \
from the first, and signs it; `vpngate check` says what a gateway makes of one."""

_CSV = """\
A header names the columns, in any order; `prefix` and `registration` are required. \
Empty lines, and lines that begin with `#`, are skipped. A row that cannot be read is \
told by line and reason, and removes nothing that stood before."""

ROW = {
    "prefix": "Of IPv4 or IPv6, without host bits: `203.0.113.0/24`. By default nothing"
    " shorter than /8 or /19 (IPv6) is taken, nor a range in which no VPN server is.",
    "registration": "An opaque id, 1 to 64 of `A-Z a-z 0-9 . _ -`. It is shown to"
    " people: never a person's name.",
    "tunnels": "For the reader alone; several are joined by `+`.",
    "valid_from": "When it begins: a date, or a moment with its zone (ISO 8601). A bare"
    " date is midnight, UTC.",
    "valid_until": "When it ends. For `removal_grace` it keeps its standing.",
}

_JSON = """\
One object. A key that is not below is an error. `vpngate publish` writes it."""

ENVELOPE = {
    "registry": "A name. A gateway takes no registry of another name by itself.",
    "serial": "A whole number that grows with each publication. A lower one is refused,"
    " and so is the same with other content.",
    "generated": "When it was made.",
    "expires": "Until when it counts as current. Nobody is slowed by the end of it.",
    "sentinels": "Prefixes that a whole registry has; without them it is refused.",
    "suspend": "Why gateways that have it in force are to observe; absent if they are"
    " not.",
    "registrations": "A list of objects with a row's fields as keys; `tunnels` is a"
    " list. What is not known is left out or null.",
}

CSV_EXAMPLE = """\
prefix,registration,tunnels,valid_from,valid_until
203.0.113.0/24,R-1001,wireguard+openvpn,2026-01-01,
2001:db8:a::/48,R-1001,,,2036-01-01T00:00:00Z
"""
JSON_EXAMPLE = """\
{"registry": "example", "serial": 42,
 "generated": "2026-01-01T00:00:00Z", "expires": "2036-01-01T00:00:00Z",
 "sentinels": ["203.0.113.0/24"],
 "registrations": [
  {"prefix": "203.0.113.0/24", "registration": "R-1001",
   "tunnels": ["wireguard"], "valid_from": "2026-01-01T00:00:00Z"}]}
"""

_SIGNED = """\
Beside a registry lies its signature, by `minisign`(1), under the same name with \
`.minisig` behind it. Of a registry from a web server it is required, unless \
`allow_unsigned = true`. Nothing of a registry is read or unpacked before its \
signature holds."""


def manual() -> str:
    """The page; KeyError where the reader knows a field that is not described."""
    page = Page("vpngate-registry", 5, f"vpngate {__version__}", "File Formats")
    page.named("whose VPN tunnels are registered")
    page.section("DESCRIPTION")
    page.text(_WHAT)
    page.section("CSV")
    page.text(_CSV)
    for name in RowFields._fields:
        page.tagged(f"`{name}`", ROW[name])
    page.example(CSV_EXAMPLE.splitlines())
    page.section("JSON")
    page.text(_JSON)
    for name in ENVELOPE_KEYS:
        page.tagged(f"`{name}`", ENVELOPE[name])
    page.example(JSON_EXAMPLE.splitlines())
    page.section("SIGNATURE")
    page.text(_SIGNED)
    page.section("SEE ALSO")
    page.plain("`vpngate`(1), `vpngate.toml`(5), `minisign`(1)")
    return str(page)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Registries as other programs write them: taken, or refused in a clear line a row."""

import json

import pytest

from vpngate.errors import InvalidRegistry
from vpngate.packets import parse_address
from vpngate.registry import Limits, Loaded, load

HEADER = "prefix,registration\n"
ROW = "203.0.113.0/24,R-1\n"
NOW = 1_800_000_000.0
INSIDE = parse_address("203.0.113.7")

TAKEN = {
    "plain": HEADER + ROW,
    "byte order mark": "\ufeff" + HEADER + ROW,
    "carriage returns": (HEADER + ROW).replace("\n", "\r\n"),
    "old carriage returns": (HEADER + ROW).replace("\n", "\r"),
    "no end of line": HEADER + ROW.strip(),
    "quotes everywhere": '"prefix","registration"\n"203.0.113.0/24","R-1"\n',
    "columns in another order": "registration,prefix\nR-1,203.0.113.0/24\n",
    "a heading in capitals": HEADER.upper() + ROW,
    "comments and empty lines": "# ours\n\n" + HEADER + "\n # more\n" + ROW,
    "trailing commas": HEADER + "203.0.113.0/24,R-1,,,\n",
    "IPv4 mapped": HEADER + "::ffff:203.0.113.0/120,R-1\n",
    **{
        f"blanks: {blank!a}": HEADER
        + f"{blank}203.0.113.0/24{blank},{blank}R-1{blank}\n"
        for blank in " \t\v\f\x1c\x85\xa0\u1680\u2003\u2009\u3000\u200b\u2060\ufeff"
    },
    "a blank and another kind": HEADER + "203.0.113.0/24\xa0, R-1\n",
}

REJECTED = {
    "leading zeros": ("203.0.113.000/24,R-2", "line 3, prefix: ", "eading zeros"),
    "no length": ("203.0.113.9,R-2", "line 3, prefix: ", "write 203.0.113.9/32"),
    "a range": ("192.0.2.0-192.0.2.255,R-2", "line 3, prefix: ", "4 octets"),
    "a netmask": ("192.0.2.0/255.255.255.0,R-2", "line 3, prefix: ", "not a length"),
    "host bits": ("192.0.2.1/24,R-2", "line 3, prefix: ", "192.0.2.0/24"),
    "a zero byte": ("192.0.2.0/24\0,R-2", "line 3, prefix: ", "not a length"),
    "a blank inside": ("192.0.2.0 /24,R-2", "line 3, prefix: ", "digits permitted"),
    "full width digits": ("\uff11.0.0.0/24,R-2", "line 3, prefix: ", "permitted"),
    "a name of a company": ("192.0.2.0/24,Example Ltd.", "line 3, registration: ", ""),
    "a comment behind": ("192.0.2.0/24,R-2 # new", "line 3, registration: ", ""),
    "a date of a country": ("192.0.2.0/24,R-2,,31.12.2026", "line 3: ", "4 fields"),
    "semicolons": ("192.0.2.0/24;R-2", "line 3, prefix: ", "not a length"),
}

REFUSED: dict[str, str | bytes] = {
    "semicolons": "prefix;registration\n203.0.113.0/24;R-1\n",
    "tabs": "prefix\tregistration\n203.0.113.0/24\tR-1\n",
    "a delegated file": "2|rir|1|3|1|1|1|+0\nrir|DE|ipv4|192.0.2.0|256|1|allocated\n",
    "a list of prefixes": "203.0.113.0/24\n198.51.100.0/24\n",
    "a page": "<!doctype html><html><title>Log in</title></html>\n",
    "UTF-16": (HEADER + ROW).encode("utf-16"),
    "UTF-16 without a mark": (HEADER + ROW).encode("utf-16-le"),
    "a cloud provider's list": json.dumps(
        {"syncToken": "1", "prefixes": [{"ip_prefix": "203.0.113.0/24"}]}
    ),
    "a list in JSON": json.dumps([{"prefix": "203.0.113.0/24", "registration": "R-1"}]),
    "nothing": "",
    "no number": '{"serial": NaN, "registrations": []}',
    "a serial of 400 digits": '{"serial": ' + "9" * 400 + ', "registrations": []}',
    "a name of a page": json.dumps({"registry": "x" * 200, "registrations": []}),
}


def read(content: str | bytes) -> Loaded:
    data = content if isinstance(content, bytes) else content.encode()
    return load(data, limits=Limits(), now=NOW)


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str) -> None:
    loaded = read(TAKEN[name])
    assert (loaded.problems, len(loaded.registry)) == ((), 1)
    found = loaded.registry.lookup(INSIDE, NOW)
    assert found is not None
    assert (found.prefix, found.id) == ("203.0.113.0/24", "R-1")


@pytest.mark.parametrize("name", REJECTED)
def test_a_row_that_is_not_taken_is_named(name: str) -> None:
    row, where, words = REJECTED[name]
    loaded = read(HEADER + ROW + row + "\n")
    assert (len(loaded.registry), loaded.rejected, loaded.rows) == (1, 1, 2)
    lines = [str(problem) for problem in loaded.problems]
    assert lines == [line.splitlines()[0] for line in lines]
    assert lines[0].startswith(where)
    assert words in lines[0]


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_none_says_so_in_a_line(name: str) -> None:
    with pytest.raises(InvalidRegistry) as caught:
        read(REFUSED[name])
    assert 1 <= len(caught.value.problems) == len(caught.value.lines) <= 3


def test_a_key_twice_costs_its_row_and_holds_whom_it_names() -> None:
    item = (
        '{"prefix": "203.0.113.0/24", "registration": "R-1", "prefix": "192.0.2.0/24"}'
    )
    loaded = read(f'{{"registrations": [{item}]}}')
    assert [str(problem) for problem in loaded.problems] == [
        "registrations[0], prefix: is there more than once"
    ]
    assert {str(prefix) for prefix in loaded.registry.unread.prefixes} == {
        "203.0.113.0/24",
        "192.0.2.0/24",
    }
    assert not loaded.registry.unread.anyone

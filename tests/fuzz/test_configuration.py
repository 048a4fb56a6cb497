# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations that somebody's hand slipped in."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.house import ROOT
from vpngate.config import examine_config
from vpngate.tunnels import all_tunnels

SHIPPED = (ROOT / "config" / "vpngate.toml").read_text()
TUNNELS = tuple(tunnel.name for tunnel in all_tunnels())

_MARKS = [
    *(
        '"',
        "[",
        "]",
        "{",
        "=",
        "\n",
        "-1",
        "1e999",
        "nan",
        "''",
        "0",
        ".",
        "#",
        "[[",
        ",",
    ),
    *(
        "9" * 400,
        "9" * 5000,
        "[" * 2000,
        "\\u0000",
        "\\n",
        "true",
        "1979-05-27",
        "%",
        "/",
    ),
    *('"5mbit"', '"0s"', '"::/0"', '["a","a"]', '"\\u2028"', "a.b", '"".x'),
]
# Where a key, a value or a quoted text begins.
_STARTS = [match.end() for match in re.finditer(r'= "?|\n', SHIPPED)]
_SLIPS = st.lists(
    st.tuples(
        st.integers(0, len(SHIPPED)) | st.sampled_from(_STARTS),
        st.integers(0, 20),
        st.text(max_size=10) | st.sampled_from(_MARKS),
    ),
    min_size=1,
    max_size=6,
)


@given(_SLIPS)
def test_a_slip_is_harmless_or_told(slips: list[tuple[int, int, str]]) -> None:
    text = SHIPPED
    for place, gone, put in slips:
        text = text[:place] + put + text[place + gone :]
    found = examine_config(text, where="f.toml", known_tunnels=TUNNELS)
    for problem in found.problems:
        assert str(problem).startswith("f.toml: ")
        assert str(problem).splitlines() == [str(problem)]
        str(problem).encode()
    if found.config is None:
        assert found.problems
        return
    # Whatever was typed, the promises hold.
    assert found.config.throttle.rate >= 512_000
    assert found.config.gateway.deadman >= 10

# SPDX-License-Identifier: GPL-2.0-or-later
"""What is remembered beside a registry is what is read again, also of old."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.supply.memory import Memory, read_memory


@given(
    departed=st.binary(),
    succeeded=st.none() | st.floats(0, 1e12),
    unasked=st.integers(0, 1000),
)
def test_what_is_dumped_is_read_again(
    departed: bytes, succeeded: float | None, unasked: int
) -> None:
    memory = Memory('{"boot": "x"}', departed, succeeded, unasked)
    assert read_memory(memory.dump()) == memory


def test_what_an_earlier_version_remembered_is_read() -> None:
    assert read_memory(b"{}\nrows\t1\n") == Memory("{}", b"rows\t1\n")


@given(st.binary())
def test_nonsense_is_a_value_error_or_nothing_at_all(content: bytes) -> None:
    try:
        memory = read_memory(b"{}\t" + content)
    except ValueError:
        return
    assert memory.clock == "{}"


@pytest.mark.parametrize(
    "line", ["[-1, 0]", "[1e13, 0]", "[true, 0]", "[1, -1]", "[1]", "{}", "7", ""]
)
def test_what_no_run_remembers_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_memory(f"{{}}\t{line}\n".encode())

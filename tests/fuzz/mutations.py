# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage to what was valid: the inputs that get far into a parser.

Knows how bytes and texts are usually damaged; does not know any format.
"""

from collections.abc import Sequence

from hypothesis import strategies as st

# What a length or a count says when it lies.
_NUMBERS = [
    number.to_bytes(size, order)
    for size in (1, 2, 4)
    for number in (0, 1, 3, 4, 7, 8, 16, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1)
    if number < 1 << 8 * size
    for order in ("little", "big")
]


@st.composite
def mutated(draw: st.DrawFn, valid: Sequence[bytes], most: int = 5) -> bytes:
    """One of `valid` as it is, or with up to `most` places damaged."""
    content = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.integers(0, 5))
        if kind == 0:  # one byte
            put = draw(st.binary(min_size=1, max_size=1))
            content = content[:at] + put + content[at + 1 :]
        elif kind == 1:  # a number
            put = draw(st.sampled_from(_NUMBERS))
            content = content[:at] + put + content[at + len(put) :]
        elif kind == 2:  # cut off
            content = content[:at]
        elif kind == 3:  # taken out
            content = content[:at] + content[at + draw(st.integers(1, 40)) :]
        elif kind == 4:  # put in
            content = content[:at] + draw(st.binary(max_size=20)) + content[at:]
        else:  # twice, or another's tail
            content = content[:at] + draw(st.sampled_from(valid))[-at:]
    return content


@st.composite
def mistyped(draw: st.DrawFn, valid: Sequence[str], marks: Sequence[str]) -> str:
    """The same for texts, with `marks` that mean something to their parser."""
    text = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        gone = draw(st.sampled_from([0, 0, 1, 1, 4, 20]))
        put = draw(st.sampled_from(marks) | st.text(max_size=4))
        text = text[:at] + put + text[at + gone :]
    return text

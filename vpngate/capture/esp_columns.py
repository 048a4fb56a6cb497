# SPDX-License-Identifier: GPL-2.0-or-later
"""ESP's header (RFC 4303, section 2) in many packets at once.

Knows what `steady.py` asks of one packet, and asks it of a row of them: which sequence
each is of, how far ahead its number is, and when it came. Does not know which sequences
there are, nor what becomes of a packet. A row ends with the first packet that is
anything else; nothing is said of what comes after it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vpngate.capture.files.several import Several

_WORD = 4  # bytes
_WORDS = 12  # of IPv6's header and ESP's
_HEAD = _WORD * _WORDS
_SHORT, _BYTE = 0xFFFF, 0xFF
_IPV4_PLAIN, _IPV4_HEADER, _IPV4_IN_PARTS = 0x45, 20, 0x3FFF
_IPV6_VERSION, _ESP = 6, 50
_NUMBERS = 1 << 32
# Any odd numbers: what they bring together by chance is told apart afterwards.
_MIXED = np.array(
    [pow(0x9E3779B97F4A7C15, n, 1 << 64) for n in range(1, 11)], np.uint64
)

_Numbers = NDArray[np.int64]
_Times = NDArray[np.float64]
_Column = TypeVar("_Column", _Numbers, _Times)


class EspRow(NamedTuple):
    """The packets of a row, by column.

    names     addresses and SPI of each sequence, as `steady.py` names it
    of        which of the names each packet has
    numbers   their sequence numbers
    times     seconds
    """

    names: Sequence[bytes]
    of: _Numbers
    numbers: _Numbers
    times: _Times


class KnownSequences(NamedTuple):
    """What is known of each name: an array each.

    highest     the number that the others are ahead of
    ahead       how far the last one was
    flow        a number for its flow
    last_seen   when the flow's last packet came, seconds
    until       when the flow has to be looked at
    """

    highest: _Numbers
    ahead: _Numbers
    flow: _Numbers
    last_seen: _Times
    until: _Times


def known(
    highest: Sequence[int],
    ahead: Sequence[int],
    flow: Sequence[int],
    last_seen: Sequence[float],
    until: Sequence[float],
) -> KnownSequences:
    """The same from lists."""
    return KnownSequences(
        np.array(highest, np.int64),
        np.array(ahead, np.int64),
        np.array(flow, np.int64),
        np.array(last_seen, np.float64),
        np.array(until, np.float64),
    )


def columns(
    networks: Several, numbers: tuple[int, int], limits: tuple[int, int]
) -> EspRow | None:
    """The row of plain packets of ESP that begins with one number, before another.

    Of each packet a capture has to hold so many bytes, at least and at most; the least
    is also what has to follow its IP header. None if the first is no such packet.
    """
    least, most = limits
    headers = networks.headers(*numbers, _HEAD)
    if headers is None:
        return None
    words = np.ascontiguousarray(headers.begin).view(">u4").astype(np.int64)
    is_ipv4, is_ipv6 = _plain_ipv4(words, least), _plain_ipv6(words, least)
    fits = headers.are_so & (is_ipv4 | is_ipv6)
    fits &= (headers.sizes >= least) & (headers.sizes <= most)
    length = _leading(fits)
    if not length:
        return None
    words, is_ipv4 = words[:length], is_ipv4[:length]
    # The family, both addresses and the SPI; IPv4's are shorter.
    keys = np.empty((length, len(_MIXED)), np.uint64)
    which = is_ipv4[:, np.newaxis]
    keys[:, 0] = is_ipv4
    keys[:, 1:4] = np.where(which, words[:, 3:6], words[:, 2:5])
    keys[:, 4:] = np.where(which, 0, words[:, 5:11])
    _, firsts, of = np.unique(keys @ _MIXED, return_index=True, return_inverse=True)
    alike = keys == keys[firsts][of]
    length = len(keys) if alike.all() else _leading(alike.all(1))
    sequence = np.where(is_ipv4, words[:, 6], words[:, 11])[:length]
    begin = headers.begin
    names = [
        begin[row, slice(12, 24) if is_ipv4[row] else slice(8, 44)].tobytes()
        for row in firsts
    ]
    return EspRow(names, of[:length], sequence, headers.times[:length])


def steps_ahead(row: EspRow, known: KnownSequences, fastest: int) -> _Numbers:
    """How far ahead each packet's number is, for as many as go on as they should.

    Each is ahead of the one before it, none by more than `fastest`; and times go on
    within a flow, until it has to be looked at.
    """
    ahead = (row.numbers - known.highest[row.of]) % _NUMBERS
    flow = known.flow[row.of]
    fit = (ahead > _before(ahead, row.of, known.ahead[row.of])) & (ahead <= fastest)
    fit &= row.times >= _before(row.times, flow, known.last_seen[row.of])
    fit &= row.times < known.until[row.of]
    return ahead[: _leading(fit)]


def last_two(of: _Numbers) -> Iterator[tuple[int, int | None, int]]:
    """Each name in a column of them, and the places of the last two packets of it.

    The last but one is None if there is one alone.
    """
    order = np.argsort(of, kind="stable")
    names = of[order].tolist()
    places = order.tolist()
    for at in np.flatnonzero(np.diff(of[order], append=-1)).tolist():
        is_alone = at == 0 or names[at - 1] != names[at]
        yield names[at], None if is_alone else places[at - 1], places[at]


def _plain_ipv4(words: _Numbers, least: int) -> NDArray[np.bool_]:
    """Version, header size, whole, ESP and long enough."""
    fits: NDArray[np.bool_] = (
        (words[:, 0] >> 24 == _IPV4_PLAIN)
        & (words[:, 0] & _SHORT >= _IPV4_HEADER + least)
        & (words[:, 1] & _IPV4_IN_PARTS == 0)
        & (words[:, 2] >> 16 & _BYTE == _ESP)
    )
    return fits


def _plain_ipv6(words: _Numbers, least: int) -> NDArray[np.bool_]:
    fits: NDArray[np.bool_] = (
        (words[:, 0] >> 28 == _IPV6_VERSION)
        & (words[:, 1] >> 16 >= least)
        & (words[:, 1] >> 8 & _BYTE == _ESP)
    )
    return fits


def _leading(fit: NDArray[np.bool_]) -> int:
    """How many are true before the first that is not."""
    return len(fit) if fit.all() else int(fit.argmin())


def _before(column: _Column, group: _Numbers, at_first: _Column) -> _Column:
    """The value before each of its group; before the first of one, `at_first`."""
    order = np.argsort(group, kind="stable")
    goes_on = group[order][1:] == group[order][:-1]
    ordered = at_first[order]
    ordered[1:][goes_on] = column[order][:-1][goes_on]
    before = np.empty_like(ordered)
    before[order] = ordered
    return before

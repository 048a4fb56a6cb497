# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts whose elements end at the worst moment, with a table that plays it."""

import errno
from collections.abc import Collection, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from vpngate.errors import KernelRefused
from vpngate.kernel.detour.sweeps import everything
from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.detour.verdict_lines import VerdictLines
from vpngate.kernel.detour.verdict_maps import VerdictMaps
from vpngate.kernel.detour.verdicts import any_of
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire.channel import Change
from vpngate.kernel.wire.failures import Failure, Rejected, Unanswered
from vpngate.kernel.wire.nft import DELETE_ELEMENT
from vpngate.packets import Direction, Endpoint, Family, Transport
from vpngate.policy import Throttle

FLOW = Throttle(
    Transport.UDP,
    Endpoint(b"\x64\x40\0\1", 1000),
    Endpoint(b"\xc6\x33\x64\1", 2000),
    b"\x64\x40\0\1",
    180,
)
OTHER = replace(FLOW, remote=Endpoint(b"\xc6\x33\x64\2", 2000))
GONE = Rejected([Failure("element", errno.ENOENT, "")])
THERE = Rejected([Failure("element", errno.EEXIST, "")])
ELSEWHERE = Rejected([Failure("element", errno.EBUSY, "")])


class Table:
    """Raises what it is told to, in order; has what `answer` says of any element."""

    name = "vpngate"

    def __init__(self) -> None:
        self.errors: list[KernelRefused | None] = []
        self.finding: list[KernelRefused | None] = []
        self.answer: bytes | None = None
        self.asked = 0
        self.commits = 0
        self.handed = 0  # of these, those with a change
        self.deleted: list[int] = []  # of each transaction, if it did nothing else

    def commit(self, changes: Sequence[Change]) -> None:
        self.commits += 1
        self.handed += bool(changes)
        kinds = {each.data[4] for each in changes}
        self.deleted.append(len(changes) if kinds == {DELETE_ELEMENT} else 0)
        if self.errors and (error := self.errors.pop(0)):
            raise error

    def find(self, keys: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        self.asked += len(keys)
        if self.finding and (error := self.finding.pop(0)):
            raise error
        return [self.answer] * len(keys)


class Queues:
    """A shaper that takes everything; its ifb is whatever it is told."""

    index = 7

    def have(self, _: object) -> None: ...

    def add_classes(self, _: object, *, anew: bool = True) -> None: ...

    def remove_classes(self, _: object) -> None: ...

    def index_of(self, _: int) -> int:
        return self.index

    def class_id(self, _: int, direction: Direction) -> int:
        return 0x7667_0020 + 16 * (direction is Direction.DOWNLOAD)

    def read(self, _: int) -> dict[int, object]:
        return {}


def throttled_on(table: object, queues: "Queues", most: int) -> Throttled:
    lines = VerdictLines(cast("OwnedTable", table))
    maps = VerdictMaps(cast("OwnedTable", table), queues.class_id, lines)
    return Throttled(lines, maps, cast("Shaper", queues), most)


def stage() -> tuple[Table, Throttled]:
    table = Table()
    throttled = throttled_on(table, Queues(), 10)
    return table, throttled


def end_all(throttled: Throttled) -> int:
    sweep = throttled.sweep(everything)
    while throttled.advance(sweep, 1.0):
        pass
    return sweep.picked


def test_verdicts_are_asked_about_again_after_a_failure() -> None:
    table, throttled = stage()
    throttled.throttle([FLOW], 0.0)
    table.finding = [KernelRefused("netlink socket: no room")]
    with pytest.raises(KernelRefused):
        throttled.look_after(200.0)
    assert throttled.live[Family.IPV4] == 1
    throttled.look_after(210.0)
    assert throttled.live[Family.IPV4] == 0


def test_an_ended_verdict_still_there_is_deleted_and_asked_about_again() -> None:
    table, throttled = stage()
    throttled.throttle([FLOW], 0.0)
    end_all(throttled)
    table.answer = b"an element"
    for now, errors in ((10.0, [GONE]), (20.0, [])):  # gone by itself, then not
        table.errors = list(errors)
        commits = table.commits
        throttled.look_after(now)
        assert table.commits == commits + 1
    table.answer = None
    throttled.look_after(30.0)
    asked = table.asked
    throttled.look_after(300.0)
    assert table.asked == asked


def test_an_element_that_ends_while_it_is_replaced_is_no_failure() -> None:
    table, throttled = stage()
    table.errors = [THERE, GONE, None]
    throttled.throttle([FLOW], 0.0)
    assert table.commits == 3
    assert throttled.live[Family.IPV4] == 1


@pytest.mark.parametrize("first", [THERE, ELSEWHERE])
@pytest.mark.parametrize("way", ["withdraw", "release"])
def test_a_verdict_that_leads_elsewhere_in_the_kernel_ends_all_the_same(
    first: Rejected, way: str
) -> None:
    table, throttled = stage()
    throttled.throttle([FLOW], 0.0)
    table.errors = [first, GONE, None]  # and it ended as it was being looked at
    table.answer = b"an element"
    if way == "withdraw":
        throttled.withdraw([FLOW], 1.0)
    else:
        assert end_all(throttled) == 1
    assert throttled.live[Family.IPV4] == 0
    assert table.deleted[-1] == 2  # both directions, and nothing added


def test_a_sweep_is_not_done_before_what_could_not_be_ended_is() -> None:
    """Or the switch would go on with verdicts that mean nothing any more."""
    table, throttled = stage()
    throttled.throttle([FLOW], 0.0)
    sweep = throttled.sweep(everything)
    table.answer = b"an element"
    table.errors = [ELSEWHERE, Unanswered("netlink socket: no answer")]
    assert throttled.advance(sweep, 1.0)  # chosen
    assert throttled.advance(sweep, 1.0)  # the kernel has it otherwise
    with pytest.raises(Unanswered):
        throttled.advance(sweep, 1.0)
    assert not sweep.done
    while throttled.advance(sweep, 1.0):
        pass
    assert throttled.live[Family.IPV4] == 0


def test_what_is_forgotten_once_it_was_chosen_keeps_no_other_from_its_end() -> None:
    _, throttled = stage()
    throttled.throttle([OTHER], 0.0)
    throttled.throttle([FLOW], 600.0)
    sweep = throttled.sweep(everything)
    assert throttled.advance(sweep, 600.0)  # chosen, not ended yet
    throttled.look_after(600.0)  # the kernel has ended the older one by itself
    assert throttled.live[Family.IPV4] == 1
    while throttled.advance(sweep, 600.0):
        pass
    assert throttled.live[Family.IPV4] == 0


def test_what_else_the_kernel_says_to_an_end_is_told() -> None:
    table, throttled = stage()
    throttled.throttle([FLOW], 0.0)
    table.errors = [Rejected([Failure("element", errno.EPERM, "")])]
    with pytest.raises(Rejected):
        throttled.withdraw([FLOW], 1.0)
    assert throttled.live[Family.IPV4] == 1  # and is tried again


def test_a_verdict_is_moved_to_an_ifb_made_anew_once() -> None:
    table = Table()
    queues = Queues()
    throttled = throttled_on(table, queues, 10)
    throttled.throttle([FLOW], 0.0)
    queues.index = 8
    throttled.lost(0)
    commits = table.commits
    assert throttled.move()
    assert table.commits == commits + 1
    assert not throttled.move()
    throttled.lost(0)  # it leads there already
    while throttled.move():
        pass
    assert table.commits - commits == 1


@pytest.mark.parametrize(
    "errors",
    [
        [Rejected([Failure("element", errno.ENOMEM, "")])],
        [Unanswered("netlink socket: no answer")],
        [THERE, GONE, GONE],  # one by one, and that failed, too
    ],
)
def test_a_verdict_that_could_not_be_moved_is_moved_the_next_time(
    errors: list[KernelRefused],
) -> None:
    """Nobody says again which ifb was lost: what goes on is the moving alone."""
    table = Table()
    queues = Queues()
    throttled = throttled_on(table, queues, 10)
    throttled.throttle([FLOW], 0.0)
    queues.index = 8
    throttled.lost(0)
    table.errors = list(errors)
    with pytest.raises(KernelRefused):
        throttled.move()
    commits = table.commits
    assert throttled.move()
    assert table.commits == commits + 1
    assert table.deleted[-1] == 0
    assert not throttled.move()


def test_a_verdict_that_could_not_be_given_anew_is_moved_as_it_was() -> None:
    table = Table()
    queues = Queues()
    throttled = throttled_on(table, queues, 10)
    throttled.throttle([FLOW], 0.0)
    queues.index = 8
    throttled.lost(0)
    table.errors = [Rejected([Failure("element", errno.ENOMEM, "")])]
    with pytest.raises(Rejected):
        throttled.throttle([FLOW], 1.0)
    commits = table.commits
    assert throttled.move()
    assert table.commits == commits + 1


def test_a_step_makes_no_more_classes_than_it_has_time_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many wait, and however long the kernel takes: others have their turn."""
    now, each = 0.0, 0.008  # seconds
    steps: list[int] = []

    class Slow(Queues):
        def add_classes(self, places: object, *, anew: bool = True) -> None:
            nonlocal now
            assert anew
            steps.append(len(cast("Collection[int]", places)))
            now += each * steps[-1]

    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("vpngate.kernel.shaping.classes.time", clock)
    throttled = throttled_on(Table(), Slow(), 1000)
    flows = [
        replace(FLOW, bucket=bytes([100, 64, 1, number // 2])) for number in range(200)
    ]
    flows = [
        replace(flow, remote=Endpoint(b"\xc6\x33\x64\1", 3000 + number))
        for number, flow in enumerate(flows)
    ]
    given = 0
    while given < len(flows):
        given += (some := throttled.throttle(flows[given:], now))
        assert some
    assert sum(steps) == 100
    assert max(steps[2:]) * each < 0.025
    assert throttled.live[Family.IPV4] == 200
    each = 0.0002
    more = [replace(flow, bucket=b"\x64\x40\2" + flow.bucket[3:]) for flow in flows]
    more = [replace(flow, subscriber=Endpoint(flow.bucket, 1)) for flow in more]
    steps.clear()
    while more:
        del more[: throttled.throttle(more, now)]
    assert max(steps) > 2


def test_whether_an_address_is_slowed_is_asked_by_its_bucket() -> None:
    _, throttled = stage()
    own, neighbour = FLOW.subscriber.address, b"\x64\x40\0\2"
    assert throttled.perhaps_of(FLOW.bucket) == []
    throttled.throttle([FLOW, OTHER], 0.0)
    held = throttled.perhaps_of(FLOW.bucket)
    assert any_of(own, held)
    assert not any_of(neighbour, held)
    assert not any_of(FLOW.remote.address, held)
    assert throttled.perhaps_of(neighbour) == []
    throttled.withdraw([FLOW], 1.0)
    assert any_of(own, throttled.perhaps_of(FLOW.bucket))
    throttled.withdraw([OTHER], 2.0)
    assert not any_of(own, throttled.perhaps_of(FLOW.bucket))


def test_who_asks_about_a_bucket_walks_no_other() -> None:
    _, throttled = stage()
    others = [
        replace(FLOW, subscriber=Endpoint(owner, 1), bucket=owner)
        for owner in (b"\x64\x40\1" + bytes([n]) for n in range(5))
    ]
    more = [FLOW, *others, OTHER]
    while more:  # a few classes at once
        del more[: throttled.throttle(more, 0.0)]
    assert [held.flow for held in throttled.perhaps_of(others[3].bucket)] == [others[3]]
    found = throttled.perhaps_of(FLOW.bucket)
    assert {held.flow.remote for held in found} == {FLOW.remote, OTHER.remote}


def test_where_nothing_is_held_only_a_verdict_is_handed_over() -> None:
    """So nothing else brings back what asks for verdicts."""
    table, throttled = stage()
    for now in (1.0, 500.0, 1000.0):
        assert not throttled.look_after(now)
        throttled.tidy(now)
        throttled.withdraw([FLOW], now)
        assert end_all(throttled) == 0
        throttled.lost(0)
        assert not throttled.move()
    assert throttled.throttle([], 1000.0) == 0
    assert table.handed == 0
    throttled.throttle([FLOW], 1000.0)
    assert table.handed == 1


def test_a_verdict_there_is_no_room_for_hands_nothing_over() -> None:
    table = Table()
    throttled = throttled_on(table, Queues(), 0)
    assert throttled.throttle([FLOW], 0.0) == 1
    assert throttled.refused == 1
    assert table.handed == 0


def test_what_asks_for_verdicts_goes_when_the_last_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that has ended counts until the kernel has it no more."""
    told: list[bool] = []
    monkeypatch.setattr(
        VerdictLines, "look_after", lambda _, __, *, held: told.append(held)
    )
    _, throttled = stage()
    for change in (
        lambda: None,
        lambda: throttled.throttle([FLOW], 0.0),
        lambda: throttled.withdraw([FLOW], 1.0),
        lambda: throttled.look_after(10.0),
    ):
        change()
        throttled.tidy(10.0)
    assert told == [False, True, True, False]

# SPDX-License-Identifier: GPL-2.0-or-later
import random
from dataclasses import replace

from vpngate.kernel.detour.verdicts import Verdicts, identity
from vpngate.kernel.shaping.places import IfbPlaces, ifb_of
from vpngate.packets import Endpoint, Family, Transport
from vpngate.policy import Throttle


def flow(number: int, bucket: int | None = None, idle: int = 180) -> Throttle:
    owner = (number if bucket is None else bucket).to_bytes(4, "big")
    return Throttle(
        Transport.UDP,
        Endpoint(owner, number & 0xFFFF),
        Endpoint(b"\x0a\0\0\1", 1),
        owner,
        idle,
    )


def test_a_sole_flow_given_anew_keeps_its_place() -> None:
    verdicts = Verdicts()
    first = verdicts.add(flow(1), 0.0)
    again = verdicts.add(flow(1), 10.0)
    assert again.place == first.place
    assert verdicts.live[Family.IPV4] == 1


def test_flows_of_a_bucket_share_its_place_and_others_do_not() -> None:
    verdicts = Verdicts()
    one, two = verdicts.add(flow(1, 9), 0.0), verdicts.add(flow(2, 9), 0.0)
    assert one.place == two.place
    assert verdicts.add(flow(3, 10), 0.0).place != one.place
    assert verdicts.shared == 0


def test_a_flow_may_come_back_in_another_bucket() -> None:
    """After a reload that changes how long a subscriber's prefix is."""
    verdicts = Verdicts()
    old, new = flow(1, 9), replace(flow(1, 9), bucket=b"wide")
    for one, other in ((old, new), (new, old)):
        verdicts.add(one, 0.0)
        assert [held.flow for held in verdicts.of_bucket(one.bucket)] == [one]
        assert verdicts.of_bucket(other.bucket) == []
        assert (verdicts.subscribers, verdicts.buckets) == (1, 1)
    verdicts.forget(identity(old))
    assert (verdicts.subscribers, verdicts.buckets) == (0, 0)


def test_an_ended_verdict_stays_until_the_kernel_agrees() -> None:
    verdicts = Verdicts()
    verdicts.add(flow(1), 0.0)
    key = identity(flow(1))
    verdicts.end(key, 1.0)
    assert verdicts.live[Family.IPV4] == 0
    assert key in verdicts.due(10.0)
    verdicts.forget(key)
    assert len(verdicts) == 0
    assert list(verdicts.places) == []
    assert verdicts.live[Family.IPV4] == 0


def test_due_not_before_its_time_and_again_when_postponed() -> None:
    verdicts = Verdicts()
    verdicts.add(flow(1, idle=100), 0.0)
    assert verdicts.due(99.0) == []
    assert verdicts.due(110.0) == [identity(flow(1))]
    assert verdicts.due(110.0) == []
    verdicts.postpone(identity(flow(1)), 200.0)
    assert verdicts.due(210.0) == [identity(flow(1))]


def test_buckets_are_shared_when_places_run_out() -> None:
    verdicts = Verdicts(IfbPlaces(ifbs=1, slots=2))
    for number in range(1, 5):
        verdicts.add(flow(number), 0.0)
    assert verdicts.shared == 2
    assert set(verdicts.places) == {1, 2}
    for number in range(1, 5):
        verdicts.forget(identity(flow(number)))
    assert verdicts.shared == 0
    assert verdicts.add(flow(9), 0.0).place in (1, 2)


def test_the_flows_of_an_ifb_may_change_while_they_are_asked_for() -> None:
    verdicts = Verdicts()
    for number in range(600):
        verdicts.add(flow(number), 0.0)
    found = verdicts.on(1)
    first = next(found)
    held = verdicts.get(first)
    assert held is not None
    assert ifb_of(held.place) == 1
    gone = next(found)
    later = list(verdicts.on(1))[-1]
    verdicts.forget(later)
    left = {first, gone, *found}
    assert later not in left
    assert left == set(verdicts.on(1))


def test_against_a_naive_count() -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)
    verdicts, held = Verdicts(), {}
    for _ in range(3000):
        one = flow(chance.randrange(200), chance.randrange(20))
        if chance.random() < 0.6:
            verdicts.add(one, 0.0)
            held[identity(one)] = one
        elif identity(one) in held:
            verdicts.forget(identity(one))
            del held[identity(one)]
    assert verdicts.live[Family.IPV4] == len(held)
    assert len(set(verdicts.places)) == len({one.bucket for one in held.values()})
    for bucket in (number.to_bytes(4, "big") for number in range(20)):
        asked = [one.flow for one in verdicts.of_bucket(bucket)]
        mine = {key: one for key, one in held.items() if one.bucket == bucket}
        assert {identity(one): one for one in asked} == mine
        assert len(asked) == len(mine)
    verdicts.clear()
    assert len(verdicts) == 0


def test_what_is_in_force_is_counted_by_tunnel_and_by_subscriber() -> None:
    """Against a count by hand, over a random run of all that can happen."""
    drawn = random.Random(3)
    verdicts = Verdicts()
    known: dict[int, tuple[Throttle, bool]] = {}  # and whether it is in force
    for _ in range(2000):
        number = drawn.randrange(30)
        flow_ = replace(flow(number, number % 7), tunnel=drawn.choice("ab"))
        match drawn.randrange(3):
            case 0:
                verdicts.add(flow_, 0.0)
                known[number] = (flow_, True)
            case 1 if number in known:
                verdicts.end(identity(flow_), 0.0)
                known[number] = (known[number][0], False)
            case 2 if number in known:
                verdicts.forget(identity(flow_))
                del known[number]
        live = [held for held, in_force in known.values() if in_force]
        assert verdicts.subscribers == len({held.bucket for held in live})
        by_tunnel = verdicts.live_by_tunnel[Family.IPV4]
        for tunnel in "ab":
            expected = sum(held.tunnel == tunnel for held in live)
            assert by_tunnel.get(tunnel, 0) == expected
        assert verdicts.live[Family.IPV4] == len(live)
        for bucket in {held.bucket for held, _ in known.values()}:
            asked = {(held.flow, not held.ended) for held in verdicts.of_bucket(bucket)}
            assert asked == {one for one in known.values() if one[0].bucket == bucket}

# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is asked of what keeps programs off, and whose word counts; nothing is asked."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.unit.doctor.settings import config
from vpngate.doctor import before_programs
from vpngate.doctor.before_programs import judge_programs
from vpngate.doctor.findings import Finding, Weight
from vpngate.doctor.holders import Holder
from vpngate.errors import DaemonUnreachable, KernelRefused, Problem
from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.in_the_way import REMEDY
from vpngate.kernel.bpf.syscall import AttachPoint
from vpngate.kernel.bpf.taken_off import Requirement
from vpngate.kernel.neighbours import BaseChain
from vpngate.kernel.programmed.unfit import Looked
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.tc import Classifier
from vpngate.packets import HookPoint

CONFIG = config(gateway='interfaces = ["lan*"]\nplane = "ebpf"')
DAEMON = Holder(100, "vpngate")
WHY = "has what is not vpngate's"
NO_ANSWER = DaemonUnreachable(Problem("x.sock", "no daemon answers"))


class Machine:
    """A kernel of its own, with one thing in the way of lan0 and nothing else."""

    def __init__(self) -> None:
        self.answer: Any = NO_ANSWER
        self.chains: list[BaseChain] = []
        self.objections = {"lan0": WHY}
        self.chained: dict[str, str] = {}
        self.filters: list[Classifier | str] = []
        self.linked: list[int] = []
        self.headers: dict[str, int | KernelRefused | None] = {}

    def request(self, _socket: str, _verb: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def attached(self, _index: int, _point: AttachPoint) -> list[int]:
        return self.linked

    def header_of(self, name: str) -> int | None:
        told = self.headers.get(name, 14)
        if isinstance(told, KernelRefused):
            raise told
        return told

    def looked(self, *_: object, **__: object) -> Looked:
        return Looked(dict(self.objections), frozenset())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()

    parts: Mapping[str, Callable[..., Any]] = {
        "Channel": lambda _: contextlib.nullcontext(),
        "closing": lambda it: it,
        "request": made.request,
        "base_chains": lambda _: made.chains,
        "what_it_needs": lambda *_: None,
        "objections": made.looked,
        "chains_before": lambda *_, **__: made.chained,
        "header_of": made.header_of,
        "policies_for_what_comes_in": lambda: 0,
    }
    for name, part in parts.items():
        monkeypatch.setattr(before_programs, name, part)
    monkeypatch.setattr(tc, "filters_at", lambda *_: made.filters)
    monkeypatch.setattr(programs, "attached", made.attached)
    return made


def told(daemon: Holder | None = None) -> list[Finding]:
    return list(judge_programs(CONFIG, {"lan0": 2, "lan1": 3}, daemon, "x.sock"))


def chain(table: str) -> BaseChain:
    return BaseChain("netdev", table, "c", HookPoint.INGRESS, 500, ("lan0",))


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        ({"plane": "ebpf"}, False),
        ({"plane": "nftables"}, True),
        ({"mode": "enforce"}, True),  # one from before it was told: it had no choice
        (["ebpf"], True),
    ],
)
def test_a_daemon_with_programs_tells_its_own(
    machine: Machine, answer: object, *, asked: bool
) -> None:
    machine.answer = answer
    assert [one.where for one in told(DAEMON)] == ["interface lan0"] * asked
    machine.answer = {"plane": "ebpf"}
    assert [one.where for one in told(None)] == ["interface lan0"]


def test_a_daemon_that_does_not_answer_is_known_by_its_chains(machine: Machine) -> None:
    for chains in ([], [chain("own")]):
        machine.chains = chains
        (finding,) = told(DAEMON)
        assert finding.weight is Weight.UNKNOWN
        assert "no daemon answers" in finding.what
    machine.chains = [chain("own"), chain("vpngate")]
    assert [one.where for one in told(DAEMON)] == ["interface lan0"]


def ours(table: str) -> Classifier:
    return Classifier(65500, 0x7667, 7, f"vpngate:{table}+clsact")


OTHERS = Classifier(9, 1, 8, "others")


def test_a_remedy_for_each_kind_of_what_stands_there(machine: Machine) -> None:
    def remedy() -> str:
        (finding,) = told()
        assert (finding.weight, finding.what) == (Weight.CONFLICT, WHY)
        return finding.remedy

    moved: list[list[Classifier | str]]
    moved = [["u32"], [OTHERS], ["u32", ours("vpngate")], []]
    for filters in moved:
        machine.filters = filters
        assert remedy() == REMEDY
    machine.filters = [ours("away"), ours("vpngate")]
    assert remedy().startswith("vpngate clear")
    assert 'gateway.table = "away"' in remedy()
    assert '"vpngate"' not in remedy()
    machine.filters, machine.linked = [], [7]
    assert remedy().startswith("detach them")
    assert REMEDY not in remedy()
    machine.filters = ["u32", ours("away")]
    for part in (REMEDY, "vpngate clear", "detach them"):
        assert part in remedy()
    machine.chained = {"lan0": WHY}  # it is said of the chain
    assert remedy() == REMEDY


def test_a_header_that_is_not_known_and_one_that_is_not_told(machine: Machine) -> None:
    machine.objections, machine.headers = {}, {"lan0": None}
    (finding,) = told()
    assert (finding.weight, finding.where) == (Weight.CONFLICT, "interface lan0")
    assert "header" in finding.what
    machine.headers = {"lan0": 0, "lan1": KernelRefused(Problem("lan1", "no room"))}
    (finding,) = told()
    assert (finding.weight, finding.where) == (Weight.UNKNOWN, "interface lan1")


def test_what_it_needs_is_told_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = Requirement("is a kind of its own")
    monkeypatch.setattr(before_programs, "what_it_needs", lambda *_: need)
    machine.objections, machine.headers = {}, {"lan0": None}
    assert [one.what for one in told()] == [need.why] * 2

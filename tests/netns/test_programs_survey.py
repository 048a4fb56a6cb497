# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps programs off interfaces is named, and what a kernel can is tried."""

import contextlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.lab.topology import Lab
from vpngate.config import examine_config
from vpngate.doctor.examination import examine
from vpngate.doctor.findings import Finding, Weight
from vpngate.kernel.bpf import marks, programs
from vpngate.kernel.bpf.assembly import ActionCode, Assembly
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused
from vpngate.kernel.programmed.unfit import objections
from vpngate.kernel.survey import bpf_trial, namespace, trial
from vpngate.kernel.survey.passage import HOMES
from vpngate.kernel.survey.trial import Feature
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Change, Channel
from vpngate.kernel.wire.links import current_links
from vpngate.packets import HookPoint

pytestmark = pytest.mark.netns
TABLE, HUNG = "vpngate", (False, True)


def found(ours: Collection[int] = ()) -> dict[str, str]:
    """At both interfaces of the lab's subscribers, in the namespace of this thread."""
    links = current_links()
    interfaces = {name: links[name].index for name in ("lan0", "lan1")}
    return objections(interfaces, [*interfaces], table=TABLE, ours=ours).objections


def chain(table: str, hook: str = "ingress device lan0") -> str:
    return f"table {table} {{ chain c {{ type filter hook {hook} priority 0; }}; }}"


RULES = {
    chain("netdev own"): "the chain netdev own c at ingress",
    chain("inet own"): "the chain inet own c at ingress",
    chain("netdev own", "egress device lan0"): "",
    chain("netdev vpngate"): "",
    chain("inet own", "prerouting"): "",
}


@pytest.mark.parametrize("rules", RULES)
def test_chains_that_a_program_would_come_before(lab: Lab, rules: str) -> None:
    lab.gateway.run("nft", rules)
    try:
        told = lab.gateway.call(found)
    finally:
        lab.gateway.run("nft", "delete", *rules.split()[:3])
    assert set(told) == ({"lan0"} if RULES[rules] else set())
    assert RULES[rules] in "".join(told.values())


@contextlib.contextmanager
def clsact(lab: Lab) -> Iterator[None]:
    lab.gateway.run("tc", "qdisc", "add", "dev", "lan1", "clsact")
    try:
        yield
    finally:
        lab.gateway.run("tc", "qdisc", "del", "dev", "lan1", "clsact")


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_filters_of_others(lab: Lab, side: str) -> None:
    add = f"filter add dev lan1 {side} protocol ip u32 match u8 0 0 classid 1:1"
    with clsact(lab):
        assert lab.gateway.call(found) == {}
        lab.gateway.run("tc", *add.split())
        told = lab.gateway.call(found)
    assert told == {"lan1": f"has tc filters that are not vpngate's at {side}"}


def loaded(stack: ExitStack) -> int:
    program = programs.load(Assembly().exit(ActionCode.NEXT).assembled(), "others")
    stack.callback(programs.close, program)
    return program


def test_programs_of_others_and_not_our_own(lab: Lab) -> None:
    def by_filter() -> list[dict[str, str]]:
        with ExitStack() as stack, closing(Channel(ROUTE)) as route:
            program = loaded(stack)
            index = current_links()["lan1"].index
            stands, told = marks.place(index, HookPoint.EGRESS), []
            for mark in ("others", *(marks.name(TABLE, hung=one) for one in HUNG)):
                data = tc.new_classifier(stands, program, mark)
                assert not route.each([Change(data, "filter")])
                told.append(found())
                data = tc.delete_classifier(stands)
                assert not route.each([Change(data, "filter")])
            return told

    def by_link() -> list[dict[str, str]]:
        with ExitStack() as stack:
            program = loaded(stack)
            index = current_links()["lan1"].index
            link = programs.link(program, index, AttachPoint.TCX_INGRESS)
            stack.callback(programs.close, link)
            return [found(), found([programs.id_of(program)])]

    with clsact(lab):
        told = "has tc filters that are not vpngate's at egress"
        assert lab.gateway.call(by_filter) == [{"lan1": told}, {}, {}]
    try:
        told = "has programs that are not vpngate's at ingress (TCX)"
        assert lab.gateway.call(by_link) == [{"lan1": told}, {}]
    except BpfRefused:
        pytest.skip("needs a kernel with TCX")


def test_everything_is_tried_with_packets() -> None:
    def work() -> list[trial.Attempt]:
        return trial.attempt(namespace.lay_wire(*HOMES), trial.BESIDE_PROGRAMS)

    attempts = {one.feature: one.objection for one in namespace.alone(work)}
    assert set(attempts) > trial.OF_PROGRAMS
    assert not attempts.keys() & trial.BESIDE_PROGRAMS
    attempts.pop(Feature.FQ_CODEL)  # not every kernel has it
    attempts.pop(Feature.TCX)
    assert set(attempts.values()) == {""}


@pytest.mark.parametrize(
    "attempt", [bpf_trial.by_clsact, bpf_trial.through_pair], ids=["clsact", "pair"]
)
def test_packets_that_go_astray_are_noticed(
    attempt: Callable[[namespace.Wire], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace.Wire, "send_out", lambda *_: None)

    def work() -> None:
        attempt(namespace.lay_wire(*HOMES))

    with pytest.raises(bpf_trial.Lost, match="at egress 0"):
        namespace.alone(work)


def test_a_pair_that_returns_nothing_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a kernel that forgets what a packet carries on its way."""
    lost = Assembly().exit(ActionCode.DROP).assembled()
    monkeypatch.setattr("vpngate.kernel.bpf.far_ends.returner", lambda: lost)
    with pytest.raises(bpf_trial.Lost, match="3 were sent to a pair and 0 came back"):
        namespace.alone(lambda: bpf_trial.through_pair(namespace.lay_wire(*HOMES)))


def findings(lab: Lab, folder: Path, plane: str) -> dict[str, Finding]:
    text = f'[gateway]\ninterfaces = ["lan*"]\nplane = "{plane}"\n'
    examined = examine_config(text, where="x", known_tunnels=["wireguard"])
    assert examined.config is not None
    config, socket = examined.config, str(folder / "control.sock")
    found = lab.gateway.call(lambda: examine(examined, config, "x", socket))
    return {one.where: one for one in reversed(found)}  # of several the worst


def test_doctor_has_rows_for_the_plane_that_is_chosen(lab: Lab, tmp_path: Path) -> None:
    lab.gateway.run("nft", next(iter(RULES)))
    try:
        told = findings(lab, tmp_path, "ebpf")
        others = findings(lab, tmp_path, "nftables")
    finally:
        lab.gateway.run("nft", "delete", "table", "netdev", "own")
    assert told["privilege CAP_BPF"].weight is Weight.SOUND
    assert told["privilege CAP_PERFMON"].weight is Weight.SOUND
    assert told[f"kernel: {Feature.PAIR}"].weight is Weight.SOUND
    the_whole_is_tried(told)
    assert f"kernel: {Feature.FORWARD}" not in told
    refused = told["interface lan0"]
    assert refused.weight is Weight.CONFLICT
    assert "netdev own c at ingress" in refused.what
    assert not {f"kernel: {one}" for one in trial.OF_PROGRAMS} & others.keys()
    assert "privilege CAP_BPF" not in others


def the_whole_is_tried(told: dict[str, Finding]) -> None:
    whole = {where: one for where, one in told.items() if "whole data plane" in where}
    assert len(whole) == 2
    assert {one.weight for one in whole.values()} == {Weight.SOUND}
    copies = told["capture: a ring of the programs'"]
    assert copies.weight is Weight.SOUND, copies.what
    assert told["kernel: the way back to a source"].weight is Weight.SOUND


_POLICY = (
    "src 192.0.2.1 dst 192.0.2.2 dir fwd tmpl src 192.0.2.3 dst 192.0.2.4 proto esp"
    " mode tunnel"
)
BESIDE = {
    "ip xfrm policy add " + _POLICY: "ip xfrm policy flush",
    "ip link add vgr-vpngate type bridge": "ip link del vgr-vpngate",
    "ip link add ifb-vpngate type bridge": "ip link del ifb-vpngate",
    "ip link add lan8 type vxlan external dstport 4790": "ip link del lan8",
    "ip link add lan9 type bridge nf_call_ip6tables 1": "ip link del lan9",
}


def test_doctor_tells_what_is_in_the_way_of_one_plane_alone(
    lab: Lab, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        for up, down in BESIDE.items():
            lab.gateway.run("sh", "-ec", up)
            stack.callback(lab.gateway.run, "sh", "-ec", down)
        told = findings(lab, tmp_path, "ebpf")
        others = findings(lab, tmp_path, "nftables")
    assert told["interface vgr-vpngate"].weight is Weight.CONFLICT
    assert "is not a veth" in told["interface vgr-vpngate"].what
    assert "interface ifb-vpngate" not in told
    assert others["interface ifb-vpngate"].weight is Weight.CONFLICT
    assert "interface vgr-vpngate" not in others
    assert told["IPsec"].weight is Weight.COST
    assert "1 policy for what comes in" in told["IPsec"].what
    assert "IPsec" not in others
    assert told["interface lan8"].weight is Weight.CONFLICT
    assert "vxlan external" in told["interface lan8"].what
    if Path("/proc/sys/net/bridge").is_dir():
        assert told["interface lan9"].weight is Weight.CONFLICT
        assert "netfilter has seen" in told["interface lan9"].what
    for name in ("interface lan8", "interface lan9"):
        assert others.get(name, told["IPsec"]).weight is not Weight.CONFLICT

# SPDX-License-Identifier: GPL-2.0-or-later
"""What the doctor says of programs while a daemon runs, of one plane or the other.

The file already asks for programs: what would be in their way is told while the daemon
that runs has none there itself, and its own programs are in nobody's way.
"""

import contextlib
import fcntl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.asking_doctor import ABLE, ask
from tests.lab.daemon import Settings, daemon, enforcing_settings
from tests.lab.topology import Lab
from vpngate.config import examine_config
from vpngate.doctor.examination import examine
from vpngate.doctor.findings import Finding, Weight
from vpngate.kernel.bpf import marks, programs
from vpngate.kernel.bpf.assembly import ActionCode, Assembly
from vpngate.kernel.bpf.in_the_way import REMEDY as MOVE
from vpngate.kernel.bpf.syscall import AttachPoint, BpfRefused
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Change, Channel
from vpngate.kernel.wire.links import current_links
from vpngate.packets import HookPoint

pytestmark = pytest.mark.netns
CHAIN = (
    "table netdev own { chain c { type filter hook ingress device lan0 priority 0; }; }"
)
UNTOLD = "what comes before programs"
_TUNSETIFF, _TUNSETLINK = 0x400454CA, 0x400454CD  # linux/if_tun.h
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_NO_SUCH_HEADER = 280  # ARPHRD_CAN, which a tun can be told to have


@dataclass(frozen=True)
class Told:
    """The doctor's findings by place, of several the worst."""

    findings: dict[str, Finding]

    def refused(self, name: str) -> Finding:
        found = self.findings[f"interface {name}"]
        assert found.weight is Weight.CONFLICT, found
        assert "left alone" in found.cost
        return found

    @property
    def alone(self) -> set[str]:
        """The interfaces that programs would leave alone."""
        return {
            where
            for where, one in self.findings.items()
            if one.weight is Weight.CONFLICT and where.startswith("interface ")
        }


def asked_for_programs(lab: Lab, socket: Path) -> Told:
    text = '[gateway]\ninterfaces = ["lan*"]\nplane = "ebpf"\n'
    examined = examine_config(text, where="x", known_tunnels=["wireguard"])
    assert examined.config is not None
    config = examined.config
    found = lab.gateway.call(lambda: examine(examined, config, "x", str(socket)))
    return Told({one.where: one for one in reversed(found)})


def running(lab: Lab, plane: str, name: str) -> Settings:
    settings = enforcing_settings(lab, name)
    settings.change(gateway={"plane": plane})
    return settings


@pytest.fixture
def chain(lab: Lab) -> Iterator[None]:
    lab.gateway.run("nft", CHAIN)
    try:
        yield
    finally:
        lab.gateway.run("nft", "delete", "table", "netdev", "own")


@pytest.mark.usefixtures("chain")
def test_beside_a_daemon_of_the_other_plane_it_tells_what_would_be_in_the_way(
    lab: Lab,
) -> None:
    settings = running(lab, "nftables", "rules")
    with daemon(lab.gateway, settings) as it:
        assert it.ask("status")["plane"] == "nftables"
        told = asked_for_programs(lab, settings.socket)
        refused = told.refused("lan0")
        assert "netdev own c at ingress" in refused.what
        assert refused.remedy == MOVE
        assert told.alone == {"interface lan0"}  # the daemon's own chains are none
        answer = ask(lab, running(lab, "ebpf", "elsewhere"))
        assert answer.findings["daemon"][1].startswith("a daemon is running")
        assert "interface lan0" in answer.grave  # its table tells


def test_a_daemon_of_programs_is_not_in_its_own_way(lab: Lab) -> None:
    settings = running(lab, "ebpf", "programs")
    with daemon(lab.gateway, settings) as it:
        assert it.ask("status")["plane"] == "ebpf"
        told = asked_for_programs(lab, settings.socket)
        answer = ask(lab, running(lab, "ebpf", "silent"))
    assert told.alone == set()
    assert UNTOLD not in told.findings
    assert answer.findings["daemon"][1].startswith("a daemon is running")
    assert not [where for where in answer.grave if where.startswith("interface ")]
    weight, what = answer.findings[UNTOLD]
    assert weight == Weight.UNKNOWN.value
    assert "not looked at" in what


def test_pairs_that_may_reorder_are_told(lab: Lab) -> None:
    settings = running(lab, "ebpf", "pairs")
    with daemon(lab.gateway, settings):
        [far] = lab.gateway.run("sh", "-c", "cd /sys/class/net; ls -d vgr*").split()
        mask = f"/sys/class/net/{far}/queues/rx-0/rps_cpus"
        ordered = ask(lab, settings).findings
        lab.gateway.run("sh", "-c", f"echo 0 > {mask}")
        answer = ask(lab, settings)
    assert f"interface {far}" not in ordered
    weight, what = answer.findings[f"interface {far}"]
    assert weight == Weight.COST.value
    assert "before an earlier one" in what
    assert answer.status == ABLE


@contextlib.contextmanager
def strange_header(lab: Lab, name: str) -> Iterator[None]:
    """A tun whose packets begin with a header that nobody here knows."""

    def told() -> None:
        with Path("/dev/net/tun").open("r+b", buffering=0) as tun:
            flags = _IFF_TUN | _IFF_NO_PI
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
            fcntl.ioctl(tun, _TUNSETLINK, _NO_SUCH_HEADER)

    lab.gateway.run("ip", "tuntap", "add", name, "mode", "tun")
    try:
        lab.gateway.call(told)
        lab.gateway.run("ip", "link", "set", name, "up")
        yield
    finally:
        lab.gateway.run("ip", "link", "del", name)


def test_a_header_that_programs_do_not_know(lab: Lab, tmp_path: Path) -> None:
    """As the plane does: nowhere is it taken for bare IP."""
    with strange_header(lab, "lan7"):
        told = asked_for_programs(lab, tmp_path / "control.sock")
        settings = running(lab, "ebpf", "strange")
        with daemon(lab.gateway, settings) as it:
            left = it.ask("status")["interfaces_left_alone"]
    assert told.alone == {"interface lan7"}
    assert "link header" in told.refused("lan7").what
    assert "nftables" in told.refused("lan7").remedy
    assert "link header" in left["lan7"]


def test_remedies_are_for_what_stands_there(lab: Lab, tmp_path: Path) -> None:
    def look() -> list[Finding]:
        socket = tmp_path / "control.sock"
        with ExitStack() as stack, closing(Channel(ROUTE)) as route:
            program = programs.load(
                Assembly().exit(ActionCode.NEXT).assembled(), "others"
            )
            stack.callback(programs.close, program)
            index = current_links()["lan1"].index
            stands, told = marks.place(index, HookPoint.INGRESS), []
            for name in ("others", marks.name("away", hung=False)):
                data = tc.new_classifier(stands, program, name)
                assert not route.each([Change(data, "filter")])
                told.append(asked_for_programs(lab, socket).refused("lan1"))
                data = tc.delete_classifier(stands)
                assert not route.each([Change(data, "filter")])
            with contextlib.suppress(BpfRefused):
                link = programs.link(program, index, AttachPoint.TCX_INGRESS)
                stack.callback(programs.close, link)
                told.append(asked_for_programs(lab, socket).refused("lan1"))
        return told

    lab.gateway.run("tc", "qdisc", "add", "dev", "lan1", "clsact")
    try:
        filters, away, *linked = lab.gateway.call(look)
    finally:
        lab.gateway.run("tc", "qdisc", "del", "dev", "lan1", "clsact")
    assert filters.remedy == MOVE
    assert 'gateway.table = "away"' in away.remedy
    assert away.remedy.startswith("vpngate clear")
    assert MOVE not in away.remedy
    for one in linked:
        assert "(TCX)" in one.what
        assert one.remedy.startswith("detach")
    if not linked:
        pytest.skip("needs a kernel with TCX for the last of them")

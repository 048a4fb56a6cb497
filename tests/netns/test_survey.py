# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running kernel tells of the operator's filters on the way out."""

import subprocess
from contextlib import closing

import pytest

from vpngate.kernel.neighbours import egress_filters
from vpngate.kernel.survey import namespace
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import ROUTE, Channel

_MIRRORING = "u32 match u32 0 0 action mirred egress mirror dev lo"
_CHOOSING = "bpf bytecode '1,6 0 0 4294967295' flowid 1:10"


@pytest.mark.parametrize(
    ("qdisc", "where", "filtering", "kind", "acts"),
    [
        ("", "", "", "", []),
        ("ingress", "parent ffff:", _MIRRORING, "ingress", []),
        ("clsact", "ingress", _MIRRORING, "clsact", []),
        ("clsact", "egress", _MIRRORING, "clsact", ["u32"]),
        ("clsact", "egress", _CHOOSING, "clsact", []),
        ("root handle 1: htb", "parent 1:", _MIRRORING, "", ["u32"]),
        ("root handle 1: htb", "parent 1:", _CHOOSING, "", []),
    ],
)
def test_filters_that_act_on_the_way_out(
    qdisc: str, where: str, filtering: str, kind: str, acts: list[str]
) -> None:
    def work() -> tuple[str, str, list[str]]:
        near = namespace.lay_wire().near
        device = f"dev {namespace.NEAR}"
        for words in (f"qdisc add {device} {qdisc}", f"filter add {device} {where}"):
            more = f" {filtering}" if words.startswith("filter") else ""
            if qdisc:
                subprocess.run(f"tc {words}{more}", shell=True, check=True)
        with closing(Channel(ROUTE)) as route:
            found = [one.kind for one in egress_filters(route, near) if one.acts]
            hooks = tc.kind_at(route, near, tc.CLSACT)
            return hooks, tc.kind_at(route, near, tc.ROOT), found

    hooks, root, found = namespace.alone(work)
    assert (hooks, found) == (kind, acts)
    assert root == ("htb" if "htb" in qdisc else "noqueue")


@pytest.mark.parametrize("qdisc", ["clsact", "ingress"])
def test_of_a_qdisc_that_went_the_kernel_says_nothing(qdisc: str) -> None:
    def work() -> tuple[str, bool]:
        near = namespace.lay_wire().near
        for verb in ("add", "del"):
            words = ("tc", "qdisc", verb, "dev", namespace.NEAR, qdisc)
            subprocess.run(words, check=True)
        with closing(Channel(ROUTE)) as route:
            hooks = tc.kind_at(route, near, tc.CLSACT)
            return hooks, bool(egress_filters(route, near))

    assert namespace.alone(work) == ("", False)


def test_an_interface_that_went_has_none() -> None:
    def work() -> tuple[str, bool]:
        with closing(Channel(ROUTE)) as route:
            return tc.kind_at(route, 999, tc.ROOT), bool(egress_filters(route, 999))

    assert namespace.alone(work) == ("", False)

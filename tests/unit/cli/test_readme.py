# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents show of `classify --explain --no-addresses` is what it prints.

The captures are made here. VPNGATE_WRITE_README=1 puts what it prints into README and
into docs/explain.md, which has all tunnels.
"""

import os
import re
from collections.abc import Collection
from pathlib import Path
from random import Random
from struct import pack

import pytest
from scapy.layers.pptp import (
    PPTPStartControlConnectionReply,
    PPTPStartControlConnectionRequest,
)

from tests.house import ROOT
from tests.unit.cli.classifying import Classify, classify
from tests.unit.tunnels import test_ipsec as ipsec
from tests.unit.tunnels import test_l2tp as l2tp
from tests.unit.tunnels import test_openvpn as openvpn
from tests.unit.tunnels import test_pptp as pptp
from tests.unit.tunnels import test_wireguard as wireguard
from vpngate.packets import Transport
from vpngate.tunnels.messages import openvpn_layers as wire

__all__ = ["classify"]

COMMAND = "$ vpngate classify --explain --no-addresses captures/\n"
ALL = ("ipsec", "l2tp", "openvpn", "pptp", "unanswered", "wireguard")
SHOWN = {"README.md": ("unanswered", "wireguard"), "docs/explain.md": ALL}
UDP, TCP = Transport.UDP, Transport.TCP


def captures(classify: Classify, wanted: Collection[str] = ALL) -> Path:
    """A folder with a capture of each tunnel, and one of an answer to somebody else."""
    made, noise = classify.folder, Random(51820).randbytes
    client = openvpn.plain(wire.CLIENT_RESET_V2, session_id=openvpn.CLIENT_ID)
    server = openvpn.plain(wire.SERVER_RESET_V2, **openvpn.ANSWER)
    others = openvpn.plain(
        wire.SERVER_RESET_V2, **{**openvpn.ANSWER, "remote_session_id": noise(8)}
    )
    index = pack("<I", wireguard.INDEX)
    keys = (
        ipsec.payload(34, noise(40))
        + ipsec.payload(40, noise(68))
        + ipsec.payload(0, noise(32))
    )
    pptp_messages = [
        bytes(kind(host_name=b"host", vendor_string=b"vendor"))
        for kind in (PPTPStartControlConnectionRequest, PPTPStartControlConnectionReply)
    ]
    for name, of, (question, answer) in (
        (
            "ipsec",
            (UDP, ipsec.IKE),
            [
                ipsec.ike(keys, 33, 34, 0x08, responder=ipsec.NONE),
                ipsec.ike(keys, 33, 34, 0x20),
            ],
        ),
        ("l2tp", (UDP, l2tp.PORTS), l2tp.opening(2)[:2]),
        ("openvpn", (UDP, openvpn.PORTS), [client, server]),
        ("pptp", (TCP, pptp.PORTS), pptp_messages),
        ("unanswered", (UDP, openvpn.PORTS), [client, others]),
        (
            "wireguard",
            (UDP, wireguard.PORTS),
            [
                b"\1\0\0\0" + index + noise(140),
                b"\2\0\0\0" + noise(4) + index + noise(80),
            ],
        ),
    ):
        if name in wanted:
            said = [(question, False), (answer, True)]
            classify.capture(*of, said, name=f"{name}.pcap")
    return made


@pytest.mark.parametrize("document", SHOWN)
def test_the_documents_show_what_classify_prints(
    classify: Classify, document: str
) -> None:
    folder = captures(classify, SHOWN[document])
    printed = classify.text("--explain", "--no-addresses", folder)
    page = ROOT / document
    text = page.read_text()
    block = f"```console\n{COMMAND}{printed}```"
    if os.environ.get("VPNGATE_WRITE_README"):
        pattern = re.escape(f"```console\n{COMMAND}") + ".*?```"
        text = re.sub(pattern, lambda _: block, text, count=1, flags=re.DOTALL)
        page.write_text(text)
        pytest.skip("written")
    assert block in text


def test_it_is_one_of_each(classify: Classify) -> None:
    flows = classify.flows("--explain", captures(classify))
    seen = {(flow["tunnel"], flow["evidence"]) for flow in flows}
    names = ("ipsec", "l2tp", "openvpn", "pptp", "wireguard")
    assert seen == {*((n, "confirmed") for n in names), ("openvpn", "initiation")}

# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify --explain`: the evidence field by field, and what was lacking."""

from dataclasses import replace
from struct import pack

import pytest
from scapy.layers.pptp import PPTPStartControlConnectionReply

from tests.unit.cli.classifying import Classify, classify
from tests.unit.second_reading.confirmations import CONFIRMATIONS, TUNNELS, Confirmation
from tests.unit.tunnels import test_ipsec as ipsec
from tests.unit.tunnels import test_l2tp as l2tp
from tests.unit.tunnels import test_openvpn as openvpn
from tests.unit.tunnels import test_pptp as pptp
from tests.unit.tunnels import test_wireguard as wireguard
from tests.unit.tunnels.crafting import flipped
from vpngate.capture import replay
from vpngate.cli import classify as command
from vpngate.packets import Packet, Transport
from vpngate.recognition import Dissection, SecondReader
from vpngate.tunnels.messages import openvpn_layers as wire

__all__ = ["classify"]

UDP, TCP, ESP = Transport.UDP, Transport.TCP, Transport.ESP
WIREGUARD = (UDP, wireguard.PORTS)
OPENVPN = (UDP, openvpn.PORTS)
IKE = (UDP, ipsec.IKE)
IP_SECURITY = (ESP, (0, 0))


def said(confirmation: Confirmation) -> list[tuple[bytes, bool]]:
    return [(one.payload, one.back) for one in confirmation.said]


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("confirmation", CONFIRMATIONS, ids=lambda c: c.name)
def test_what_confirms_is_shown_and_nothing_lacks(
    classify: Classify, confirmation: Confirmation, *, ipv6: bool
) -> None:
    of = (confirmation.transport, confirmation.ports)
    path = classify.capture(*of, said(confirmation), ipv6=ipv6)
    (flow,) = classify.flows("--explain", path)
    (bare,) = classify.flows(path)
    explained = flow.pop("explanation")
    assert flow == bare
    assert flow["evidence"] == "confirmed"
    assert explained["lacking"] == []
    tunnel = TUNNELS[confirmation.tunnel]
    sizes = {(p.length, tunnel.read(p).name) for p in confirmation.packets()}  # type: ignore[union-attr]
    shown = explained["messages"]
    assert {(m["length"], m["name"]) for m in shown} == sizes
    assert {m["from"] for m in shown} == {"initiator", "responder"}
    assert all(m["seen"] >= flow["first_seen"] for m in shown)
    for message in shown:
        assert message["layers"]
        for layer in message["layers"]:
            assert layer["fields"].keys() == layer["text"].keys() != set()


@pytest.mark.parametrize("confirmation", CONFIRMATIONS, ids=lambda c: c.name)
def test_of_the_first_message_alone_an_answer_lacks(
    classify: Classify, confirmation: Confirmation
) -> None:
    of = (confirmation.transport, confirmation.ports)
    (lack,) = classify.lacking(said(confirmation)[0], of=of)
    assert lack.startswith(("no answer seen", "packets of one end alone"))
    assert lack.endswith("nothing else of the other end is in the capture")


def test_fields_have_values_for_programs_and_for_people(classify: Classify) -> None:
    path = classify.capture(
        *WIREGUARD, [(wireguard.INITIATION, False), (wireguard.RESPONSE, True)]
    )
    (flow,) = classify.flows("--explain", path)
    _, answer = flow["explanation"]["messages"]
    header, body = answer["layers"]
    assert header["fields"] == {"message_type": 2, "reserved_zero": 0}
    assert body["fields"]["receiver_index"] == wireguard.INDEX
    assert body["text"]["receiver_index"] == hex(wireguard.INDEX)
    out = classify.text("--explain", path)
    assert "handshake response, 92 bytes, from the responder, 2023-11-14" in out
    assert f"receiver_index={wireguard.INDEX:#x}" in out
    assert max(map(len, out.splitlines()[2:])) <= 88


@pytest.mark.parametrize(
    ("question", "answer", "of"),
    [
        (wireguard.INITIATION, flipped(wireguard.RESPONSE, 8), WIREGUARD),
        (
            openvpn.plain(wire.CLIENT_RESET_V2, session_id=openvpn.CLIENT_ID),
            flipped(openvpn.plain(wire.SERVER_RESET_V2, **openvpn.ANSWER), 14),
            OPENVPN,
        ),
        (ipsec.SA_INIT, flipped(ipsec.SA_INIT_ANSWER, 0), IKE),
        (l2tp.opening(2)[0], flipped(l2tp.opening(2)[1], 4), (UDP, l2tp.PORTS)),
    ],
    ids=["WireGuard", "OpenVPN", "IKE", "L2TP"],
)
def test_an_answer_to_another_question(
    classify: Classify,
    question: bytes,
    answer: bytes,
    of: tuple[Transport, tuple[int, int]],
) -> None:
    (lack,) = classify.lacking((question, False), (answer, True), of=of)
    assert "answer seen, but its acknowledgement names another session" in lack
    (flow,) = classify.flows("--explain", classify.folder / "made.pcap")
    assert [m["from"] for m in flow["explanation"]["messages"]] == [
        "initiator",
        "responder",
    ]


@pytest.mark.parametrize("confirmation", CONFIRMATIONS, ids=lambda c: c.name)
def test_an_echo(classify: Classify, confirmation: Confirmation) -> None:
    question, _ = said(confirmation)[0]
    of = (confirmation.transport, confirmation.ports)
    path = classify.capture(*of, [(question, False), (question, True)])
    for flow in classify.flows("--explain", path):
        assert flow["evidence"] == "initiation"
        # Sent back to another port than the one it is for it is no message at all.
        lacks = flow["explanation"]["lacking"]
        assert lacks == ["both ends sent the same bytes: an echo"] or (
            lacks[0].startswith("no answer seen")
        )
        if confirmation.ports[0] == confirmation.ports[1]:
            assert "echo" in lacks[0]


def esp(spi: int, number: int) -> tuple[bytes, bool]:
    return pack(">II", spi, number) + bytes(24), spi == 0x2002


def test_the_packet_that_does_not_fit_is_shown(classify: Classify) -> None:
    running = [esp(spi, number) for spi in (0x1001, 0x2002) for number in (1, 2, 3)]
    misfit = esp(0x1001, 0x40000000)
    path = classify.capture(*IP_SECURITY, [*running, misfit])
    (flow,) = classify.flows("--explain", path)
    assert flow["evidence"] == "initiation"
    assert flow["verdict"] == "none"
    *evidence, last = flow["explanation"]["messages"]
    assert len(evidence) == 4
    assert last["layers"][0]["fields"]["seq"] == 0x40000000
    (lack,) = flow["explanation"]["lacking"]
    assert f"{0x40000000 - 3} ahead of the highest before it" in lack
    behind = classify.lacking(*running, esp(0x2002, 0xF0000000), of=IP_SECURITY)
    assert f"{0x10000003} behind the highest" in behind[0]


def test_running_traffic_that_is_too_short(classify: Classify) -> None:
    both = [esp(spi, number) for spi in (0x1001, 0x2002) for number in (1, 2)]
    (lack,) = classify.lacking(*both, of=IP_SECURITY)
    assert lack.startswith("too few packets")
    one = [esp(0x1001, number) for number in range(1, 9)]
    (lack,) = classify.lacking(*one, of=IP_SECURITY)
    assert lack.startswith("packets of one end alone")


def test_an_answer_that_hides_whom_it_answers(classify: Classify) -> None:
    reset = openvpn.tls_crypt(wire.CLIENT_RESET_V2, openvpn.CLIENT_ID, 5)
    answer = openvpn.tls_crypt(wire.SERVER_RESET_V2, openvpn.SERVER_ID, 17)
    (lack,) = classify.lacking((reset, False), (answer, True), of=OPENVPN)
    assert lack.endswith(
        "the initiator's next message, which would show it, was not seen"
    )
    other = openvpn.tls_crypt(wire.ACK_V1, openvpn.SERVER_ID, 13, 2)
    (lack,) = classify.lacking(
        (reset, False), (answer, True), (other, False), of=OPENVPN
    )
    assert lack.endswith("which would show it, names another session")


def test_an_id_that_is_hidden(classify: Classify) -> None:
    request, reply, _ = l2tp.opening(2)
    hidden = request[:-8] + bytes((request[-8] | 0x40,)) + request[-7:]
    (lack,) = classify.lacking((hidden, False), (reply, True), of=(UDP, l2tp.PORTS))
    assert "id is hidden" in lack


def test_one_half_of_an_exchange_and_two_that_do_not_meet(classify: Classify) -> None:
    auth, answer = ipsec.IKE_AUTH, ipsec.IKE_AUTH_ANSWER
    (lack,) = classify.lacking((auth, False), of=IKE)
    assert lack.startswith("no answer seen: one end's half of an exchange alone")
    other = flipped(answer, 8)
    (lack,) = classify.lacking((auth, False), (other, True), of=IKE)
    assert lack == "messages of both ends seen, but not of one exchange"


def test_what_came_instead_of_an_answer_is_shown(classify: Classify) -> None:
    refusal = bytes(PPTPStartControlConnectionReply(result_code=5))
    path = classify.capture(
        TCP, pptp.PORTS, [(pptp.REQUEST, False), (refusal, True), (b"", True)]
    )
    (flow,) = classify.flows("--explain", path)
    (lack,) = flow["explanation"]["lacking"]
    assert lack.endswith(
        "other packets of that end in the capture: 2, none of them an answer"
    )
    _, shown = flow["explanation"]["messages"]
    assert shown["name"] == "no message of this tunnel"
    assert shown["layers"][0]["fields"]["result_code"] == 5
    (bare,) = classify.flows(path)
    assert flow.items() >= bare.items()


def test_an_answer_that_came_too_late(
    classify: Classify, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = replace(TUNNELS["wireguard"], idle=0)
    monkeypatch.setattr(command, "all_tunnels", lambda: (hasty,))
    (lack,) = classify.lacking(
        (wireguard.INITIATION, False), (wireguard.RESPONSE, True), of=WIREGUARD
    )
    assert "forgotten by then" in lack


def test_an_answer_of_who_asked(classify: Classify) -> None:
    (lack,) = classify.lacking(
        (wireguard.INITIATION, False), (wireguard.RESPONSE, False), of=WIREGUARD
    )
    assert lack.endswith("but from the end that asked")


def read_otherwise() -> SecondReader:
    """A second reader that takes the answer for one to another initiation."""
    true = TUNNELS["wireguard"].second()

    def read(packet: Packet) -> Dissection | None:
        seen = true(packet)
        if seen is None or seen.message is None or packet.length != 92:
            return seen
        return seen._replace(message=seen.message._replace(token=b"else"))

    return read


def test_two_readings_that_differ(
    classify: Classify, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = replace(TUNNELS["wireguard"], second=read_otherwise)
    monkeypatch.setattr(command, "all_tunnels", lambda: (apart,))
    (lack,) = classify.lacking(
        (wireguard.INITIATION, False), (wireguard.RESPONSE, True), of=WIREGUARD
    )
    assert lack == "the two readings differ in token of handshake response (92 bytes)"


def test_what_is_kept_of_a_flow_is_bounded(classify: Classify) -> None:
    asked = [
        (wireguard.INITIATION[:4] + pack("<I", n) + wireguard.INITIATION[8:], False)
        for n in range(1, 400)
    ]
    path = classify.capture(*WIREGUARD, asked)
    work = replay.Replay([TUNNELS["wireguard"]], explain=True)
    ((_, account),) = work.flows(work.open(path))
    assert account is not None
    assert len(account.heard) <= 8
    assert account.bytes_used < 20_000
    (flow,) = classify.flows("--explain", path)
    assert len(flow["explanation"]["messages"]) == 1

# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify --no-addresses`: no address, and no byte that could hold one."""

import json
from struct import pack

import pytest

from tests.unit.cli.classifying import Classify, classify
from tests.unit.second_reading.confirmations import CONFIRMATIONS, Confirmation
from tests.unit.tunnels import test_ipsec as ipsec
from tests.unit.tunnels import test_l2tp as l2tp
from tests.unit.tunnels import test_wireguard as wireguard
from tests.unit.tunnels.crafting import CLIENT, CLIENT_6, SERVER, SERVER_6
from vpngate.cli.printing import letters as lettering
from vpngate.cli.printing.letters import Letters
from vpngate.packets import Transport, parse_address

__all__ = ["classify"]

UDP = Transport.UDP
ADDRESSES = (CLIENT, SERVER, CLIENT_6, SERVER_6)


def spellings(address: str) -> set[str]:
    """How an address may stand in an output, in either byte order."""
    packed = parse_address(address)
    found = {address, packed.hex(), packed[::-1].hex(), repr(packed)[2:-1]}
    for order in ("big", "little"):
        number = int.from_bytes(packed, order)
        found |= {str(number), f"{number:x}"}
    return found


def shown(classify: Classify, *arguments: object) -> str:
    """Both forms of the output, none of which holds one of the addresses."""
    out = ""
    for form in ("table", "json"):
        out += classify.text(
            "--explain", "--no-addresses", "--format", form, *arguments
        )
    lower = out.lower()
    for address in ADDRESSES:
        assert not [s for s in spellings(address) if s in lower]
    return out


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("confirmation", CONFIRMATIONS, ids=lambda c: c.name)
def test_letters_take_the_place_of_addresses(
    classify: Classify, confirmation: Confirmation, *, ipv6: bool
) -> None:
    said = [(one.payload, one.back) for one in confirmation.said]
    path = classify.capture(confirmation.transport, confirmation.ports, said, ipv6=ipv6)
    out = shown(classify, path)
    flow = json.loads(out.splitlines()[-1])
    assert sorted(flow[end]["address"] for end in ("initiator", "responder")) == [
        "A",
        "B",
    ]
    assert flow["evidence"] == "confirmed"


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("turned", [False, True])
def test_an_address_in_a_payload_is_not_shown(
    classify: Classify, address: str, *, turned: bool
) -> None:
    packed = parse_address(address)[:: -1 if turned else 1]
    text = address.encode()
    index = packed[:4]
    initiation = (
        wireguard.INITIATION[:4]
        + index
        + packed
        + wireguard.INITIATION[8 + len(packed) :]
    )
    classify.capture(UDP, wireguard.PORTS, [(initiation, False)], name="w.pcap")
    own = (l2tp.avp(7, text), l2tp.avp(60, packed[:4]), l2tp.assigned(0x1234))
    named = l2tp.control(l2tp.SCCRQ, l2tp.PROTOCOL, *own)
    classify.capture(UDP, l2tp.PORTS, [(named, False)], name="l.pcap")
    # An identity, an SPI, and a message id that are addresses.
    init = ipsec.ike(
        ipsec.payload(40, packed + bytes(40)) + ipsec.payload(0, text),
        *(33, 34, 0x08),
        responder=ipsec.NONE,
    )
    init = (packed + packed)[:8] + init[8:]
    classify.capture(UDP, ipsec.IKE, [(init, False)], name="i.pcap")
    asked = ipsec.IKE_AUTH[:20] + packed[:4] + ipsec.IKE_AUTH[24:]
    classify.capture(UDP, ipsec.IKE, [(asked, False)], name="a.pcap")
    esp = [(pack(">4s4s", packed[:4], packed[-4:]) + packed * 2, False)]
    classify.capture(Transport.ESP, (0, 0), esp, name="e.pcap")
    out = shown(classify, classify.folder)
    assert len(out.splitlines()) > 5
    flows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert {flow["capture"] for flow in flows} >= {"w.pcap", "l.pcap", "i.pcap"}


def test_equal_values_can_still_be_told(classify: Classify) -> None:
    path = classify.capture(
        UDP,
        wireguard.PORTS,
        [(wireguard.INITIATION, False), (wireguard.RESPONSE, True)],
    )
    (flow,) = classify.flows("--explain", "--no-addresses", path)
    asked, answered = (
        m["layers"][1]["fields"] for m in flow["explanation"]["messages"]
    )
    assert asked["sender_index"] == answered["receiver_index"]
    assert asked["sender_index"] != answered["sender_index"]


def test_an_address_in_a_name_is_not_shown(classify: Classify) -> None:
    said = [(wireguard.INITIATION, False)]
    for name in (f"from-{CLIENT}-1.pcap", f"{SERVER}.pcap", f"x{CLIENT_6}.pcap"):
        path = classify.capture(UDP, wireguard.PORTS, said, name=name)
        assert json.loads(shown(classify, path).splitlines()[-1])["capture"].endswith(
            "pcap"
        )
    cut = classify.folder / f"cut-{CLIENT}.pcap"
    cut.write_bytes(path.read_bytes()[:-1])
    classify.text("--no-addresses", cut, classify.folder / CLIENT)
    assert len(classify.err) == 2
    assert CLIENT not in "".join(classify.err)
    registry = classify.folder / "r.csv"
    registry.write_text(f"prefix,registration\n{CLIENT}/32,{CLIENT}\n")
    (flow,) = classify.flows("--no-addresses", "--registry", registry, path)
    assert flow["registration"] == flow["initiator"]["address"]


def test_letters_begin_anew_with_each_capture(classify: Classify) -> None:
    said = [(wireguard.INITIATION, False)]
    one = classify.capture(UDP, wireguard.PORTS, said, name="one.pcap")
    six = classify.capture(UDP, wireguard.PORTS, said, name="six.pcap", ipv6=True)
    flows = classify.flows("--no-addresses", one, six)
    assert [flow["initiator"]["address"] for flow in flows] == ["A", "A"]


def test_letters_go_on_behind_z_and_are_kept() -> None:
    letters = Letters()
    names = [letters.name(pack(">I", number)) for number in range(30)]
    assert names[:2] == ["A", "B"]
    assert names[24:29] == ["Y", "Z", "AA", "AB", "AC"]
    assert [letters.name(pack(">I", number)) for number in range(30)] == names


def test_letters_are_bounded_and_stable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "MOST_LETTERED", 10)
    letters, others = Letters(), Letters()
    addresses = [pack(">I", number) for number in range(2000)]
    names = [letters.name(address) for address in addresses]
    assert len(set(names)) == len(names)
    assert [letters.name(address) for address in addresses] == names
    assert len(letters._names) == 10
    # Nobody can tell an address from its name by trying all of them.
    assert names[10:] != [others.name(address) for address in addresses][10:]


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("192.0.2.7.pcap", "A.pcap"),
        ("a-192.0.2.7-b", "a-A-b"),
        ("2001:db8::7:", "A:"),
        ("v1.2.pcap", "v1.2.pcap"),
        ("12:30:05.pcap", "12:30:05.pcap"),
    ],
)
def test_addresses_in_a_text(text: str, without: str) -> None:
    assert Letters().without_addresses(text) == without

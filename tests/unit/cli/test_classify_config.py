# SPDX-License-Identifier: GPL-2.0-or-later
"""`vpngate classify --config`: [protect], [tunnels], and the registry it names."""

from pathlib import Path

import pytest

from tests.unit.cli.classifying import Classify, Said, classify
from tests.unit.tunnels import test_ipsec as ipsec
from tests.unit.tunnels import test_l2tp as l2tp
from tests.unit.tunnels import test_pptp as pptp
from tests.unit.tunnels import test_wireguard as wireguard
from tests.unit.tunnels.crafting import CLIENT, SERVER, SERVER_6
from vpngate.feed import LastGood, Store, Validators
from vpngate.packets import Transport

__all__ = ["classify"]

UDP, TCP = Transport.UDP, Transport.TCP
HANDSHAKE: list[Said] = [(wireguard.INITIATION, False), (wireguard.RESPONSE, True)]
WEB = "https://registry.example/list.csv"


def configuration(
    classify: Classify, sources: list[str] | None = None, more: str = ""
) -> Path:
    """A configuration with a registry of R-1, and its state folder."""
    registry = classify.folder / "registry.csv"
    registry.write_text("prefix,registration\n203.0.113.0/24,R-1\n")
    named = [str(registry)] if sources is None else sources
    path = classify.folder / "vpngate.toml"
    path.write_text(
        '[gateway]\ninterfaces = ["lan0"]\n'
        f"[registry]\nsources = {named}\nallow_unsigned = true\n"
        f'state = "{classify.folder}/state"\n{more}'
    )
    return path


def keep(classify: Classify, prefix: str) -> None:
    """A last good registry in the state folder."""
    state = classify.folder / "state"
    state.mkdir()
    text = f"prefix,registration\n{prefix},R-9\n".encode()
    Store(state).save(LastGood(text, None, Validators()))


def verdict(
    classify: Classify, config: Path, *, ipv6: bool = False
) -> tuple[str, str | None]:
    path = classify.capture(UDP, wireguard.PORTS, HANDSHAKE, ipv6=ipv6)
    (flow,) = classify.flows("--config", config, path)
    return flow["verdict"], flow["registration"]


def test_its_registry_counts(classify: Classify) -> None:
    config = configuration(classify)
    assert verdict(classify, config) == ("throttle", None)
    (classify.folder / "registry.csv").write_text(
        f"prefix,registration\n{SERVER}/32,R-2\n203.0.113.0/24,R-1\n"
    )
    assert verdict(classify, config) == ("allow", "R-2")
    assert (classify.status, classify.err) == (0, [])


@pytest.mark.parametrize("ipv6", [False, True])
def test_what_is_protected_is_allowed(classify: Classify, *, ipv6: bool) -> None:
    protect = f'[protect]\nprefixes = ["{CLIENT}/32", "{SERVER_6}/128"]\n'
    config = configuration(classify, more=protect)
    assert verdict(classify, config, ipv6=ipv6) == ("allow", None)


def test_only_enabled_tunnels_are_recognised(classify: Classify) -> None:
    config = configuration(classify, more='[tunnels]\nenabled = ["openvpn"]\n')
    path = classify.capture(UDP, wireguard.PORTS, HANDSHAKE)
    assert classify.flows("--config", config, path) == []
    assert len(classify.flows(path)) == 1


@pytest.mark.parametrize(
    ("of", "request_", "alone"),
    [
        ((UDP, ipsec.IKE), ipsec.SA_INIT, True),
        ((UDP, l2tp.PORTS), l2tp.opening(2)[0], True),
        ((TCP, pptp.PORTS), pptp.REQUEST, True),
        ((UDP, wireguard.PORTS), wireguard.INITIATION, False),
        ((UDP, ipsec.IKE), ipsec.IKE_AUTH, False),
    ],
)
def test_one_way_acts_on_messages_that_are_enough_alone(
    classify: Classify,
    of: tuple[Transport, tuple[int, int]],
    request_: bytes,
    *,
    alone: bool,
) -> None:
    path = classify.capture(*of, [(request_, False)])
    for way, expected in (("both-ways", False), ("one-way", alone)):
        config = configuration(classify, more=f'[tunnels]\nconfirm = "{way}"\n')
        (flow,) = classify.flows("--explain", "--config", config, path)
        assert flow["evidence"] == "initiation"
        assert flow["verdict"] == ("throttle" if expected else "none")
        no_answer, *acted_on = flow["explanation"]["lacking"]
        assert no_answer.startswith("no answer seen")
        assert bool(acted_on) is expected
    protect = f'[tunnels]\nconfirm = "one-way"\n[protect]\nprefixes = ["{SERVER}/32"]\n'
    (flow,) = classify.flows("--config", configuration(classify, more=protect), path)
    assert flow["verdict"] == ("allow" if alone else "none")


def test_what_came_once_and_contradicts_is_not_acted_on(classify: Classify) -> None:
    config = configuration(classify, more='[tunnels]\nconfirm = "one-way"\n')
    path = classify.capture(UDP, ipsec.IKE, [(ipsec.SA_INIT, False)])
    cut = path.read_bytes()[:-1]
    # A cut message is never enough alone: the capture says so of its last packet.
    header = bytearray(cut)
    header[24 + 8 : 24 + 12] = (len(cut) - 24 - 16).to_bytes(4, "little")
    path.write_bytes(header)
    (flow,) = classify.flows("--config", config, path)
    assert (flow["evidence"], flow["verdict"]) == ("initiation", "none")


def test_a_web_server_is_not_asked_and_the_last_good_one_counts(
    classify: Classify,
) -> None:
    keep(classify, f"{SERVER}/32")
    config = configuration(classify, [WEB])
    assert verdict(classify, config) == ("allow", "R-9")
    (line,) = classify.err
    assert "not fetched here" in line
    assert f"{classify.folder}/state" in line


def test_a_web_server_alone_and_no_last_good_one(classify: Classify) -> None:
    path = classify.capture(UDP, wireguard.PORTS, HANDSHAKE)
    config = configuration(classify, [WEB])
    assert classify.text("--config", config, path) == ""
    (line,) = classify.err
    assert classify.status == 2
    assert "no last good registry" in line
    assert "--registry FILE" in line


def test_a_file_behind_a_web_server(classify: Classify) -> None:
    registry = classify.folder / "mirror.csv"
    registry.write_text(f"prefix,registration\n{CLIENT}/32,R-3\n")
    config = configuration(classify, [WEB, str(registry)])
    assert verdict(classify, config) == ("allow", "R-3")
    (line,) = classify.err
    assert "warning" in line
    assert "not fetched here" in line


def test_a_file_that_is_gone_before_a_web_server(classify: Classify) -> None:
    gone = str(classify.folder / "gone.csv")
    config = configuration(classify, [gone, WEB])
    path = classify.capture(UDP, wireguard.PORTS, HANDSHAKE)
    assert classify.text("--config", config, path) == ""
    assert classify.status == 2
    assert gone in classify.err[0]
    keep(classify, f"{SERVER}/32")
    assert verdict(classify, config) == ("allow", "R-9")
    assert gone in classify.err[0]


def test_a_bad_configuration_tells_all_that_is_wrong(classify: Classify) -> None:
    config = configuration(classify, more="[tunnels]\nenabled = [1]\n[nonsense]\n")
    assert classify.text("--config", config, "x.pcap") == ""
    assert classify.status == 1
    assert len(classify.err) >= 2


def test_it_is_either_a_registry_or_a_configuration(classify: Classify) -> None:
    with pytest.raises(SystemExit) as ended:
        classify.text("--config", "a", "--registry", "b", "x.pcap")
    assert ended.value.code == 2

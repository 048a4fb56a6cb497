# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens as the second readers are loaded, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
from vpngate.tunnels.messages import ike, ipsec, l2tp, openvpn, pptp, wireguard
from scapy.config import conf
print(len(conf.ifaces), len(conf.route.routes), len(conf.route6.routes))
"""


def test_neither_interfaces_nor_routes_of_the_machine_are_read() -> None:
    """A gateway may have a thousand and a million of them, and each takes its time."""
    program = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "0"]


_LEFT_OUT = """
import sys
from vpngate.tunnels.messages import ike, ipsec, l2tp, openvpn, pptp, wireguard
print(*(name for name in {left_out} if name in sys.modules), sep=",")
from scapy.contrib.ikev2 import IKEv2, IKEv2_Payload
print(IKEv2 is ike.IKEv2, IKEv2_Payload is ike._FORMAT_2.payload)
from scapy.layers.x509 import X509_Cert, X509_CRL
from scapy.libs import manuf
import cryptography
print(len(X509_Cert.fields_desc) > 1, len(manuf.DATA) > 1)
"""
LEFT_OUT = (
    "scapy.layers.x509",
    "scapy.libs.manuf",
    "scapy.libs.bluetoothids",
    "scapy.main",
    "cryptography",
)


def test_what_nobody_asks_for_is_left_out_and_there_for_others(tmp_path: Path) -> None:
    program = [sys.executable, "-c", _LEFT_OUT.format(left_out=LEFT_OUT)]
    folders = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    done = subprocess.run(
        program,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | dict.fromkeys(("HOME", *folders), str(tmp_path)),
    )
    assert done.stdout.split("\n") == ["", "True True", "True True", ""]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("library", LEFT_OUT)
def test_what_somebody_else_has_loaded_stays(library: str) -> None:
    program = (
        f"import sys, {library}; there = sys.modules[{library!r}]\n"
        "from vpngate.tunnels.messages import ike\n"
        f"print(sys.modules[{library!r}] is there)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


_READ = """
import os, sys
exists = os.path.exists
os.path.exists = lambda path: "wireshark" in str(path) or exists(path)
read = []
sys.addaudithook(lambda event, told: event == "open" and read.append(str(told[0])))
from vpngate.tunnels.messages import ike, ipsec, l2tp, openvpn, pptp, wireguard
print(*(path for path in read if path.startswith(("/etc", "/usr/share"))))
"""


def test_no_names_are_read_from_files_of_this_machine() -> None:
    """An installed Wireshark has 50,000 makers of network cards, which took 0.1 s."""
    program = [sys.executable, "-c", _READ]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


_WITHOUT_IP = """
import sys
from vpngate.tunnels.messages import l2tp, openvpn, wireguard
print("scapy.layers.inet" in sys.modules)
from scapy.contrib.wireguard import Wireguard
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from vpngate.tunnels.messages import ipsec
print(Wireguard is wireguard.Wireguard)
whole = UDP(bytes(UDP(dport=53) / b"?"))
print(whole.len, (IP() / ipsec.ESP()).proto, (IPv6() / ipsec.ESP()).nh)
"""


def test_what_asks_for_no_more_than_a_port_does_not_load_ip() -> None:
    """Who asks for IP later gets it, and what is about IP then is bound to it."""
    program = [sys.executable, "-c", _WITHOUT_IP]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["False", "True", "9 50 50", ""]


_FOUND_BY_ITS_PORT = """
from scapy.layers.inet import UDP
from vpngate.tunnels.messages import wireguard
print(UDP(dport=51820).guess_payload_class(b"") is wireguard.Wireguard)
"""


def test_where_ip_is_loaded_anyway_it_is_bound_to_as_ever() -> None:
    program = [sys.executable, "-c", _FOUND_BY_ITS_PORT]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


_READ_AGAIN = """
import random, sys
from tests.unit.tunnels import crafting
from vpngate.packets import Transport
from vpngate.tunnels.wireguard import TUNNEL
{before}
read, rng = TUNNEL.second(), random.Random(7)
for kind, size in ((1, 148), (2, 92), (3, 64), (4, 32)):
    for _ in range(20):
        payload = bytearray(bytes([kind, 0, 0, 0]) + rng.randbytes(size - 4))
        if rng.random() < 0.5:
            payload[rng.randrange(4)] ^= 1 << rng.randrange(8)
        found = read(crafting.packet(Transport.UDP, bytes(payload), (41255, 51820)))
        print(found.message, found.layer.show2(dump=True))
print("scapy.layers.inet" in sys.modules)
"""


def test_without_ip_the_same_is_read() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", _READ_AGAIN.format(before=before)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[3],
        ).stdout.rsplit("\n", 2)
        for before in ("", "import scapy.layers.inet")
    ]
    (without, loaded, _), (with_ip, loaded_before, _) = told
    assert (loaded, loaded_before) == ("False", "True")
    assert without == with_ip
    assert without.count("handshake initiation") > 5

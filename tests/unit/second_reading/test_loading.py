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
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


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

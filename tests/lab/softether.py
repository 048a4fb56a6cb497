# SPDX-License-Identifier: GPL-2.0-or-later
"""SoftEther's VPN server, called by a real OpenVPN client.

Knows how to run the server, what its own control program has to tell it, and what its
OpenVPN function asks of a client; does not know who is registered. The server bridges
its hub to a tap device of its namespace: that is the tunnel's inner end.
"""

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from pathlib import Path

from tests.lab.foreign import Release
from tests.lab.namespaces import LabError, Namespace, wait_until
from tests.lab.openvpn import QUEUES, OpenVpn
from tests.lab.topology import Host, Place

RELEASE = Release("bookworm", folders=("/run/softether",))  # the last that has it
_PROGRAMS = "/usr/libexec/softether"
_networks = itertools.count(1)
_HUB, _USER = "DEFAULT", "lab"
_TAP = f"tap_{_USER}"  # the server puts these letters before its name
_MANAGED = "localhost:5555"  # one of its own listeners, for TCP
# OpenVPN's, UDP; on TCP any of its listeners takes any protocol.
_PORT = 1194
_LEASES = (
    "/MASK:255.255.255.0 /EXPIRE:7200 /GW:none "
    "/DNS:none /DNS2:none /DOMAIN:none /LOG:no"
)


def _tell(server: Namespace, lines: list[str]) -> str:
    """Have the control program do some lines one after the other."""
    script = server.folder / f"vpncmd-{server.name}-{secrets.token_hex(4)}"
    script.write_text("\n".join(lines) + "\n")
    command = (f"{_PROGRAMS}/vpncmd/vpncmd", _MANAGED, "/SERVER", f"/IN:{script}")
    return RELEASE.run(server, *command)


def _answers(server: Namespace) -> bool:
    try:
        _tell(server, ["About"])
    except LabError:
        return False
    return True


def _settings(network: str, password: str, certificate: Path) -> list[str]:
    """A hub with one user, on a tap device, that gives out addresses."""
    return [
        # What begins with a slash would be an option.
        f"ServerCertGet {certificate.relative_to('/')}",
        f"BridgeCreate {_HUB} /DEVICE:{_USER} /TAP:yes",
        f"Hub {_HUB}",
        f"UserCreate {_USER} /GROUP:none /REALNAME:none /NOTE:none",
        f"UserPasswordSet {_USER} /PASSWORD:{password}",
        f"SecureNatHostSet /MAC:none /IP:{network}.1 /MASK:255.255.255.0",
        f"DhcpSet /START:{network}.10 /END:{network}.20 {_LEASES}",
        "NatDisable",
        "DhcpEnable",
        "SecureNatEnable",
    ]


@contextlib.contextmanager
def tunnel(client: Host, server: Host, *, tcp: bool = False) -> Iterator[OpenVpn]:
    """A tunnel over IPv4 from an OpenVPN client to SoftEther's server, up."""
    number = next(_networks)
    network, device = f"10.89.{number}", f"seth{number}"
    folder = Path(client.namespace.folder, f"softether-{number}")
    folder.mkdir()
    certificate, login = folder / "server.crt", folder / "login"
    password = secrets.token_hex(8)
    login.write_text(f"{_USER}@{_HUB}\n{password}\n")
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            RELEASE.running(
                *(server.namespace, f"{_PROGRAMS}/vpnserver/vpnserver"),
                *("start", "--foreground"),
            )
        )
        wait_until(lambda: _answers(server.namespace), "SoftEther's first answer")
        _tell(server.namespace, _settings(network, password, certificate))
        wait_until(
            lambda: _TAP in server.namespace.run("ip", "-br", "link"),
            f"the device {_TAP}",
        )
        server.namespace.ip(f"addr add {network}.2/24 dev {_TAP}")
        calling = stack.enter_context(
            client.namespace.running(
                *("openvpn", "--client", "--nobind", "--verb", "3", "--disable-dco"),
                *("--dev", device, "--dev-type", "tun", "--tun-mtu", "1380"),
                *("--proto", "tcp4-client" if tcp else "udp4"),
                *("--remote", server.ipv4, str(_PORT), "--connect-retry", "1"),
                *("--ca", str(certificate), "--auth-user-pass", str(login)),
                *("--data-ciphers", "AES-256-GCM:AES-128-CBC"),
                *("--data-ciphers-fallback", "AES-128-CBC", "--auth", "SHA1"),
                *QUEUES,
            )
        )
        made = OpenVpn(
            client=Place(client.namespace, f"{network}.10"),
            server=Place(server.namespace, f"{network}.2"),
            port=_PORT,
            _client=calling,
        )
        made.wait_until_up()
        yield made

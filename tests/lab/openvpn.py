# SPDX-License-Identifier: GPL-2.0-or-later
"""Real OpenVPN between two hosts of the lab, in all its variants.

Knows openvpn(8), how to make the keys it needs, and how two ends call each other
without one being the server of many; does not know who is registered.
"""

import contextlib
import datetime as dt
import functools
import itertools
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.lab.foreign import Release
from tests.lab.namespaces import Process, wait_until
from tests.lab.topology import Host, Place

_networks = itertools.count(1)
_ONE_DAY = dt.timedelta(days=1)
READY = "Initialization Sequence Completed"
# Packets and bytes that wait for a program which is not scheduled.
QUEUES = ("--txqueuelen", "1000", "--sndbuf", "500000", "--rcvbuf", "500000")


class Wrapping(StrEnum):
    """How the control channel is protected (OpenVPN manual, TLS mode options)."""

    PLAIN = "plain"
    TLS_AUTH = "tls-auth"
    TLS_CRYPT = "tls-crypt"
    TLS_CRYPT_V2 = "tls-crypt-v2"


@dataclass(frozen=True)
class OpenVpn:
    """A tunnel that is up; `client` and `server` are its inner ends."""

    client: Place
    server: Place
    port: int  # the server's
    _client: Process

    def wait_until_up(self) -> None:
        self._client.expect(READY)
        # The log runs ahead of the address by a moment.
        here = self.client
        wait_until(
            lambda: here.address in here.namespace.run("ip", "-br", "addr"),
            f"the address {here.address}",
        )


@dataclass(frozen=True)
class _Issuer:
    """A certificate authority of one day."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    def issue(self, folder: Path, who: str, *, server: bool) -> None:
        """Write `who`.key and `who`.crt."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        if not server:
            usage = ExtendedKeyUsageOID.CLIENT_AUTH
        certificate = (
            self.builder(_named(who), key)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        _write(folder / who, certificate, key)

    def builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _ONE_DAY)
            .not_valid_after(now + _ONE_DAY)
        )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(
    path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    path.with_suffix(".crt").write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
    )
    secret = path.with_suffix(".key")
    secret.touch(mode=0o600)
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _end(end: str, keys: Path, wrapping: Wrapping) -> tuple[str, ...]:
    """What both modes say of one end."""
    return (
        *("--ignore-unknown-option", "disable-dco"),  # version 2.5 knows no such thing
        *("--disable-dco", "--verb", "3", "--tun-mtu", "1380"),
        *("--ca", str(keys / "ca.crt"), "--cert", str(keys / f"{end}.crt")),
        *("--key", str(keys / f"{end}.key"), "--data-ciphers", "AES-256-GCM"),
        *_wrapping(wrapping, keys, end),
        *QUEUES,
    )


def _genkey(*argv: str) -> None:
    subprocess.run(["openvpn", *argv], capture_output=True, check=True)


@functools.cache
def _keys(folder: Path) -> Path:
    """Everything both ends need, once a lab."""
    made = folder / "openvpn"
    made.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _Issuer(key, _named("lab"))
    certificate = (
        issuer.builder(issuer.name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(made / "ca", certificate, key)
    issuer.issue(made, "server", server=True)
    issuer.issue(made, "client", server=False)
    _genkey("--genkey", "secret", str(made / "shared.key"))
    v2 = (str(made / "v2-server.key"), str(made / "v2-client.key"))
    _genkey("--genkey", "tls-crypt-v2-server", v2[0])
    _genkey("--tls-crypt-v2", v2[0], "--genkey", "tls-crypt-v2-client", v2[1])
    return made


def _wrapping(wrapping: Wrapping, keys: Path, end: str) -> tuple[str, ...]:
    match wrapping:
        case Wrapping.PLAIN:
            return ()
        case Wrapping.TLS_AUTH:
            direction = "0" if end == "server" else "1"
            return ("--tls-auth", str(keys / "shared.key"), direction)
        case Wrapping.TLS_CRYPT:
            return ("--tls-crypt", str(keys / "shared.key"))
        case Wrapping.TLS_CRYPT_V2:
            return ("--tls-crypt-v2", str(keys / f"v2-{end}.key"))


@contextlib.contextmanager
def tunnel(
    client: Host,
    server: Host,
    *,
    wrapping: Wrapping = Wrapping.PLAIN,
    tcp: bool = False,
    version: int = 4,
    options: tuple[str, ...] = (),
    through: tuple[str, ...] = (),
    caller: Release | None = None,
) -> Iterator[OpenVpn]:
    """A tunnel from client to server over IP `version`, up.

    `options` are given to both ends (`--auth SHA512` makes longer HMACs); `through` is
    a program that runs another one (`mptcpize run`); the client is that of `caller`, or
    the machine's own.
    """
    number = next(_networks)
    port = 11_000 + number
    device = f"ovpn{number}"
    network = f"10.88.{number}"
    keys = _keys(client.namespace.folder)
    outer = server.at(version).address
    family = "6" if version == 6 else "4"

    def command(end: str, protocol: str) -> tuple[str, ...]:
        return (
            *(*through, "openvpn", "--dev", device, "--dev-type", "tun"),
            *("--proto", protocol, "--topology", "subnet", "--connect-retry", "1"),
            *_end(end, keys, wrapping),
            *options,
        )

    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(
            server.namespace.running(
                *command("server", f"tcp{family}-server" if tcp else f"udp{family}"),
                *("--server", f"{network}.0", "255.255.255.0", "--dh", "none"),
                *("--local", outer, "--port", str(port), "--keepalive", "10", "60"),
            )
        )
        listening.expect(READY)
        call = (
            *command("client", f"tcp{family}-client" if tcp else f"udp{family}"),
            *("--client", "--nobind", "--remote", outer, str(port)),
            *("--remote-cert-eku", "TLS Web Server Authentication"),
        )
        calling = stack.enter_context(
            caller.running(client.namespace, *call)
            if caller
            else client.namespace.running(*call)
        )
        made = OpenVpn(
            client=Place(client.namespace, f"{network}.2"),
            server=Place(server.namespace, f"{network}.1"),
            port=port,
            _client=calling,
        )
        made.wait_until_up()
        yield made


@contextlib.contextmanager
def between_peers(
    client: Host, server: Host, *, wrapping: Wrapping, client_first: bool
) -> Iterator[OpenVpn]:
    """A tunnel of two ends that call each other over UDP, up.

    Where the client is started first, its reset is lost and the server's own, which
    acknowledges nothing, is the first one that arrives (`--tls-server` without
    `--mode server`; OpenVPN manual, point to point).
    """
    number = next(_networks)
    port = 11_000 + number
    keys = _keys(client.namespace.folder)
    inner = (f"10.88.{number}.2", f"10.88.{number}.1")
    hosts = {"client": (client, server, inner), "server": (server, client, inner[::-1])}
    with contextlib.ExitStack() as stack:

        def start(end: str) -> Process:
            own, other, addresses = hosts[end]
            return stack.enter_context(
                own.namespace.running(
                    *("openvpn", "--dev", f"ovpn{number}", "--dev-type", "tun"),
                    *("--proto", "udp4", "--port", str(port), f"--tls-{end}"),
                    *("--remote", other.at(4).address, "--ifconfig", *addresses),
                    *("--dh", "none") if end == "server" else (),
                    *_end(end, keys, wrapping),
                )
            )

        started = {}
        for end in ("client", "server") if client_first else ("server", "client"):
            started[end] = start(end)
            started[end].expect("link remote")
            time.sleep(0.5)  # its first reset leaves right after that line
        made = OpenVpn(
            client=Place(client.namespace, inner[0]),
            server=Place(server.namespace, inner[1]),
            port=port,
            _client=started["client"],
        )
        made.wait_until_up()
        yield made

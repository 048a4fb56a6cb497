# SPDX-License-Identifier: GPL-2.0-or-later
"""Real IPsec between two hosts of the lab: strongSwan's charon, ESP in user space.

Knows how to run two charons apart from each other and from the machine's own, and
to bring up IKEv1 (main and aggressive mode) and IKEv2, also where a gateway between
them translates addresses; does not know who is registered. ESP travels in UDP 4500:
kernel-libipsec knows no other way.
"""

import contextlib
import itertools
import secrets
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.lab.foreign import Release
from tests.lab.namespaces import PATIENCE, Namespace, Process, wait_until
from tests.lab.topology import Host, Place

# The first release of Debian whose charon knows ML-KEM.
WITH_ML_KEM = Release("forky")
_networks = itertools.count(1)
_CHARON = "/usr/lib/ipsec/charon"
_CHARON_SYSTEMD = "/usr/sbin/charon-systemd"  # the same daemon, with fewer packages
# Which of them a release has differs; what is not there is passed over.
_PLUGINS = (
    "random nonce aes sha1 sha2 hmac gmp curve25519 kdf openssl x509 pem pkcs1 "
    "kernel-libipsec kernel-netlink socket-default vici updown"
)

# Each charon has a /run of its own, where it keeps its pid and control socket.
_MOUNTS = "mount -t tmpfs tmpfs /run"


class Exchange(Enum):
    """How the two agree on keys, as swanctl.conf says it."""

    MAIN = ("1", "no")
    AGGRESSIVE = ("1", "yes")
    IKEV2 = ("2", "no")

    @property
    def version(self) -> str:
        return self.value[0]

    @property
    def aggressive(self) -> str:
        return self.value[1]


@dataclass(frozen=True)
class Manner:
    """How two ends behave, beside the way they agree on keys.

    behind_nat      the client's address is translated on the way, and may change
                    (MOBIKE, RFC 4555): nobody names it, and it is the translation
                    that moves both to UDP 4500. Else both are told to go there
    liveness_check  seconds of silence after which the client asks whether the other
                    end is alive (RFC 7296 section 2.4); 0 for never
    proposal        algorithms of the key exchange, as swanctl.conf spells them
    release         whose charon both ends run; None for the machine's own
    """

    behind_nat: bool = False
    liveness_check: int = 0
    proposal: str = "aes128-sha256-curve25519"
    release: Release | None = None


_PLAIN = Manner()
_FIRST, _SECOND = ".1", ".2"  # the client's inner address ends so, and the server's


@dataclass(frozen=True)
class Ipsec:
    """A tunnel that is up; `client` and `server` are its inner ends."""

    client: Place
    server: Place


def _charon_conf(socket: Path) -> str:
    return textwrap.dedent(f"""\
        charon {{
            load = {_PLUGINS}
            i_dont_care_about_security_and_use_aggressive_mode_psk = yes
            install_routes = yes
            plugins {{ vici {{ socket = unix://{socket} }} }}
        }}
        """)


def _swanctl_conf(
    exchange: Exchange,
    manner: Manner,
    ends: tuple[Place, Place],
    inner: tuple[str, str],
    secret: str,
) -> str:
    """`ends` and `inner` are one's own and the other's; the client has the first."""
    own, other = ends
    client_side = inner[0].endswith(_FIRST)
    outer = [own.address, other.address]
    if manner.behind_nat:
        outer[0 if client_side else 1] = "%any"
    return textwrap.dedent(f"""\
        connections {{
            lab {{
                version = {exchange.version}
                aggressive = {exchange.aggressive}
                local_addrs = {outer[0]}
                remote_addrs = {outer[1]}
                proposals = {manner.proposal}
                encap = {"no" if manner.behind_nat else "yes"}
                mobike = yes
                dpd_delay = {manner.liveness_check if client_side else 0}
                local {{
                    auth = psk
                    id = {own.namespace.name}
                }}
                remote {{
                    auth = psk
                    id = {other.namespace.name}
                }}
                children {{
                    lab {{
                        local_ts = {inner[0]}/32
                        remote_ts = {inner[1]}/32
                        esp_proposals = aes128-sha256
                    }}
                }}
            }}
        }}
        secrets {{
            ike-lab {{ secret = {secret} }}
        }}
        """)


class _Charon:
    """One daemon and its control socket."""

    def __init__(self, namespace: Namespace, process: Process, socket: Path) -> None:
        self.namespace = namespace
        self.process = process
        self._uri = f"unix://{socket}"

    def swanctl(self, *argv: str) -> None:
        self.namespace.run(
            "swanctl", *argv, "--uri", self._uri, timeout=PATIENCE, check=True
        )


def _start(
    stack: contextlib.ExitStack,
    namespace: Namespace,
    number: int,
    release: Release | None,
) -> _Charon:
    folder = namespace.folder / f"strongswan-{number}-{namespace.name}"
    folder.mkdir()
    socket = folder / "charon.vici"
    settings = folder / "strongswan.conf"
    settings.write_text(_charon_conf(socket))
    where = f"STRONGSWAN_CONF={settings}"
    process = stack.enter_context(
        release.running(namespace, _CHARON_SYSTEMD, environment=(where,))
        if release
        else namespace.running("env", where, _CHARON, mounts=_MOUNTS)
    )
    wait_until(socket.exists, f"the control socket of {process.name}")
    return _Charon(namespace, process, socket)


@contextlib.contextmanager
def tunnel(
    client: Host,
    server: Host,
    *,
    exchange: Exchange = Exchange.IKEV2,
    version: int = 4,
    manner: Manner = _PLAIN,
) -> Iterator[Ipsec]:
    """A tunnel from client to server over IP `version`, both exchanges done."""
    number = next(_networks)
    near, far = (f"10.99.{number}{end}" for end in (_FIRST, _SECOND))
    secret = secrets.token_hex(16)
    outside = client.at(version), server.at(version)
    with contextlib.ExitStack() as stack:
        ends = []
        for own, other, inner in (
            (outside[0], outside[1], (near, far)),
            (outside[1], outside[0], (far, near)),
        ):
            own.namespace.ip(f"addr add {inner[0]}/32 dev lo")
            charon = _start(stack, own.namespace, number, manner.release)
            settings = (
                own.namespace.folder / f"swanctl-{number}-{own.namespace.name}.conf"
            )
            settings.write_text(
                _swanctl_conf(exchange, manner, (own, other), inner, secret)
            )
            charon.swanctl("--load-all", "--file", str(settings))
            ends.append(charon)
        ends[0].swanctl("--initiate", "--child", "lab")
        yield Ipsec(
            client=Place(client.namespace, near), server=Place(server.namespace, far)
        )

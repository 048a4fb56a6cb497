# SPDX-License-Identifier: GPL-2.0-or-later
"""Real IKEv1 in aggressive mode between two hosts of the lab: Libreswan's pluto.

Knows how to run two plutos and to have one call the other; does not know who is
registered. Libreswan leaves ESP to the kernel, and that of the test machine may lack
it: the key exchange is whole, and no tunnel is up behind it.
"""

import contextlib
import itertools
import secrets
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.lab.foreign import Release
from tests.lab.namespaces import Process
from tests.lab.topology import Host, Place

# Debian 12's is the last before version 5, whose IKEv1 is on its way out.
RELEASE = Release("bookworm")
_PROGRAMS = "/usr/libexec/ipsec"
_CONNECTION = "lab"
_exchanges = itertools.count(1)


class _Pluto:
    """One daemon, its files in the lab's folder."""

    def __init__(self, number: int, own: Place, other: Place, secret: str) -> None:
        self._namespace = own.namespace
        self._folder = folder = Path(
            own.namespace.folder, f"libreswan-{number}-{own.namespace.name}"
        )
        folder.mkdir()
        self._settings = folder / "ipsec.conf"
        self._settings.write_text(_ipsec_conf(own, other))
        Path(folder, "secrets").write_text(f': PSK "{secret}"\n')
        # The file that it keeps its keys in, without any.
        RELEASE.run(
            self._namespace,
            *("certutil", "-N", "-d", f"sql:{folder}", "--empty-password"),
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[Process]:
        """The daemon for the length of a with block, its connection known to it."""
        folder = str(self._folder)
        command = (
            *(f"{_PROGRAMS}/pluto", "--nofork", "--stderrlog", "--no-dnssec"),
            *("--config", str(self._settings), "--rundir", folder),
            *("--ipsecdir", folder, "--nssdir", folder, "--dumpdir", folder),
            *("--secretsfile", f"{folder}/secrets"),
        )
        with RELEASE.running(self._namespace, *command) as process:
            process.expect("listening for IKE messages")
            process.expect("loading secrets from")
            self._ask(
                *("addconn", "--config", str(self._settings)),
                *("--ctlsocket", f"{folder}/pluto.ctl", _CONNECTION),
            )
            process.expect("added IKEv1 connection")
            yield process

    def initiate(self) -> None:
        self._ask(
            *("whack", "--rundir", str(self._folder), "--name", _CONNECTION),
            *("--initiate", "--asynchronous"),
        )

    def _ask(self, program: str, *argv: str) -> None:
        RELEASE.run(self._namespace, f"{_PROGRAMS}/{program}", *argv)


def _ipsec_conf(own: Place, other: Place) -> str:
    """Names as long as they leave something to pad: a message is whole words."""
    return textwrap.dedent(f"""\
        config setup
            ikev1-policy=accept
        conn {_CONNECTION}
            hostaddrfamily={"ipv6" if ":" in own.address else "ipv4"}
            left={own.address}
            leftid=@{own.namespace.name}
            right={other.address}
            rightid=@{other.namespace.name}
            ikev2=no
            aggressive=yes
            authby=secret
            ike=aes128-sha2_256;modp2048
            leftupdown=
            auto=ignore
        """)


@contextlib.contextmanager
def aggressive(client: Host, server: Host, *, version: int = 4) -> Iterator[None]:
    """An exchange of keys from client to server over IP `version`, done."""
    number = next(_exchanges)
    outside = client.at(version), server.at(version)
    secret = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        calling = _Pluto(number, *outside, secret)
        called = stack.enter_context(_Pluto(number, *outside[::-1], secret).running())
        caller = stack.enter_context(calling.running())
        calling.initiate()
        for process in (caller, called):
            process.expect("IKE SA established")
        yield

# SPDX-License-Identifier: GPL-2.0-or-later
"""Real L2TP control connections between two hosts of the lab: xl2tpd.

Knows xl2tpd(8); does not know who is registered. No session is opened in the
tunnel: that would take PPP, which the kernel of the test machine may lack.
"""

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.lab.namespaces import Namespace, Process
from tests.lab.topology import Host


def _xl2tpd(
    stack: contextlib.ExitStack, namespace: Namespace, settings: str
) -> Process:
    folder = Path(namespace.folder, f"xl2tpd-{namespace.name}")
    folder.mkdir(exist_ok=True)
    configuration = folder / "xl2tpd.conf"
    configuration.write_text(settings)
    return stack.enter_context(
        namespace.running(
            *("xl2tpd", "-D", "-c", str(configuration), "-s", "/dev/null"),
            *("-p", str(folder / "pid"), "-C", str(folder / "control")),
        )
    )


@contextlib.contextmanager
def tunnel(client: Host, server: Host) -> Iterator[None]:
    """An L2TPv2 control connection over IPv4, established when the block is entered."""
    with contextlib.ExitStack() as stack:
        listening = _xl2tpd(
            stack,
            server.namespace,
            textwrap.dedent(f"""\
                [global]
                listen-addr = {server.ipv4}
                [lns default]
                ip range = 10.66.1.10-10.66.1.20
                local ip = 10.66.1.1
                """),
        )
        listening.expect("Listening on IP address")
        calling = _xl2tpd(
            stack,
            client.namespace,
            textwrap.dedent(f"""\
                [global]
                listen-addr = {client.ipv4}
                [lac lab]
                lns = {server.ipv4}
                autodial = yes
                """),
        )
        calling.expect("Connection established to")
        yield

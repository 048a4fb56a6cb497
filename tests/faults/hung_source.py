# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon whose source hangs, in namespaces of its own (unshare -nm).

    python -m tests.faults.hung_source CONFIG SOCKET NAMESERVER

Knows how to make a source that takes connections and says nothing, and a name server
that is as silent; the configuration decides which of them the daemon waits for. Says
`waiting` on stdout as soon as it does.
"""

import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

from tests.faults.registry_server import Tarpit
from vpngate import daemon
from vpngate.cli.inputs import read_config


def tell(*asked: Tarpit | socket.socket) -> None:
    """Say so once one of them has been asked."""
    select.select(asked, [], [])
    print("waiting", flush=True)  # noqa: T201 - who started this reads it


def main(config: str, control: str, name_server: str) -> None:
    for line in (
        "ip link set lo up",
        "ip link add lan0 type veth peer name lan1",
        f"mount --bind {name_server} /etc/resolv.conf",
    ):
        subprocess.run(line.split(), check=True)
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind(("127.0.0.1", 53))
    with Tarpit() as tarpit:
        path = Path(config)
        path.write_text(path.read_text().replace("PORT", str(tarpit.port)))
        threading.Thread(target=tell, args=(tarpit, resolver), daemon=True).start()
        daemon.run(read_config, config, control)


if __name__ == "__main__":
    main(*sys.argv[1:])

# SPDX-License-Identifier: GPL-2.0-or-later
"""No address of anybody behind a mirror port either, and none is left where it dies.

    client ─ lan0 ─ gateway ─ wan1 ─ stranger

As in `test_privacy.py`, with the daemon as it is shipped: it logs text, at debug, and
observes the packets of lan0.
"""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import marked
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.seen import everything, files
from tests.lab.topology import Lab
from tests.lab.traces import Traces

ANY = Traces(*marked.MARKED)


@pytest.fixture(scope="module")
def mirroring(lab: Lab) -> Iterator[Daemon]:
    settings = enforcing_settings(lab)
    settings.change(
        gateway={"mode": "observe", "interfaces": ["lan0"]},
        capture={"source": "mirror"},
        log={"level": "debug", "format": "text"},
    )
    with daemon(lab.gateway, settings) as running:
        marked.speak(lab)
        marked.wait_for_verdicts(running)
        yield running


def test_no_address_in_anything(mirroring: Daemon) -> None:
    sinks = list(everything(mirroring))
    found = {name: spelled for name, sink in sinks if (spelled := ANY.found(sink))}
    assert found == {}
    assert {"page /metrics", "vpngate bundle", "the log"} <= {n for n, s in sinks if s}
    assert ANY.found(mirroring.namespace.run("nft", "list", "ruleset")) == []


def test_no_image_of_its_memory_is_written(mirroring: Daemon) -> None:
    """The last: it ends the daemon as a defect would."""
    limits = Path("/proc", str(mirroring.process.pid), "limits").read_text()
    assert re.search(r"Max core file size +0 ", limits)
    mirroring.process.send(signal.SIGSEGV)
    ended = os.waitid(os.P_PID, mirroring.process.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert ended.si_code == os.CLD_KILLED, "not CLD_DUMPED"
    assert mirroring.process.wait() == -signal.SIGSEGV
    left = list(files(mirroring.settings.folder))
    assert [name for name, sink in left if ANY.found(sink)] == []

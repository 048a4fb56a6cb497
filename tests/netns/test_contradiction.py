# SPDX-License-Identifier: GPL-2.0-or-later
"""One packet that does not fit ends the verdict that running traffic has earned.

ESP straight over IP, both ends by hand: also while its packets are slowed, and so no
longer looked at in search of handshakes.
"""

import socket
import struct
import time

from tests.lab.daemon import Daemon
from tests.lab.topology import Host, Lab
from vpngate.packets import Transport

_SPIS = (0x11111111, 0x22222222)
_PACE = 0.02  # seconds between two packets


def speak(lab: Lab, numbers: range) -> None:
    """A packet of each number from either end, on one SPI each way."""

    def opened(host: Host) -> socket.socket:
        return host.namespace.call(
            lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, Transport.ESP)
        )

    with opened(lab.client) as client, opened(lab.stranger) as stranger:
        for number in numbers:
            for spi, sender, to in (
                (_SPIS[0], client, lab.stranger.ipv4),
                (_SPIS[1], stranger, lab.client.ipv4),
            ):
                packet = struct.pack(">II", spi, number) + bytes(48)
                sender.sendto(packet, (to, 0))
            time.sleep(_PACE)


def verdicts(enforcing: Daemon) -> float:
    return enforcing.metric("vpngate_throttled_flows")


def test_what_does_not_fit_ends_a_verdict(lab: Lab, enforcing: Daemon) -> None:
    speak(lab, range(1, 9))
    enforcing.wait_for_flow("ipsec", "throttle")
    enforcing.wait_until(lambda: verdicts(enforcing) == 1, "a verdict")
    before = enforcing.metric("vpngate_throttled_packets_total")
    speak(lab, range(9, 12))
    enforcing.wait_until(
        lambda: enforcing.metric("vpngate_throttled_packets_total") > before,
        "packets in the slower class",
    )
    assert verdicts(enforcing) == 1
    # A few packets of a pair are looked at a minute: so many that one of them is.
    far = 1 << 31

    def has_ended() -> bool:
        speak(lab, range(far, far + 2))
        return verdicts(enforcing) == 0

    enforcing.wait_until(has_ended, "the verdict's end")
    speak(lab, range(1, 9))  # nor is it believed again
    assert verdicts(enforcing) == 0

# SPDX-License-Identifier: GPL-2.0-or-later
"""What link layer a device has, also where its index was another one's before."""

import socket
from pathlib import Path

import pytest

from tests.lab.namespaces import Namespace
from vpngate.capture.live.devices import Devices
from vpngate.link_layers import LinkType

_TUN = ("ip", "tuntap", "add", "dev", "dev0", "mode", "tun")


@pytest.mark.parametrize("noise", [0, 2000])
def test_an_index_that_is_given_again_is_another_device(
    tmp_path: Path, noise: int
) -> None:
    """Also where more has changed meanwhile than anybody could follow."""
    place = Namespace("scratch", tmp_path)
    try:
        devices = place.call(Devices)
        place.run(*_TUN)
        first = place.call(lambda: socket.if_nametoindex("dev0"))
        assert devices.link_type(first) is LinkType.RAW
        devices.follow()
        place.ip(
            "link del dev0",
            f"link add dev0 index {first} type veth peer name far0",
            *(f"link set far0 alias change-{number}" for number in range(noise)),
        )
        devices.follow()
        assert devices.link_type(first) is LinkType.ETHERNET
        place.ip("link del dev0")
        devices.follow()
        assert devices.link_type(first) is None
        devices.close()
    finally:
        place.close()

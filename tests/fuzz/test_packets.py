# SPDX-License-Identifier: GPL-2.0-or-later
"""Nonsense for the decoders: link layers and IP headers."""

from hypothesis import given
from hypothesis import strategies as st

from vpngate.link_layers import LinkType, network_layer, network_layer_of
from vpngate.packets import decode

_FIRST = st.sampled_from([b"\x45\0", b"\x46\0", b"\x4f\0", b"\x60\0", b"\x00", b""])
_NETWORKS = st.builds(bytes.__add__, _FIRST, st.binary(max_size=200))


@given(_NETWORKS)
def test_what_is_decoded_is_consistent(network: bytes) -> None:
    packet = decode(network)
    if packet is not None:
        assert len(packet.payload) <= packet.length
        assert packet.payload in network
        assert packet.source.family is packet.destination.family
        assert (
            packet.flow
            == packet._replace(
                source=packet.destination, destination=packet.source
            ).flow
        )


@given(st.sampled_from(LinkType), st.binary(max_size=120))
def test_a_network_layer_is_the_end_of_its_frame(
    link_type: LinkType, frame: bytes
) -> None:
    network = network_layer(link_type, frame)
    if network is not None:
        assert network in frame
        decode(network)


@given(st.integers(0, 0xFFFF), st.binary(max_size=120))
def test_behind_any_ether_type(ether_type: int, content: bytes) -> None:
    network = network_layer_of(ether_type, content)
    assert network is None or content.endswith(network)

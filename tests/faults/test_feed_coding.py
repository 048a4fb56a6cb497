# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing is unpacked to look for a signature, whatever a server calls its bytes."""

import gzip

import pytest

from tests.faults.asking import ask
from tests.faults.certificates import Authority
from tests.faults.registry_server import RegistryServer
from tests.faults.scenes import GOOD, PATH
from tests.faults.signing import Signer
from tests.faults.test_feed_sources import feed, fetched
from vpngate.feed import NoSourceAnswered, Reason


@pytest.mark.parametrize("path", ["/registry.csv", "/registry.csv.gz"])
@pytest.mark.parametrize("published", [GOOD, gzip.compress(GOOD, mtime=0)])
def test_a_coding_is_not_undone(
    authority: Authority,
    signer: Signer,
    server: RegistryServer,
    path: str,
    published: bytes,
) -> None:
    """What was signed has to come as it was signed, whatever the server calls it."""
    server.publish(path, published, Content_Encoding="x-gzip")
    server.publish(path + ".minisig", signer.sign(published))
    for key in (signer, None):
        answer = fetched(ask(feed(authority, key, server.url(path))))
        assert answer.data == published


def test_what_a_server_packs_itself_is_not_unpacked_to_look_for_the_signature(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    packed = gzip.compress(GOOD, mtime=0)
    server.publish(PATH, packed, Content_Encoding="gzip")
    server.publish(PATH + ".minisig", signer.sign(GOOD))
    with pytest.raises(NoSourceAnswered, match="packs them") as caught:
        ask(feed(authority, signer, server.url(PATH)))
    assert caught.value.reason == Reason.CONTENT_ENCODING
    # Nobody's signature is asked for: it is a gzip like any other.
    unsigned = ask(feed(authority, None, server.url(PATH)))
    assert fetched(unsigned).data == packed

# SPDX-License-Identifier: GPL-2.0-or-later
"""What a feed reads before it trusts anything: signatures, keys, addresses, state."""

import contextlib
import gzip
import json

from hypothesis import example, given
from hypothesis import strategies as st

from tests.faults.signing import Signer
from vpngate.errors import FeedFault
from vpngate.expansion import GzipBounds, expand
from vpngate.feed.answer import Validators
from vpngate.feed.minisign import DetachedSignature, PublicKey, verify
from vpngate.feed.settings import HttpsAddress, parse_source
from vpngate.feed.sources.deadline import Deadline
from vpngate.feed.sources.gzip_check import check_expansion
from vpngate.feed.state.manifest import FileRecord, Manifest, _page_digest

_SIGNER = Signer()
_DATA = b"prefix,registration\n192.0.2.0/24,R-1\n"
_SIGNATURE = _SIGNER.sign(_DATA)
_MANIFEST = Manifest(
    FileRecord.of("registry-1", _DATA),
    None,
    FileRecord.of("memory-1", b""),
    Validators(),
).encode()


_KEYS = st.sampled_from(
    [
        *("registry", "signature", "memory", "validators", "format", "condition"),
        *("name", "size", "sha256", "source", "digest", "key_id", "signed_at", "etag"),
    ]
)
_SCALARS: st.SearchStrategy[object] = (
    st.none() | st.integers() | st.text(max_size=5) | st.just([])
)


@st.composite
def slips(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with up to four places overwritten, cut or repeated."""
    damaged = content
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(damaged)))
        end = draw(st.integers(begin, min(len(damaged), begin + 100)))
        damaged = damaged[:begin] + draw(st.binary(max_size=40)) + damaged[end:]
    return damaged


@given(st.binary(max_size=400) | slips(_SIGNATURE))
@example(b"")
def test_signature(content: bytes) -> None:
    """Taken apart or refused; and never accepted if it says anything else."""
    with contextlib.suppress(FeedFault):
        found = verify(_DATA, content, PublicKey.parse(_SIGNER.public), "here")
        assert found == DetachedSignature.parse(_SIGNATURE, "here")


@given(st.text() | st.from_regex(r"[A-Za-z0-9+/]{56}", fullmatch=True))
def test_public_key(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert len(PublicKey.parse(text).key) == 32


@given(
    st.text(max_size=60)
    | st.builds(
        "https://{}".format,
        st.text(alphabet="abc.:/@[]?#%\\ \t\u00fc0123", max_size=30),
    )
)
def test_source(text: str) -> None:
    """Whatever is accepted has a host, and a signature beside it."""
    try:
        source = parse_source(text)
    except ValueError as error:
        reason = str(error)
        assert reason.splitlines() == [reason]
        return
    if isinstance(source, HttpsAddress):
        assert source.url.startswith("https://")
        assert parse_source(source.signature.url) == source.signature
        assert "@" not in source.url.split("/")[2]


@given(st.binary(max_size=400) | slips(_MANIFEST))
def test_manifest(content: bytes) -> None:
    try:
        found = Manifest.decode(content)
    except ValueError:
        return
    assert found == Manifest.decode(_MANIFEST)


@given(st.recursive(_SCALARS, lambda inner: st.dictionaries(_KEYS, inner)))
def test_manifest_whose_digest_fits(fields: object) -> None:
    """Somebody who computes the digest still gets no further than a ValueError."""
    page = {"format": 1, **fields} if isinstance(fields, dict) else {"format": 1}
    page.pop("sha256", None)
    content = json.dumps({**page, "sha256": _page_digest(page)}).encode()
    with contextlib.suppress(ValueError):
        found = Manifest.decode(content)
        assert all(isinstance(record, FileRecord) for record in found.files)


@given(slips(gzip.compress(_DATA * 50, mtime=0)))
def test_gzip(packed: bytes) -> None:
    limit = 10_000
    with contextlib.suppress(FeedFault):
        check_expansion(packed, limit, "here", Deadline(60))
        if packed.startswith(b"\x1f\x8b"):
            content = b"".join(expand(packed, GzipBounds(limit)))
            assert len(content) <= limit
            assert content == gzip.decompress(packed)

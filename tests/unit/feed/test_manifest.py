# SPDX-License-Identifier: GPL-2.0-or-later
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.feed.answer import Condition, Validators
from vpngate.feed.manifest import FileRecord, Manifest

text = st.text(max_size=20)


@given(st.binary(max_size=20), st.booleans(), text, text, st.integers(0, 2**40))
def test_round_trip(
    content: bytes,
    signed: bool,  # noqa: FBT001
    source: str,
    etag: str,
    signed_at: int,
) -> None:
    manifest = Manifest(
        FileRecord.of("registry-1", content),
        FileRecord.of("registry-1.minisig", content) if signed else None,
        FileRecord.of("memory-1", b""),
        Validators(source, "0" * 64, "A1", signed_at, Condition(etag, "today")),
    )
    assert Manifest.decode(manifest.encode()) == manifest
    assert len(manifest.files) == 2 + signed


@given(st.integers(0, 2**32), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position: int, bit: int) -> None:
    manifest = Manifest(
        FileRecord.of("registry-1", b"a"),
        None,
        FileRecord.of("memory-1", b"b"),
        Validators("source", "digest"),
    )
    content = bytearray(manifest.encode())
    content[position % len(content)] ^= 1 << bit
    try:
        found = Manifest.decode(bytes(content))
    except ValueError:
        return
    assert found == manifest  # white space between the fields


def test_fits() -> None:
    record = FileRecord.of("name", b"abc")
    assert record.fits(b"abc")
    assert not record.fits(b"abd")
    assert not record.fits(b"abcd")
    assert not record.fits(None)


@pytest.mark.parametrize("field", ["format", "registry", "memory", "validators"])
def test_missing_field(field: str) -> None:
    manifest = Manifest(
        FileRecord.of("registry-1", b"a"), None, FileRecord.of("m", b""), Validators()
    )
    fields = json.loads(manifest.encode())
    del fields[field]
    with pytest.raises(ValueError, match="digest does not fit"):
        Manifest.decode(json.dumps(fields).encode())

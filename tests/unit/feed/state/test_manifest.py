# SPDX-License-Identifier: GPL-2.0-or-later
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpngate.feed.answer import Condition, Validators
from vpngate.feed.state.manifest import FileRecord, Manifest, _page_digest

text = st.text(max_size=20)
line = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.binary(max_size=20), st.booleans(), text, line, st.integers(0, 2**40))
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


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("registry", "name", "../../etc/passwd"),
        ("registry", "name", "memory-1"),
        ("registry", "name", ["registry-1"]),
        ("registry", "size", "1"),
        ("registry", "size", -1),
        ("registry", "size", True),
        ("registry", "size", 10**30),
        ("registry", "size", 1.5),
        ("registry", "sha256", "x" * 64),
        ("memory", "sha256", None),
        ("memory", "name", "last-good.json"),
        ("validators", "source", 7),
        ("validators", "digest", {}),
        ("validators", "key_id", "\x1b[2J"),
        ("validators", "signed_at", 1e300),
        ("validators", "signed_at", "1"),
        ("validators", "condition", {"etag": '"1"\r\nX: y', "last_modified": ""}),
        ("validators", "condition", {"etag": "x" * 10**5, "last_modified": ""}),
        ("validators", "condition", {"etag": 1, "last_modified": ""}),
        ("validators", "condition", []),
    ],
)
def test_nonsense_whose_digest_fits(section: str, field: str, value: object) -> None:
    """It is read like what comes from a server: whoever wrote it may have erred."""
    sound = Manifest(
        FileRecord.of("registry-1", b"a"),
        None,
        FileRecord.of("memory-1", b"b"),
        Validators("source", "digest"),
    )
    page = json.loads(sound.encode())
    page.pop("sha256")
    page[section][field] = value
    content = json.dumps({**page, "sha256": _page_digest(page)}).encode()
    with pytest.raises(ValueError):  # noqa: PT011 - any words
        Manifest.decode(content)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Secret keys with a password and without, and what is none."""

from hashlib import blake2b
from struct import pack

import pytest

from tests.faults.signing import Signer
from tests.unit.publishing.secret_keys import SALT, key_file
from vpngate.errors import UnreadableInput
from vpngate.feed.minisign import PublicKey, verify
from vpngate.publishing.secret_key import read_secret_key

SIGNER = Signer()
PASSWORD = "a password, für alle"
DATA = b"prefix,registration\n"


def never() -> str:
    raise AssertionError("nobody needs a password")


@pytest.mark.parametrize("password", [None, "", PASSWORD])
def test_what_it_signs_verifies(password: str | None) -> None:
    ask = never if password is None else lambda: password
    key = read_secret_key(key_file(SIGNER, password), "key", ask)
    assert key.public == PublicKey.parse(SIGNER.public)
    found = verify(DATA, key.sign(DATA, "serial 1\tä"), key.public, "here")
    assert (found.prehashed, found.trusted_comment) == (True, "serial 1\tä")
    assert SIGNER.key.private_bytes_raw().hex() not in repr(key)


def test_a_checksum_may_be_there_without_a_password() -> None:
    raw = SIGNER.key.public_key().public_bytes_raw()
    body = SIGNER.key_id + SIGNER.key.private_bytes_raw() + raw
    right = blake2b(b"Ed" + body, digest_size=32).digest()
    text = key_file(SIGNER, checksum=right)
    assert read_secret_key(text, "key", never).public.key == raw
    wrong = key_file(SIGNER, checksum=right[::-1])
    with pytest.raises(UnreadableInput, match=r"^key: is damaged$"):
        read_secret_key(wrong, "key", never)


def test_another_password() -> None:
    with pytest.raises(UnreadableInput, match=r"^key: has another password$"):
        read_secret_key(key_file(SIGNER, PASSWORD), "key", lambda: PASSWORD + " ")


def test_a_public_half_of_another_key() -> None:
    other = Signer()
    raw = b"Ed\0\0B2" + bytes(48) + SIGNER.key_id + SIGNER.key.private_bytes_raw()
    raw += other.key.public_key().public_bytes_raw() + bytes(32)
    with pytest.raises(UnreadableInput, match="is damaged"):
        read_secret_key(key_file(SIGNER, raw=raw), "key", never)


def head(derivation: bytes = b"Sc", operations: int = 32768, memory: int = 0) -> bytes:
    return b"Ed" + derivation + b"B2" + SALT + pack("<QQ", operations, memory)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not the two lines"),
        ("untrusted comment: one\n", "not the two lines"),
        (key_file(SIGNER).replace("untrusted", "trusted"), "not the two lines"),
        (key_file(SIGNER) + "one more\n", "not the two lines"),
        (SIGNER.public, "not the two lines"),
        ("untrusted comment: public\n" + SIGNER.public, "42 bytes instead of 158"),
        ("untrusted comment: one\n\N{SNOWMAN}", "not base64"),
        (key_file(SIGNER, head=b"ED\0\0B2" + bytes(48)), "not for Ed25519"),
        (key_file(SIGNER, head=b"Ed\0\0B3" + bytes(48)), "not for Ed25519"),
        (key_file(SIGNER, head=head(b"Ar")), "another algorithm than scrypt"),
        (key_file(SIGNER, head=head(b"Sc", 2**63, 2**62)), "takes too much"),
        (key_file(SIGNER, head=head(b"Sc", 2**63, 0)), "takes too much"),
    ],
    ids=range(12),
)
def test_what_is_no_key(text: str, why: str) -> None:
    with pytest.raises(UnreadableInput, match=why) as caught:
        read_secret_key(text, "key", lambda: "")
    assert str(caught.value).startswith("key: is not a secret key of minisign: ")
    assert len(caught.value.lines) == 1

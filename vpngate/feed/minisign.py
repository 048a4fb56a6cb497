# SPDX-License-Identifier: GPL-2.0-or-later
"""Detached signatures as the program minisign(1) makes them.

Knows the two text formats (public key, signature), both algorithms (`Ed` signs the
file, `ED` its BLAKE2b-512 digest) and the second signature that covers the trusted
comment; does not know files, networks, or what is signed. Raises FeedFault.

Format: https://jedisct1.github.io/minisign/#signature-format
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vpngate.feed.faults import Reason, fault

# Of the format: algorithm, key id, and what Ed25519 (RFC 8032, 5.1) prescribes.
LEGACY = b"Ed"
PREHASHED = b"ED"
KEY_ID_BYTES = 8
KEY_BYTES = 32
SIGNATURE_BYTES = 64
UNTRUSTED = "untrusted comment: "
TRUSTED = "trusted comment: "
_SIGNATURE_LINES = 4
_PUBLIC_KEY_LINES = (1, 2)

# Ours: minisign itself reads comments of up to 8 KiB.
MAX_SIGNATURE_BYTES = 16 * 1024

_TIMESTAMP = re.compile(r"(?:^|\t)timestamp:(\d{1,12})(?:\t|$)", re.ASCII)


def key_id_text(key_id: bytes) -> str:
    """The id as minisign prints it: a little-endian number, no leading zeros."""
    return f"{int.from_bytes(key_id, 'little'):X}"


def decode_base64(text: str, size: int) -> bytes:
    """Base64 of exactly `size` bytes; ValueError otherwise."""
    try:
        decoded = b64decode(text.strip().encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64") from error
    if len(decoded) != size:
        raise ValueError(f"{len(decoded)} bytes instead of {size}")
    return decoded


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Whose signatures count: an Ed25519 key and the id that names it."""

    key_id: str
    key: bytes

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """A key as `minisign -G` prints it, or the whole of its `.pub` file.

        Raises ValueError with what is wrong.
        """
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if len(lines) not in _PUBLIC_KEY_LINES:
            raise ValueError("a minisign public key is one line that starts with RW")
        try:
            raw = decode_base64(lines[-1], len(LEGACY) + KEY_ID_BYTES + KEY_BYTES)
        except ValueError as error:
            raise ValueError(f"not a minisign public key: {error}") from error
        if not raw.startswith(LEGACY):
            raise ValueError("not a minisign public key: not for Ed25519")
        raw = raw.removeprefix(LEGACY)
        return cls(key_id_text(raw[:KEY_ID_BYTES]), raw[KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class DetachedSignature:
    """A signature file, taken apart but not verified.

    timestamp   the signer's clock in seconds since 1970, from the trusted comment
                where minisign put it; None if the signer wrote another comment
    """

    prehashed: bool
    key_id: str
    signature: bytes
    trusted_comment: str
    comment_signature: bytes

    @property
    def timestamp(self) -> int | None:
        """Seconds since 1970 when it was signed, if the trusted comment tells."""
        match = _TIMESTAMP.search(self.trusted_comment)
        return int(match[1]) if match else None

    @classmethod
    def parse(cls, content: bytes, where: str) -> "DetachedSignature":
        """Takes a `.minisig` file apart; FeedFault if it is none."""
        try:
            lines = content.decode("utf-8").rstrip("\n").split("\n")
        except UnicodeDecodeError:
            _malformed(where, "not text")
        lines = [line.removesuffix("\r") for line in lines]
        if len(lines) != _SIGNATURE_LINES:
            _malformed(where, f"{len(lines)} lines instead of {_SIGNATURE_LINES}")
        if not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(TRUSTED):
            _malformed(where, "no comment lines")
        try:
            raw = decode_base64(lines[1], len(LEGACY) + KEY_ID_BYTES + SIGNATURE_BYTES)
            comment_signature = decode_base64(lines[3], SIGNATURE_BYTES)
        except ValueError as error:
            _malformed(where, str(error))
        algorithm, rest = raw[: len(LEGACY)], raw[len(LEGACY) :]
        if algorithm not in {LEGACY, PREHASHED}:
            _malformed(where, f"algorithm {algorithm!r} is neither Ed nor ED")
        return cls(
            prehashed=algorithm == PREHASHED,
            key_id=key_id_text(rest[:KEY_ID_BYTES]),
            signature=rest[KEY_ID_BYTES:],
            trusted_comment=lines[2].removeprefix(TRUSTED),
            comment_signature=comment_signature,
        )


def _malformed(where: str, what: str) -> NoReturn:
    raise fault(
        Reason.SIGNATURE_MALFORMED,
        where,
        f"not a minisign signature ({what})",
        "publish the file that minisign -S made, unchanged",
    )


def verify(
    data: bytes, content: bytes, key: PublicKey, where: str
) -> DetachedSignature:
    """Checks `content`, a signature file, against `data`; returns it taken apart.

    where   names the signature in an error

    FeedFault unless the key id is the configured one, the signature covers the data
    and the second signature covers the first and the trusted comment.
    """
    return verify_by_any(data, content, (key,), where)


def verify_by_any(
    data: bytes, content: bytes, keys: Collection[PublicKey], where: str
) -> DetachedSignature:
    """The same, where each of `keys` may have signed: the id says which one has to.

    While a publisher moves to a new key, two of them count.
    """
    signature = DetachedSignature.parse(content, where)
    key = next((key for key in keys if key.key_id == signature.key_id), None)
    if key is None:
        known = " or ".join(key.key_id for key in keys)
        raise fault(
            Reason.SIGNATURE_KEY,
            where,
            f"made with key {signature.key_id}, not with {known}",
            "sign with a key whose public half is in public_key",
        )
    public = Ed25519PublicKey.from_public_bytes(key.key)
    message = blake2b(data).digest() if signature.prehashed else data
    comment = signature.signature + signature.trusted_comment.encode()
    try:
        public.verify(signature.signature, message)
    except InvalidSignature:
        what = "the signature does not fit the registry"
        remedy = "publish both files of one signing"
        raise fault(Reason.SIGNATURE_WRONG, where, what, remedy) from None
    try:
        public.verify(signature.comment_signature, comment)
    except InvalidSignature:
        what = "the trusted comment was changed after signing"
        remedy = "publish the signature as it was made"
        raise fault(Reason.SIGNATURE_WRONG, where, what, remedy) from None
    return signature

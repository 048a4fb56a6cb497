# SPDX-License-Identifier: GPL-2.0-or-later
"""Secret keys of minisign(1), and the signatures that they make.

Knows the format of a key file, with a password and without, and what is signed; does
not know files, nor how a password is asked for. `feed/minisign.py` knows the
signature from the reader's side.

Format: https://jedisct1.github.io/minisign/#secret-key-format
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b, scrypt
from hmac import compare_digest
from struct import Struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vpngate.errors import Problem, UnreadableInput
from vpngate.feed.minisign import (
    KEY_BYTES,
    KEY_ID_BYTES,
    LEGACY,
    PREHASHED,
    TRUSTED,
    UNTRUSTED,
    PublicKey,
    decode_base64,
    key_id_text,
)

# Of the format: signature, key derivation and checksum algorithm, then salt and costs
# of the derivation; behind them, encrypted or not, key id, seed, public key, checksum.
_HEAD = Struct("<2s2s2s32sQQ")
_BODY = Struct(f"<{KEY_ID_BYTES}s{KEY_BYTES}s{KEY_BYTES}s32s")
_SCRYPT, _NO_PASSWORD, _BLAKE2B = b"Sc", b"\0\0", b"B2"
_LINES = 2
# Of libsodium's scrypt, as it takes N and p from its two costs (RFC 7914, section 2).
_BLOCK = 8  # r
_LEAST_OPERATIONS = 32768
_MOST_BLOCKS = 0x3FFFFFFF  # r times p

MAX_KEY_BYTES = 4096  # of a key file; minisign's comments have 1024 at most
_MOST_MEMORY = (
    2**31 - 1
)  # bytes that OpenSSL is asked for; a key of minisign takes 2^30


@dataclass(frozen=True, slots=True)
class SecretKey:
    """Who signs: an Ed25519 key and the id that names it."""

    key_id: bytes
    key: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """The half that gateways have."""
        raw = self.key.public_key().public_bytes_raw()
        return PublicKey(key_id_text(self.key_id), raw)

    def sign(self, data: bytes, trusted_comment: str) -> bytes:
        """The signature file for `data`, prehashed, as `minisign -S` writes it.

        The comment is one printable line; it is signed, too.
        """
        signature = self.key.sign(blake2b(data).digest())
        lines = (
            f"{UNTRUSTED}signature from vpngate publish",
            b64encode(PREHASHED + self.key_id + signature).decode(),
            f"{TRUSTED}{trusted_comment}",
            b64encode(self.key.sign(signature + trusted_comment.encode())).decode(),
        )
        return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True, slots=True)
class _Derivation:
    """How a password becomes what encrypts the key (scrypt: RFC 7914)."""

    salt: bytes
    operations: int
    memory: int

    def decrypt(self, body: bytes, password: str) -> bytes:
        """The body, right or not; ValueError if it takes more than there is."""
        rounds, parallel = self._costs()
        try:
            stream = scrypt(
                password.encode(errors="surrogateescape"),
                salt=self.salt,
                n=rounds,
                r=_BLOCK,
                p=parallel,
                maxmem=_MOST_MEMORY,
                dklen=len(body),
            )
        except (ValueError, MemoryError, OverflowError) as error:
            raise ValueError(f"its password takes too much: {error}") from None
        return bytes(one ^ other for one, other in zip(body, stream, strict=True))

    def _costs(self) -> tuple[int, int]:
        """N and p, as libsodium reckons them from its two limits."""
        operations = max(self.operations, _LEAST_OPERATIONS)
        if operations < self.memory // 32:
            return _power(operations // (4 * _BLOCK)), 1
        rounds = _power(self.memory // (128 * _BLOCK))
        blocks = min(operations // 4 // rounds, _MOST_BLOCKS)
        return rounds, blocks // _BLOCK


def read_secret_key(text: str, where: str, ask: Callable[[], str]) -> SecretKey:
    """The key in the text of a file that `minisign -G` made.

    `ask` is called for the password if there is one. UnreadableInput, naming `where`,
    if the text is no such key or the password is another one.
    """
    try:
        derivation, body = _parts(text)
        if derivation is not None:
            body = derivation.decrypt(body, ask())
    except ValueError as error:
        what = f"is not a secret key of minisign: {error}"
        remedy = "name the file that minisign -G -s made"
        raise UnreadableInput(Problem(where, what, remedy)) from None
    key = _key(body, bare=derivation is None)
    if key is None:
        what = "is damaged" if derivation is None else "has another password"
        raise UnreadableInput(Problem(where, what))
    return key


def _parts(text: str) -> tuple[_Derivation | None, bytes]:
    """How the body is encrypted, if it is, and the body; ValueError if it is none."""
    lines = text.strip().splitlines()
    if len(lines) != _LINES or not lines[0].startswith(UNTRUSTED):
        raise ValueError("it has not the two lines of one")
    raw = decode_base64(lines[1], _HEAD.size + _BODY.size)
    signing, derivation, checksum, *costs = _HEAD.unpack_from(raw)
    if signing != LEGACY or checksum != _BLAKE2B:
        raise ValueError("it is not for Ed25519 with BLAKE2b")
    if derivation not in {_SCRYPT, _NO_PASSWORD}:
        raise ValueError("its password is for another algorithm than scrypt")
    locked = derivation == _SCRYPT
    return _Derivation(*costs) if locked else None, raw[_HEAD.size :]


def _key(body: bytes, *, bare: bool) -> SecretKey | None:
    """The key in a body that is not encrypted any more; None if it makes no sense."""
    key_id, seed, public, checksum = _BODY.unpack(body)
    right = blake2b(LEGACY + body[: -len(checksum)], digest_size=len(checksum)).digest()
    # minisign 0.11 leaves the checksum out where there is no password to tell.
    whole = compare_digest(checksum, right) or (bare and not any(checksum))
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if not whole or key.public_key().public_bytes_raw() != public:
        return None
    return SecretKey(key_id, key)


def _power(most: int) -> int:
    """The first power of two, from two on, that is more than half of `most`."""
    return 1 << max(1, (most // 2).bit_length())

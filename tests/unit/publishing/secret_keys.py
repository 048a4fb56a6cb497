# SPDX-License-Identifier: GPL-2.0-or-later
"""Secret keys as minisign writes them, made here with costs that tests can pay.

Knows the format from the maker's side; that it is the right one is shown where the
real minisign is asked (tests/faults/test_publish_minisign.py).
"""

from base64 import b64encode
from hashlib import blake2b, scrypt
from struct import pack

from tests.faults.signing import Signer

SALT = bytes(range(32))
# What libsodium makes N = 1024, r = 8, p = 1 of.
OPERATIONS, MEMORY = 32768, 2**24


def key_file(signer: Signer, password: str | None = None, **changed: bytes) -> str:
    """The file of a signer's key; `changed` parts in place of what belongs there."""
    public = signer.key.public_key().public_bytes_raw()
    body = signer.key_id + signer.key.private_bytes_raw() + public
    checksum = blake2b(b"Ed" + body, digest_size=32).digest()
    if password is None:
        body += changed.get("checksum", bytes(32))
        head = b"Ed\0\0B2" + bytes(48)
    else:
        body += changed.get("checksum", checksum)
        stream = scrypt(password.encode(), salt=SALT, n=1024, r=8, p=1, dklen=len(body))
        body = bytes(one ^ other for one, other in zip(body, stream, strict=True))
        head = b"EdScB2" + SALT + pack("<QQ", OPERATIONS, MEMORY)
    raw = changed.get("raw", changed.get("head", head) + body)
    comment = "untrusted comment: minisign encrypted secret key"
    return f"{comment}\n{b64encode(raw).decode()}\n"

# SPDX-License-Identifier: GPL-2.0-or-later
"""Signs as minisign does, in a few lines of its own, so that tests need no program.

Knows the format from the signer's side; that it is the right one is shown where the
real minisign is asked (tests/faults/test_feed_minisign.py).
"""

from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import blake2b
from os import urandom

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass
class Signer:
    key_id: bytes = field(default_factory=lambda: urandom(8))
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> str:
        raw = self.key.public_key().public_bytes_raw()
        return b64encode(b"Ed" + self.key_id + raw).decode()

    def sign(
        self,
        data: bytes,
        comment: str = "timestamp:1700000000\tfile:registry.csv\thashed",
        *,
        prehashed: bool = True,
    ) -> bytes:
        signature = self.key.sign(blake2b(data).digest() if prehashed else data)
        block = (b"ED" if prehashed else b"Ed") + self.key_id + signature
        second = self.key.sign(signature + comment.encode())
        lines = [
            "untrusted comment: signature from minisign secret key",
            b64encode(block).decode(),
            f"trusted comment: {comment}",
            b64encode(second).decode(),
        ]
        return ("\n".join(lines) + "\n").encode()

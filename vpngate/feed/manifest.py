# SPDX-License-Identifier: GPL-2.0-or-later
"""The page that says which files of the state belong together, as JSON.

Knows its fields, and that it must not be believed unless its own digest fits; does
not know where the files lie or how they are written.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256

from vpngate.feed.answer import Condition, Validators

_FORMAT = 1
_DIGEST = "sha256"  # the field, and the algorithm


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file by name, size in bytes and SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "FileRecord":
        """The record of a content under this name."""
        return cls(name, len(content), digest(content))

    def fits(self, content: bytes | None) -> bool:
        """Whether this is, byte for byte, the content that was recorded."""
        return (
            content is not None
            and len(content) == self.size
            and digest(content) == self.sha256
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """What belongs together."""

    registry: FileRecord
    signature: FileRecord | None
    memory: FileRecord
    validators: Validators

    @property
    def files(self) -> list[FileRecord]:
        """Every file it names."""
        return [f for f in (self.registry, self.signature, self.memory) if f]

    def encode(self) -> bytes:
        """JSON that ends with the digest of all the rest."""
        fields = {"format": _FORMAT, **asdict(self)}
        page = {**fields, _DIGEST: _page_digest(fields)}
        return (json.dumps(page, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, content: bytes) -> "Manifest":
        """The inverse of `encode`; ValueError for anything else."""
        try:
            fields = json.loads(content)
            if fields.pop(_DIGEST) != _page_digest(fields):
                raise ValueError("its digest does not fit")
            if fields["format"] != _FORMAT:
                raise ValueError(f"its format is {fields['format']}, not {_FORMAT}")
            signature = fields["signature"]
            validators = fields["validators"]
            condition = Condition(**validators.pop("condition"))
            return cls(
                registry=FileRecord(**fields["registry"]),
                signature=FileRecord(**signature) if signature else None,
                memory=FileRecord(**fields["memory"]),
                validators=Validators(**validators, condition=condition),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"it is not what was written ({error!r})") from error


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return sha256(content).hexdigest()


def _page_digest(fields: Mapping[str, object]) -> str:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return digest(canonical.encode())

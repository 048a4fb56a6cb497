# SPDX-License-Identifier: GPL-2.0-or-later
"""The page that says which files of the state belong together, as JSON.

Knows its fields, and that it must not be believed unless its own digest fits; does
not know where the files lie or how they are written.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from vpngate.feed.answer import Condition, Validators

_FORMAT = 1
_NAME = re.compile(r"(registry|memory)-[0-9a-z.-]{1,80}", re.ASCII)
_DIGITS = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_FILE_BYTES = 10**9
_MAX_TEXT = 4096  # characters of a source or a validator
_LAST_MOMENT = 10**12  # seconds since 1970: what a signature's twelve digits hold
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
            return cls(
                registry=_record(fields["registry"], "registry-"),
                signature=_record(signature, "registry-") if signature else None,
                memory=_record(fields["memory"], "memory-"),
                validators=_validators(fields["validators"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"it is not what was written ({error!r})") from error


def _record(fields: dict[str, Any], prefix: str) -> FileRecord:
    """Returns a record; ValueError for a name or a size that we would not write."""
    record = FileRecord(**fields)
    if not (_is_text(record.name, 100) and _NAME.fullmatch(record.name)):
        raise ValueError("it names a file that is none of ours")
    if not record.name.startswith(prefix):
        raise ValueError(f"it names {record.name} where {prefix} belongs")
    if not _is_number(record.size, _MAX_FILE_BYTES):
        raise ValueError("it states a size that no file of ours has")
    if not (_is_text(record.sha256, 64) and _DIGITS.fullmatch(record.sha256)):
        raise ValueError("it states a digest that is none")
    return record


def _validators(fields: dict[str, Any]) -> Validators:
    """Returns what is sent to servers again; ValueError if no header can hold it."""
    condition = Condition(**fields.pop("condition"))
    found = Validators(**fields, condition=condition)
    texts = (found.digest, found.key_id)
    source = isinstance(found.source, str)  # of the configuration: it is compared
    sound = all(_is_text(text, _MAX_TEXT) for text in texts) and all(
        _is_field(text) for text in (condition.etag, condition.last_modified)
    )
    if not source or not sound:
        raise ValueError("its validators are no texts of one line")
    if not _is_number(found.signed_at, _LAST_MOMENT):
        raise ValueError("it states a moment that is none")
    return found


def _is_text(value: object, longest: int) -> bool:
    if not isinstance(value, str) or len(value) > longest:
        return False
    return value.isascii() and value.isprintable()


def _is_field(value: object) -> bool:
    """Whether a header line can hold it: obs-text, too (RFC 9110, section 5.5)."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        return False
    return all(" " <= c <= "~" or "\x80" <= c <= "\xff" for c in value)


def _is_number(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return sha256(content).hexdigest()


def _page_digest(fields: Mapping[str, object]) -> str:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return digest(canonical.encode())

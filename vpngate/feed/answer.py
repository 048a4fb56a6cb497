# SPDX-License-Identifier: GPL-2.0-or-later
"""What a source says: a registry, or that the one that stands still stands.

Knows what is remembered of a registry to ask for it again; does not know how it is
asked for.
"""

from dataclasses import dataclass, field, replace

from vpngate.errors import VpngateError


@dataclass(frozen=True, slots=True)
class Condition:
    """A web server's word for a version (RFC 9110, 8.8); empty where unknown."""

    etag: str = ""
    last_modified: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that ask for it only if it has changed."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True, slots=True)
class Validators:
    """What is known of the registry that stands, to ask whether it still does.

    source      where it came from, as written in the configuration
    digest      SHA-256 of the bytes as published, hexadecimal
    key_id      of the key that signed it, empty if its signature was not checked
    signed_at   seconds since 1970, 0 where no signature says
    condition   that source's word for this version
    """

    source: str = ""
    digest: str = ""
    key_id: str = ""
    signed_at: int = 0
    condition: Condition = field(default_factory=Condition)

    def without_content(self) -> "Validators":
        """To ask for the whole registry again; an older signature is still one."""
        return replace(self, digest="", condition=Condition())


@dataclass(frozen=True, slots=True)
class Fetched:
    """A registry as published (a gzip still packed), verified, not yet parsed.

    source      fit for a message: without what may be secret in an address
    signature   the signature file; None if no key is configured
    faults      why the sources before this one did not deliver
    """

    data: bytes
    source: str
    signature: bytes | None
    validators: Validators
    faults: tuple[VpngateError, ...] = ()


@dataclass(frozen=True, slots=True)
class NotModified:
    """The first source that answered has what stands already.

    `validators` take the place of those that were passed in: another mirror may have
    answered, with its own word for the same version.
    """

    source: str
    validators: Validators
    faults: tuple[VpngateError, ...] = ()


Answer = Fetched | NotModified

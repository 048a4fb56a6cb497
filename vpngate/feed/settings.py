# SPDX-License-Identifier: GPL-2.0-or-later
"""What the feed is told: sources, whose signature counts, and its limits.

Knows how a source is written (a path, or an https address) and what would be unsafe
to accept; does not know the configuration file it was written in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from vpngate.feed.minisign import PublicKey

_SIGNATURE_SUFFIX = ".minisig"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A registry on this machine's own disk."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        """What tells it from every other source."""
        return str(self.path)

    @property
    def signature(self) -> Path:
        """Where its detached signature lies."""
        return self.path.with_name(self.path.name + _SIGNATURE_SUFFIX)


@dataclass(frozen=True, slots=True)
class HttpsAddress:
    """A registry on a web server. Its text, used in messages, leaves out a query."""

    url: str

    def __str__(self) -> str:
        return urlunsplit(urlsplit(self.url)._replace(query=""))

    @property
    def identity(self) -> str:
        """What tells it from every other source."""
        return self.url

    @property
    def signature(self) -> "HttpsAddress":
        """Where its detached signature lies: the suffix goes behind the path."""
        parts = urlsplit(self.url)
        path = parts.path + _SIGNATURE_SUFFIX
        return HttpsAddress(urlunsplit(parts._replace(path=path)))


RegistrySource = LocalFile | HttpsAddress


def for_messages(identity: str) -> str:
    """A source's `identity` as its text is: without a query, which may be secret."""
    return identity.partition("?")[0] if "://" in identity else identity


def parse_source(text: str) -> RegistrySource:
    """A source as written in the configuration; ValueError if it may not be used."""
    if "://" not in text:
        if not text.strip() or "\0" in text:
            raise ValueError(f"{text!r} is neither a path nor an https address")
        return LocalFile(Path(text))
    return parse_https(text)


def parse_https(text: str) -> HttpsAddress:
    """An https address; ValueError if it is none or holds what it must not."""
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address: {error}") from error
    if parts.scheme != "https":
        raise ValueError(f"{text!r} is not https, the only scheme that is fetched")
    if not usable:
        raise ValueError(f"{text!r} names no host or no port")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"the address of {parts.hostname} holds a user name or password, "
            "which would end up in logs"
        )
    if parts.fragment or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} has a fragment, a space or a letter beyond ASCII")
    return HttpsAddress(text if parts.path else urlunsplit(parts._replace(path="/")))


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How much and how long, at most.

    published    bytes of a registry as its source delivers it
    expanded     bytes of it once a gzip is unpacked
    connect      seconds to connect and shake hands, an address
    idle         seconds without a single byte
    deadline     seconds for one source with all its attempts
    attempts     how often a source is asked when what failed may be over soon
    pause        seconds before the second attempt; doubles with each, and varies
    file_pause   the same for a local file
    """

    published: int = 128 * 10**6
    expanded: int = 512 * 10**6
    connect: float = 10.0
    idle: float = 20.0
    deadline: float = 120.0
    attempts: int = 3
    pause: float = 1.0
    file_pause: float = 0.1


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """Where a registry comes from. ValueError for what would be unsafe.

    sources         asked in order; the first that answers counts alone
    public_keys     minisign keys, any of which may have signed; where there are some,
                    nothing unsigned is accepted from anywhere
    allow_unsigned  the operator's word that https without a signature is good enough
    ca_file         certificates to trust instead of the system's
    """

    sources: tuple[RegistrySource, ...]
    public_keys: tuple[PublicKey, ...] = ()
    allow_unsigned: bool = False
    ca_file: Path | None = None
    limits: FetchLimits = FetchLimits()

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("no source; name at least one file or https address")
        remote = [s for s in self.sources if isinstance(s, HttpsAddress)]
        if remote and not self.public_keys and not self.allow_unsigned:
            raise ValueError(f"{remote[0]} needs public_key, or allow_unsigned = true")
        ids = [key.key_id for key in self.public_keys]
        if len(set(ids)) < len(ids):
            raise ValueError("two public keys bear the same id")
        if self.limits.attempts < 1:
            raise ValueError("attempts must be at least 1")

    @classmethod
    def parse(
        cls,
        sources: tuple[str, ...] | list[str],
        public_key: str | Sequence[str] = (),
        *,
        allow_unsigned: bool = False,
        ca_file: Path | None = None,
        limits: FetchLimits | None = None,
    ) -> "FeedSettings":
        """The settings from the texts of a configuration; ValueError if unusable.

        `public_key` is one key or several.
        """
        keys = [public_key] if isinstance(public_key, str) else public_key
        return cls(
            sources=tuple(map(parse_source, sources)),
            public_keys=tuple(PublicKey.parse(key) for key in keys if key.strip()),
            allow_unsigned=allow_unsigned,
            ca_file=ca_file,
            limits=limits or FetchLimits(),
        )

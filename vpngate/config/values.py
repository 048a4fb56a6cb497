# SPDX-License-Identifier: GPL-2.0-or-later
"""How single values of the configuration are written, as annotated types.

Knows the text forms (`5mbit`, `127.0.0.1:9753`, a prefix, a key) and what each
is read into; does not know which key holds which. Every reader raises ValueError
with a text that says what would have been right.
"""

import base64
import binascii
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from netaddr import IPNetwork
from pydantic import AfterValidator, BeforeValidator, StrictStr, ValidationInfo

from vpngate import units

IFNAMSIZ = 16  # linux/if.h, its closing NUL included
_MINISIGN_KEY_SIZE = 2 + 8 + 32  # algorithm, key id, Ed25519 key
_IPV6 = 6
_INTERFACE = re.compile(r"[^\s/:]+")
_GLOB = re.compile(r"[*?\[]")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


class Listen(NamedTuple):
    """Where a server listens: an address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def duration(*, least: float, most: float) -> BeforeValidator:
    """Reads `72h` into seconds between `least` and `most`."""
    return _quantity(units.parse_duration, units.format_duration, least, most)


def rate(*, least: int, most: int) -> BeforeValidator:
    """Reads `5mbit` into bits per second between `least` and `most`."""
    return _quantity(units.parse_rate, units.format_rate, least, most)


def _quantity(
    parse: Callable[[str], Any], spell: Callable[[Any], str], least: float, most: float
) -> BeforeValidator:
    def read(value: object) -> Any:
        quantity = parse(value if isinstance(value, str) else f"{value}")
        if quantity < least:
            raise ValueError(
                f"{value!r} is less than {spell(least)}, the least allowed"
            )
        if quantity > most:
            raise ValueError(f"{value!r} is more than {spell(most)}, the most allowed")
        return quantity

    return BeforeValidator(read)


def _share(value: object) -> float:
    return units.parse_share(value if isinstance(value, str) else f"{value}")


def _positive_share(value: object) -> float:
    share = _share(value)
    if not share:
        raise ValueError(f"{value!r} would always be passed")
    return share


def _prefix(value: object) -> Any:
    # The standard library parses: netaddr would accept netmasks as well.
    try:
        network = ip_network(str(value), strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not a prefix like 203.0.113.0/24") from None
    try:
        ip_network(str(value))
    except ValueError:
        raise ValueError(f"{value!r} has host bits set: is {network} meant?") from None
    spelled = IPNetwork(str(network))
    mapped = spelled.version == _IPV6 and spelled.is_ipv4_mapped()
    return spelled.ipv4() if mapped else spelled


def _interface(name: str) -> str:
    if not _INTERFACE.fullmatch(name) or name in (".", ".."):
        raise ValueError(f"{name!r} is not an interface name or a pattern like ppp*")
    if not _GLOB.search(name) and len(name.encode()) >= IFNAMSIZ:
        raise ValueError(f"{name!r} is longer than the {IFNAMSIZ - 1} bytes of a name")
    return name


def _table(name: str) -> str:
    if not _TABLE.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a table name: a letter, then up to 31 letters, digits, _"
        )
    return name


def _path(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{text!r} is not an absolute path")
    return text


def _source(text: str) -> str:
    if text.startswith("https://"):
        if "@" in text or "#" in text or not text.isascii():
            raise ValueError(
                f"{text.partition('@')[2] or text!r} holds a user name, a fragment or"
                " a letter beyond ASCII; sources are read without any of them"
            )
        return _url(text)
    if "://" in text:
        raise ValueError(f"{text!r} is neither an absolute path nor an https address")
    return _path(text)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
        sound = sound and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if text and (not sound or re.search(r"[\s\x00-\x1f]", text)):
        raise ValueError(
            f"{text!r} is not an address like https://example.net/register"
        )
    return text


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} is not one line of text")
    return text


def _public_keys(value: object) -> tuple[str, ...]:
    """One key, or a list of those that count at the same time; "" for none."""
    if isinstance(value, str):
        return (_public_key(value),) if value else ()
    if not isinstance(value, list | tuple):
        raise ValueError(f"should be a key or a list of keys, not {value!r}")  # noqa: TRY004 - pydantic's way
    return _once(tuple(map(_public_key, value)))


def _public_key(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError(f"should be a key, not {text!r}")  # noqa: TRY004 - pydantic's way
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b"?"
    if len(key) != _MINISIGN_KEY_SIZE or key[:2] != b"Ed":
        raise ValueError(
            "is not a minisign public key: the second line of the .pub file"
            ", 56 characters that start with RW"
        )
    return text


def _listen(value: object) -> Listen:
    host, colon, port = str(value).rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    try:
        sound = ":" in bare if bare != host else ":" not in bare
        address = str(ip_address(bare))
    except ValueError:
        sound, address = False, ""
    digits = port.isascii() and port.isdigit()
    if not (colon and sound and digits and 0 < int(port) < 2**16):
        raise ValueError(
            f"{value!r} is not an address and a port like 127.0.0.1:9753 or [::1]:9753"
        )
    return Listen(address, int(port))


def _host(text: str) -> str:
    name = text.lower().removesuffix(".")
    if not _HOST.fullmatch(name):
        raise ValueError(
            f"{text!r} is not a name like gateway.example.net, without port or path"
        )
    return name


def _tunnel(name: str, info: ValidationInfo) -> str:
    known = (info.context or {}).get("known_tunnels")
    if known is not None and name not in known:
        raise ValueError(f"{name!r} is not one of {', '.join(sorted(known))}")
    return name


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [
        str(value) for place, value in enumerate(values) if value in values[:place]
    ]
    if twice:
        raise ValueError(f"{twice[0]!r} stands there twice")
    return values


OnceEach = AfterValidator(_once)
Sorted = AfterValidator(lambda values: tuple(sorted(values)))
Share = Annotated[float, BeforeValidator(_share)]
PositiveShare = Annotated[float, BeforeValidator(_positive_share)]
ShareOrOff = Annotated[
    float | None,
    BeforeValidator(lambda value: None if value == "off" else _positive_share(value)),
]
PrefixValue = Annotated[Any, BeforeValidator(_prefix)]  # a netaddr.IPNetwork
InterfaceValue = Annotated[StrictStr, AfterValidator(_interface)]
TableValue = Annotated[StrictStr, AfterValidator(_table)]
PathValue = Annotated[StrictStr, AfterValidator(_path)]
KeyFileValue = Annotated[StrictStr, AfterValidator(lambda text: text and _path(text))]
SourceValue = Annotated[StrictStr, AfterValidator(_source)]
UrlValue = Annotated[StrictStr, AfterValidator(_url)]
LineValue = Annotated[StrictStr, AfterValidator(_line)]
PublicKeysValue = Annotated[tuple[StrictStr, ...], BeforeValidator(_public_keys)]
ListenAddress = Annotated[Listen, BeforeValidator(_listen)]
OtherListenAddress = Annotated[
    Listen | None, BeforeValidator(lambda value: _listen(value) if value else None)
]
HostValue = Annotated[StrictStr, AfterValidator(_host)]
TunnelValue = Annotated[StrictStr, AfterValidator(_tunnel)]

# SPDX-License-Identifier: GPL-2.0-or-later
"""The words that the page, the self-check and the report share: plain English.

Knows what tunnels, classes and halts are called and mean, and how quantities are
spoken; does not know where any of it is shown.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from vpngate.timekeeping.moments import parse_moment

TUNNELS: Mapping[str, str] = {
    "wireguard": "WireGuard",
    "openvpn": "OpenVPN",
    "ipsec": "IPsec",
    "l2tp": "L2TP",
    "pptp": "PPTP",
}
CLASSES: Mapping[str, str] = {
    "allow": "One end of the tunnel is registered or protected. It is left alone, "
    "always.",
    "throttle": "An unregistered tunnel that has announced itself by its own standard "
    "handshake. While this gateway enforces it is moved into the slower class: "
    "slowed, never blocked.",
    "none": "Only the first half of a handshake was seen. It is left alone.",
}
# What each class is called where flows of it are counted: whether they were slowed is
# another matter, of what was acted on at that time, and on whom.
CLASS_NAMES: Mapping[str, str] = {
    "allow": "Left alone",
    "throttle": "Unregistered",
    "none": "Not confirmed",
}
# By the reasons of a halt, as metrics name them.
HALTS: Mapping[str, str] = {
    "spared_packets": "too many packets of registered or protected addresses were "
    "about to be slowed",
    "throttled_share": "too large a part of all traffic was slowed",
    "capture_loss": "too many copies of handshakes were lost",
    "disagreements": "the kernel and the registry did not agree on who is registered",
    "witness": "a packet of a registered or protected address had been slowed",
}
NOT_RECOGNISED = (
    (
        "Tunnels that do not announce themselves: whatever is disguised, scrambled or "
        "padded so as not to be known, Tor and its transports, Shadowsocks, V2Ray and "
        "the like. Nothing here looks for them."
    ),
    (
        "Web sites, names and apps: no domain name, no DNS question and no TLS "
        "handshake is read."
    ),
    (
        "What anybody does inside a tunnel, or how traffic behaves: there are no "
        "statistics over encrypted traffic, and nobody is probed."
    ),
    "Other encapsulations: plain GRE, AH, VXLAN and the like stay untouched.",
)
_BIT_UNITS = ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s"))
_BYTE_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_TWO_DAYS = 2 * 86400


def tunnel(name: str) -> str:
    """A tunnel as it calls itself."""
    return TUNNELS.get(name, name)


def rate(bits_per_second: float) -> str:
    """`5 Mbit/s`, to three digits."""
    return _scaled(bits_per_second, _BIT_UNITS, "bit/s")


def amount(octets: float) -> str:
    """`1.2 GB`, to three digits."""
    return _scaled(octets, _BYTE_UNITS, "bytes")


def _scaled(quantity: float, units: tuple[tuple[int, str], ...], smallest: str) -> str:
    rounded = float(f"{quantity:.3g}")  # first, or 999,600 would be 1e+03 of a unit
    for factor, unit in units:
        if rounded >= factor:
            scaled = rounded / factor
            if scaled < 1000:  # noqa: PLR2004
                return f"{scaled:.3g} {unit}"
            return f"{quantity / factor:,.0f} {unit}"
    return f"{quantity:.0f} {smallest}"


def span(seconds: float) -> str:
    """`72 hours`, in the largest unit that fits; hours up to two days."""
    for size, unit in _SPANS:
        number = round(seconds / size)
        if size <= seconds and (unit != "day" or seconds > _TWO_DAYS):
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "less than a second"


def number(count: float) -> str:
    """`1,234,567`."""
    return f"{count:,.0f}"


def moment(written: str) -> str:
    """`26 November 2026, 17:20 UTC`, from what `format_moment` writes."""
    when = datetime.fromtimestamp(parse_moment(written), UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"

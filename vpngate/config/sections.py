# SPDX-License-Identifier: GPL-2.0-or-later
"""The sections of vpngate.toml: every key, its default, its bounds.

Knows what each key may hold by itself; does not know how values are spelled
(`values.py`), which combinations contradict each other (`rules.py`), or what
the keys do. There is no key that drops a packet, and no rate below the floor.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from vpngate.config import values
from vpngate.config.values import Listen
from vpngate.packets import Family

DEFAULT_TABLE = "vpngate"


class Mode(StrEnum):
    """Whether verdicts are acted on."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


class Side(StrEnum):
    """Which side of the gateway the interfaces face."""

    SUBSCRIBER = "subscriber"
    UPLINK = "uplink"


class Plane(StrEnum):
    """What acts on verdicts in the kernel."""

    NFTABLES = "nftables"
    EBPF = "ebpf"


class ReversePath(StrEnum):
    """What tells that a packet came from the side that it claims."""

    STRICT = "strict"  # opposite hooks, and the route back to the source
    HOOKS = "hooks"  # opposite hooks alone


class CaptureSource(StrEnum):
    """Where the packets come from that recognition sees."""

    NFLOG = "nflog"
    MIRROR = "mirror"


class Confirm(StrEnum):
    """How much evidence is acted on."""

    BOTH_WAYS = "both-ways"
    ONE_WAY = "one-way"


class LogLevel(StrEnum):
    """The least severe message that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


class Section(BaseModel):
    """A table of the file: frozen, and nothing in it that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PrefixLengths(Section):
    """A prefix length for each family."""

    ipv4: Annotated[StrictInt, Field(ge=1, le=32)]
    ipv6: Annotated[StrictInt, Field(ge=1, le=128)]

    def of(self, family: Family) -> int:
        """The length for `family`, in bits."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6


class ShortestPrefixes(PrefixLengths):
    """The shortest prefixes that a registry may hold."""

    ipv4: Annotated[StrictInt, Field(ge=1, le=32)] = 8
    ipv6: Annotated[StrictInt, Field(ge=1, le=128)] = 19


class SubscriberPrefixes(PrefixLengths):
    """How much of an address names a subscriber."""

    ipv4: Annotated[StrictInt, Field(ge=1, le=32)] = 32
    ipv6: Annotated[StrictInt, Field(ge=1, le=128)] = 64


class GatewaySection(Section):
    """`[gateway]`: where vpngate attaches, and whether it acts."""

    interfaces: Annotated[
        tuple[values.InterfaceValue, ...], Field(min_length=1), values.OnceEach
    ]
    side: Side = Side.SUBSCRIBER
    nat: StrictBool | None = None  # None: not stated
    mode: Mode = Mode.OBSERVE
    enforce_share: Annotated[StrictInt, Field(ge=0, le=100)] = 100  # percent
    share_key: values.KeyFileValue = ""  # empty: made once, in the state folder
    plane: Plane = Plane.NFTABLES
    table: values.TableValue = DEFAULT_TABLE
    deadman: Annotated[float, values.duration(least=10, most=600)] = 30.0  # seconds
    reverse_path: ReversePath = ReversePath.STRICT
    hook_priority: Annotated[StrictInt, Field(ge=-(2**31), lt=2**31)] = 500
    accept_skipped_filters: StrictBool = False
    mark: Any = None  # of earlier versions; see `Config.outdated`


class CaptureSection(Section):
    """`[capture]`: how handshakes reach recognition."""

    source: CaptureSource = CaptureSource.NFLOG
    nflog_group: Annotated[StrictInt, Field(ge=1, lt=2**16)] = 5170
    packets_per_second: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 20_000


class RegistrySection(Section):
    """`[registry]`: where registrations come from, and what the guard refuses."""

    sources: Annotated[tuple[values.SourceValue, ...], Field(min_length=1)] = (
        "/etc/vpngate/registry.csv",
    )
    public_key: values.PublicKeysValue = ()  # any of them may have signed
    allow_unsigned: StrictBool = False
    refresh: Annotated[float, values.duration(least=1, most=30 * 86400)] = 3600.0
    min_prefix_length: ShortestPrefixes = ShortestPrefixes()
    max_removed: values.Share = 0.05
    max_added: values.Share = 0.5  # of the addresses covered
    allow_special: StrictBool = False
    max_rejected: values.Share = 0.05  # rows that cannot be read
    max_rows: Annotated[StrictInt, Field(ge=1, le=10_000_000)] = 2_000_000
    sentinels: tuple[values.PrefixValue, ...] = ()
    removal_grace: Annotated[float, values.duration(least=0, most=365 * 86400)] = (
        72 * 3600.0
    )
    state: values.PathValue = "/var/lib/vpngate"


class TunnelsSection(Section):
    """`[tunnels]`: which are recognised, and how much evidence is enough."""

    enabled: Annotated[
        tuple[values.TunnelValue, ...],
        Field(min_length=1),
        values.OnceEach,
        values.Sorted,
    ]
    confirm: Confirm = Confirm.BOTH_WAYS


class ThrottleSection(Section):
    """`[throttle]`: the slower class."""

    # The floor is part of the product: slower would be blocking by another name.
    rate: Annotated[int, values.rate(least=512_000, most=10**12)] = 5_000_000  # bit/s
    subscriber_prefix: SubscriberPrefixes = SubscriberPrefixes()
    max_flows: Annotated[StrictInt, Field(ge=1, le=16_000_000)] = 1_000_000


class ProtectSection(Section):
    """`[protect]`: what is never throttled, whatever else is configured."""

    prefixes: tuple[values.PrefixValue, ...] = ()


class HaltSection(Section):
    """`[halt]`: beyond what enforcing stops of itself, until a person acts."""

    spared_packets: Annotated[StrictInt, Field(ge=1, le=10**9)] = 100  # in a minute
    throttled_share: values.ShareOrOff = 0.3  # of all traffic; None: off
    capture_loss: values.PositiveShare = 0.2  # of copies, over a minute
    disagreements: Annotated[StrictInt, Field(ge=1, le=1000)] = 2  # in a row


class HttpSection(Section):
    """`[http]`: the status page, the metrics, and what they tell people."""

    listen: values.ListenAddress = Listen("127.0.0.1", 9753)
    metrics_listen: values.OtherListenAddress = None  # None: the same
    names: tuple[values.HostValue, ...] = ()  # by which pages may be asked for
    registration_url: values.UrlValue = ""
    contact: values.LineValue = ""
    trusted_proxies: tuple[values.PrefixValue, ...] = ()


class LogSection(Section):
    """`[log]`."""

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.TEXT


class Config(Section):
    """The whole configuration; a section is an attribute, a key one of its own."""

    gateway: GatewaySection
    capture: CaptureSection
    registry: RegistrySection
    tunnels: TunnelsSection
    throttle: ThrottleSection
    protect: ProtectSection
    halt: HaltSection
    http: HttpSection
    log: LogSection

    @property
    def outdated(self) -> tuple[str, ...]:
        """What is set, is read for one version more, and does nothing: a line each."""
        if self.gateway.mark is None:
            return ()
        line = "gateway.mark: no bit of the mark is used any more, remove the key"
        return (line,)

# SPDX-License-Identifier: GPL-2.0-or-later
"""What each key of vpngate.toml is for, in words.

The one place where a key is described: the shipped vpngate.toml, its manual page and
docs/configuration.md are made of this and of the sections (`make manual`). Kinds,
defaults and bounds are in `sections.py`, what needs a restart in `changes.py`; here is
nothing that those know.
"""

from typing import NamedTuple


class Description(NamedTuple):
    """What a key is for.

    summary  what stands beside it in the shipped file
    more     what else there is to know; a blank line parts two paragraphs
    example  what the shipped file has where there is no default, as TOML
    """

    summary: str
    more: str = ""
    example: str = ""


SECTIONS = {
    "gateway": "Where vpngate attaches, and whether it acts.",
    "capture": "How handshakes reach recognition.",
    "registry": "Where registrations come from, and what the guard refuses.",
    "tunnels": "Which tunnels are recognised, and how much evidence is enough.",
    "throttle": "The slower class.",
    "protect": "What is never slowed, whatever else is configured.",
    "halt": "Back to observe, at once and until a person acts.",
    "http": "The pages, the metrics, and what they tell people.",
    "log": "What is logged, and how it is written.",
}

KEYS = {
    "gateway.interfaces": Description(
        'names or globs ("ppp*"), followed as they come and go',
        "Those that face the subscribers. A name that no interface has yet is waited"
        " for. Of two that are stacked on each other (a VLAN and its parent, a bridge"
        " and its port, a bond and its slave) the upper one is attached; the lower one"
        " is left alone, and `vpngate status` names it. So is a VRF, whose packets pass"
        " its ports, and what is in another VRF than the first that is meant.",
        example='["lan0"]',
    ),
    "gateway.side": Description(
        'the side they face; "uplink" where subscribers have no interface to attach to',
        "On the uplink, enforcing is refused unless `nat = false` is stated and the"
        " machine itself drops forged sources.",
    ),
    "gateway.nat": Description(
        "must be stated to enforce on the uplink side",
        "Behind address translation all subscribers look like one on the uplink.",
        example="false",
    ),
    "gateway.mode": Description(
        '"enforce" slows unregistered tunnels down; the stance of a first start, and'
        " when changed here: `vpngate enforce`",
        "The stance goes on through restarts, in the state folder. What stands here"
        " unchanged takes nothing back that `vpngate enforce`, `vpngate observe` or a"
        " halt has brought about.",
    ),
    "gateway.enforce_share": Description(
        "percent of subscribers, chosen by a keyed hash",
        "The same ones each time; a larger share includes a smaller one.",
    ),
    "gateway.share_key": Description(
        "file with its key, which a fleet shares; empty: made once, in the state"
        " folder",
        "Gateways among which routers spread flows should share one, so that each"
        " treats a subscriber alike. At least 16 bytes; mode 0640, group vpngate.",
    ),
    "gateway.plane": Description(
        'or "ebpf", where every 100 ns a packet count (docs/ebpf.md)',
        "Both keep the same promises. `nftables` runs everywhere, and `nft list table`"
        " shows what it does; `ebpf` costs ordinary packets a third of it. It needs"
        " CAP_BPF and CAP_PERFMON (the unit's drop-in `ebpf.conf`), and interfaces of"
        " kinds that it knows, with no ingress chains, tc filters or TCX programs of"
        " yours: `vpngate doctor` names the others.",
    ),
    "gateway.table": Description("nftables table; one daemon a table"),
    "gateway.deadman": Description(
        "10s to 10m: a daemon that hangs this long is ignored",
        "The kernel then slows nobody. `WatchdogSec` of the unit should be longer.",
    ),
    "gateway.reverse_path": Description(
        'what comes in counts only where the way back to its source is; "hooks" for a'
        " transparent bridge's ports, and where routes are asymmetric, but what comes"
        " in and goes out crosses one interface (docs/operating.md)",
        "`strict` asks the kernel for the way back before anything is copied, so that"
        " nobody behind another interface can have somebody slowed by forging packets"
        " in their name. `hooks` asks for opposite hooks alone.",
    ),
    "gateway.hook_priority": Description(
        "after the operator's own netdev chains",
        "Of the nftables plane: programs come first in line (docs/ebpf.md).",
    ),
    "gateway.accept_skipped_filters": Description(
        "attach also where tc filters of yours act at egress: throttled packets pass"
        " them by (docs/operating.md)",
        "Without it such an interface is left alone, and named. The eBPF plane leaves"
        " one alone that has filters at clsact, whatever stands here; those at the"
        " root see its throttled packets.",
    ),
    "capture.source": Description(
        '"mirror": passive, observe only',
        "A mirror port sees copies: nothing can be slowed there. It needs CAP_NET_RAW"
        " (the unit's drop-in `mirror.conf`), and its interfaces are settled at the"
        " start.",
    ),
    "capture.nflog_group": Description(
        "one daemon a group", "Of the nftables plane: programs copy to a ring."
    ),
    "capture.packets_per_second": Description(
        "copies of possible handshakes; more pass unseen",
        "Half of it is for each hook, shared out among the signatures; addresses have"
        " shares of their own within that.",
    ),
    "registry.sources": Description(
        "files, or https://...; the first that answers",
        "They are mirrors of one registry: nothing is ever joined from two.",
    ),
    "registry.public_key": Description(
        "minisign; needed for https unless allow_unsigned",
        "The second line of the .pub file. Where it is given, a registry without its"
        " signature is not taken, from a file neither.",
    ),
    "registry.allow_unsigned": Description("an https source without public_key"),
    "registry.refresh": Description(
        "how often the sources are asked, give or take 10 %",
        "A registry that was not refreshed for three times as long is unhealthy.",
    ),
    "registry.min_prefix_length": Description(
        "a registry with a shorter prefix is refused",
    ),
    "registry.max_removed": Description(
        "more gone at once needs `vpngate reload --accept-removals`",
        "Of the prefixes in force.",
    ),
    "registry.max_added": Description(
        "more addresses at once need `--accept-additions`",
        "Of the addresses covered. A first registry is taken whatever its size.",
    ),
    "registry.allow_special": Description(
        "take ranges in which no VPN server is, too",
        "Unspecified, loopback, link-local, multicast and reserved ones, and"
        " 100.64.0.0/10.",
    ),
    "registry.max_rejected": Description(
        "more unreadable rows reject the file",
        "Fewer are told by line and reason, and remove nothing that stood before.",
    ),
    "registry.max_rows": Description("more are no registry; its size follows from it"),
    "registry.sentinels": Description("prefixes that every good registry contains"),
    "registry.removal_grace": Description(
        "how long a removed prefix keeps its standing",
        "An expired one, too.",
    ),
    "registry.state": Description("last good registry, stance, key of the share"),
    "tunnels.enabled": Description(
        "which are recognised; ipsec also carries Wi-Fi calling and console games: see"
        " [protect] and docs/operating.md",
    ),
    "tunnels.confirm": Description(
        '"one-way": an L2TP, PPTP or IKEv2 request alone is enough, where only one'
        " direction is seen",
        'It cannot be had with `reverse_path = "hooks"` or on the uplink.',
    ),
    "throttle.rate": Description(
        "a subscriber and direction; not below 512kbit",
        "There is no key that blocks.",
    ),
    "throttle.subscriber_prefix": Description("what counts as one subscriber"),
    "throttle.max_flows": Description("throttled at once; more are left alone"),
    "protect.prefixes": Description(
        "never throttled: a mobile carrier's gateways for Wi-Fi calling, for one",
        "A reload that adds one ends throttling on open connections, at once.",
    ),
    "halt.spared_packets": Description(
        "of spared addresses met where packets are about to be slowed, in a minute,"
        " from 5 s after a change on",
    ),
    "halt.throttled_share": Description(
        'of all traffic that passed in ten minutes, from 10 Mbit/s on; or "off"',
    ),
    "halt.capture_loss": Description(
        "of copies, over a minute; what a limit holds back, and what a flood costs, is"
        " no loss",
    ),
    "halt.disagreements": Description("between kernel and registry, in a row"),
    "http.listen": Description("of the pages"),
    "http.metrics_listen": Description(
        "/metrics and /healthz there instead; empty: the same",
    ),
    "http.names": Description(
        "by which pages may be asked for, beside the address; needed where they are"
        " public, or behind a name",
        "A page that is not on loopback is given only to who asks by the address that"
        " he reached, or by one of these (421 otherwise).",
    ),
    "http.registration_url": Description("where people register a tunnel"),
    "http.contact": Description("where people complain"),
    "http.trusted_proxies": Description(
        "whose word counts on who asks; at most a /24, of IPv6 a /64",
        "Who has such an address may pass for anybody: give proxies addresses that"
        " nobody else can use. Through one on the gateway itself (loopback, or an"
        " address of its own) nothing is told of tunnels, since every user of the"
        " machine could be it.",
    ),
    "log.level": Description("the least severe that is logged; debug is all"),
    "log.format": Description(
        '"json" is for programs',
        "One event a line. No line holds a subscriber's address.",
    ),
}

# SPDX-License-Identifier: GPL-2.0-or-later
"""vpngate(1).

Knows what the program as a whole does, how it ends and which files it has; what each
command takes is `commands.py`'s to say.
"""

from release.manual.commands import Command, Option, commands, program
from release.manual.roff import Page
from vpngate import __version__
from vpngate.cli import DEBUG_VARIABLE
from vpngate.cli.options import CONFIG_PATH
from vpngate.daemon.outside.client import DEFAULT_PATH as SOCKET_PATH

_WHAT = """\
vpngate runs on a Linux gateway. It lets registered VPN tunnels pass at full speed, \
and slows unregistered ones down, never below 512 kbit/s a subscriber and direction. \
It recognises tunnels that announce themselves by their standard handshake \
(WireGuard, OpenVPN, IPsec, L2TP, PPTP), and nothing else. When in doubt it leaves \
traffic alone.

`vpngate run` is the daemon; systemd starts it (vpngate.service). Until somebody says \
`vpngate enforce` it observes: it changes no packet. Results are on standard output, \
everything else on standard error, one line a problem: where, what, what to do."""

_STATUS = {
    "0": "Done.",
    "1": "The answer is no: invalid, refused, not registered, unhealthy.",
    "2": "Wrong use, unreadable input, unwritable output, or no daemon.",
    "128 + N": "Signal N ended the command. (`run` stops cleanly: 0.)",
}

_SIGNALS = {
    "SIGHUP": "Reload configuration and registry.",
    "SIGTERM, SIGINT": "Stop. Nothing of vpngate's stays in the kernel.",
}

_FILES = {
    CONFIG_PATH: "The configuration: `vpngate.toml`(5).",
    "/etc/vpngate/registry.csv": "The registry, unless the configuration names"
    " others: `vpngate-registry`(5).",
    SOCKET_PATH: "Control socket of the daemon, for members of the group vpngate.",
    "/var/lib/vpngate": "Last good registry, stance, and the key that chooses a share.",
    "/usr/share/doc/vpngate": "What is promised, how to operate it, and what to do when"
    " something goes wrong.",
    "/usr/share/vpngate": "Drop-ins for the service, rules for Prometheus, dashboards.",
}

_EXAMPLES = (
    (
        "What would vpngate do with a capture? No root and no daemon is needed:",
        "vpngate classify capture.pcap --registry /etc/vpngate/registry.csv",
    ),
    (
        "Enforce for one percent, and no longer than ten minutes unless confirmed:",
        "vpngate enforce --share 1 --confirm-within 10m",
    ),
    ("Slow nobody any more, at once:", "vpngate observe"),
)


def manual() -> str:
    """The page."""
    page = Page("vpngate", 1, f"vpngate {__version__}", "User Commands")
    page.named("slow unregistered VPN tunnels on a Linux gateway")
    page.section("SYNOPSIS")
    page.plain("`vpngate` COMMAND [OPTION]...")
    page.section("DESCRIPTION")
    page.text(_WHAT)
    page.section("OPTIONS")
    for option in program().options:
        _option(page, option)
    page.section("COMMANDS")
    for command in commands():
        _command(page, command)
    page.section("EXIT STATUS")
    for status, meaning in _STATUS.items():
        page.tagged(f"`{status}`", meaning)
    page.section("SIGNALS")
    page.plain("What the daemon does with them:")
    for signal, what in _SIGNALS.items():
        page.tagged(f"`{signal}`", what)
    page.section("ENVIRONMENT")
    page.tagged(f"`{DEBUG_VARIABLE}`", "If set, show where an unexpected error arose.")
    page.tagged("`SSL_CERT_FILE`", "Certificates to trust instead of the system's.")
    page.section("FILES")
    for path, what in _FILES.items():
        page.tagged(f"`{path}`", what)
    page.section("EXAMPLES")
    for words, line in _EXAMPLES:
        page.text(words)
        page.example([line])
    page.section("SEE ALSO")
    page.plain("`vpngate.toml`(5), `vpngate-registry`(5), `nft`(8), `tc`(8)")
    return str(page)


def _command(page: Page, command: Command) -> None:
    page.subsection(command.usage)
    page.plain(_sentence(command.about))
    for operand in command.operands:
        if operand.about:
            page.tagged(operand.name, _sentence(operand.about))
    for option in command.options:
        if "--help" not in option.flags:
            _option(page, option)


def _option(page: Page, option: Option) -> None:
    names = ", ".join(f"`{flag}`" for flag in option.flags)
    value = f" {option.value}" if option.value else ""
    page.tagged(names + value, _sentence(option.about))


def _sentence(text: str) -> str:
    ended = text if not text or text.endswith((".", ")")) else f"{text}."
    return ended[:1].upper() + ended[1:]

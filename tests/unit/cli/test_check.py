# SPDX-License-Identifier: GPL-2.0-or-later
"""check: what it prints, and how it ends."""

import time
from pathlib import Path

import pytest

from tests.unit.cli.conftest import HOST_BITS, REGISTRY, Run
from tests.unit.cli.keeping import keep
from vpngate.cli import inputs
from vpngate.daemon.wall_clock import WallClock
from vpngate.registry import Accept, Limits, load
from vpngate.supply.keeper import Keeper


def digest_of(path: Path) -> str:
    loaded = load(path.read_bytes(), limits=Limits(), now=time.time())
    return loaded.registry.intervals_digest


def test_check_of_what_is_sound(run: Run, config: Path, registry: Path) -> None:
    status, out, err = run("check", "--config", config)
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        f"configuration  {config}: sound",
        f"registry       {registry}: 4 registrations (3 ipv4, 1 ipv6)",
        "covers         256 ipv4 addresses and 4294967296 ipv6 /64",
        f"digest         {digest_of(registry)}",
    ]
    assert sorted(path.name for path in config.parent.iterdir()) == [
        "registry.csv",
        "vpngate.toml",
    ], "check touches nothing"


def test_check_warns_of_the_mark_of_earlier_versions(run: Run, config: Path) -> None:
    text = config.read_text().replace("[gateway]", '[gateway]\nmark = "0x40000000"')
    config.write_text(text)
    status, _, err = run("check", "--config", config)
    assert status == 0
    [line] = err
    assert line.startswith("warning: gateway.mark: ")


def test_check_tells_everything_at_once(run: Run, config: Path, registry: Path) -> None:
    config.write_text(config.read_text() + '[throttle]\nrate = "1kbit"\n[lgo]\n')
    registry.write_text(
        REGISTRY + "192.0.2.1/24,R-5,,,\n" + "198.18.0.0/24,R,,,\n" * 99
    )
    status, out, err = run("check", "--config", config)
    assert status == 1
    assert out.startswith(f"registry       {registry}: ")
    assert err == [
        f"{config}: throttle.rate: '1kbit' is less than 512kbit, the least allowed",
        f"{config}: lgo: there is no such key; is 'log' meant?",
        f"{registry}: line 6, prefix: " + HOST_BITS,
    ]


def test_check_against_the_last_good_registry(
    run: Run, config: Path, registry: Path
) -> None:
    keep(config, b"prefix,registration\n192.0.2.0/23,R-1\n2001:db8::/48,R-3\n")
    registry.write_text(
        "prefix,registration\n192.0.2.0/25,R-1\n2001:db8::/47,R-3\n2001:db9::/65,R-3\n"
    )
    status, out, err = run("check", "--config", config)
    more = "0 ipv4 addresses and 6.55e+04 ipv6 /64 more"
    fewer = "384 ipv4 addresses and 0 ipv6 /64 fewer"
    assert out.splitlines()[2:] == [
        "covers         128 ipv4 addresses and 1.31e+05 ipv6 /64",
        f"digest         {digest_of(registry)}",
        f"since last     {more}, {fewer}",
        "more           2001:db8:1::/48, 2001:db9::/65",
        "fewer          192.0.2.128/25, 192.0.3.0/24",
    ]
    assert status == 1
    (line,) = err
    assert line.startswith(f"{registry}: ")
    assert "--accept-removals" in line


def test_check_tells_that_the_registry_suspends(
    run: Run, config: Path, registry: Path
) -> None:
    item = '{"prefix": "192.0.2.0/24", "registration": "R-1"}'
    registry.write_text(f'{{"suspend": "a mistake", "registrations": [{item}]}}')
    status, out, err = run("check", "--config", config)
    assert (status, err) == (0, [])
    assert out.splitlines()[2] == "suspends       gateways observe: a mistake"


def test_check_of_what_suspends_for_no_reason(
    run: Run, config: Path, registry: Path
) -> None:
    registry.write_text('{"suspend": "", "registrations": []}')
    status, _, err = run("check", "--config", config)
    assert status == 1
    (line,) = err
    assert line.startswith(f"{registry}: suspend: is not a reason on one line")


def test_check_reads_what_a_daemon_has_remembered(
    run: Run, config: Path, registry: Path
) -> None:
    """Its clock and its departed too: whoever has left is still in grace."""
    settings = inputs.read_config(str(config)).registry
    keeper = Keeper(settings, WallClock(60.0))
    first = keeper.boot()
    keeper.keep(first)
    registry.write_bytes(REGISTRY.encode().replace(b"192.0.2.", b"198.51.100."))
    second = keeper.fetch(first.registry, accept=[Accept.REMOVALS])
    assert second is not None
    keeper.keep(second)
    status, out, err = run("check", "--config", config)
    assert (status, err) == (0, [])
    assert any(line.startswith("since last") for line in out.splitlines())


def test_check_where_the_last_good_registry_is_damaged(
    run: Run, config: Path, registry: Path
) -> None:
    state = keep(config, REGISTRY.encode())
    for file in state.glob("registry-*"):
        file.write_bytes(b"?")
    status, out, err = run("check", "--config", config)
    assert status == 0
    assert f"registry       {registry}: 4 registrations" in out
    (line,) = err
    assert line.startswith("warning: ")
    assert line.endswith("; not compared with it")


def test_check_of_a_registry_full_of_nonsense(
    run: Run, config: Path, registry: Path
) -> None:
    registry.write_text("prefix,registration\n" + "x,R\n" * 100)
    status, _, err = run("check", "--config", config)
    assert status == 1
    assert "100 of 100 rows are bad" in err[0]
    assert len(err) <= 21


def test_check_counts_what_it_does_not_show(
    run: Run, config: Path, registry: Path
) -> None:
    config.write_text(config.read_text() + 'max_rejected = "100%"\n')
    registry.write_text(REGISTRY + "x,R\n" * 100)
    status, _, err = run("check", "--config", config)
    assert status == 1
    assert err[-1] == f"{registry}: 100 of 104 rows cannot be used"


def test_check_of_a_source_that_must_not_be_used(run: Run, config: Path) -> None:
    key = "RWQ" + "A" * 53
    text = config.read_text().replace(
        "sources = [", f'public_key = "{key}"\nsources = ["https://[::1]:0/r", '
    )
    config.write_text(text)
    status, _, err = run("check", "--config", config)
    assert status == 1
    assert "https://[::1]:0/r" in err[0]


def test_before_a_start_the_registry_does_not_matter(
    run: Run, config: Path, registry: Path
) -> None:
    """Nor is it read: the daemon begins with the last good one."""
    for content in (b"no registry", b"", REGISTRY.encode()):
        registry.write_bytes(content)
        assert run("check", "--config", config, "--before-start") == (0, "", [])
    registry.unlink()
    assert run("check", "--config", config, "--before-start") == (0, "", [])


def test_before_a_start_a_configuration_has_to_be_sound(run: Run, config: Path) -> None:
    sound = config.read_text()
    config.write_text(sound + '[throttle]\nrate = "1kbit"\n')
    assert run("check", "--config", config, "--before-start") == (
        1,
        "",
        [f"{config}: throttle.rate: '1kbit' is less than 512kbit, the least allowed"],
    )
    # What only shows when the sources are put together.
    config.write_text(sound.replace('sources = ["', 'sources = ["ftp://x/'))
    status, out, err = run("check", "--config", config, "--before-start")
    assert (status, out, len(err)) == (1, "", 1)
    config.unlink()
    assert run("check", "--config", config, "--before-start")[0] == 2


def test_check_of_unreadable_input(run: Run, config: Path, registry: Path) -> None:
    registry.unlink()
    status, out, err = run("check", "--config", config)
    assert (status, out) == (2, f"configuration  {config}: sound\n")
    assert err == [f"{registry}: no such file"]
    config.write_bytes(b"\xff")
    assert run("check", "--config", config) == (
        2,
        "",
        [f"{config}: is not UTF-8 text (byte 0)"],
    )
    assert run("check", "--config", config.parent)[0] == 2
    config.unlink()
    assert run("check", "--config", config) == (
        2,
        "",
        [f"{config}: cannot be read: No such file or directory; check the path"],
    )


def test_a_source_that_is_missing_is_a_warning_if_another_answers(
    run: Run, config: Path
) -> None:
    text = config.read_text().replace("sources = [", 'sources = ["/nonexistent/r", ')
    config.write_text(text)
    status, _, err = run("check", "--config", config)
    assert (status, err) == (0, ["warning: /nonexistent/r: no such file"])


def test_check_of_an_unsigned_registry(run: Run, config: Path, registry: Path) -> None:
    key = "RWQ" + "A" * 53  # the right form, nobody's key
    config.write_text(config.read_text() + f'public_key = "{key}"\n')
    status, _, err = run("check", "--config", config)
    assert status == 1
    assert str(registry) in err[0]


@pytest.mark.parametrize("options", [(), ("--before-start",)])
def test_check_reads_the_key_of_a_fleet(
    run: Run, config: Path, options: tuple[str, ...]
) -> None:
    key = config.with_name("share-key")
    named = f'[gateway]\nshare_key = "{key}"'
    config.write_text(config.read_text().replace("[gateway]", named))
    key.write_text("a secret of a fleet of gateways")
    for mode, status, words in (
        (0o600, 0, ""),
        (0o640, 0, ""),
        (0o644, 1, "is open to others"),
    ):
        key.chmod(mode)
        ended, _, err = run("check", "--config", config, *options)
        assert (ended, bool(err)) == (status, bool(words))
        assert words in "".join(err)
    key.unlink()
    ended, _, (line,) = run("check", "--config", config, *options)
    assert ended == 1
    assert f"gateway.share_key: {key}: cannot be read" in line

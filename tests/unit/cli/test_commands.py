# SPDX-License-Identifier: GPL-2.0-or-later
"""check, lookup, status, reload: what they print, and how they end."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vpngate.cli import inputs, main
from vpngate.daemon.clock import WallClock
from vpngate.daemon.control import ControlServer
from vpngate.daemon.keeper import Keeper
from vpngate.errors import Problem, RegistryRefused
from vpngate.feed import LastGood, Store, Validators
from vpngate.registry import Accept

Run = Callable[..., tuple[int, str, list[str]]]

REGISTRY = """\
prefix,registration,tunnels,valid_from,valid_until
192.0.2.0/24,R-1,wireguard+ipsec,2020-01-01,
192.0.2.128/25,R-2,,,
2001:db8::/32,R-3,,,2099-01-01T00:00:00Z
198.51.100.0/24,R-4,,,2001-01-01
"""
TO_2099 = "2099-01-01T00:00:00Z"
HOST_BITS = "'192.0.2.1/24' has host bits set; 192.0.2.0/24 would be its network"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its status, stdout, and the lines of stderr."""

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        status = main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        assert all(line.startswith("vpngate: ") for line in err.splitlines())
        return (
            status,
            out,
            [line.removeprefix("vpngate: ") for line in err.splitlines()],
        )

    return run


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "registry.csv"
    path.write_text(REGISTRY)
    return path


@pytest.fixture
def config(tmp_path: Path, registry: Path) -> Path:
    path = tmp_path / "vpngate.toml"
    path.write_text(
        f'[gateway]\ninterfaces = ["lan0"]\n[registry]\nsources = ["{registry}"]\n'
        f'state = "{tmp_path}/state"\n'
    )
    return path


def test_check_of_what_is_sound(run: Run, config: Path, registry: Path) -> None:
    status, out, err = run("check", "--config", config)
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        f"configuration  {config}: sound",
        f"registry       {registry}: 4 registrations (3 ipv4, 1 ipv6)",
        "covers         256 ipv4 addresses and 4294967296 ipv6 /64",
    ]
    assert sorted(path.name for path in config.parent.iterdir()) == [
        "registry.csv",
        "vpngate.toml",
    ], "check touches nothing"


def test_check_tells_everything_at_once(run: Run, config: Path, registry: Path) -> None:
    text = config.read_text().replace("[gateway]", "[gateway]\nmark = 1")
    config.write_text(text + '[throttle]\nrate = "1kbit"\n[lgo]\n')
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
        "warning: gateway.mark: no bit of the mark is used any more, remove the key",
    ]


def keep(config: Path, text: bytes) -> Path:
    """Have a daemon's state hold a last good registry."""
    state = config.parent / "state"
    Store(state).save(LastGood(text, None, Validators()))
    return state


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
        f"since last     {more}, {fewer}",
    ]
    assert status == 1
    (line,) = err
    assert line.startswith(f"{registry}: ")
    assert "--accept-removals" in line


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


def test_check_of_an_empty_registry(run: Run, config: Path, registry: Path) -> None:
    registry.write_text("prefix,registration\n")
    status, _, err = run("check", "--config", config)
    assert status == 1
    assert err[0].startswith(f"{registry}: ")


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


def test_lookup(run: Run, config: Path) -> None:
    status, out, err = run(
        "lookup", "192.0.2.1", "192.0.2.200", "2001:DB8::1", "--config", config
    )
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        "ADDRESS      REGISTERED  REGISTRATION  PREFIX          TUNNELS          UNTIL",
        "192.0.2.1    yes         R-1           192.0.2.0/24    wireguard+ipsec  -",
        "192.0.2.200  yes         R-2           192.0.2.128/25                   -",
        "2001:db8::1  yes         R-3           2001:db8::/32" + " " * 20 + TO_2099,
    ]


def test_lookup_of_one_who_is_not_registered(run: Run, registry: Path) -> None:
    arguments = ("192.0.2.1", "198.51.100.1", "203.0.113.1", "--registry", registry)
    status, out, err = run("lookup", *arguments, "--format", "json")
    assert (status, err) == (1, [])
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["registered"] for answer in answers] == [True, False, False]
    assert answers[0] == {
        "address": "192.0.2.1",
        "registered": True,
        "registration": "R-1",
        "prefix": "192.0.2.0/24",
        "tunnels": ["wireguard", "ipsec"],
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": None,
        "in_grace": False,
        "stands_until": None,
    }
    assert answers[2]["registration"] is None


def test_lookup_in_nothing_readable(run: Run, tmp_path: Path) -> None:
    status, out, err = run("lookup", "192.0.2.1", "--registry", tmp_path / "none")
    assert (status, out, len(err)) == (2, "", 1)
    (tmp_path / "text").write_text("hello\n")
    status, out, err = run("lookup", "192.0.2.1", "--registry", tmp_path / "text")
    assert (status, out) == (1, "")
    assert all(line.startswith(f"{tmp_path}/text: line 1") for line in err)


def test_lookup_of_what_is_no_address(run: Run, registry: Path) -> None:
    assert run("lookup", "example.net", "--registry", registry) == (
        2,
        "",
        ["example.net: is not an IPv4 or IPv6 address"],
    )


def test_lookup_in_grace(run: Run, config: Path, registry: Path) -> None:
    config.write_text(config.read_text() + 'removal_grace = "365d"\n')
    ended = datetime.now(UTC) - timedelta(days=1)
    text = ended.isoformat(timespec="seconds")
    registry.write_text(
        f"prefix,registration,tunnels,valid_from,valid_until\n"
        f"192.0.2.0/24,R-1,,,{text}\n"
    )
    status, out, _ = run("lookup", "192.0.2.1", "--config", config)
    over = (ended + timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (status, out.splitlines()[1].split(maxsplit=4)[4]) == (
        0,
        f"{over} (in grace)",
    )


def test_lookup_of_one_who_was_removed_and_keeps_the_grace(
    run: Run, config: Path
) -> None:
    """As the daemon has it, which knows the last good registry."""
    keep(config, b"prefix,registration\n203.0.113.0/24,R-9\n192.0.2.0/24,R-1\n")
    command = ("lookup", "203.0.113.1", "192.0.2.1", "--config", config)
    status, out, err = run(*command, "--format", "json")
    assert (status, err) == (0, [])
    gone, there = map(json.loads, out.splitlines())
    assert (gone["registration"], gone["in_grace"]) == ("R-9", True)
    assert (there["registration"], there["in_grace"]) == ("R-1", False)
    config.write_text(config.read_text() + 'removal_grace = "0s"\n')
    assert run(*command)[0] == 1


def test_lookup_where_the_last_good_registry_is_damaged(run: Run, config: Path) -> None:
    for file in keep(config, REGISTRY.encode()).glob("registry-*"):
        file.write_bytes(b"?")
    status, out, err = run("lookup", "192.0.2.1", "--config", config)
    assert (status, out.splitlines()[1].split()[:3]) == (0, ["192.0.2.1", "yes", "R-1"])
    (line,) = err
    assert line.startswith("warning: ")
    assert line.endswith("; not looked at")


def test_diff(run: Run, registry: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    text = REGISTRY.replace("192.0.2.128/25,R-2,,,", "192.0.2.128/25,R-2,pptp,,")
    new.write_text(text + "203.0.113.0/24,R-5,,,\n")
    status, out, err = run("diff", registry, new)
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        "+  203.0.113.0/24  R-5",
        "<  192.0.2.128/25  R-2",
        ">  192.0.2.128/25  R-2  pptp",
        "1 added, 0 removed, 1 changed",
        "the guard would take it",
    ]


def test_diff_that_the_guard_would_refuse(
    run: Run, registry: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.csv"
    new.write_text("prefix,registration\n2001:db8::/32,R-3\n")
    status, out, err = run("diff", registry, new, "--format", "json")
    assert (status, err) == (1, [])
    found = json.loads(out)
    assert [row["prefix"] for row in found["removed"]] == [
        "192.0.2.0/24",
        "192.0.2.128/25",
        "198.51.100.0/24",
    ]
    assert found["changed"][0]["old"]["valid_until"] == TO_2099
    assert found["changed"][0]["new"]["valid_until"] is None
    (objection,) = found["guard"]
    assert objection["reason"] == "removed_too_many"
    assert objection["overridable"] is True
    status, out, _ = run("diff", registry, new)
    assert (status, out.splitlines()[-1][:27]) == (1, "the guard would refuse it: ")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A control socket, and the state that its verbs tell."""
    path = tmp_path / "control.sock"
    state: dict[str, Any] = {}

    async def status(_arguments: Mapping[str, Any]) -> Any:
        return state

    async def reload(arguments: Mapping[str, Any]) -> Any:
        if not arguments["accept_removals"]:
            raise RegistryRefused("empty", Problem("r.csv", "is empty", "look at it"))
        return {"registry": "taken", "changed": ["throttle.rate"]}

    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = ControlServer(path, {"status": status, "reload": reload})
        await server.start()
        started.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    yield path, state
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_status(run: Run, daemon: tuple[Path, dict[str, Any]]) -> None:
    path, state = daemon
    state |= {
        "mode": "observe",
        "healthy": True,
        "registry": {"serial": None, "prefixes": {"ipv4": 3}},
        "reasons": [],
        "refused": {},
    }
    status, out, err = run("status", "--socket", path)
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        "mode      observe",
        "healthy   yes",
        "registry",
        "  serial    -",
        "  prefixes",
        "    ipv4  3",
        "reasons   -",
        "refused   -",
    ]
    status, out, _ = run("status", "--socket", path, "--format", "json")
    assert (status, json.loads(out)) == (0, state)


def test_status_of_an_unhealthy_daemon(
    run: Run, daemon: tuple[Path, dict[str, Any]]
) -> None:
    path, state = daemon
    state |= {"healthy": False, "reasons": ["capture is silent", "clock"]}
    status, out, err = run("status", "--socket", path)
    assert (status, err) == (1, [])
    assert out.splitlines() == [
        "healthy  no",
        "reasons  capture is silent; clock",
    ]


def test_status_without_a_daemon(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert run("status", "--socket", path) == (
        2,
        "",
        [f"{path}: no daemon answers; is vpngate running?"],
    )


def test_reload(run: Run, daemon: tuple[Path, dict[str, Any]]) -> None:
    path, _ = daemon
    assert run("reload", "--socket", path) == (
        1,
        "",
        ["r.csv: is empty; look at it"],
    )
    status, out, err = run("reload", "--accept-removals", "--socket", path)
    assert (status, err) == (0, [])
    assert out.splitlines() == ["registry  taken", "changed   throttle.rate"]

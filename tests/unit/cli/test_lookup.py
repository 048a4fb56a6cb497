# SPDX-License-Identifier: GPL-2.0-or-later
"""lookup: what it prints, and how it ends."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.cli.conftest import HOST_BITS, REGISTRY, TO_2099, Run
from tests.unit.cli.keeping import keep


def test_lookup(run: Run, config: Path) -> None:
    status, out, err = run(
        "lookup", "192.0.2.1", "192.0.2.200", "2001:DB8::1", "--config", config
    )
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        "ASKED        REGISTERED  REGISTRATION  PREFIX          TUNNELS          UNTIL",
        "192.0.2.1    yes         R-1           192.0.2.0/24    wireguard+ipsec  -",
        "192.0.2.200  yes         R-2           192.0.2.128/25                   -",
        "2001:db8::1  yes         R-3           2001:db8::/32" + " " * 20 + TO_2099,
    ]


def test_lookup_tells_that_the_registry_suspends(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    item = {"prefix": "192.0.2.0/24", "registration": "R-1"}
    path.write_text(json.dumps({"suspend": "a mistake", "registrations": [item]}))
    status, _, err = run("lookup", "192.0.2.1", "--registry", path)
    assert (status, err) == (0, ["the registry has gateways observe: a mistake"])


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
        "protected": None,
        "answered_by": str(registry),
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
    for asked, why in {
        "a b": "is not an IPv4 or IPv6 address, a prefix, or a registration's id",
        "R" * 65: "is not an IPv4 or IPv6 address, a prefix, or a registration's id",
        "192.0.2.1/24": HOST_BITS,
        "example.net/24": "Expected 4 octets in 'example.net'",
    }.items():
        asking = ("lookup", "192.0.2.1", asked, "--registry", registry)
        assert run(*asking) == (2, "", [f"lookup: {asked}: {why}"])


def test_lookup_in_grace(run: Run, config: Path, registry: Path) -> None:
    config.write_text(config.read_text() + 'removal_grace = "365d"\n')
    ended = datetime.now(UTC) - timedelta(days=1)
    text = ended.isoformat(timespec="seconds")
    registry.write_text(
        f"prefix,registration,tunnels,valid_from,valid_until\n"
        f"192.0.2.0/24,R-1,,,{text}\n198.51.100.0/24,R-2\n"
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


def test_lookup_passes_over_a_source_that_a_daemon_would_pass_over(
    run: Run, config: Path, registry: Path
) -> None:
    first = registry.with_name("first.csv")
    first.write_text("prefix,registration\n0.0.0.0/0,R-9\n")
    both = f'"{first}", "{registry}"'
    config.write_text(config.read_text().replace(f'"{registry}"', both))
    status, out, err = run("lookup", "192.0.2.1", "--config", config)
    assert (status, out.splitlines()[1].split()[:3]) == (0, ["192.0.2.1", "yes", "R-1"])
    (line,) = err
    assert line.startswith(f"warning: {first}: 0.0.0.0/0 as R-9: is a default route")
    registry.write_text("prefix,registration\n")
    status, out, err = run("lookup", "192.0.2.1", "--config", config)
    assert (status, out) == (1, "")
    assert err[0].startswith(f"{first}: ")
    assert err[-1].startswith(f"{registry}: ")


@pytest.mark.parametrize("memory", [b"\xff\n", b"{}\t[1]\n", b"{}\t[0, 0]\n{"])
def test_lookup_where_what_was_remembered_is_nonsense(
    run: Run, config: Path, memory: bytes
) -> None:
    keep(config, REGISTRY.encode(), memory)
    status, out, err = run("lookup", "192.0.2.1", "--config", config)
    assert (status, out.splitlines()[1].split()[:3]) == (0, ["192.0.2.1", "yes", "R-1"])
    (line,) = err
    assert line.startswith("warning: the last good registry: what is remembered")
    assert line.endswith("; not looked at")

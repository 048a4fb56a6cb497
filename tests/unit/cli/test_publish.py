# SPDX-License-Identifier: GPL-2.0-or-later
"""publish: what it prints, whom it asks, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.signing import Signer
from tests.lab import terminal
from tests.unit.cli.conftest import HOST_BITS, REGISTRY, Run
from tests.unit.publishing.secret_keys import key_file

SIGNER = Signer()
PASSWORD = "a password"
VPNGATE = (sys.executable, "-m", "vpngate")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "www").mkdir()
    return tmp_path / "www" / "registry.json"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "vpngate.key"
    path.write_text(key_file(SIGNER))
    return path


def arguments(registry: Path, output: Path, *more: object) -> list[object]:
    usual = ("--name", "portal", "--expires", "7d", "-o", output)
    return ["publish", registry, *usual, *more]


def test_publish(run: Run, registry: Path, output: Path, key: Path) -> None:
    signed = f"{output} and its signature are links: copy them with `rsync -L`"
    status, out, err = run(*arguments(registry, output, "--sign-with", key))
    assert (status, err) == (0, [signed])
    first, expires, by = out.splitlines()
    whole = "4 registrations (3 ipv4, 1 ipv6)"
    assert first == f"published      {output}: serial 1, {whole}"
    assert expires.startswith("expires        20")
    key_id = int.from_bytes(SIGNER.key_id, "little")
    assert by == f"signed         by key {key_id:X}: {output}.minisig"
    registry.write_text(REGISTRY + "203.0.113.0/24,R-5,,,\n")
    options = ("--sign-with", key, "--suspend", "a mistake")
    status, out, err = run(*arguments(registry, output, *options))
    assert (status, err) == (0, [])
    assert out.splitlines()[3:] == [
        "suspends       gateways observe: a mistake",
        "since last     1 added, 0 removed, 0 changed",
        "more           256 ipv4 addresses and 0 ipv6 /64: 203.0.113.0/24",
    ]
    assert json.loads(output.read_text())["serial"] == 2


def test_gateways_take_what_was_published(
    run: Run, registry: Path, output: Path, key: Path, config: Path
) -> None:
    options = ("--sign-with", key, "--sentinel", "192.0.2.0/24")
    assert run(*arguments(registry, output, *options))[0] == 0
    text = config.read_text().replace(str(registry), str(output))
    config.write_text(f'{text}public_key = "{SIGNER.public}"\n')
    status, out, err = run("check", "--config", config)
    assert (status, err) == (0, [])
    assert f"registry       {output}: 4 registrations (3 ipv4, 1 ipv6), serial 1" in out
    config.write_text(f'{text}public_key = "{Signer().public}"\n')
    assert run("check", "--config", config)[0] == 1


def test_bad_rows_are_all_told_and_nothing_is_published(
    run: Run, registry: Path, output: Path
) -> None:
    registry.write_text(REGISTRY + "192.0.2.1/24,R-5,,,\n0.0.0.0/0,R-6,,,\n")
    status, out, err = run(*arguments(registry, output))
    assert (status, out) == (1, "")
    assert err == [
        f"{registry}: line 6, prefix: {HOST_BITS}",
        "registry.json: 0.0.0.0/0 as R-6: is a default route; take it out",
    ]
    assert list(output.parent.iterdir()) == []


def test_what_gateways_would_refuse_takes_a_person(
    run: Run, registry: Path, output: Path
) -> None:
    assert run(*arguments(registry, output))[0] == 0
    before = output.read_bytes()
    registry.write_text("prefix,registration\n2001:db8::/32,R-3\n")
    status, _, err = run(*arguments(registry, output))
    assert status == 1
    assert "lacks 2 of 3 prefixes in force until now" in err[0]
    assert "--accept-removals" in err[0]
    assert output.read_bytes() == before
    status, out, err = run(*arguments(registry, output, "--accept-removals"))
    assert status == 0
    assert "serial 2" in out
    (line,) = err
    reload = "gateways refuse it until `vpngate reload --accept-removals` on each"
    assert line.startswith(reload)


def test_a_dry_run_changes_nothing(
    run: Run, registry: Path, output: Path, key: Path
) -> None:
    assert run(*arguments(registry, output, "--sign-with", key))[0] == 0
    # What a writer leaves that is killed: a file, and a version that nothing leads to.
    output.with_name(f".{output.name}.new").write_bytes(b"half of i")
    (output.parent / f".{output.name}.versions" / "7").mkdir()
    before = sorted(output.parent.rglob("*")), output.read_bytes()
    registry.write_text(REGISTRY + "203.0.113.0/24,R-5,,,\n")
    for options in (("--sign-with", key), ()):
        status, out, err = run(*arguments(registry, output, "--dry-run", *options))
        assert (status, err) == (0, [])
        assert out.startswith(f"would publish  {output}: serial 2, 5 registrations")
        assert out.splitlines()[-1].endswith(": 203.0.113.0/24")
    registry.write_text("prefix,registration\n2001:db8::/32,R-3\n")
    assert run(*arguments(registry, output, "--dry-run"))[0] == 1
    assert (sorted(output.parent.rglob("*")), output.read_bytes()) == before


def test_a_signature_is_not_left_without_its_registry(
    run: Run, registry: Path, output: Path, key: Path
) -> None:
    assert run(*arguments(registry, output, "--sign-with", key))[0] == 0
    status, _, err = run(*arguments(registry, output))
    what = "is there, and would not fit any more; give --sign-with, or remove it first"
    assert (status, err) == (2, [f"{output}.minisig: {what}"])
    output.with_name("registry.json.minisig").unlink()
    assert run(*arguments(registry, output))[0] == 0


def test_a_signature_that_did_not_fit_is_told(
    run: Run, registry: Path, output: Path, key: Path
) -> None:
    options = ("--sign-with", key)
    assert run(*arguments(registry, output, *options))[0] == 0
    text = output.read_text()
    output.unlink()
    output.write_text(text + "\n")
    status, _, err = run(*arguments(registry, output, *options))
    assert status == 0
    assert err[0].startswith(f"warning: until now {output}.minisig: ")
    assert "does not fit the registry" in err[0]
    status, _, err = run(*arguments(registry, output, *options))
    assert (status, err) == (0, [])


def test_a_serial_that_cannot_be_read_is_not_guessed(
    run: Run, registry: Path, output: Path
) -> None:
    output.write_text("{")
    status, _, err = run(*arguments(registry, output))
    assert status == 1
    assert err[-1].startswith(f"{output}: so its serial is not known; move it away")
    output.unlink()
    status, out, _ = run(*arguments(registry, output, "--serial", 41))
    assert (status, "serial 41" in out) == (0, True)
    status, out, _ = run(*arguments(registry, output, "--serial", 7))
    assert (status, "serial 42" in out) == (0, True)


def test_judged_as_gateways_with_a_configuration_do(
    run: Run, registry: Path, output: Path, config: Path
) -> None:
    registry.write_text(REGISTRY + "127.0.0.0/24,R-5,,,\n")
    assert run(*arguments(registry, output))[0] == 1
    config.write_text(config.read_text() + "allow_special = true\n")
    assert run(*arguments(registry, output, "--config", config))[0] == 0


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (("--expires", "7"), ["--expires: '7' is not a number and a unit"]),
        (("--expires", "500ms"), ["--expires: is not from 1s to the year 9999"]),
        (("--expires", "9999999d"), ["--expires: is not from 1s to the year 9999"]),
        (
            ("--expires", "soon", "--name", " ", "--suspend", "", "--serial", 0),
            ["--expires: 'soon'", "--name: is empty", "--suspend: is", "--serial: 0 "],
        ),
        (("-o", "/"), ["/: is a folder"]),
        (("--sign-with", "/dev/null"), ["/dev/null: is not a regular file"]),
    ],
)
def test_wrong_use(
    run: Run, registry: Path, output: Path, options: tuple[object], lines: list[str]
) -> None:
    status, out, err = run(*arguments(registry, output, *options))
    assert (status, out) == (2, "")
    for line, words in zip(err, lines, strict=True):
        assert line.startswith(words)
    assert list(output.parent.iterdir()) == []


def test_what_is_not_there(run: Run, registry: Path, output: Path) -> None:
    nowhere = output.parent / "nowhere" / "registry.json"
    status, _, err = run(*arguments(registry, nowhere))
    assert (status, len(err)) == (2, 1)
    assert run(*arguments(output, output))[0] == 2
    with pytest.raises(SystemExit, match="2"):
        run("publish", registry)


def command(registry: Path, output: Path, key: Path) -> list[str]:
    return [*VPNGATE, *map(str, arguments(registry, output, "--sign-with", key))]


def test_a_password_takes_a_terminal(registry: Path, output: Path, key: Path) -> None:
    key.write_text(key_file(SIGNER, PASSWORD))
    done = subprocess.run(
        command(registry, output, key),
        check=False,
        capture_output=True,
        text=True,
        input=f"{PASSWORD}\n",
        start_new_session=True,
    )
    what = "has a password, and there is no terminal to ask for it; call it from one"
    assert (done.returncode, done.stderr) == (2, f"vpngate: {key}: {what}\n")


@pytest.mark.parametrize("password", [PASSWORD, "12345678"], ids=["right", "wrong"])
def test_a_password_is_asked_for(
    registry: Path, output: Path, key: Path, password: str
) -> None:
    key.write_text(key_file(SIGNER, PASSWORD))
    status, shown = terminal.told(command(registry, output, key), password)
    right = password == PASSWORD
    assert status == (0 if right else 2), shown
    assert shown.startswith(f"Password of {key}: ".encode())
    assert password.encode() not in shown
    assert (b"has another password" in shown) is not right
    assert output.exists() is right

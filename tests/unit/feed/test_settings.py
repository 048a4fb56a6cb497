# SPDX-License-Identifier: GPL-2.0-or-later
from pathlib import Path

import pytest

from vpngate.feed import FeedSettings, FetchLimits
from vpngate.feed.minisign import PublicKey
from vpngate.feed.settings import HttpsAddress, LocalFile, parse_source

KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"


def test_local_file() -> None:
    source = parse_source("/etc/vpngate/registry.csv")
    assert source == LocalFile(Path("/etc/vpngate/registry.csv"))
    assert str(source) == source.identity == "/etc/vpngate/registry.csv"
    assert source.signature == Path("/etc/vpngate/registry.csv.minisig")


@pytest.mark.parametrize(
    ("url", "signature", "text"),
    [
        ("https://r.example/a.csv", "https://r.example/a.csv.minisig", None),
        ("https://r.example", "https://r.example/.minisig", "https://r.example/"),
        (
            "https://[2001:db8::1]:8443/a?v=1&t=x",
            "https://[2001:db8::1]:8443/a.minisig?v=1&t=x",
            "https://[2001:db8::1]:8443/a",
        ),
    ],
)
def test_https_address(url: str, signature: str, text: str | None) -> None:
    source = parse_source(url)
    assert isinstance(source, HttpsAddress)
    assert source.signature == HttpsAddress(signature)
    assert str(source) == (text or url)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "neither a path nor"),
        (" ", "neither a path nor"),
        ("/a\0b", "neither a path nor"),
        ("http://r.example/a.csv", "not https"),
        ("ftp://r.example/a.csv", "not https"),
        ("file:///etc/passwd", "not https"),
        ("https:///a.csv", "no host"),
        ("https://r.example:0/a.csv", "no host or no port"),
        ("https://r.example:70000/a.csv", "not an address"),
        ("https://[::1/a.csv", "not an address"),
        ("https://r.example/a#b", "a fragment"),
        ("https://r.example/a b", "a space"),
        ("https://r.example/\n", "a space"),
        ("https://r.example/ü", "beyond ASCII"),
    ],
)
def test_unusable_source(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_source(source)


@pytest.mark.parametrize("who", ["me@", "me:secret@", ":secret@"])
def test_password_is_refused_and_not_repeated(who: str) -> None:
    with pytest.raises(ValueError, match="user name or password") as caught:
        parse_source(f"https://{who}r.example/a.csv")
    assert "secret" not in str(caught.value)


def test_remote_needs_a_signature_or_a_word() -> None:
    remote = ["/etc/a.csv", "https://r.example/a.csv"]
    with pytest.raises(ValueError, match="needs public_key, or allow_unsigned"):
        FeedSettings.parse(remote)
    assert FeedSettings.parse(remote, allow_unsigned=True).public_keys == ()
    signed = FeedSettings.parse(remote, f" {KEY} ")
    assert [key.key_id for key in signed.public_keys] == [PublicKey.parse(KEY).key_id]
    assert signed.limits == FetchLimits()
    assert FeedSettings.parse(["a.csv"], "  ").public_keys == ()


def test_impossible_settings() -> None:
    with pytest.raises(ValueError, match="no source"):
        FeedSettings.parse([])
    with pytest.raises(ValueError, match="attempts"):
        FeedSettings.parse(["a.csv"], limits=FetchLimits(attempts=0))
    with pytest.raises(ValueError, match="public key"):
        FeedSettings.parse(["a.csv"], "RWQ=")

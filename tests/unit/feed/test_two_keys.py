# SPDX-License-Identifier: GPL-2.0-or-later
"""A publisher moves to another key, and no gateway is without a registry meanwhile."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.asking import ask
from tests.faults.certificates import Authority
from tests.faults.registry_server import RegistryServer
from tests.faults.signing import Signer
from vpngate.errors import FeedFault
from vpngate.feed import (
    Answer,
    Feed,
    FeedSettings,
    Fetched,
    LastGood,
    NoSourceAnswered,
    NotModified,
    Reason,
    Store,
    Validators,
)

ROWS = b"prefix,registration\n203.0.113.0/24,R-1\n"
LATER = "timestamp:1700000100\thashed"


def published(path: Path, signer: Signer, rows: bytes = ROWS) -> None:
    path.write_bytes(rows)
    path.with_name(path.name + ".minisig").write_bytes(signer.sign(rows, LATER))


def trusting(path: Path, *signers: Signer) -> FeedSettings:
    return FeedSettings.parse([str(path)], [signer.public for signer in signers])


def kept(folder: Path, answer: Fetched) -> None:
    Store(folder).save(LastGood(answer.data, answer.signature, answer.validators))


def test_either_key_counts_and_a_third_does_not(tmp_path: Path) -> None:
    old, new, stranger = Signer(), Signer(), Signer()
    path = tmp_path / "registry.csv"
    feed = Feed(trusting(path, old, new))
    for signer in (old, new):
        published(path, signer)
        assert isinstance(ask(feed), Fetched)
    published(path, stranger)
    with pytest.raises(
        NoSourceAnswered, match=r"made with key .*, not with .* or "
    ) as e:
        ask(feed)
    assert e.value.reason == Reason.SIGNATURE_KEY


def test_a_key_that_borrows_the_id_of_another_counts_for_nothing(
    tmp_path: Path,
) -> None:
    old, new = Signer(), Signer()
    path = tmp_path / "registry.csv"
    published(path, Signer(key_id=new.key_id))
    with pytest.raises(NoSourceAnswered) as caught:
        ask(Feed(trusting(path, old, new)))
    assert caught.value.reason == Reason.SIGNATURE_WRONG
    with pytest.raises(ValueError, match="the same id"):
        trusting(path, old, Signer(key_id=old.key_id))


def test_the_same_under_the_new_key_is_kept_so_that_the_old_one_can_go(
    tmp_path: Path,
) -> None:
    old, new = Signer(), Signer()
    path, state = tmp_path / "registry.csv", tmp_path / "state"
    published(path, old)
    first = ask(Feed(trusting(path, old)))
    assert isinstance(first, Fetched)
    kept(state, first)

    # The gateway trusts both: what stands still stands, and a start has it.
    both = Feed(trusting(path, old, new))
    assert isinstance(ask(both, first.validators), NotModified)
    assert Store(state, *trusting(path, old, new).public_keys).load() is not None

    published(path, new)
    second = ask(both, first.validators)
    assert isinstance(second, Fetched), "as it was, it says nothing to who has not old"
    kept(state, second)
    assert isinstance(ask(both, second.validators), NotModified)

    # The old key goes, and no source answers: a start still has a registry.
    only = trusting(path, new)
    assert isinstance(ask(Feed(only), second.validators), NotModified)
    path.unlink()
    assert Store(state, *only.public_keys).load() is not None
    with pytest.raises(FeedFault, match="made with key"):
        Store(state, *trusting(path, old).public_keys).load()


def test_what_was_signed_by_a_key_that_went_is_had_anew(tmp_path: Path) -> None:
    old, new = Signer(), Signer()
    path = tmp_path / "registry.csv"
    published(path, new)
    answer = ask(Feed(trusting(path, new)))
    assert isinstance(answer, Fetched)
    before = replace(answer.validators, key_id="0")
    assert isinstance(ask(Feed(trusting(path, new, old)), before), Fetched)


def test_a_server_that_knows_of_the_registry_alone_does_not_hide_another_signature(
    tmp_path: Path,
) -> None:
    """Its word is about the registry: signed anew, it answers 304 as before."""
    old, new = Signer(), Signer()
    authority, path = Authority(tmp_path), "/registry.csv"
    with RegistryServer(authority.context("localhost", "127.0.0.1")) as server:

        def answer(*keys: Signer, previous: Validators | None = None) -> Answer:
            public = [key.public for key in keys]
            url = server.url(path)
            return ask(
                Feed(FeedSettings.parse([url], public, ca_file=authority.path)),
                previous,
            )

        server.publish(path, ROWS, ETag='"1"')
        server.publish(f"{path}.minisig", old.sign(ROWS, LATER))
        first = answer(old)
        assert isinstance(first, Fetched)
        assert isinstance(answer(old, previous=first.validators), NotModified)
        assert "if-none-match" in server.requests[-1].headers, "with one key it asks so"

        server.publish(f"{path}.minisig", new.sign(ROWS, LATER))
        second = answer(old, new, previous=first.validators)
        assert isinstance(second, Fetched)
        kept(tmp_path / "state", second)
        assert isinstance(answer(old, new, previous=second.validators), NotModified)
        assert isinstance(answer(new, previous=second.validators), NotModified)
    public_keys = FeedSettings.parse([path], new.public).public_keys
    assert Store(tmp_path / "state", *public_keys).load() is not None

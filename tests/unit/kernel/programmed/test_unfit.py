# SPDX-License-Identifier: GPL-2.0-or-later
"""Only an answer is an objection: what could not be asked is told apart from it."""

import errno
from unittest import mock

import pytest

from vpngate.errors import KernelRefused, Problem
from vpngate.kernel.bpf.taken_off import Requirement
from vpngate.kernel.programmed import unfit
from vpngate.kernel.programmed.unfit import ETHERNET, Looked, header_of, objections
from vpngate.kernel.wire.channel import Channel

DEVICES = {"lan0": 2, "lan1": 3, "lan2": 4}
CHANGED = KernelRefused(Problem("read a list", "it changed"))


@pytest.fixture(autouse=True)
def nothing_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfit, "Channel", lambda _: mock.Mock(spec=Channel))
    monkeypatch.setattr(unfit, "chains_before", lambda *_, **__: {"lan2": "a chain"})
    monkeypatch.setattr(unfit, "what_it_needs", lambda *_: None)
    monkeypatch.setattr(unfit, "program_at", lambda *_: "")
    monkeypatch.setattr(unfit, "_hardware", lambda _: 1)


def looked(*few: str) -> Looked:
    return objections(DEVICES, few, table="vpngate", ours=())


def test_nothing_is_against_it() -> None:
    assert looked("lan0", "lan1") == Looked({"lan2": "a chain"}, frozenset())


@pytest.mark.parametrize("asked", ["what_it_needs", "program_at", "_hardware"])
def test_a_question_that_fails_is_no_objection(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(unfit, asked, mock.Mock(side_effect=[CHANGED, None, None]))
    found = looked("lan0", "lan1", "lan2")
    assert found == Looked({"lan2": "a chain"}, frozenset({"lan0"}))


def test_an_answer_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else could not be asked."""
    monkeypatch.setattr(unfit, "what_it_needs", lambda *_: Requirement("needs it"))
    monkeypatch.setattr(unfit, "_hardware", mock.Mock(side_effect=CHANGED))
    found = looked("lan1")
    assert found == Looked({"lan1": "needs it", "lan2": "a chain"}, frozenset())


def test_of_one_that_has_a_chain_nothing_more_has_to_be_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unfit, "program_at", mock.Mock(side_effect=CHANGED))
    assert looked("lan2") == Looked({"lan2": "a chain"}, frozenset())


@pytest.mark.parametrize("asked", ["Channel", "chains_before"])
def test_where_nothing_can_be_asked_that_is_said(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(unfit, asked, mock.Mock(side_effect=CHANGED))
    with pytest.raises(KernelRefused, match="it changed"):
        looked("lan0", "lan1")


def answering(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.undo()  # of `nothing_stands`
    refused = mock.Mock(side_effect=OSError(number, "no"))
    monkeypatch.setattr("fcntl.ioctl", refused)


def test_one_that_has_gone_has_no_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, errno.ENODEV)
    assert header_of("lan0") == ETHERNET


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EPERM])
def test_one_whose_header_cannot_be_asked_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    answering(monkeypatch, number)
    with pytest.raises(KernelRefused, match="interface lan0"):
        header_of("lan0")


def test_without_a_descriptor_no_header_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    many = mock.Mock(side_effect=OSError(errno.EMFILE, "Too many open files"))
    monkeypatch.setattr("socket.socket", many)
    with pytest.raises(KernelRefused, match="Too many open files"):
        header_of("lan0")

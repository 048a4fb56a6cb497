# SPDX-License-Identifier: GPL-2.0-or-later
"""What an answer about the hooks of an interface means."""

import errno
from unittest import mock

import pytest

from vpngate.errors import KernelRefused, MissingFeature, Problem
from vpngate.kernel.bpf import in_the_way, marks, programs
from vpngate.kernel.bpf.syscall import BpfRefused
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.channel import Channel


def told(monkeypatch: pytest.MonkeyPatch, answer: object) -> str:
    """Where no filter stands, and the kernel answers this about programs."""
    asked = mock.Mock(side_effect=[answer, answer])
    monkeypatch.setattr(tc, "filters_at", lambda *_: [])
    monkeypatch.setattr(programs, "attached", asked)
    return in_the_way.program_at(mock.Mock(spec=Channel), 2, [7], "vpngate")


def test_a_kernel_without_such_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, BpfRefused("ask", errno.EINVAL)) == ""
    assert told(monkeypatch, MissingFeature(Problem("eBPF", "no bpf(2)"))) == ""


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOMEM, errno.EOPNOTSUPP])
def test_whatever_else_it_answers_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with pytest.raises(KernelRefused):
        told(monkeypatch, BpfRefused("ask", number))


def test_more_programs_than_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cannot all be ours."""
    answer = BpfRefused("ask", errno.ENOSPC)
    assert "not vpngate's at ingress (TCX)" in told(monkeypatch, answer)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("vpngate:vpngate", ""),
        ("vpngate:vpngate+clsact", ""),
        ("vpngate:other+clsact", 'gateway.table = "other"'),
        ("vpngate:", "that are not vpngate's"),
        ("others", "that are not vpngate's"),
    ],
)
def test_filters_by_their_marks(
    monkeypatch: pytest.MonkeyPatch, named: str, words: str
) -> None:
    one = tc.Classifier(marks.PREFERENCE, marks.HANDLE, 7, named)
    monkeypatch.setattr(tc, "filters_at", lambda *_: [one])
    monkeypatch.setattr(programs, "attached", lambda *_: [])
    found = in_the_way.program_at(mock.Mock(spec=Channel), 2, [], "vpngate")
    assert words in found
    assert bool(found) is bool(words)
    elsewhere = one._replace(preference=9)
    monkeypatch.setattr(tc, "filters_at", lambda *_: [elsewhere])
    assert "not vpngate's" in in_the_way.program_at(
        mock.Mock(spec=Channel), 2, [], "vpngate"
    )


def test_programs_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, [7]) == ""
    assert "not vpngate's at ingress (TCX)" in told(monkeypatch, [7, 8])

# SPDX-License-Identifier: GPL-2.0-or-later
"""What an answer about the hooks of an interface means."""

import errno
from unittest import mock

import pytest

from vpngate.errors import KernelRefused, MissingFeature, Problem
from vpngate.kernel.bpf import in_the_way, programs
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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENODEV, errno.EOPNOTSUPP])
def test_whatever_else_it_answers_is_an_objection(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Above all that there are more programs than were asked for."""
    with pytest.raises(KernelRefused):
        told(monkeypatch, BpfRefused("ask", number))


def test_programs_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, [7]) == ""
    assert "not vpngate's at ingress (TCX)" in told(monkeypatch, [7, 8])

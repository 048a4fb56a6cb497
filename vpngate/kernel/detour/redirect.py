# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter that takes marked packets on their way out to the ifb.

Knows clsact, and one classic-BPF filter at its egress that tests one bit of the
mark, last of all filters there; does not know who marks packets or why. A `u32`
filter on the mark would match everything on kernels built without it.

The filter's handle says whose clsact it stands in, so that one left behind by a
killed predecessor is told apart from an operator's, which is never deleted.
"""

import errno
import struct
from collections.abc import Iterable

from vpngate.errors import KernelRefused, MissingFeature, Problem
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import (
    CREATE,
    EXCLUSIVE,
    attribute,
    attributes,
    each_attribute,
)
from vpngate.kernel.wire.channel import Change, Channel, Failure

_CLSACT_HANDLE = tc.CLSACT_MAJOR << 16
_CLSACT_KIND = "clsact"
_LAST = 0xFFFF  # preference: a redirected packet skips what would come after
_ALL_PROTOCOLS = 0x0300  # ETH_P_ALL, in network order
_INFO = _LAST << 16 | _ALL_PROTOCOLS
_IN_OUR_CLSACT, _IN_ANOTHERS = 0x7667_0001, 0x7667_0002

_BPF_ACTIONS, _BPF_STEP_COUNT, _BPF_STEPS = 1, 4, 5  # TCA_BPF_*
_PARAMETERS, _SKBEDIT_MARK, _SKBEDIT_MASK = 2, 5, 8  # TCA_MIRRED_*, TCA_SKBEDIT_*
_GENERIC = struct.Struct("=IIiii")  # tc_gen: index, capab, action, refcnt, bindcnt
_MIRRED_PARAMETERS = struct.Struct("=IIiiiiI")  # the same, then eaction, ifindex
_MIRRED = b"mirred\0"

# Classic BPF (linux/filter.h): load the mark, test the bit, match or not.
_LOAD_MARK = (0x20, 0, 0, 0xFFFFF000 + 20)  # SKF_AD_OFF + SKF_AD_MARK
_MATCH, _NO_MATCH = (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)
_STEP = struct.Struct("=HBBI")  # sock_filter: code, jt, jf, k
_PIPE, _STOLEN = 3, 4  # TC_ACT_*
_EGRESS_REDIRECT = 1  # TCA_EGRESS_REDIR


def program(mark: int) -> bytes:
    """The test of one mark bit."""
    test = (0x45, 0, 1, mark)  # jump over the match unless any of the bits is set
    return b"".join(_STEP.pack(*step) for step in (_LOAD_MARK, test, _MATCH, _NO_MATCH))


def is_ours(handle: int) -> bool:
    """Whether a filter's handle is one of those that vpngate gives."""
    return handle in (_IN_OUR_CLSACT, _IN_ANOTHERS)


class Redirect:
    """The filters of one table's interfaces. One thread alone may use it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._clears_mark = True  # until the kernel says that it has no skbedit

    def attach(self, interface: int, name: str, mark: int, device: int) -> None:
        """Redirect what carries the mark to the ifb `device`.

        A filter that is there already, ours or a dead predecessor's, is replaced.
        """
        was_ours = self._handle(interface) == _IN_OUR_CLSACT
        self._remove_filter(interface)
        made = self._add_clsact(interface, name)
        handle = _IN_OUR_CLSACT if made or was_ours else _IN_ANOTHERS
        failures = self._add_filter(interface, handle, mark, device)
        if failures and self._clears_mark:
            self._clears_mark = False
            failures = self._add_filter(interface, handle, mark, device)
        if failures:
            self._raise(failures[0], name, "the modules cls_bpf and act_mirred")

    def detach(self, interface: int) -> None:
        """Take the filter away, and the clsact if it was ours and stands empty."""
        handle = self._handle(interface)
        if handle is None:
            return
        self._remove_filter(interface)
        others = any(
            self._filters(interface, side)
            for side in (tc.CLSACT_INGRESS, tc.CLSACT_EGRESS)
        )
        if handle == _IN_OUR_CLSACT and not others:
            self._channel.each(
                [
                    _change(
                        tc.DELETE_QDISC,
                        0,
                        (interface, _CLSACT_HANDLE, tc.CLSACT, 0),
                        b"",
                    )
                ]
            )

    def is_attached(self, interface: int, mark: int, device: int) -> bool:
        """Whether the filter stands as `attach` leaves it."""
        for handle, options in self._filters(interface, tc.CLSACT_EGRESS):
            if is_ours(handle):
                parts = attributes(options)
                tests = bytes(parts.get(_BPF_STEPS, b"")) == program(mark)
                return tests and _device(parts.get(_BPF_ACTIONS, b"")) == device
        return False

    def stale(self, interfaces: Iterable[int]) -> list[int]:
        """The interfaces on which a filter of ours, or a predecessor's, stands."""
        return [index for index in interfaces if self._handle(index) is not None]

    def _add_clsact(self, interface: int, name: str) -> bool:
        """Make sure there is a clsact; returns whether it was made now."""
        address = (interface, _CLSACT_HANDLE, tc.CLSACT, 0)
        body = attribute(tc.KIND, _CLSACT_KIND.encode() + b"\0")
        failures = self._channel.each(
            [_change(tc.NEW_QDISC, CREATE | EXCLUSIVE, address, body)]
        )
        if not failures:
            return True
        if failures[0].number != errno.EEXIST:
            self._raise(failures[0], name, "the module sch_ingress")
        self._insist_on_clsact(interface, name)
        return False

    def _insist_on_clsact(self, interface: int, name: str) -> None:
        """KernelRefused where the older ingress qdisc stands in its place.

        That one takes a filter for egress, and asks it at ingress.
        """
        kinds = {q.kind for q in tc.queues(self._channel) if q.interface == interface}
        if _CLSACT_KIND not in kinds:
            raise KernelRefused(
                Problem(
                    f"interface {name}",
                    "has an ingress qdisc, which keeps filters from what goes out",
                    f"put clsact in its place (tc qdisc del dev {name} ingress; tc "
                    f"qdisc add dev {name} clsact) and its filters into that",
                )
            )

    def _add_filter(
        self, interface: int, handle: int, mark: int, device: int
    ) -> list[Failure]:
        steps = program(mark)
        options = (
            attribute(
                _BPF_ACTIONS, _actions(mark, device, self._clears_mark), nested=True
            )
            + attribute(_BPF_STEP_COUNT, struct.pack("=H", len(steps) // _STEP.size))
            + attribute(_BPF_STEPS, steps)
        )
        body = attribute(tc.KIND, b"bpf\0") + attribute(
            tc.OPTIONS, options, nested=True
        )
        address = (interface, handle, tc.CLSACT_EGRESS, _INFO)
        return self._channel.each(
            [_change(tc.NEW_FILTER, CREATE | EXCLUSIVE, address, body)]
        )

    def _remove_filter(self, interface: int) -> None:
        handle = self._handle(interface)
        if handle is not None:
            address = (interface, handle, tc.CLSACT_EGRESS, _INFO)
            body = attribute(tc.KIND, b"bpf\0")
            self._channel.each([_change(tc.DELETE_FILTER, 0, address, body)])

    def _handle(self, interface: int) -> int | None:
        """The handle of our filter on an interface, if there is one."""
        for handle, _ in self._filters(interface, tc.CLSACT_EGRESS):
            if is_ours(handle):
                return handle
        return None

    def _filters(self, interface: int, side: int) -> list[tuple[int, memoryview]]:
        """Handles and options of one side's filters; none without a clsact."""
        found = []
        for answer in self._channel.dump(tc.ask(tc.GET_FILTER, interface, side)):
            _, _, handle, _, _ = tc.HEAD.unpack_from(answer)
            options = attributes(answer, tc.HEAD.size).get(tc.OPTIONS)
            if handle and options is not None:
                found.append((handle, options))
        return found

    @staticmethod
    def _raise(failure: Failure, name: str, needed: str) -> None:
        where = f"interface {name}"
        if failure.number in (errno.ENOENT, errno.EOPNOTSUPP):
            remedy = f"vpngate needs {needed}"
            raise MissingFeature(Problem(where, f"takes no filter: {failure}", remedy))
        raise KernelRefused(Problem(where, f"takes no filter: {failure}"))


def _change(kind: int, flags: int, place: tuple[int, ...], body: bytes) -> Change:
    data = tc.packed(kind, flags, tc.Place(*place), body)
    return Change(data, f"filter of interface {place[0]}")


def _device(actions: bytes | memoryview) -> int:
    """Where the redirection among a filter's actions leads; 0 if nowhere."""
    for _, action in each_attribute(actions):
        parts = attributes(action)
        if bytes(parts.get(tc.ACTION_KIND, b"")) == _MIRRED:
            parameters = attributes(parts[tc.ACTION_OPTIONS])[_PARAMETERS]
            return int(_MIRRED_PARAMETERS.unpack_from(parameters)[-1])
    return 0


def _actions(mark: int, device: int, clears_mark: bool) -> bytes:  # noqa: FBT001
    """What is done with a marked packet: the bit is cleared where the kernel can."""
    actions = []
    if clears_mark:
        options = (
            attribute(_PARAMETERS, _GENERIC.pack(0, 0, _PIPE, 0, 0))
            + attribute(_SKBEDIT_MARK, struct.pack("=I", 0))
            + attribute(_SKBEDIT_MASK, struct.pack("=I", mark))
        )
        actions.append((b"skbedit\0", options))
    redirect = _MIRRED_PARAMETERS.pack(0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, device)
    actions.append((_MIRRED, attribute(_PARAMETERS, redirect)))
    return b"".join(
        attribute(
            order,
            attribute(tc.ACTION_KIND, kind)
            + attribute(tc.ACTION_OPTIONS, options, nested=True),
            nested=True,
        )
        for order, (kind, options) in enumerate(actions, start=1)
    )

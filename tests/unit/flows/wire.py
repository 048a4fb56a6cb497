# SPDX-License-Identifier: GPL-2.0-or-later
"""Two ends, a flow table that watches them, and a clock, for the tests beside it.

Knows no protocol: its tunnel's messages are what a test says they are.
"""

from collections.abc import Sequence

from vpngate.flows import FlowTable
from vpngate.packets import Endpoint, HookPoint, Packet, Transport
from vpngate.recognition import Gate, Heard, Message, Role, Sighting, Tunnel

CLIENT = Endpoint(bytes([192, 0, 2, 1]), 41000)
SERVER = Endpoint(bytes([10, 0, 0, 2]), 1194)  # the lower end of the flow
TUNNEL = Tunnel("example", (), lambda _: None, lambda flow: (flow,), idle=180)
START = 1_000.0
IN, OUT = Gate(HookPoint.INGRESS), Gate(HookPoint.EGRESS)


class Wire:
    """`agrees` is what the second reader says; `asked` is what it was shown."""

    def __init__(self) -> None:
        self.agrees = True
        self.asked: list[Sequence[Heard]] = []
        self.table = FlowTable(100, self._agree)
        self.now = START

    def _agree(self, tunnel: Tunnel, heard: Sequence[Heard]) -> bool:
        assert tunnel is TUNNEL
        self.asked.append(heard)
        return self.agrees

    def send(
        self,
        sender: Endpoint,
        role: Role,
        token: bytes = b"",
        *,
        gate: Gate | None = None,
        payload: bytes = b"",
        **extra: int,
    ) -> Sighting | None:
        receiver = SERVER if sender is CLIENT else CLIENT
        packet = Packet(Transport.UDP, sender, receiver, payload, len(payload))
        message = Message(role, role.value, token, **extra)  # type: ignore[arg-type]
        return self.table.observe(Heard(packet, message), TUNNEL, self.now, gate)

    def wait(self, seconds: float) -> None:
        self.now += seconds

# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken messages explained: whatever bytes are in them, it ends in lines and JSON.

And no byte of an address shows where none should.
"""

import io
import json
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.unit.capture import crafted
from tests.unit.second_reading.confirmations import CONFIRMATIONS, Confirmation
from tests.unit.tunnels.crafting import CLIENT, SERVER, network, packet
from vpngate.capture.account import Account, Noted
from vpngate.capture.missing_evidence import lacking
from vpngate.capture.replay import Replay
from vpngate.cli import main
from vpngate.cli.printing.dissection import Blind, dissected
from vpngate.packets import parse_address
from vpngate.tunnels import all_tunnels

_TUNNELS = {tunnel.name: tunnel for tunnel in all_tunnels()}
_BARE, _EXPLAINED = (Replay(all_tunnels(), explain=how) for how in (False, True))
_PAYLOADS = sorted({said.payload for c in CONFIRMATIONS for said in c.said})
_ADDRESS = bytes((203, 0, 113, 77))
_HIDDEN = {
    _ADDRESS.hex(),
    _ADDRESS[::-1].hex(),
    "203.0.113.77",
    str(int.from_bytes(_ADDRESS)),
    str(int.from_bytes(_ADDRESS, "little")),
}


@given(
    confirmation=st.sampled_from(CONFIRMATIONS),
    payload=mutated(_PAYLOADS) | st.binary(max_size=200),
    back=st.booleans(),
)
def test_anything_is_dissected_or_not(
    confirmation: Confirmation, payload: bytes, *, back: bool
) -> None:
    """Every tunnel's reader over any payload: fields on one line each, as JSON too."""
    one = packet(confirmation.transport, payload, confirmation.ports, back=back)
    for tunnel in _TUNNELS.values():
        for layer in dissected(tunnel, one):
            json.dumps([field.value for field in layer.fields])
            assert all(field.text.isprintable() for field in layer.fields)
            assert all(len(field.text) < 100 for field in layer.fields)


@given(
    confirmation=st.sampled_from(CONFIRMATIONS),
    number=st.integers(0, 5),
    at=st.integers(0, 300),
    turned=st.booleans(),
)
def test_no_value_holds_an_address_that_is_in_a_payload(
    confirmation: Confirmation, number: int, at: int, *, turned: bool
) -> None:
    said = confirmation.said[number % len(confirmation.said)]
    at %= max(1, len(said.payload) - len(_ADDRESS))
    put = _ADDRESS[:: -1 if turned else 1]
    payload = said.payload[:at] + put + said.payload[at + len(put) :]
    one = packet(confirmation.transport, payload, confirmation.ports, back=said.back)
    for layer in dissected(_TUNNELS[confirmation.tunnel], one, Blind()):
        for field in layer.fields:
            for shown in (json.dumps(field.value), field.text):
                assert not [spelled for spelled in _HIDDEN if spelled in shown.lower()]


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """A capture of messages of one kind, some of them damaged, in any order."""
    confirmation = draw(st.sampled_from(CONFIRMATIONS))
    frames = []
    for _ in range(draw(st.integers(1, 8))):
        said = draw(st.sampled_from(confirmation.said))
        payload = draw(mutated([said.payload], most=2))
        back = draw(st.sampled_from([said.back, said.back, not said.back]))
        frames.append(
            network(confirmation.transport, payload, confirmation.ports, back=back)
        )
    return crafted.pcap(frames, crafted.RAW)


@given(conversations())
def test_an_explanation_changes_no_verdict(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        path = Path(file.name)
        bare = [flow for flow, _ in _BARE.flows(_BARE.open(path))]
        explained = list(_EXPLAINED.flows(_EXPLAINED.open(path)))
    assert [flow for flow, _ in explained] == bare
    for flow, account in explained:
        assert account is not None
        confirmed = flow.evidence.label == "confirmed"
        assert bool(account.evidence) >= confirmed
        assert (lacking(account) == ()) is confirmed


@pytest.mark.parametrize("form", ["table", "json"])
@given(content=conversations())
def test_the_command_prints_lines_and_no_address(form: str, content: bytes) -> None:
    out, err = io.StringIO(), io.StringIO()
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        words = ["classify", "--explain", "--no-addresses", "--format", form]
        with redirect_stdout(out), redirect_stderr(err):
            assert main([*words, file.name]) == 0
    assert err.getvalue() == ""
    text = out.getvalue()
    for address in (CLIENT, SERVER):
        assert address not in text
        assert parse_address(address).hex() not in text
    for line in text.splitlines():
        assert line.isprintable()
        if form == "json":
            assert json.loads(line)["explanation"]["messages"]


def test_an_account_of_anything_lacks_something_at_most_a_few_lines() -> None:
    """Messages in any order, also those that no flow begins with."""
    random = Random(9)
    for _ in range(300):
        confirmation = random.choice(CONFIRMATIONS)
        tunnel = _TUNNELS[confirmation.tunnel]
        account = Account(tunnel)
        account.heard = tuple(
            Noted(one, tunnel.read(one), 0.0)
            for one in random.choices(confirmation.packets(), k=random.randint(1, 8))
        )
        assert 1 <= len(lacking(account)) <= len(account.heard)

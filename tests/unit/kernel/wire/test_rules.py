# SPDX-License-Identifier: GPL-2.0-or-later
"""A rule that is put together here has the bytes of one that pyroute2 packs whole."""

from collections.abc import Iterator
from dataclasses import replace

from tests import rulesets
from vpngate.kernel.wire import nft
from vpngate.kernel.wire.attributes import APPEND, CREATE, REQUEST, each_message
from vpngate.kernel.wire.declarations import rule_msg
from vpngate.kernel.wire.encoding import encode_rule
from vpngate.kernel.wire.messages import new_rule
from vpngate.ruleset.composition import compose
from vpngate.ruleset.table import Line

TABLE = "vpngate"


def packed_whole(chain: str, line: Line) -> bytes:
    made = rule_msg()
    made["attrs"] = [
        ("NFTA_RULE_TABLE", TABLE),
        ("NFTA_RULE_CHAIN", chain),
        ("NFTA_RULE_EXPRESSIONS", encode_rule(line.rule)),
        ("NFTA_RULE_USERDATA", {"value": line.comment}),
    ]
    made["nfgen_family"] = nft.NETDEV
    made["header"]["type"] = nft.SUBSYSTEM | nft.NEW_RULE
    made["header"]["flags"] = REQUEST | CREATE | APPEND
    made.encode()
    return bytes(made.data)


def kinds_of_rules() -> Iterator[tuple[str, Line]]:
    """One of each list of kinds of expressions, each with names of each padding."""
    seen = set()
    for ruleset in (rulesets.RULESET, replace(rulesets.RULESET, enforce=False)):
        for chain in compose(ruleset).chains:
            for line in chain.lines:
                kinds = tuple(map(type, line.rule))
                kind = kinds, len(chain.name) % 4, len(line.comment) % 4
                if kind not in seen:
                    seen.add(kind)
                    yield chain.name, line


def test_a_rule_has_the_bytes_that_pyroute2_packs() -> None:
    found = list(kinds_of_rules())
    assert len(found) > 50
    for chain, line in found:
        assert new_rule(TABLE, chain, line).data == packed_whole(chain, line), line


def test_a_rule_that_comes_first_differs_in_that_alone() -> None:
    chain, line = next(kinds_of_rules())
    behind, first = (new_rule(TABLE, chain, line, first=n).data for n in (False, True))
    ((kind, flags, _, body),) = each_message(behind)
    ((kind_first, flags_first, _, body_first),) = each_message(first)
    assert (kind, bytes(body)) == (kind_first, bytes(body_first))
    assert flags == flags_first | APPEND != flags_first

# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules are encoded by mended declarations, and pyroute2's own stay as they are.

Each case runs in an interpreter of its own: which class is looked up first decides
what pyroute2 notes, and with which.
"""

import subprocess
import sys

import pytest

# What another program in this process may send: an expression of a name and its data.
_THEIRS = """
from pyroute2.netlink.nfnetlink.nftsocket import nft_rule_msg

def theirs(name, *data):
    message = nft_rule_msg()
    inner = {"attrs": list(data)}
    whole = {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", inner)]}
    message["attrs"] = [("NFTA_RULE_EXPRESSIONS", [whole])]
    message.encode()
    return bytes(message.data)

def all_theirs():
    limit = {"attrs": [
        ("NFTA_EXPR_NAME", "log"),
        ("NFTA_EXPR_DATA", {"attrs": [("NFTA_LOG_GROUP", 5170)]}),
    ]}
    return [
        theirs("log", ("NFTA_LOG_GROUP", 5170)),
        theirs("dynset", ("NFTA_DYNSET_SET_NAME", "s"), ("NFTA_DYNSET_EXPR", limit)),
        theirs("meta", ("NFTA_META_DREG", 1), ("NFTA_META_KEY", 3)),
    ]
"""
_OURS = """
from vpngate.expressions import DynamicSet, Forward, LogPacket
from vpngate.expressions import ReversePathCheck, SetOperation
from vpngate.kernel.wire.messages import new_rule
from vpngate.ruleset.table import Line

def ours():
    inner = DynamicSet("s", SetOperation.ADD, expressions=(LogPacket(5170),))
    rule = (LogPacket(5170), ReversePathCheck(), inner, Forward())
    return [new_rule("t", "c", Line(rule, "all that is mended")).data]
"""
_PRINT = "print([one.hex() for one in {}()])"


def run(*parts: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(parts)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("setting", "function"), [(_THEIRS, "all_theirs"), (_OURS, "ours")]
)
def test_each_encodes_as_if_the_other_were_not_there(
    setting: str, function: str
) -> None:
    alone = run(setting, _PRINT.format(function))
    behind = "all_theirs()" if function == "ours" else "ours()"
    assert run(_THEIRS, _OURS, behind, _PRINT.format(function)) == alone


def test_the_group_of_a_log_is_as_wide_as_the_kernel_wants_it() -> None:
    [rule] = run(_OURS, _PRINT.format("ours")).split(",")
    assert rule.count("060001001432") == 2  # 16 bits: 5170, also inside a set's rule

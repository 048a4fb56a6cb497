# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane that live tests run over, and those that are about one plane alone.

Knows what a run was asked for (`PLANE=ebpf make netns`, `make planes`), and why a file
has nothing to say of another plane; does not know what the tests do. Programs stand by
links where the kernel has them; `BY_FILTERS=1` has them stand by filters all the same.
"""

import os
from pathlib import Path

from vpngate.config import Plane

BY_FILTERS = bool(os.environ.get("BY_FILTERS"))
PLANE = Plane(os.environ.get("PLANE") or Plane.NFTABLES)
# Where slowed packets wait, and of which kind such a device is, as ip(8) names it.
DEVICE, KIND = {
    Plane.NFTABLES: ("ifb-vpngate", "ifb"),
    Plane.EBPF: ("vgs-vpngate", "veth"),
}[PLANE]
NEAR_END = DEVICE.partition("-")[0]

# They look into the nftables table, or break it: what they promise needs a form of its
# own for programs.
ABOUT_NFTABLES = {
    "test_copying_live.py": "the rules that copy",
    "test_dispatch_live.py": "the rules that tell packets apart",
    "test_doctor.py": "the rows of nftables' features",
    "test_doctor_conflicts.py": "neighbours of a table",
    "test_egress_filters.py": "what packets skip behind an ifb",
    "test_failed_changes.py": "transactions of nftables that fail",
    "test_ifb_of_ours.py": "ifbs",
    "test_many_interfaces.py": "chains of 255 devices",
    "test_nflog.py": "NFLOG",
    "test_set_answers.py": "what sets of nftables answer",
    "test_signatures_live.py": "the compiler to nftables",
    "test_spared_oracle.py": "the way by an ifb, and nftables' sets",
    "test_survey.py": "nftables' and tc's lists",
    "test_trial.py": "nftables' features",
    "test_unasked.py": "rules that ask for verdicts",
    "test_unasked_daemon.py": "rules that ask for verdicts",
    "test_unasked_doubts.py": "transactions of nftables that fail",
}
# What holds over programs what one of those holds over nftables.
TWINS = {
    "test_copying_live.py": "test_bpf_plane.py",
    "test_dispatch_live.py": "test_bpf_frames.py",
    "test_doctor.py": "test_programs_survey.py",
    "test_doctor_conflicts.py": "test_programs_survey.py",
    "test_egress_filters.py": "test_bpf_interfaces.py",
    "test_failed_changes.py": "test_bpf_failures.py",
    "test_ifb_of_ours.py": "test_veth_left_behind.py",
    "test_many_interfaces.py": "test_bpf_interfaces.py",
    "test_nflog.py": "test_bpf_plane.py",
    "test_set_answers.py": "test_comparison.py",
    "test_signatures_live.py": "test_bpf_agreement.py",
    "test_spared_oracle.py": "test_bpf_promise.py",
    "test_trial.py": "test_programs_survey.py",
}


def why_not(path: Path) -> str:
    """Why a test file has nothing to say of the plane asked for; empty if it has."""
    reason = ABOUT_NFTABLES.get(path.name, "") if PLANE is Plane.EBPF else ""
    return f"about nftables alone: {reason}" if reason else ""

# SPDX-License-Identifier: GPL-2.0-or-later
"""How test files are dealt out to workers that run side by side.

Knows which files take long and which measure rates; does not know what they test.
A stream is run by one worker, in order: mostly one file, so that what a module's
fixtures set up is set up once. The files that measure rates make three streams and no
more. Streams start longest first, so that no long one is left over at the end.
"""

from collections.abc import Iterable

import pytest
from xdist.scheduler import LoadScopeScheduling

RATE_STREAMS = 3

# Seconds on two cores with nothing else to do; in multiples of ten, since only the
# order matters. A file that is not here takes less than the last.
SECONDS = {
    "tests/faults/test_appetite.py": 70,
    "tests/faults/test_publish_killed.py": 20,
    "tests/faults/test_publish_minisign.py": 20,
    "tests/faults/test_feed_store_disk.py": 10,
    "tests/unit/metrics/test_alerts.py": 20,
    "tests/unit/metrics/test_alert_cases.py": 20,
    "tests/unit/cli/test_streams.py": 30,
    "tests/unit/capture/test_summaries.py": 20,
    "tests/unit/signatures/test_decision.py": 20,
    "tests/unit/second_reading/test_agreement.py": 10,
    "tests/unit/cli/test_explain.py": 10,
    "tests/unit/cli/test_bundle.py": 10,
    "tests/unit/cli/test_terminal.py": 10,
    "tests/unit/cli/test_side_by_side.py": 10,
    "tests/unit/bench/test_runner.py": 10,
    "tests/unit/ruleset/test_promise.py": 10,
    "tests/unit/ruleset/test_mutations.py": 10,
    "tests/unit/registry/test_oracle.py": 10,
    "tests/netns/test_peers.py": 300,
    "tests/netns/test_sides.py": 220,
    "tests/netns/test_bpf_left_alone.py": 60,
    "tests/netns/test_bpf_promise.py": 50,
    "tests/netns/test_doctor.py": 70,
    "tests/netns/test_doctor_other_plane.py": 50,
    "tests/netns/test_bench.py": 70,
    "tests/netns/test_fleet.py": 80,
    "tests/netns/test_failures.py": 170,
    "tests/netns/test_doctor_conflicts.py": 80,
    "tests/netns/test_dispatch_live.py": 50,
    "tests/netns/test_throttling.py": 150,
    "tests/netns/test_openvpn_live.py": 110,
    "tests/netns/test_registry_faults.py": 150,
    "tests/netns/test_foreign_peers.py": 120,
    "tests/netns/test_bridge.py": 120,
    "tests/netns/test_forged.py": 120,
    "tests/netns/test_verdict_life.py": 80,
    "tests/netns/test_unasked_daemon.py": 60,
    "tests/netns/test_unasked.py": 30,
    "tests/netns/test_reload_storm.py": 40,
    "tests/netns/test_reload.py": 70,
    "tests/netns/test_operator.py": 70,
    "tests/netns/test_halts.py": 110,
    "tests/netns/test_barrage.py": 60,
    "tests/netns/test_fleet_watched.py": 40,
    "tests/netns/test_counting.py": 60,
    "tests/netns/test_uplink.py": 60,
    "tests/netns/test_openvpn_variants.py": 50,
    "tests/netns/test_innocent_4500.py": 60,
    "tests/netns/test_coverage_of_verdicts.py": 60,
    "tests/netns/test_urgent_reload.py": 60,
    "tests/netns/test_ipsec_natt.py": 60,
    "tests/netns/test_stance.py": 100,
    "tests/netns/test_comparison.py": 50,
    "tests/netns/test_demo.py": 50,
    "tests/netns/test_kernel_table.py": 40,
    "tests/netns/test_smoke.py": 40,
    "tests/netns/test_restart.py": 40,
    "tests/netns/test_spared.py": 30,
    "tests/netns/test_many_interfaces.py": 30,
    "tests/netns/test_no_fork.py": 10,
    "tests/netns/test_programs_survey.py": 10,
    "tests/netns/test_veth_left_behind.py": 30,
    "tests/netns/test_bpf_life.py": 50,
    "tests/netns/test_bpf_plane.py": 40,
    "tests/netns/test_bpf_failures.py": 60,
    "tests/netns/test_bpf_filters.py": 60,
    "tests/netns/test_bpf_interfaces.py": 60,
    "tests/netns/test_bpf_as_it_went.py": 30,
    "tests/netns/test_bpf_beside_others.py": 40,
    "tests/netns/test_bpf_tc_index.py": 40,
    "tests/netns/test_bpf_urgent.py": 90,
    "tests/netns/test_bpf_clsact.py": 30,
    "tests/netns/test_bpf_newcomers.py": 30,
    "tests/netns/test_veth_pairs.py": 40,
    "tests/netns/test_veth_rates.py": 30,
    "tests/netns/test_what_waits.py": 30,
    "tests/netns/test_bad_input.py": 30,
    "tests/netns/test_campaign.py": 30,
    "tests/netns/test_clear.py": 30,
    "tests/netns/test_preview.py": 30,
    "tests/netns/test_privacy.py": 30,
    "tests/netns/test_privacy_mirror.py": 20,
    "tests/netns/test_self_check.py": 30,
}
RATES = {
    "tests/netns/test_bridge.py",
    "tests/netns/test_coverage_of_verdicts.py",
    "tests/netns/test_failures.py",
    "tests/netns/test_foreign_peers.py",
    "tests/netns/test_ipsec_natt.py",
    "tests/netns/test_openvpn_live.py",
    "tests/netns/test_operator.py",
    "tests/netns/test_reload.py",
    "tests/netns/test_sides.py",
    "tests/netns/test_smoke.py",
    "tests/netns/test_throttling.py",
    "tests/netns/test_unasked_daemon.py",
    "tests/netns/test_urgent_reload.py",
    "tests/netns/test_verdict_life.py",
    "tests/netns/test_veth_rates.py",
    "tests/netns/test_what_waits.py",
}


def _dealt() -> tuple[dict[str, str], dict[str, int]]:
    """Each rate file's stream, and each such stream's seconds: the emptiest is next."""
    stream: dict[str, str] = {}
    seconds = {f"rates {number}": 0 for number in range(1, RATE_STREAMS + 1)}
    for file in sorted(RATES, key=lambda file: (-SECONDS.get(file, 0), file)):
        stream[file] = min(seconds, key=lambda name: seconds[name])
        seconds[stream[file]] += SECONDS.get(file, 0)
    return stream, seconds


_STREAM, _RATE_SECONDS = _dealt()


def stream_of(nodeid: str) -> str:
    """The stream of a test: its file, or one of those that measure rates."""
    file = nodeid.partition("::")[0]
    return _STREAM.get(file, file)


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests in the order in which their streams are to start."""

    def seconds(item: pytest.Item) -> int:
        stream = stream_of(item.nodeid)
        return _RATE_SECONDS.get(stream, SECONDS.get(stream, 0))

    return sorted(items, key=lambda item: -seconds(item))


class StreamScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """Whole streams, each to the next worker that has nothing left to do."""

    def _split_scope(self, nodeid: str) -> str:
        return stream_of(nodeid)

# SPDX-License-Identifier: GPL-2.0-or-later
# `make demo` shows vpngate at work, `make test` proves it. Both set up what they
# need first: a virtual environment in .venv and, as root, Debian packages.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q --tb=short --durations=10
# Test files side by side, in the order of their streams (tests/streams.py): the longest
# first. Live tests wait most of the time.
JOBS ?= $(shell nproc)
LIVE_JOBS ?= 6
SIDE_BY_SIDE := --dist=loadfile --no-loadscope-reorder --max-worker-restart=2 --numprocesses

# Kept bytecode: without it each worker rewrites the tests anew (15 s of a processor instead
# of 6 to collect tests/unit), and each daemon that a test starts compiles itself.
unexport PYTHONDONTWRITEBYTECODE

# The data plane that live tests, storm, campaign, soak and kernels run over: nftables, or
# ebpf (`make storm PLANE=ebpf`).
PLANE ?= nftables
export PLANE

.PHONY: help setup demo test lint fix types unit planes planes-slice house manual dashboards netns package wheel systemd package-test browser smoke busy kernels faults bench fuzz fuzz-slice storm campaign soak long corpus corpus-if-there hashes behind repin advisories bill clean privacy

help:
	@echo 'make demo                 a gateway between two hosts, real traffic, one table'
	@echo 'make test                 lint, types and every test'
	@echo 'make unit [ROOM=registry] one room takes seconds (SLOW=1: a minute); all, with coverage'
	@echo 'make fix                  what ruff can put right by itself'
	@echo 'make smoke                the live path once, in a minute'
	@echo 'make lint types faults netns   other parts of it'
	@echo 'make planes               all that is live, over the eBPF plane (PLANE=ebpf for others)'
	@echo 'make house                docs/architecture.md draws the house as the imports have it'
	@echo 'make manual               manual pages, completions, docs/configuration.md, config/vpngate.toml'
	@echo 'make dashboards           config/grafana is written anew from release/*_board.py'
	@echo 'make bench [ROWS=load,idle] [QUICK=1]  figures of speed and memory, docs/performance.md'
	@echo 'make fuzz [SECONDS=300]   every parser, fed with nonsense'
	@echo 'make storm [RELOADS=1000] reload after reload under probes that must not be slowed'
	@echo 'make campaign [FAULTS=100] [SEED=1] [FROM=0] [ONLY=killed]  fault after fault'
	@echo 'make soak [MINUTES=30]    reloads and handshakes: nothing grows'
	@echo 'make package [REVISION=1]  Debian packages for two releases; make wheel: a wheel'
	@echo 'make package-test [TRANSCRIPT=1] installed, upgraded, removed in bare roots of both'
	@echo 'make systemd [TRANSCRIPT=1] and the unit under systemd as PID 1: hung, killed, ...'
	@echo 'make browser              the pages in Chromium: phone, dark, keyboard, barriers'
	@echo 'make busy [TIMES=3]       the live tests while all cores are busy with something else'
	@echo 'make privacy              no address in anything that vpngate says, writes or keeps'
	@echo 'make kernels [KERNEL=trixie]  the live core on the kernels of other releases, under QEMU'
	@echo 'make long                 what `make test` runs a slice of, whole: some 15 minutes'
	@echo 'make hashes               the hashes of all pinned packages, written anew (network)'
	@echo 'make behind               which pins have newer versions (network); make repin PIN=a==1.2'
	@echo 'make advisories           are the versions we allow known to be unsafe?'
	@echo 'make bill                 a bill of materials (CycloneDX) in dist/'
	@echo 'make corpus CORPUS=DIR [PEERS=DIR]  recognition, scored on labelled captures'

setup: .apt-done .venv/.done
	@true

# Stamped only if nothing is missing: without root the next call asks again.
.apt-done: tests/packages.txt tests/install-packages
	@tests/install-packages
	@[ "$$(id -u)" -ne 0 ] || touch $@

# Stamped by the script, only if nothing is missing.
.foreign/.done: tests/foreign.txt tests/install-foreign | .apt-done
	@tests/install-foreign

.foreign/systemd/.done: tests/systemd/releases.txt tests/systemd/packages.txt | .apt-done
	@tests/install-packages tests/systemd/packages.txt
	@tests/systemd/make-roots

.venv/.done: pyproject.toml requirements/build.txt requirements/run.txt requirements/dev.txt
	@echo 'set-up: virtual environment in .venv'
	@[ -n '$(PYTHON)' ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'set-up: Python 3.11 or later is needed' >&2; exit 1; }
	@tests/make-venv '$(PYTHON)'
	@touch $@

demo: setup
	@$(BIN)/python -m tests.lab.demo

# Lint and types fail at once; the tests all run, and what failed is told in the end.
test: setup
	@$(MAKE) --no-print-directory lint types
	@tests/run-steps unit faults netns planes-slice fuzz-slice corpus-if-there
	@[ "$$(id -u)" -eq 0 ] || echo 'make test: without root the live tests were left out (see the skips above)'
	@echo 'make test: passed'

lint: .venv/.done
	@echo '== lint'
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet

fix: .venv/.done
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

types: .venv/.done
	@echo '== types'
	@$(BIN)/mypy

# ROOM=registry: the tests of that room, at once, without those marked slow (SLOW=1: with
# them). All of them: without those of test_linters.py, which are `make lint types`, and
# the floors up to the second are pure: more than 95 % of their lines and branches.
ROOM_TESTS = $(wildcard tests/unit/$(ROOM) tests/unit/test_$(ROOM).py)
unit: .venv/.done
ifdef ROOM
	@[ -n '$(ROOM_TESTS)' ] || { echo 'make unit: tests/unit has no $(ROOM)' >&2; exit 2; }
	@$(PYTEST) $(ROOM_TESTS) $(if $(SLOW),,-m 'not slow')
else
	@echo '== unit tests'
	@$(PYTEST) tests/unit --ignore=tests/unit/test_linters.py \
	  $(SIDE_BY_SIDE) $(JOBS) --cov --cov-report= --no-cov-on-fail
	@$(BIN)/coverage json --quiet -o .venv/coverage.json
	@$(BIN)/python -m tests.coverage_floors .venv/coverage.json
endif

# Where the house has changed, the page that draws it.
house: .venv/.done
	@$(BIN)/python -m tests.draw_house

# Where a metric or a panel has changed: config/grafana, by release/*_board.py.
dashboards: .venv/.done
	@$(BIN)/python -m release.dashboards

# What is made of argparse and of the configuration's schema. A package has the pages.
manual: .venv/.done
	@$(BIN)/python -m release.manual dist/manual

faults: setup
	@echo '== faults'
	@$(PYTEST) tests/faults $(SIDE_BY_SIDE) $(JOBS)

netns: setup .foreign/.done
	@echo '== live tests, in network namespaces'
	@$(PYTEST) tests/netns $(SIDE_BY_SIDE) $(LIVE_JOBS)

# The same over the other plane, and a part of it, in a minute.
planes: setup .foreign/.done
	@echo '== live tests over the eBPF plane'
	@PLANE=ebpf $(PYTEST) tests/netns $(SIDE_BY_SIDE) $(LIVE_JOBS)

planes-slice: setup
	@echo '== a slice of them over the eBPF plane'
	@PLANE=ebpf $(PYTEST) tests/netns/test_smoke.py tests/netns/test_no_fork.py
	@PLANE=ebpf BY_FILTERS=1 $(PYTEST) tests/netns/test_smoke.py

# A Debian package for each release, and the wheel, below dist/. pip asks its index for
# wheels that are not there yet; their hashes are in requirements/. REVISION=2: the same
# vpngate, with other versions of what it runs with.
REVISION ?= 1
package: .venv/.done
	@echo '== packages (a minute)'
	@rm -f dist/vpngate_*.deb
	@REVISION='$(REVISION)' $(BIN)/python -m release.package

wheel: manual
	@$(BIN)/pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation \
	  --wheel-dir dist .

# The package and its service under systemd as PID 1, in a bare Debian of each release of
# tests/systemd/releases.txt: installed, booted, hung, upgraded, removed. Restarts come at
# the unit's own pace. No part of `make test`. TRANSCRIPT=1 shows all that was typed, and
# the answers.
PACKAGE_TESTS = tests/systemd/test_package.py tests/systemd/test_upgrade.py
systemd package-test: setup .foreign/systemd/.done package
	@echo '== the package and its service under systemd (some minutes)'
	@$(PYTEST) --log-level=INFO $(if $(TRANSCRIPT),-rP) \
	  $(if $(filter package-test,$@),$(PACKAGE_TESTS),tests/systemd)

# A part of `make unit` and of `make netns`, by itself: half a minute.
privacy: setup
	@$(PYTEST) tests/unit/test_traces.py tests/unit/cli/test_bundle.py \
	  tests/unit/daemon/outside/test_memory_image.py \
	  tests/netns/test_privacy.py tests/netns/test_privacy_mirror.py

# The pages in Chromium, as people meet them; pictures are left in tests/browser/pictures.
.browser/axe.min.js: tests/browser/packages.txt tests/browser/axe.txt tests/browser/install
	@tests/browser/install
	@touch $@

browser: setup .browser/axe.min.js
	@echo '== the pages in a browser (a minute)'
	@$(PYTEST) tests/browser

smoke: setup
	@$(PYTEST) tests/netns/test_smoke.py

# The same while something else keeps every core busy: no test may depend on that.
TIMES ?= 3
busy: setup
	@pids=; trap 'kill $$pids' EXIT; trap 'exit 1' INT TERM HUP; \
	for core in $$(seq $$(nproc)); do \
	  sh -c 'while :; do :; done' & pids="$$pids $$!"; \
	done; \
	for time in $$(seq $(TIMES)); do \
	  $(MAKE) --no-print-directory netns || exit 1; \
	done

# Another kernel with this machine's files: some twenty minutes each.
.kernels/.done: tests/kernels/kernels.txt tests/kernels/packages.txt | .apt-done
	@tests/install-packages tests/kernels/packages.txt
	@tests/install-foreign tests/kernels/kernels.txt .kernels

KERNEL ?=
kernels: setup .kernels/.done
	@$(BIN)/python -m tests.kernels $(if $(KERNEL),--kernel $(KERNEL)) $(TESTS)

# Peers are compiled: without a compiler they are left out.
.venv/.bench-done: requirements/bench.txt bench/packages.txt .venv/.done | .apt-done
	@tests/install-packages bench/packages.txt
	@$(BIN)/pip install --quiet --no-deps --require-hashes --no-build-isolation \
	  -r requirements/bench.txt && touch $@ || echo 'make bench: without peers that have to be built'

# What takes turns on one machine is compared; figures depend on the machine. Whole: some
# 50 minutes, and a machine with nothing else to do. Only then it writes the page.
BENCH = $(if $(QUICK),--quick) $(if $(ROWS),--only $(ROWS)) $(if $(QUICK)$(ROWS),,--write-docs)
bench: setup .venv/.bench-done
	@[ "$$(id -u)" -eq 0 ] || { echo 'make bench: it needs root' >&2; exit 1; }
	@mkdir -p dist
	@$(BIN)/python -m bench $(BENCH) --json dist/bench.json

SECONDS ?= 300
fuzz: .venv/.done
	@$(BIN)/python -m tests.fuzz $(SECONDS)

fuzz-slice: .venv/.done
	@echo '== a slice of fuzzing'
	@$(PYTEST) tests/fuzz

RELOADS ?= 1000
storm: setup
	@echo '== $(RELOADS) reloads in a row'
	@VPNGATE_RELOADS='$(RELOADS)' $(PYTEST) -rP tests/netns/test_reload_storm.py

# Whatever is done to the daemon, registered and plain traffic does not notice: each
# fault beside a control that has it, too. 1,000 take an hour. The same seed draws the
# same faults; FROM=312 FAULTS=1 has one again. A line of JSON each below dist/.
FAULTS ?= 100
SEED ?= 1
FROM ?= 0
CAMPAIGN = --faults '$(FAULTS)' --seed '$(SEED)' --from '$(FROM)'
CAMPAIGN += $(if $(ONLY),--only '$(ONLY)') $(if $(WITHIN),--minutes '$(WITHIN)')
campaign: setup
	@$(BIN)/python -m tests.campaign $(CAMPAIGN)

MINUTES ?= 30
soak: setup
	@$(BIN)/python -m tests.campaign.soak --minutes '$(MINUTES)'

# The tests that draw at random or count to a limit, in their long forms.
long: setup
	@echo '== agreement, selectivity, bounds'
	@VPNGATE_AGREEMENT=100000 VPNGATE_RANDOM_PAYLOADS=2000000 VPNGATE_FLOOD=1000000 \
	  VPNGATE_EVERY_VALUE=1 \
	  $(PYTEST) tests/unit/signatures/test_agreement.py \
	  tests/unit/second_reading/test_agreement.py \
	  tests/unit/tunnels/test_selectivity.py tests/unit/flows/test_bounds.py \
	  tests/netns/test_bpf_agreement.py tests/netns/test_bpf_promise.py
	@echo '== the same on the running kernel'
	@VPNGATE_LIVE_AGREEMENT=10000 VPNGATE_LIVE_COPYING=10000 \
	  VPNGATE_LIVE_DISPATCH=10000 \
	  VPNGATE_SPARED_ORACLE=200 VPNGATE_LIVE_FLOOD=1000000 VPNGATE_BULK=1000000 \
	  $(PYTEST) tests/netns/test_signatures_live.py tests/netns/test_copying_live.py \
	  tests/netns/test_bpf_frames.py \
	  tests/netns/test_dispatch_live.py \
	  tests/netns/test_spared_oracle.py tests/netns/test_flood.py \
	  tests/netns/test_stop_in_bulk.py
	@$(MAKE) --no-print-directory storm

corpus: setup
	@[ -n '$(CORPUS)' ] || { echo 'make corpus CORPUS=DIR: which folder?' >&2; exit 2; }
	@$(BIN)/python -m tests.corpus.report '$(CORPUS)' $(if $(PEERS),'$(PEERS)')

# Labelled captures are big and not part of this repository.
corpus-if-there: setup
	@if [ -n "$$VPNGATE_CORPUS" ]; then \
	  echo '== corpus'; $(PYTEST) tests/corpus --corpus "$$VPNGATE_CORPUS" \
	    $${VPNGATE_PEERS:+--peers "$$VPNGATE_PEERS"}; \
	fi

# After a change of constraints.txt; pip asks its index. The rest needs no network.
hashes:
	@$(BIN)/python -m release.hashes

# Which pins have something newer within our bounds, and one of them moved, the rest kept.
# Both ask pip's index.
behind: .venv/.done
	@$(BIN)/python -m release.behind

repin: .venv/.done
	@[ -n '$(PIN)' ] || { echo 'make repin PIN=NAME==VERSION' >&2; exit 2; }
	@$(BIN)/python -m release.repin '$(PIN)'

advisories: .venv/.done
	@$(BIN)/python -m release.advisories

bill: .venv/.done
	@$(BIN)/python -m release.bill

clean:
	rm -rf .venv .apt-done .browser .foreign .kernels .coverage .mypy_cache .pytest_cache \
	  .ruff_cache .hypothesis dist

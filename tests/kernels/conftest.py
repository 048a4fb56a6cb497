# SPDX-License-Identifier: GPL-2.0-or-later
"""These tests are for the kernels that `make kernels` boots, and for no other."""

import os

collect_ignore_glob = [] if "VPNGATE_GUEST" in os.environ else ["test_*.py"]

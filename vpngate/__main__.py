# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m vpngate`. Knows where the commands are, and nothing else."""

import sys

from vpngate.cli import main

sys.exit(main())

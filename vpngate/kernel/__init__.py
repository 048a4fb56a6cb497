# SPDX-License-Identifier: GPL-2.0-or-later
"""The data plane: all that vpngate asks of the kernel, and the only room to ask it.

Knows nothing itself; see `plane.py` for what can be asked, `live.py` and
`dryrun.py` for who answers.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor: whether vpngate can do its whole job on this machine.

Knows what the daemon needs and what stands in its way; changes nothing, and tries
what has to be tried where nobody is. `examination.py` looks, `host.py`, `holders.py`
and the kernel room read; everything else in here judges what was read, and knows
neither files nor the kernel.
"""

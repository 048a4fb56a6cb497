# SPDX-License-Identifier: GPL-2.0-or-later
"""Accepting connections, for whoever serves any.

Knows what a listening socket does where descriptors are short; does not know who calls.
"""

from vpngate.accepting.patient_listener import PatientListener

__all__ = ["PatientListener"]

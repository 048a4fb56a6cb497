# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: a gateway between subscribers and servers, in throw-away namespaces.

One piece of code for the demo, the live tests and the benches. `topology.py` draws
what it builds; one file each for the real peers (WireGuard, OpenVPN, IPsec, L2TP,
PPTP), for load, for captures and for the daemon under test. Needs root.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""The detour: which flows are slowed, and where each of them waits.

Knows the verdicts, and that none may lead to a class that is not there (`shaping/`);
does not know why a flow is slowed, nor the rules that send its packets here.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""The one way for whatever changes what is in force.

Knows what can happen (`events.py`), what is in force then (`transition.py`), and how
that is brought to kernel, disk, pipeline and metrics (`applier.py`); does not know
where an event comes from.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""What acting, another registry or another configuration would do to the flows of now.

Knows what is proposed (`proposal.py`), what would come of it (`outlook.py`), and how
much of that is told, and how often (`telling.py`, `ration.py`); changes nothing.
"""

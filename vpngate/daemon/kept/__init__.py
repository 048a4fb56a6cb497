# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon keeps of its own in the state folder, beside the registry.

Knows the files and who may read them; does not know what their content leads to.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""The last good registry on disk, to start from when no source answers.

Knows how files appear whole or not at all, and which belong together; does not know
where their content came from.
"""

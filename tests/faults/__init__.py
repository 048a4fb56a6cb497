# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of the world outside, each produced for real: servers, files, disks."""

# SPDX-License-Identifier: GPL-2.0-or-later
"""The only room that receives packets: live copies, mirrored ports, capture files."""

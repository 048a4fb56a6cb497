# SPDX-License-Identifier: GPL-2.0-or-later
"""What a single packet can show, declared once and compiled three ways."""

from vpngate.signatures.declaration import Field, Shape, Signature

__all__ = ["Field", "Shape", "Signature"]

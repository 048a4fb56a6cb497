# SPDX-License-Identifier: GPL-2.0-or-later
"""What a single packet can show, declared once and compiled four ways.

Knows fields, sizes and bits at fixed places; does not know what the rest of a
conversation shows, nor which protocol a signature is for.
"""

from vpngate.signatures.declaration import Field, Shape, Signature

__all__ = ["Field", "Shape", "Signature"]

# SPDX-License-Identifier: GPL-2.0-or-later
"""For who keeps a registry: from rows to what gateways fetch.

Knows what a publication has to hold (the next serial, an end, a signature) and how
it takes the place of the one before; gateways are judged for by what they use
themselves (`registry`, `supply`, `feed`). Does not know gateways, nor web servers.
"""

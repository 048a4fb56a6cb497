# SPDX-License-Identifier: GPL-2.0-or-later
"""What others see of the daemon, and how they speak to it.

Knows the control socket, the service manager, logs and pages; does not know what the
daemon does, nor what it has to say.
"""

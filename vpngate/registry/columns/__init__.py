# SPDX-License-Identifier: GPL-2.0-or-later
"""A million registrations in arrays of numbers.

Knows prefix trees and what registrations say; does not know how either was written.
"""

# SPDX-License-Identifier: GPL-2.0-or-later
"""Letters in place of addresses, so that what is shown can be shown to anybody.

Knows how addresses are named, and how they are found in a text; does not know what is
shown.
"""

import os
import re
import string

from vpngate.packets import parse_address

# Our own limit: an address beyond it is named by a hash, so that no capture fills the
# memory.
MOST_LETTERED = 50_000
_KEY = 16  # bytes
_ALPHABET = string.ascii_uppercase
_HASHED = 12  # letters of a name by hash, 56 bits
# What may be an address: anything of the characters that they are made of.
_WORDS = re.compile(r"[0-9A-Fa-f:.]{2,}")


class Letters:
    """One letter an address: A, B, ... Z, AA, AB, ... in order of appearance.

    The same address has the same name as long as this object is used. Beyond the first
    50,000 a name is made by a hash whose key nobody knows.
    """

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self._key = os.urandom(_KEY)

    def name(self, address: bytes) -> str:
        """The name of an address, in network byte order."""
        known = self._names.get(address)
        if known is not None:
            return known
        if len(self._names) >= MOST_LETTERED:
            from hashlib import blake2b  # all of OpenSSL comes with it

            digest = blake2b(address, key=self._key, digest_size=8).digest()
            return "~" + _spelled(int.from_bytes(digest)).rjust(_HASHED, "A")[-_HASHED:]
        name = self._names[address] = _spelled(len(self._names))
        return name

    def without_addresses(self, text: str) -> str:
        """A text with the name of each address that stands in it instead of it."""
        return _WORDS.sub(lambda found: self._named(found[0]), text)

    def _named(self, word: str) -> str:
        bare = word.strip(".:")
        for candidate in (word, bare, word.rstrip("."), word.rstrip(":")):
            try:
                return word.replace(candidate, self.name(parse_address(candidate)))
            except ValueError:
                continue
        return word


def _spelled(number: int) -> str:
    """0 is A, 25 Z, 26 AA."""
    letters = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, len(_ALPHABET))
        letters = _ALPHABET[digit] + letters
    return letters

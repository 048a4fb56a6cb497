# SPDX-License-Identifier: GPL-2.0-or-later
"""The last good registry on disk, to start from when no source answers.

Knows how to replace it so that at any moment, also after a crash or on a full disk,
either the old or the new one is there whole; does not know what the registry or the
memory beside it mean. Blocking; raises FeedFault.

In the folder:

    last-good.json            names the files that belong together, with their digests
    registry-DIGEST           as published, and beside it, so that minisign -V can be
    registry-DIGEST.minisig   asked too, its signature
    memory-DIGEST             what the guard has to remember

These files are never changed, only added; the moment that counts is when a new
last-good.json takes the place of the old one. What it does not name is swept away.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vpngate.errors import FeedFault
from vpngate.feed.answer import Validators
from vpngate.feed.faults import Reason, fault
from vpngate.feed.minisign import PublicKey, verify_by_any
from vpngate.feed.state.manifest import FileRecord, Manifest, digest
from vpngate.feed.state.statefolder import StateFolder

_MANIFEST = "last-good.json"
_SET_ASIDE = "set-aside.json"  # the same, of a state that was no use
_MAX_MANIFEST_BYTES = 64 * 1024
_REGISTRY = "registry-"
_SIGNATURE_SUFFIX = ".minisig"
_MEMORY = "memory-"


@dataclass(frozen=True, slots=True)
class LastGood:
    """A registry that was accepted, and what has to be remembered beside it.

    data, signature   as published, unparsed
    validators        to ask the sources whether it still stands
    memory            the caller's own bytes: what guard and grace have to remember
    """

    data: bytes
    signature: bytes | None
    validators: Validators
    memory: bytes = b""


class Store:
    """A folder that remembers one registry, safe with several processes."""

    def __init__(self, path: Path, *public_keys: PublicKey) -> None:
        """One of `public_keys`, if there are any, must have signed what is loaded."""
        self._path = path
        self._keys = public_keys

    def load(self) -> LastGood | None:
        """What was saved last; None if nothing was.

        FeedFault if it is damaged, unreadable, or not signed as it should be: then
        there is nothing to start from, and the next `save` mends it.
        """
        with StateFolder.reading(self._path) as folder:
            manifest = self._manifest(folder) if folder else None
            if folder is None or manifest is None:
                return None
            data = self._content(folder, manifest.registry)
            memory = self._content(folder, manifest.memory)
            signature = None
            if manifest.signature:
                signature = self._content(folder, manifest.signature)
        if self._keys:
            self._verify(data, signature)
        return LastGood(data, signature, manifest.validators, memory)

    def set_aside(self) -> None:
        """Rename what is kept: it is unusable. It stays for people who want to look."""
        with suppress(FeedFault), StateFolder.writing(self._path) as folder:
            folder.set_aside(_MANIFEST, _SET_ASIDE)

    def stage(self, last_good: LastGood) -> None:
        """Writes this one beside the old one, so that there is room to `save` it.

        FeedFault if there is not. What is never saved is swept away by the next `save`
        or `remember` of another.
        """
        _, contents = self._records(last_good)
        with StateFolder.writing(self._path) as folder:
            self._write(folder, contents)

    def save(self, last_good: LastGood) -> None:
        """Keeps this one instead; FeedFault if it cannot, then the old one stays."""
        manifest, contents = self._records(last_good)
        with StateFolder.writing(self._path) as folder:
            self._write(folder, contents, manifest)

    @staticmethod
    def _records(last_good: LastGood) -> tuple[Manifest, dict[FileRecord, bytes]]:
        """The manifest of a registry, and what has to be in its files."""
        # One name for registry and signature, so that minisign finds its file; and
        # another where the same registry was signed anew.
        both = digest(last_good.data).encode() + (last_good.signature or b"")
        pair = _REGISTRY + digest(both)[:16]
        registry = FileRecord.of(pair, last_good.data)
        contents = {registry: last_good.data}
        signature = None
        if last_good.signature is not None:
            signature = FileRecord.of(pair + _SIGNATURE_SUFFIX, last_good.signature)
            contents[signature] = last_good.signature
        memory = _memory_record(last_good.memory)
        contents[memory] = last_good.memory
        manifest = Manifest(registry, signature, memory, last_good.validators)
        return manifest, contents

    def remember(self, memory: bytes, validators: Validators | None = None) -> None:
        """Replaces memory, and validators if given, beside the registry kept.

        FeedFault if no sound registry is kept.
        """
        with StateFolder.writing(self._path) as folder:
            manifest = self._manifest(folder)
            if manifest is None:
                what = "there is no last good registry to remember this beside"
                raise fault(Reason.STATE_UNREADABLE, str(self._path), what)
            for kept in filter(None, (manifest.registry, manifest.signature)):
                self._content(folder, kept)
            record = _memory_record(memory)
            manifest = replace(
                manifest,
                memory=record,
                validators=validators or manifest.validators,
            )
            self._write(folder, {record: memory}, manifest)

    def _write(
        self,
        folder: StateFolder,
        contents: dict[FileRecord, bytes],
        manifest: Manifest | None = None,
    ) -> None:
        """Write files, and with a manifest have it take the old one's place."""
        try:
            for record, content in contents.items():
                # What is there already need not be written, but only if it is sound.
                if not record.fits(folder.read(record.name, record.size)):
                    folder.replace(record.name, content)
            if manifest is None:
                return
            folder.replace(_MANIFEST, manifest.encode())
        except FeedFault:
            # What was written of it would fill the disk further. Read again what
            # stands: the failure may have come after the moment that counts.
            with suppress(FeedFault):
                self._sweep(folder, self._manifest(folder))
            raise
        self._sweep(folder, manifest)

    @staticmethod
    def _sweep(folder: StateFolder, manifest: Manifest | None) -> None:
        keep = {record.name for record in manifest.files} if manifest else set()
        folder.sweep(keep, (_REGISTRY, _MEMORY))

    def _manifest(self, folder: StateFolder) -> Manifest | None:
        content = folder.read(_MANIFEST, _MAX_MANIFEST_BYTES)
        if content is None:
            return None
        try:
            return Manifest.decode(content)
        except ValueError as error:
            raise self._corrupted(_MANIFEST, f"is damaged: {error}") from error

    def _content(self, folder: StateFolder, record: FileRecord) -> bytes:
        content = folder.read(record.name, record.size)
        if content is None:
            raise self._corrupted(record.name, "is missing")
        if not record.fits(content):
            raise self._corrupted(record.name, "is damaged: its digest does not fit")
        return content

    def _verify(self, data: bytes, signature: bytes | None) -> None:
        where = str(self._path / _MANIFEST)
        if signature is None:
            what = "the last good registry was kept without a signature"
            raise fault(Reason.SIGNATURE_MISSING, where, what, "ignored")
        verify_by_any(data, signature, self._keys, where)

    def _corrupted(self, name: str, what: str) -> FeedFault:
        where = str(self._path / name)
        remedy = "ignored; the next registry that is accepted replaces it"
        return fault(Reason.STATE_CORRUPTED, where, what, remedy)


def _memory_record(memory: bytes) -> FileRecord:
    return FileRecord.of(_MEMORY + digest(memory)[:16], memory)

# SPDX-License-Identifier: GPL-2.0-or-later
"""One attempt at one source.

Knows what makes a registry acceptable before a byte of it is parsed: complete,
signed by a configured key, not signed before the one that stands, not a bomb. Does
not know the other sources, nor what is tried again.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from vpngate.errors import FeedFault
from vpngate.feed.answer import Answer, Condition, Fetched, NotModified, Validators
from vpngate.feed.faults import Reason, fault
from vpngate.feed.minisign import MAX_SIGNATURE_BYTES, PublicKey, verify_by_any
from vpngate.feed.settings import FeedSettings, HttpsAddress, LocalFile, RegistrySource
from vpngate.feed.sources import https
from vpngate.feed.sources.deadline import Deadline
from vpngate.feed.sources.gzip_check import check_expansion
from vpngate.feed.sources.localfile import read_file
from vpngate.feed.sources.tls_client import TlsClient


@dataclass(frozen=True, slots=True)
class _Published:
    data: bytes
    signature: bytes | None
    condition: Condition
    coded: bool = False


def deliver(
    source: RegistrySource,
    settings: FeedSettings,
    previous: Validators,
    deadline: Deadline,
    *,
    fresh: bool,
) -> Answer:
    """What this source has, compared with what stands.

    previous  the registry that stands; all empty if none does
    fresh     pass by the caches on the way

    FeedFault if it has nothing acceptable.
    """
    keys = settings.public_keys
    if previous.key_id not in ({key.key_id for key in keys} or {""}):
        # What stands was signed by none of these: it has to be had anew, with a
        # signature that counts.
        previous = Validators()
    if isinstance(source, LocalFile):
        published = _from_file(source, settings)
    else:
        fetcher = _Fetcher(settings, deadline, fresh=fresh)
        answer = fetcher.fetch(source, _condition(source, previous, len(keys)))
        if answer is None:
            return NotModified(str(source), previous)
        published = answer
    key_id, signed_at = _signed(published, keys, str(source.signature))
    validators = Validators(
        source=source.identity,
        digest=sha256(published.data).hexdigest(),
        key_id=key_id,
        signed_at=signed_at,
        condition=published.condition,
    )
    # The same under another key is kept anew: a start has to verify it by that key
    # once the one before is given up.
    if (validators.digest, key_id) == (previous.digest, previous.key_id):
        newest = max(validators.signed_at, previous.signed_at)
        return NotModified(str(source), replace(validators, signed_at=newest))
    _check_age(validators, previous, str(source.signature))
    check_expansion(published.data, settings.limits.expanded, str(source), deadline)
    return Fetched(published.data, str(source), published.signature, validators)


def _condition(source: HttpsAddress, previous: Validators, keys: int) -> Condition:
    """The server's word for what stands; empty where all is to be had again.

    It is about the registry alone. Where one of several keys may have signed, the
    signature may be another for the same registry.
    """
    same = previous.source == source.identity and keys <= 1
    return previous.condition if same else Condition()


def _from_file(source: LocalFile, settings: FeedSettings) -> _Published:
    signed = bool(settings.public_keys)
    limit = settings.limits.published
    data = read_file(source.path, limit, settle=not signed)
    signature = None
    if signed:
        try:
            signature = read_file(source.signature, MAX_SIGNATURE_BYTES, settle=False)
        except FeedFault as failure:
            raise _without_signature(failure, str(source.signature)) from failure
    return _Published(data, signature, Condition())


class _Fetcher:
    def __init__(
        self, settings: FeedSettings, deadline: Deadline, *, fresh: bool
    ) -> None:
        self._signed = bool(settings.public_keys)
        self._limits = settings.limits
        self._deadline = deadline
        self._fresh = fresh
        self._context = https.trust(settings.ca_file)

    def fetch(self, source: HttpsAddress, condition: Condition) -> _Published | None:
        """Registry and signature; None if the server says that `condition` holds."""
        demand = https.Demand(
            self._limits.published,
            framed=not self._signed,
            fresh=self._fresh,
        )
        registry = self._get(source, demand, condition)
        if registry is None:
            return None
        signature = self._signature(source.signature) if self._signed else None
        return _Published(registry.body, signature, registry.condition, registry.coded)

    def _signature(self, address: HttpsAddress) -> bytes:
        demand = https.Demand(
            MAX_SIGNATURE_BYTES,
            any_type=True,
            fresh=self._fresh,
        )
        try:
            resource = self._get(address, demand, Condition())
        except FeedFault as failure:
            raise _without_signature(failure, str(address)) from failure
        return resource.body if resource else b""

    def _get(
        self, address: HttpsAddress, demand: https.Demand, condition: Condition
    ) -> https.Resource | None:
        transport = TlsClient(self._context, self._limits, self._deadline, str(address))
        return https.get(address, transport, demand, condition)


def _without_signature(failure: FeedFault, where: str) -> FeedFault:
    """Returns the failure; where nothing was found, that the signature is missing."""
    if failure.reason not in {Reason.FILE_MISSING, Reason.NOT_FOUND}:
        return failure
    what = "the registry has no signature"
    remedy = "sign it with minisign -S and publish both files"
    return fault(Reason.SIGNATURE_MISSING, where, what, remedy)


def _signed(
    published: _Published, keys: tuple[PublicKey, ...], where: str
) -> tuple[str, int]:
    """Verifies, if there are keys to verify with: by which key, and when.

    In seconds since 1970; 0 if unknown.
    """
    if not keys:
        return "", 0
    signature = published.signature or b""
    try:
        signed = verify_by_any(published.data, signature, keys, where)
    except FeedFault as failure:
        if published.coded and failure.reason == Reason.SIGNATURE_WRONG:
            raise _signed_unpacked(where) from failure
        raise
    return signed.key_id, signed.timestamp or 0


def _signed_unpacked(where: str) -> FeedFault:
    """Returns the fault of a signed registry that the server packed on the way.

    It would have to be unpacked before its signature can be checked, and anybody
    could have us unpack anything.
    """
    what = "does not fit the bytes as sent: the server packs them (Content-Encoding)"
    remedy = "serve the registry without Content-Encoding, or publish and sign a .gz"
    return fault(Reason.CONTENT_ENCODING, where, what, remedy)


def _check_age(validators: Validators, previous: Validators, where: str) -> None:
    """FeedFault if the signature is older than the one in force: a replay.

    The guard compares serials, which a CSV does not have.
    """
    if validators.signed_at < previous.signed_at:
        behind = previous.signed_at - validators.signed_at
        raise fault(
            Reason.SIGNATURE_OLDER,
            where,
            f"signed {behind} s before the registry that stands"
            if validators.signed_at
            else "does not say when it was signed, as the one that stands does",
            "to go back to an older registry, sign it anew; if a signer's clock was"
            " wrong, `vpngate reload --accept-older`",
        )

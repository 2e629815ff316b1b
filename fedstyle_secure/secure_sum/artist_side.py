"""The artist's part of secure summation: announce a key, check everything, then mask, encrypt and sign.

Nothing leaves before every check has passed: who signed the manifest, the artist's own seat in the roster,
the size of the cohort, the counters, the public key, and every other artist's announcement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.files import PRIVATE, create, erase, locked, private_folder, read_secret, write_bytes
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.encoding import canonical, integer, items, mapping, parse, text, unhex
from fedstyle_secure.secure_sum.identity import SIGNATURE_BYTES, Identity, same, verified
from fedstyle_secure.secure_sum.manifest import Manifest, SignedManifest, check_name
from fedstyle_secure.secure_sum.masks import mask
from fedstyle_secure.secure_sum.messages import Upload, checked_key, sign_upload
from fedstyle_secure.secure_sum.packing import pack
from fedstyle_secure.secure_sum.scheme import encrypt

ANNOUNCEMENT_BYTES = 32 + SIGNATURE_BYTES
_ANNOUNCE = "announce"
_MAX_STATE = 2**24


@dataclass(frozen=True)
class Pins:
    """What an artist insists on, learnt out of band and set by itself.

    Attributes:
        opener: The opener's public key, 64 hexadecimal digits.
        k_min: Fewest artists that it lets itself be summed with, itself included.
        threshold: Fewest contributors of a group that it lets be shown; 0 for vectors without groups.
    """

    opener: str
    k_min: int
    threshold: int


class Member:
    """An artist in secure summation.

    Its folder holds `identity.key`, `mask.key` (the ephemeral key between announcing and sealing) and
    `sealed.json` (the last attempt that it answered, by run). Two processes may work on it at once.
    """

    def __init__(self, home: Path, artist: str, pins: Pins) -> None:
        """
        Args:
            home: The artist's own folder; made with 0700 if it is not there.
            artist: Its name, as the opener enrolled it.
            pins: What it insists on.

        Raises:
            SecureSumError: The key is damaged.
            PrivacyError: The folder or identity key is open to others.
        """
        check_name(artist, "artist")
        self.artist = artist
        self._home = private_folder(home)
        self._pins = pins
        self._identity = Identity.load(home / "identity.key")

    @property
    def public(self) -> str:
        """The public identity key, for the opener to enrol: 64 hexadecimal digits."""
        return self._identity.public

    def announce(self, run: str, epoch: int, round: int, attempt: int) -> bytes:
        """A fresh X25519 public key for this attempt, signed.

        The private part waits in the artist's folder, since another process may do the sealing. Asked again
        for the same attempt, it announces the same key; another attempt replaces the key.

        Returns:
            96 bytes: public key and signature.

        Raises:
            Refusal: REPLAYED; this attempt or a later one was sealed.
            SecureSumError: `run` is no name.
        """
        check_name(run, "run")
        place = (epoch, round, attempt)
        with locked(self._home):
            self._refuse_used(run, place)
            pending = self._pending()
            if pending is None or pending.attempt != (run, *place):
                erase(self._home / "mask.key")
                pending = _Pending((run, *place), X25519PrivateKey.generate())
                create(self._home / "mask.key", pending.to_bytes())
        public = pending.private.public_key().public_bytes_raw()
        return public + self._identity.sign(
            _ANNOUNCE, *_announced_parts(run, epoch, round, attempt, self.artist, public)
        )

    def seal(
        self,
        values: np.ndarray,
        signed: SignedManifest,
        announcements: Mapping[str, bytes],
        public: bytes,
    ) -> Upload:
        """Mask, encrypt and sign the artist's values, once for an attempt.

        The attempt is entered as answered and the mask key erased before the upload exists, so that no crash
        makes it answer twice; a platform that lost the upload starts another attempt.

        Args:
            values: int64 (D,), each in [-2^(b-1), 2^(b-1) - 1].
            signed: The manifest of the attempt.
            announcements: What each artist of the cohort announced, its own included.
            public: The public key's bytes.

        Raises:
            Refusal: OPENER_SIGNATURE, MANIFEST, ROSTER, TOO_FEW, TOO_MANY, TERMS, PUBLIC_KEY, REPLAYED,
                ANNOUNCEMENT, NO_MASK_KEY or VALUES.
        """
        manifest = signed.read(self._pins.opener)
        self._check_manifest(manifest)
        keys = self._check_announcements(manifest, announcements)
        slots = _packed(values, manifest)
        key = checked_key(public, manifest)
        with locked(self._home):
            private = self._use_up(manifest, keys[self.artist])
        try:
            masks = mask(manifest, self.artist, private, keys)
        except ValueError:
            raise Refusal(Code.ANNOUNCEMENT, "an ephemeral key is of small order") from None
        modulus = np.uint64(manifest.layout.profile.plain_modulus)
        masked = slots + masks
        np.minimum(masked, masked - modulus, out=masked)
        return sign_upload(self._identity, self.artist, manifest.digest, encrypt(key, masked))

    def _check_manifest(self, manifest: Manifest) -> None:
        terms, count = manifest.terms, len(manifest.roster)
        own = manifest.key_of(self.artist)
        if own is None or not same(own, self._identity.public):
            raise Refusal(Code.ROSTER)
        if count < max(terms.smallest_cohort, self._pins.k_min):
            raise Refusal(Code.TOO_FEW, f"{count} artists")
        if count > terms.n_max:
            raise Refusal(Code.TOO_MANY, f"{count} artists")
        threshold = 0 if terms.groups is None else terms.groups.threshold
        if terms.k_min < self._pins.k_min or threshold < self._pins.threshold:
            raise Refusal(Code.TERMS, f"k_min {terms.k_min}, threshold {threshold}")

    def _check_announcements(
        self, manifest: Manifest, announcements: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        """The ephemeral public keys of the cohort, each bound to this attempt by its artist's signature."""
        if set(announcements) != set(manifest.artists):
            raise Refusal(Code.ANNOUNCEMENT, "not of exactly the cohort")
        keys = {}
        for artist in manifest.artists:
            if not announces(manifest, artist, announcements[artist]):
                raise Refusal(Code.ANNOUNCEMENT, artist=artist)
            keys[artist] = announcements[artist][:32]
        return keys

    def _use_up(self, manifest: Manifest, announced: bytes) -> X25519PrivateKey:
        """Enter the attempt as answered, and take its mask key off the disk."""
        place = (manifest.epoch, manifest.round, manifest.attempt)
        self._refuse_used(manifest.run, place)
        sealed = self._sealed()
        last = sealed.get(manifest.run)
        if last is not None and last.fingerprint == manifest.fingerprint:
            raise Refusal(Code.PUBLIC_KEY, "it was that of another attempt; every attempt has its own")
        pending = self._pending()
        if pending is None or pending.attempt != (manifest.run, *place):
            raise Refusal(Code.NO_MASK_KEY)
        if not same(pending.private.public_key().public_bytes_raw().hex(), announced.hex()):
            raise Refusal(Code.ANNOUNCEMENT, "its own was exchanged", artist=self.artist)
        sealed[manifest.run] = _Sealed(*place, manifest.fingerprint)
        write_bytes(self._home / "sealed.json", _sealed_to_bytes(sealed), mode=PRIVATE)
        erase(self._home / "mask.key")
        return pending.private

    def _refuse_used(self, run: str, place: tuple[int, int, int]) -> None:
        last = self._sealed().get(run)
        if last is not None and place <= (last.epoch, last.round, last.attempt):
            raise Refusal(Code.REPLAYED)

    def _pending(self) -> _Pending | None:
        try:
            return _Pending.from_bytes(read_secret(self._home / "mask.key"))
        except FileNotFoundError:
            return None

    def _sealed(self) -> dict[str, _Sealed]:
        try:
            data = read_secret(self._home / "sealed.json")
        except FileNotFoundError:
            return {}
        return _sealed_from_bytes(data)


def announces(manifest: Manifest, artist: str, data: bytes) -> bool:
    """Whether `data` is the announcement of an artist of the cohort for this attempt."""
    identity = manifest.key_of(artist)
    parts = _announced_parts(
        manifest.run, manifest.epoch, manifest.round, manifest.attempt, artist, data[:32]
    )
    return (
        identity is not None
        and len(data) == ANNOUNCEMENT_BYTES
        and verified(identity, data[32:], _ANNOUNCE, *parts)
    )


@dataclass(frozen=True)
class _Pending:
    """An announced mask key and its attempt: (run, epoch, round, attempt)."""

    attempt: tuple[str, int, int, int]
    private: X25519PrivateKey

    def to_bytes(self) -> bytes:
        return canonical([*self.attempt, self.private.private_bytes_raw().hex()])

    @classmethod
    def from_bytes(cls, data: bytes) -> _Pending:
        try:
            run, epoch, round, attempt, private = items(parse(data, _MAX_STATE), 5)
            place = text(run), integer(epoch), integer(round), integer(attempt)
            return cls(place, X25519PrivateKey.from_private_bytes(unhex(private, 32)))
        except ValueError:
            raise SecureSumError(
                "mask.key is damaged; remove it, and the next attempt makes another"
            ) from None


@dataclass(frozen=True)
class _Sealed:
    """The last attempt that was answered, and the public key's fingerprint in it."""

    epoch: int
    round: int
    attempt: int
    fingerprint: str


def _sealed_to_bytes(sealed: Mapping[str, _Sealed]) -> bytes:
    return canonical(
        {run: [last.epoch, last.round, last.attempt, last.fingerprint] for run, last in sealed.items()}
    )


def _sealed_from_bytes(data: bytes) -> dict[str, _Sealed]:
    sealed = {}
    try:
        for run, last in mapping(parse(data, _MAX_STATE)).items():
            epoch, round, attempt, fingerprint = items(last, 4)
            sealed[run] = _Sealed(integer(epoch), integer(round), integer(attempt), text(fingerprint))
    except ValueError:
        raise SecureSumError(
            "sealed.json is damaged; without it an old attempt could be answered again"
        ) from None
    return sealed


def _announced_parts(
    run: str, epoch: int, round: int, attempt: int, artist: str, public: bytes
) -> tuple[bytes, bytes]:
    return canonical([run, epoch, round, attempt, artist]), public


def _packed(values: np.ndarray, manifest: Manifest) -> np.ndarray:
    """uint64 (slots,) in [0, t)."""
    layout = manifest.layout
    half = 1 << (layout.bits - 1)
    if values.dtype != np.int64 or values.shape != (layout.values,):
        raise Refusal(Code.VALUES, f"{values.dtype} {values.shape}, not int64 ({layout.values},)")
    if values.min() < -half or values.max() >= half:
        raise Refusal(Code.VALUES, f"some lie outside [{-half}, {half - 1}]")
    return pack(values, layout).astype(np.uint64)

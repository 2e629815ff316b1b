"""The opener: makes a key for every attempt at a sum, and opens one thing with it only.

One thing is the sum of a whole signed cohort, once a round, of at least k_min artists, added up again by
itself. BFV is malleable and its decryption is an oracle for whoever may choose ciphertexts, and one artist
of the cohort may: it signs what it likes. Hence a key is used for one opening at most and then erased, so
that no answer is of use for another; every slot of a sum has redundancy, so that an answer to what honest
uploads cannot make is a refusal; every other check comes before the key is touched; and nobody is told why
beyond a code.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.files import PRIVATE, create, erase, locked, log_text, private_folder, write_bytes
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.encoding import canonical, digest, integer, items, mapping, parse, text, unhex
from fedstyle_secure.secure_sum.identity import Identity, same
from fedstyle_secure.secure_sum.journal import Journal
from fedstyle_secure.secure_sum.manifest import (
    UNBOUND,
    VERSION,
    Manifest,
    SignedManifest,
    Terms,
    check_name,
    roster,
    sign_manifest,
)
from fedstyle_secure.secure_sum.messages import Request, checked_key
from fedstyle_secure.secure_sum.packing import unpack
from fedstyle_secure.secure_sum.scheme import Accumulator, SecretKey, make_keys, open_total
from fedstyle_secure.secure_sum.suppression import smallest_difference, suppress
from fedstyle_secure.secure_sum.transcript import (
    Closing,
    Entry,
    line_digest,
    result_digest,
    start_digest,
)
from fedstyle_secure.secure_sum.vault import Vault

_MAX_ROSTER = 2**24
_T = TypeVar("_T")
Epoch = tuple[str, int]


@dataclass(frozen=True)
class Opening:
    """What leaves the opener.

    Attributes:
        total: int64 (D,), the sum over the cohort, with zeros for groups that are not shown and for all
            contributor values.
        kept: bool (K,), which groups are shown; empty where the vector has none.
        artists: Size of the cohort.
        line: The signed line for the run's transcript, with its newline.
    """

    total: np.ndarray
    kept: np.ndarray
    artists: int
    line: bytes


@dataclass(frozen=True)
class _Issued:
    """The newest attempt of a round: the digest of its manifest, and its key's fingerprint."""

    attempt: int
    digest: str
    fingerprint: str


@dataclass
class _EpochState:
    terms: Terms
    ended: bool = False
    issued: dict[int, _Issued] = field(default_factory=dict)
    """By round."""
    opened: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """By round: the cohort that was opened, or tried."""


class Opener:
    """The opener. Its folder holds everything that it must remember; any number of processes may use it, one
    at a time, and a restart forgets nothing."""

    def __init__(self, home: Path, passphrase: bytes, recompute_limit: int = 2**30) -> None:
        """
        Args:
            home: The opener's own folder; made with 0700 if it is not there.
            passphrase: Opens the secret keys on disk; or the content of a key file kept elsewhere.
            recompute_limit: Bytes of uploads in a round up to which the opener insists on adding them up
                itself. Above, it opens the platform's sum: the masks still hide every part of a cohort, and
                a platform that lies about the sum can do no more than an artist of the cohort.

        Raises:
            SecureSumError: The journal is damaged.
            PrivacyError: The folder or the identity key is open to others.
        """
        self._home = private_folder(home)
        self._vault = Vault(passphrase)
        self._limit = recompute_limit
        self._identity = Identity.load(home / "identity.key")
        self._journal = Journal(home / "journal.jsonl")
        private_folder(home / "keys")
        self._epochs: dict[Epoch, _EpochState] = {}
        self._heads: dict[str, str] = {}
        self._closed: dict[str, str] = {}
        with locked(self._home):
            self._refresh()
            self._sweep()

    @property
    def public(self) -> str:
        """The public identity key, which everybody pins: 64 hexadecimal digits."""
        return self._identity.public

    # What its own operator does: errors explain themselves.

    def enrol(self, artist: str, public: str) -> None:
        """Admit an artist with the identity key that it gave out of band. Enrolling again changes nothing.

        Raises:
            Refusal: ENROLMENT; the artist has another key, or the key another artist.
            SecureSumError: `artist` is no name.
        """
        check_name(artist, "artist")
        try:
            unhex(public, 32)
        except ValueError as error:
            raise Refusal(Code.ENROLMENT, str(error), artist) from None
        with locked(self._home):
            keys = self._roster()
            if keys.get(artist) == public:
                return
            if artist in keys:
                raise Refusal(Code.ENROLMENT, "it is enrolled with another key", artist)
            if public in keys.values():
                raise Refusal(Code.ENROLMENT, "another artist has this key", artist)
            write_bytes(self._home / "roster.json", canonical({**keys, artist: public}), mode=PRIVATE)

    def begin(self, run: str, epoch: int, terms: Terms) -> None:
        """Start an epoch, within which terms stay the same and cohorts may single nobody out. Beginning again
        changes nothing.

        Raises:
            Refusal: EPOCH; it has ended, or the run was closed.
            SecureSumError: The terms do not fit any profile, or are not those that the epoch began with.
        """
        check_name(run, "run")
        with locked(self._home):
            self._refresh()
            if run in self._closed:
                raise Refusal(Code.EPOCH)
            state = self._epochs.get((run, epoch))
            if state is None:
                self._record(
                    {
                        "event": "begin",
                        "version": VERSION,
                        "run": run,
                        "epoch": epoch,
                        "terms": terms.to_json(),
                    }
                )
            elif state.ended:
                raise Refusal(Code.EPOCH)
            elif state.terms != terms:
                raise SecureSumError(f"epoch {epoch} of {run!r} began with other terms; begin another epoch")

    def end(self, run: str, epoch: int) -> None:
        """End an epoch for good: keys of it that are left are erased, and what was recorded under them stays
        closed."""
        with locked(self._home):
            self._refresh()
            state = self._epochs.get((run, epoch))
            if state is not None and not state.ended:
                self._record({"event": "end", "run": run, "epoch": epoch})
            self._sweep()

    # What the platform asks for: errors are a code.

    def manifest(
        self,
        run: str,
        epoch: int,
        round: int,
        attempt: int,
        cohort: Sequence[str],
        context: str = UNBOUND,
        settings: str = UNBOUND,
    ) -> tuple[SignedManifest, bytes]:
        """Sign the manifest of an attempt, with a fresh key; one an attempt, and the same one if asked again.

        The keys of the round's earlier attempts are erased.

        Args:
            run: As the epoch began.
            epoch: As the epoch began.
            round: From 0.
            attempt: Above every one that was signed for the round.
            cohort: Enrolled artists, in any order.
            context: SHA-256 of what the artists are asked under.
            settings: SHA-256 of the run's settings, as the opener itself knows them.

        Returns:
            The manifest, and the public encryption key of this attempt.

        Raises:
            Refusal: EPOCH, STRANGER, DUPLICATE, TOO_FEW, TOO_MANY, OPENED, ATTEMPT, COHORT, MANIFEST or
                INTERNAL, without detail.
        """
        return self._coded(lambda: self._issue(run, epoch, round, attempt, cohort, context, settings))

    def open(self, request: Request) -> Opening:
        """Open the sum of a whole cohort.

        That a round is being opened is on the disk before the key is touched: whatever happens next, also to
        the power, the round is not opened again, and the key is erased. Whoever touches a sum learns of a key
        that is gone, and that it was refused, so that nobody learns a key by trying. A refused sum costs its
        round; the next one has another key.

        Raises:
            Refusal: OPENER_SIGNATURE, MANIFEST, EPOCH, ATTEMPT, OPENED, SINGLE, TOO_FEW, TOO_MANY, STRANGER,
                OTHER_MANIFEST, UNSIGNED, SIGNATURE, DUPLICATE, INCOMPLETE, COHORT, UPLOADS_MISSING,
                UPLOAD_SIZE, UPLOAD_MALFORMED, DIFFERENT_SUM, BUDGET, RANGE or INTERNAL, without detail.
        """
        return self._coded(lambda: self._open(request))

    def close(self, run: str, settings: str, files: Mapping[str, str]) -> bytes:
        """Sign what a run's files hold at its end, once: asked again with the same files, the same line comes
        again. Nothing is opened for the run any more.

        Args:
            run: The run.
            settings: SHA-256 of its settings, as the opener itself knows them.
            files: SHA-256 of each file by its name, 64 hexadecimal digits.

        Returns:
            The last line of the run's transcript, with its newline.

        Raises:
            Refusal: CLOSED, or INTERNAL, without detail.
        """
        return self._coded(lambda: self._close(run, settings, files))

    def _close(self, run: str, settings: str, files: Mapping[str, str]) -> bytes:
        with locked(self._home):
            self._refresh()
            head = self._heads.get(run, start_digest(run))
            line = Closing(run, settings, dict(files), head).to_line(self._identity)
            if self._closed.get(run, line_digest(line)) != line_digest(line):
                raise Refusal(Code.CLOSED)
            if run not in self._closed:
                self._record({"event": "close", "run": run, "line": line_digest(line)})
            self._sweep()
            return line

    def _issue(
        self,
        run: str,
        epoch: int,
        round: int,
        attempt: int,
        cohort: Sequence[str],
        context: str,
        settings: str,
    ) -> tuple[SignedManifest, bytes]:
        with locked(self._home):
            state = self._epoch(run, epoch)
            seats = roster(self._roster(), cohort)
            if len(seats) < state.terms.smallest_cohort:
                raise Refusal(Code.TOO_FEW)
            if len(seats) > state.terms.n_max:
                raise Refusal(Code.TOO_MANY)
            newest = state.issued.get(round)
            again = newest is not None and newest.attempt == attempt
            try:
                # Everything is checked before a key is made; the fingerprint of a new one is entered below.
                fingerprint = newest.fingerprint if newest is not None and again else UNBOUND
                manifest = Manifest(
                    run, epoch, round, attempt, fingerprint, seats, state.terms, context, settings
                )
            except SecureSumError:
                raise Refusal(Code.MANIFEST) from None
            self._check_round(state, manifest, new=True)
            if again:
                public = (self._folder(manifest) / "public.key").read_bytes()
            else:
                manifest, public = self._with_key(manifest)
            return sign_manifest(manifest, self._identity), public

    def _with_key(self, manifest: Manifest) -> tuple[Manifest, bytes]:
        """The manifest with a fresh key's fingerprint, from now on the round's newest; and the public key."""
        # What a process left that was killed before the journal knew of it; nobody saw that key.
        self._sweep()
        public, secret = make_keys(manifest.layout.profile)
        manifest = replace(manifest, fingerprint=public.fingerprint)
        folder = private_folder(self._folder(manifest))
        self._vault.keep(folder / "secret.key", secret.to_bytes(), _bound_to(manifest))
        create(folder / "public.key", public.to_bytes())
        self._record(
            {
                **_event("manifest", manifest),
                "digest": manifest.digest,
                "fingerprint": manifest.fingerprint,
            }
        )
        self._sweep()
        return manifest, public.to_bytes()

    def _open(self, request: Request) -> Opening:
        manifest = request.signed.read(self.public)
        with locked(self._home):
            state = self._epoch(manifest.run, manifest.epoch)
            self._check_round(state, manifest, new=False)
            _check_receipts(manifest, request)
            body = self._own_sum(manifest, request)
            secret = self._secret(manifest)
            self._record(
                {**_event("open", manifest), "digest": manifest.digest, "cohort": list(manifest.artists)}
            )
            try:
                total, kept = _decrypted(secret, body, manifest)
                opening = self._opening(request, manifest, total, kept)
                self._record({**_event("opened", manifest), "line": line_digest(opening.line)})
            finally:
                self._sweep()
            return opening

    def _check_round(self, state: _EpochState, manifest: Manifest, new: bool) -> None:
        """One opening a round in all epochs, the newest attempt only, and no cohort that singles few out."""
        if self._tried(manifest.run, manifest.round):
            raise Refusal(Code.OPENED)
        newest = state.issued.get(manifest.round)
        later = new and (newest is None or manifest.attempt > newest.attempt)
        if not later and (newest is None or manifest.digest != newest.digest):
            raise Refusal(Code.ATTEMPT)
        cohorts = [*state.opened.values(), manifest.artists]
        if not state.terms.differences_covered and smallest_difference(cohorts) < state.terms.k_min:
            raise Refusal(Code.COHORT)

    def _own_sum(self, manifest: Manifest, request: Request) -> bytes:
        """The sum that is opened: added up here from the uploads, unless they are above the limit."""
        layout = manifest.layout
        if len(request.total) != layout.upload_bytes:
            raise Refusal(Code.UPLOAD_SIZE)
        public = (self._folder(manifest) / "public.key").read_bytes()
        key = checked_key(public, manifest)
        if layout.upload_bytes * len(request.receipts) > self._limit:
            _add(Accumulator(key, layout.blocks), request.total)
            return request.total
        if request.uploads is None or len(request.uploads) != len(request.receipts):
            raise Refusal(Code.UPLOADS_MISSING)
        own = Accumulator(key, layout.blocks)
        for receipt, body in zip(request.receipts, request.uploads, strict=True):
            if len(body) != layout.upload_bytes:
                raise Refusal(Code.UPLOAD_SIZE)
            if not same(hashlib.sha256(body).hexdigest(), receipt.body):
                raise Refusal(Code.DIFFERENT_SUM)
            _add(own, body)
        total = own.total()
        if not hmac.compare_digest(total, request.total):
            raise Refusal(Code.DIFFERENT_SUM)
        return total

    def _opening(self, request: Request, manifest: Manifest, total: np.ndarray, kept: np.ndarray) -> Opening:
        entry = Entry(
            signed=request.signed,
            receipts=tuple(sorted(request.receipts, key=lambda receipt: receipt.artist)),
            result=result_digest(manifest, total, kept),
            kept=tuple(bool(k) for k in kept),
            previous=self._heads.get(manifest.run, start_digest(manifest.run)),
        )
        return Opening(total, kept, len(manifest.roster), entry.to_line(self._identity))

    def _epoch(self, run: str, epoch: int) -> _EpochState:
        """An epoch that is open now."""
        self._refresh()
        state = self._epochs.get((run, epoch))
        if state is None or state.ended or run in self._closed:
            raise Refusal(Code.EPOCH)
        return state

    def _tried(self, run: str, round: int) -> bool:
        """Whether a round was opened, or tried to, in whatever epoch."""
        return any(round in state.opened for (of, _), state in self._epochs.items() if of == run)

    def _secret(self, manifest: Manifest) -> SecretKey:
        data = self._vault.fetch(self._folder(manifest) / "secret.key", _bound_to(manifest))
        return SecretKey.from_bytes(data, manifest.layout.profile)

    def _sweep(self) -> None:
        """Erase every key but those of newest attempts that can still be opened."""
        waiting = {
            issued.fingerprint
            for (run, _), state in self._epochs.items()
            for round, issued in state.issued.items()
            if not state.ended and run not in self._closed and not self._tried(run, round)
        }
        for folder in (self._home / "keys").glob("*"):
            if folder.name not in waiting:
                for path in folder.iterdir():
                    erase(path)
                folder.rmdir()

    def _roster(self) -> dict[str, str]:
        path = self._home / "roster.json"
        if not path.exists():
            return {}
        try:
            keys = mapping(parse(path.read_bytes(), _MAX_ROSTER))
            return {name: unhex(key, 32).hex() for name, key in keys.items()}
        except ValueError:
            raise SecureSumError("roster.json is damaged; restore it, or enrol the artists again") from None

    def _folder(self, manifest: Manifest) -> Path:
        """Where the keys of an attempt are."""
        return self._home / "keys" / manifest.fingerprint

    def _refresh(self) -> None:
        for record in self._journal.refresh():
            if record.get("event") == "begin" and record.get("version") != VERSION:
                raise SecureSumError(
                    f"{self._home}: journal.jsonl was begun by another version of this program, under whose "
                    "keys nothing is opened any more; end its runs, then remove journal.jsonl and epochs/"
                )
            self._apply(record)

    def _record(self, record: dict[str, object]) -> None:
        self._journal.append(record)
        self._apply(record)

    def _apply(self, record: dict[str, object]) -> None:
        """Take a record of the journal into memory; the one way in which memory changes."""
        event, run = text(record["event"]), text(record["run"])
        if event == "close":
            self._closed[run] = text(record["line"])
            return
        epoch = integer(record["epoch"])
        if event == "begin":
            self._epochs[run, epoch] = _EpochState(Terms.from_json(record["terms"]))
            return
        state = self._epochs[run, epoch]
        if event == "end":
            state.ended = True
        elif event == "manifest":
            state.issued[integer(record["round"])] = _Issued(
                integer(record["attempt"]), text(record["digest"]), text(record["fingerprint"])
            )
        elif event == "open":
            cohort = tuple(text(artist) for artist in items(record["cohort"]))
            state.opened[integer(record["round"])] = cohort
        else:
            self._heads[run] = text(record["line"])

    def _coded(self, answer: Callable[[], _T]) -> _T:
        """Errors as a code, without text, cause or context; the rest goes to the opener's own log."""
        try:
            return answer()
        except Refusal as refusal:
            code = refusal.code
            self._log()
        except Exception:
            code = Code.INTERNAL
            self._log()
        raise Refusal(code)

    def _log(self) -> None:
        with contextlib.suppress(OSError):
            log_text(self._home / "opener.log", traceback.format_exc() + "\n")


def _check_receipts(manifest: Manifest, request: Request) -> None:
    """n distinct valid signatures on one manifest: the full cohort, no more and no less."""
    receipts, terms = request.receipts, manifest.terms
    if len(receipts) == 1:
        raise Refusal(Code.SINGLE)
    if len(receipts) < terms.smallest_cohort:
        raise Refusal(Code.TOO_FEW)
    if len(receipts) > terms.n_max:
        raise Refusal(Code.TOO_MANY)
    for receipt in receipts:
        fault = receipt.fault(manifest)
        if fault is not None:
            raise Refusal(fault)
    artists = {receipt.artist for receipt in receipts}
    if len(artists) != len(receipts) or len({receipt.body for receipt in receipts}) != len(receipts):
        raise Refusal(Code.DUPLICATE)
    if artists != set(manifest.artists):
        raise Refusal(Code.INCOMPLETE)


def _add(total: Accumulator, body: bytes) -> None:
    try:
        total.add(body)
    except SecureSumError:
        raise Refusal(Code.UPLOAD_MALFORMED) from None


def _decrypted(secret: SecretKey, body: bytes, manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """The sum and the groups shown, or a refusal if honest uploads cannot have made it."""
    layout, groups = manifest.layout, manifest.terms.groups
    try:
        slots, budget = open_total(secret, body, layout.blocks)
        if budget < layout.profile.budget_floor:
            raise Refusal(Code.BUDGET)
        total = unpack(slots, layout, len(manifest.roster))
    except Refusal:
        raise
    except SecureSumError:
        raise Refusal(Code.RANGE) from None
    if groups is None:
        return total, np.zeros(0, dtype=bool)
    return suppress(total, groups)


def _event(event: str, manifest: Manifest) -> dict[str, object]:
    return {
        "event": event,
        "run": manifest.run,
        "epoch": manifest.epoch,
        "round": manifest.round,
        "attempt": manifest.attempt,
    }


def _bound_to(manifest: Manifest) -> bytes:
    """What a secret key is for: one attempt, by its manifest, which names the public key."""
    return digest("secret key", manifest.digest.encode())

"""The one way out: nothing private leaves an artist except through here.

The order is what makes the ledger true: make the release, keep its bytes, write what it costs, and
only then hand it out. A process killed before the second write has given nothing away; killed after
it, it finds the same bytes again and sends them, which costs nothing more.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fedstyle_secure.errors import PrivacyError, WithdrawnError
from fedstyle_secure.files import PRIVATE, arrays_digest, locked, private_folder, write_arrays, write_text
from fedstyle_secure.privacy.budget import Budget
from fedstyle_secure.privacy.ledger import Entry, Ledger, Withdrawal, Works
from fedstyle_secure.privacy.limits import Limits
from fedstyle_secure.privacy.mechanisms import Mechanism


@dataclass(frozen=True)
class Release:
    """Something computed from private pictures, with the mechanism that made it.

    Attributes:
        kind: What it is.
        arrays: Named arrays; int64 stays, everything else becomes float32.
        mechanism: Bound, noise and cost.
    """

    kind: str
    arrays: Mapping[str, np.ndarray]
    mechanism: Mechanism


class Sealed:
    """Releases that are in the ledger. Only a Gate makes them; only they can be put into a reply."""

    def __init__(self, key: object, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        if key is not _GATE_KEY:
            raise PrivacyError("only a Gate seals releases")
        self.arrays = arrays


_GATE_KEY = object()

_OUTBOXES = 4
"""Runs whose last releases are kept, to be sent again: those that released last."""


class Gate:
    """An artist's way out, safe against being killed and against a second process on the same folder."""

    def __init__(
        self, home: Path, run: str, budget: Budget, limits: Limits | None = None, works: Works | None = None
    ) -> None:
        """Open the artist's way out for one run.

        Args:
            home: The artist's folder, which holds `ledger.jsonl` and the last releases.
            run: Identity of the run; rounds of different runs are different rounds.
            budget: What all releases of all runs together may cost, as the run's settings say.
            limits: What the artist's own policy lets out; None: it has none. Both hold.
            works: Which works it is of, for the ledger; None: nobody decides of works one by one.
        """
        self._home = home
        self._run = run
        self._budget = budget
        self._limits = limits
        self._works = works
        self._outbox = home / "outbox" / run

    def send(self, request: str, number: int, make: Callable[[], Sequence[Release]]) -> Sealed:
        """Return the releases that answer `request`, all of them in the ledger.

        A round is answered once, to the first request for it. Asked again with the same request, it gets the
        same bytes while they are kept; any other request for it is refused, also where the first one failed:
        a failure may tell something, too. So nobody draws more out of an artist than its plan has rounds for,
        whatever is asked in whatever order.

        Args:
            request: Digest of everything the answer depends on.
            number: The round.
            make: Computes the releases; called only if the round was not answered before.

        Raises:
            WithdrawnError: The artist has withdrawn.
            BudgetError: The releases would cost more than what is left.
            PolicyDeclined: The artist's own policy does not let them out.
            PrivacyError: The ledger is damaged, the round was answered before and its bytes are gone, the
                round's first request was another one, a kind occurs twice, or a value is not finite.
        """
        private_folder(self._home)
        private_folder(self._outbox)
        with locked(self._home):
            ledger = Ledger(self._home / "ledger.jsonl")
            _require_consent(ledger)
            path = self._outbox / f"{request}.safetensors"
            answered = [e for e in ledger.entries if (e.run, e.round) == (self._run, number)]
            if answered:
                return Sealed(_GATE_KEY, _again(answered, request, path))
            self._pin(request, number)
            if self._works is not None:
                ledger.note(replace(self._works, at=now(), run=self._run, round=number))
            releases = self._let_out(ledger, make())
            arrays = _checked(releases)
            if releases:
                entries = [self._entry(release, request, number, arrays) for release in releases]
                self._budget.require(ledger.entries, entries)
                if self._limits is not None:
                    self._limits.require(ledger.entries, entries)
                _keep(path, arrays)
                ledger.append(entries)
            return Sealed(_GATE_KEY, arrays)

    def require_consent(self) -> None:
        """Raise WithdrawnError if the artist has withdrawn, PrivacyError if its ledger is damaged."""
        _require_consent(Ledger(self._home / "ledger.jsonl"))

    def _let_out(self, ledger: Ledger, releases: Sequence[Release]) -> Sequence[Release]:
        """Without what the artist does not publish under its name."""
        limits = self._limits
        if limits is None:
            return releases
        return [one for one in releases if not limits.withholds(ledger.entries, self._run, one.kind)]

    def _pin(self, request: str, number: int) -> None:
        """Write down that the round belongs to this request, before anything is computed for it."""
        path = self._home / "asked" / f"{self._run}.json"
        asked = json.loads(path.read_text(encoding="ascii")) if path.exists() else {}
        if asked.setdefault(str(number), request) != request:
            raise PrivacyError(f"round {number} was asked for before, by another request")
        private_folder(path.parent)
        write_text(path, json.dumps(asked), mode=PRIVATE)

    def _entry(
        self, release: Release, request: str, number: int, arrays: Mapping[str, Mapping[str, np.ndarray]]
    ) -> Entry:
        return Entry(
            run=self._run,
            request=request,
            round=number,
            kind=release.kind,
            at=now(),
            digest=arrays_digest(arrays[release.kind]),
            policy=self._limits.policy if self._limits else "",
            **told(release.mechanism),
        )


def told(mechanism: Mechanism) -> dict[str, Any]:
    """What a ledger's entry says of the mechanism that made a release, by the entry's attributes."""
    sensitivity = mechanism.sensitivity("add-remove")
    return {
        "mechanism": type(mechanism).__name__,
        "parameters": _finite(asdict(mechanism)),  # type: ignore[call-overload]
        "sensitivity": sensitivity if math.isfinite(sensitivity) else None,
        "artwork_cost": mechanism.event("artwork"),
        "artist_cost": mechanism.event("artist"),
    }


def _require_consent(ledger: Ledger) -> None:
    if ledger.withdrawal:
        raise WithdrawnError(f"the artist withdrew at {ledger.withdrawal.at}")


def withdraw(home: Path) -> Withdrawal:
    """Write an artist's withdrawal into its ledger: no release leaves through any gate after it.

    Returns:
        The withdrawal that the ledger holds: the first one.
    """
    with locked(private_folder(home)):
        return Ledger(home / "ledger.jsonl").withdraw(now())


def now() -> str:
    """The time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _finite(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with infinity, which JSON lacks, as a text."""
    return {
        name: _finite(value) if isinstance(value, Mapping) else "inf" if value == math.inf else value
        for name, value in parameters.items()
    }


def _again(answered: Sequence[Entry], request: str, path: Path) -> dict[str, dict[str, np.ndarray]]:
    """The kept bytes of a round that was answered before."""
    number = answered[0].round
    if any(entry.request != request for entry in answered):
        raise PrivacyError(f"round {number} was answered before, to another request")
    if not path.exists():
        raise PrivacyError(
            f"round {number} was answered before and its bytes are gone; other noise would cost again"
        )
    kept = _load(path)
    if {kind: arrays_digest(arrays) for kind, arrays in kept.items()} != {e.kind: e.digest for e in answered}:
        raise PrivacyError(f"the kept release of round {number} does not match its entry")
    return kept


def _checked(releases: Sequence[Release]) -> dict[str, dict[str, np.ndarray]]:
    kinds = [release.kind for release in releases]
    if len(set(kinds)) != len(kinds):
        raise PrivacyError(f"a kind of release occurs twice: {', '.join(kinds)}")
    arrays: dict[str, dict[str, np.ndarray]] = {
        release.kind: {name: as_sent(array) for name, array in release.arrays.items()} for release in releases
    }
    for kind, group in arrays.items():
        for name, array in group.items():
            if not np.isfinite(array).all():
                raise PrivacyError(f"{kind}: tensor {name!r} holds NaN or infinity; nothing was sent")
    return arrays


def as_sent(array: np.ndarray) -> np.ndarray:
    """A released array as it leaves: int64 stays, everything else becomes float32."""
    return np.ascontiguousarray(array, np.int64 if array.dtype == np.int64 else np.float32)


def _keep(path: Path, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write the releases of this request and forget those of earlier ones, and those of long past runs."""
    flat = {json.dumps([kind, name]): a for kind, group in arrays.items() for name, a in group.items()}
    write_arrays(path, flat, {}, mode=PRIVATE)
    for old in path.parent.iterdir():
        if old != path:
            old.unlink()
    runs = sorted(path.parent.parent.iterdir(), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    for old in runs[_OUTBOXES:]:
        shutil.rmtree(old, ignore_errors=True)


def _load(path: Path) -> dict[str, dict[str, np.ndarray]]:
    from safetensors.numpy import load_file

    kept: dict[str, dict[str, np.ndarray]] = {}
    for key, array in load_file(path).items():
        kind, name = json.loads(key)
        kept.setdefault(kind, {})[name] = array
    return kept

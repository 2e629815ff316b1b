"""The one way out: nothing private leaves an artist except through here.

The order is what makes the ledger true: make the release, keep its bytes, write what it costs, and
only then hand it out. A process killed before the second write has given nothing away; killed after
it, it finds the same bytes again and sends them, which costs nothing more.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.ledger import Entry, Ledger, sync_folder
from fedstyle_secure.privacy.mechanisms import Mechanism

Kind = Literal["update", "card", "prototypes"]


@dataclass(frozen=True)
class Release:
    """Something computed from private pictures, with the mechanism that made it.

    Attributes:
        kind: What it is.
        arrays: Named float32 arrays.
        mechanism: Bound, noise and cost.
    """

    kind: Kind
    arrays: Mapping[str, np.ndarray]
    mechanism: Mechanism


class Sealed:
    """Releases that are in the ledger. Only a Gate makes them; only they can be put into a reply."""

    def __init__(self, key: object, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        if key is not _GATE_KEY:
            raise PrivacyError("only a Gate seals releases")
        self.arrays = arrays


_GATE_KEY = object()


class Gate:
    """An artist's way out."""

    def __init__(self, home: Path) -> None:
        """Open the artist's folder, which holds `ledger.jsonl` and the last releases.

        Raises:
            PrivacyError: The ledger is damaged.
        """
        self._outbox = home / "outbox"
        self.ledger = Ledger(home / "ledger.jsonl")

    def send(self, request: str, number: int, make: Callable[[], Sequence[Release]]) -> Sealed:
        """Return the releases that answer `request`, all of them in the ledger.

        Args:
            request: Digest of everything the answer depends on. Asked again while the bytes are kept,
                it gets the same bytes.
            number: The round. A round is answered once: another request for it is refused, so that
                nobody can draw more releases out of an artist than were planned.
            make: Computes the releases; called only if they were not made before.

        Raises:
            PrivacyError: The round was answered to another request, a kind occurs twice, or a kept
                release does not match its entry.
        """
        if any(entry.round == number and entry.request != request for entry in self.ledger.entries):
            raise PrivacyError(f"round {number} was answered before, to another request")
        spent = {entry.digest for entry in self.ledger.entries if entry.request == request}
        path = self._outbox / f"{request}.safetensors"
        if spent and path.exists():
            kept = _load(path)
            if not {_digest(arrays) for arrays in kept.values()} <= spent:
                raise PrivacyError(f"the kept release for request {request[:12]} does not match its entry")
            return Sealed(_GATE_KEY, kept)
        # Without the kept bytes the same request costs again: other noise is another release.
        releases = make()
        kinds = [release.kind for release in releases]
        if len(set(kinds)) != len(kinds):
            raise PrivacyError(f"a kind of release occurs twice: {', '.join(kinds)}")
        arrays: dict[str, dict[str, np.ndarray]] = {
            release.kind: {name: np.ascontiguousarray(a, np.float32) for name, a in release.arrays.items()}
            for release in releases
        }
        for kind, group in arrays.items():
            for name, array in group.items():
                if not np.isfinite(array).all():
                    raise PrivacyError(f"{kind}: tensor {name!r} holds NaN or infinity; nothing was sent")
        self._keep(path, arrays)
        self.ledger.append(
            Entry(
                request=request,
                round=number,
                kind=release.kind,
                events=release.mechanism.events(),
                sensitivity=_finite(release.mechanism.sensitivity("add-remove")),
                digest=_digest(arrays[release.kind]),
            )
            for release in releases
        )
        return Sealed(_GATE_KEY, arrays)

    def _keep(self, path: Path, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Write the releases of this request and forget those of earlier ones."""
        from safetensors.numpy import save_file

        self._outbox.mkdir(parents=True, exist_ok=True)
        for old in self._outbox.iterdir():
            old.unlink()
        flat = {json.dumps([kind, name]): a for kind, group in arrays.items() for name, a in group.items()}
        partial = path.with_suffix(".partial")
        save_file(flat, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(self._outbox)


def _load(path: Path) -> dict[str, dict[str, np.ndarray]]:
    from safetensors.numpy import load_file

    kept: dict[str, dict[str, np.ndarray]] = {}
    for key, array in load_file(path).items():
        kind, name = json.loads(key)
        kept.setdefault(kind, {})[name] = array
    return kept


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    h = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], np.float32)
        h.update(repr((name, array.shape)).encode())
        h.update(array.tobytes())
    return h.hexdigest()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""What the platform saw of some artists, kept for an auditor: a file a round.

A record holds nothing that platform and opener do not hold anyway, so it is no release. It is as sensitive as
the messages: whoever reads it is where the platform is.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedstyle_secure.errors import ConfigError, FederationError, RunError
from fedstyle_secure.federation.protocol import Reply
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.summing import Opened
from fedstyle_secure.files import PRIVATE, arrays_digest, private_folder, read_arrays, write_arrays
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.secure_sum.messages import Upload
from fedstyle_secure.system import Arrays, State

_VERSION = 2
_MB = 10**6
_HEADER = 4096
"""Bytes of a file beside its arrays, at most, with few artists."""


@dataclass(frozen=True)
class SealedBlob:
    """A ciphertext that came in: its size in bytes and SHA-256, hex. Without the key it says no more."""

    size: int
    sha256: str


@dataclass(frozen=True, eq=False)
class RecordedReply:
    """What came from one artist in a round.

    Attributes:
        arrays: Kinds of release to named arrays, as they came in clear.
        sealed: Ciphertexts, one an attempt at the round's sum.
        withdrawn: Whether the artist has withdrawn.
    """

    arrays: Mapping[str, Mapping[str, np.ndarray]]
    sealed: tuple[SealedBlob, ...]
    withdrawn: bool


@dataclass(frozen=True, eq=False)
class RecordedRound:
    """What platform and opener saw of a round.

    Attributes:
        sent: What all artists were sent.
        replies: By recorded artist who answered.
        opened: The opened sum, if the round had one.
    """

    sent: State
    replies: Mapping[str, RecordedReply]
    opened: Opened | None


class Recorder:
    """Keeps what the platform sees of the recorded artists."""

    def __init__(self, run: RunFolder, artists: Iterable[str]) -> None:
        """
        Args:
            run: Where.
            artists: Whose messages are kept.
        """
        self._folder = run.record_folder
        self._artists = frozenset(artists)
        self._sealed: dict[str, list[SealedBlob]] = {}

    def begin(self) -> None:
        """A round begins."""
        self._sealed = {}

    def upload(self, upload: Upload) -> None:
        """A ciphertext came in."""
        if upload.artist in self._artists:
            blob = SealedBlob(len(upload.body), hashlib.sha256(upload.body).hexdigest())
            self._sealed.setdefault(upload.artist, []).append(blob)

    def keep(self, sent: State, replies: Sequence[Reply], opened: Opened | None) -> None:
        """Write the round; a round that is repeated after a kill is written anew."""
        replies = [reply for reply in replies if reply.artist in self._artists]
        arrays = {f"trained/{name}": array for name, array in sent.trained.items()}
        arrays |= {f"public/{name}": array for name, array in sent.public.items()}
        told = []
        for place, reply in enumerate(replies):
            for kind, group in reply.arrays.items():
                arrays |= {f"reply/{place}/{kind}/{name}": array for name, array in group.items()}
            sealed = [asdict(blob) for blob in self._sealed.get(reply.artist, [])]
            told.append({"artist": reply.artist, "withdrawn": reply.withdrawn, "sealed": sealed})
        if opened is not None:
            arrays |= {"opened/total": opened.total, "opened/kept": opened.kept}
        meta = {
            "version": _VERSION,
            "round": sent.round,
            "fixed": sent.fixed_digest,
            "texts": dict(sent.texts),
            "replies": told,
            "opened_artists": None if opened is None else opened.artists,
        }
        private_folder(self._folder)
        text = json.dumps(meta)
        path = record_file(self._folder, sent.round)
        write_arrays(path, arrays, {"record": text, "sha256": arrays_digest(arrays, text)}, mode=PRIVATE)


def record_file(folder: Path, number: int) -> Path:
    """The file of a round."""
    return folder / f"round_{number:05d}.safetensors"


def read_round(path: Path, fixed: Arrays) -> RecordedRound:
    """Read a round.

    Args:
        path: Its file.
        fixed: What never changes in the run.

    Raises:
        RunError: The file is missing or damaged, or of another fixed part; names it.
    """
    arrays, metadata = read_arrays(path)
    text = metadata.get("record", "")
    if metadata.get("sha256") != arrays_digest(arrays, text):
        raise RunError(f"{path}: is damaged: its content is not what its checksum says")
    try:
        return _parse(json.loads(text), arrays, fixed)
    except (KeyError, TypeError, ValueError, FederationError) as error:
        raise RunError(f"{path}: is no recorded round: {error!r}") from None


def read_rounds(run: RunFolder) -> list[RecordedRound]:
    """All recorded rounds of a finished run, in order.

    Raises:
        RunError: The run was not recorded, or a file is missing or damaged.
    """
    if run.config().audit.record == ("none",):
        raise RunError(f"{run.path}: audit.record was none, so nothing of what the platform saw was kept")
    fixed, _ = read_arrays(run.fixed_file)
    return [read_round(record_file(run.record_folder, line["round"]), fixed) for line in run.metrics()]


def recorder(
    run: RunFolder, layouts: Layouts, roster: Sequence[str], state: State, named: Mapping[str, int]
) -> Recorder | None:
    """The recorder of a run; None where nothing is recorded.

    Args:
        run: Where.
        layouts: What will be sent.
        roster: Artists who may take part.
        state: The first one that is sent.
        named: By kind, how many artists publish under their names.

    Raises:
        ConfigError: The record would be larger than `audit.record_limit_mb`; says by how much, and what fits.
    """
    audit = layouts.config.audit
    names = recorded(audit.record, roster)
    if not names:
        return None
    base, each = predicted_bytes(layouts, state, named)
    predicted, limit = base + len(names) * each, audit.record_limit_mb * _MB
    if predicted > limit:
        fits = int((limit - base) // max(each, 1))
        rather = f"{fits} of {len(names)} artists would fit, or raise" if fits > 0 else "raise"
        raise ConfigError(
            f"audit.record_limit_mb = {audit.record_limit_mb:g}, but the record of {len(names)} artists over "
            f"{layouts.plan.rounds} rounds takes {predicted / _MB:.1f}; {rather} the limit to "
            f"{math.ceil(predicted / _MB)}"
        )
    return Recorder(run, names)


def recorded(record: tuple[str, ...], roster: Sequence[str]) -> tuple[str, ...]:
    """The artists that `audit.record` means."""
    return (
        tuple(roster) if record == ("all",) else () if record == ("none",) else tuple(dict.fromkeys(record))
    )


def predicted_bytes(layouts: Layouts, state: State, named: Mapping[str, int]) -> tuple[int, int]:
    """Bytes of a whole run's record: without any artist, and for each recorded artist.

    Args:
        layouts: What will be sent.
        state: The first one that is sent.
        named: By kind, how many artists publish under their names: that is sent to all from then on.
    """
    base = each = 0
    sent = sum(array.nbytes for part in (state.trained, state.public) for array in part.values())
    for number in range(layouts.plan.rounds):
        out = sum(
            4 * number_of * sum(math.prod(shape) for shape in layouts.forms[kind].tensors.values())
            for kind, number_of in named.items()
            if any(earlier < number for earlier in layouts.plan.rounds_of(kind))
        )
        summed = layouts.summed(number)
        opened = 8 * summed.terms.values + summed.groups if summed else 0
        base += sent + out + opened + _HEADER
        each += sum(
            (8 if kind in layouts.integers else 4) * math.prod(shape)
            for kind, group in layouts.in_clear(number).items()
            for shape in group.values()
        )
    return base, each


def _parse(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray], fixed: Arrays) -> RecordedRound:
    if meta["version"] != _VERSION:
        raise ValueError(f"version {meta['version']}, not {_VERSION}")
    parts: dict[str, dict[str, np.ndarray]] = {"trained": {}, "public": {}, "opened": {}}
    groups: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for name, array in arrays.items():
        part, rest = name.split("/", 1)
        if part == "reply":
            place, kind, tensor = rest.split("/", 2)
            groups.setdefault(int(place), {}).setdefault(kind, {})[tensor] = array
        else:
            parts[part][rest] = array
    texts = {name: tuple(values) for name, values in meta["texts"].items()}
    sent = State(int(meta["round"]), fixed, parts["trained"], parts["public"], texts)
    if sent.fixed_digest != meta["fixed"]:
        raise ValueError("belongs to another fixed part than the run's")
    replies = {
        told["artist"]: RecordedReply(
            groups.get(place, {}), tuple(SealedBlob(**blob) for blob in told["sealed"]), told["withdrawn"]
        )
        for place, told in enumerate(meta["replies"])
    }
    opened = None
    if meta["opened_artists"] is not None:
        opened = Opened(parts["opened"]["total"], parts["opened"]["kept"], int(meta["opened_artists"]))
    return RecordedRound(sent, replies, opened)

"""What was opened, signed by the opener, for anybody to check offline.

One line an opening: the manifest with the opener's signature, every artist's receipt, the digest of what
was released, and the digest of the line before. A finished run's last line is its closing: what every file of
the run held at its end. Before it is there, lines cannot show that whole ones are missing after them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedstyle_secure.secure_sum.codes import Refusal
from fedstyle_secure.secure_sum.encoding import (
    canonical,
    digest,
    fields,
    integer,
    items,
    mapping,
    parse,
    text,
    unhex,
)
from fedstyle_secure.secure_sum.identity import SIGNATURE_BYTES, Identity, verified
from fedstyle_secure.secure_sum.manifest import Manifest, SignedManifest
from fedstyle_secure.secure_sum.messages import Receipt
from fedstyle_secure.secure_sum.suppression import smallest_difference

_DOMAIN = "transcript"
_CLOSING_DOMAIN = "closing"
_MAX_LINE = 2**24
_SIGNATURE_DIGITS = 2 * SIGNATURE_BYTES
_ENTRY = ("manifest", "manifest_signature", "uploads", "result", "kept", "previous")
_CLOSING = ("run", "settings", "files", "previous")


@dataclass(frozen=True)
class Entry:
    """One opening.

    Attributes:
        signed: The manifest.
        receipts: One for each artist, sorted by artist.
        result: `result_digest` of what was released.
        kept: Which groups were shown.
        previous: `line_digest` of the line before, or `start_digest` of the run.
    """

    signed: SignedManifest
    receipts: tuple[Receipt, ...]
    result: str
    kept: tuple[bool, ...]
    previous: str

    def to_line(self, opener: Identity) -> bytes:
        """The signed line, with its newline."""
        body = canonical(self._json())
        signature = opener.sign(_DOMAIN, body)
        return canonical({"entry": self._json(), "signature": signature.hex()}) + b"\n"

    def _json(self) -> dict[str, object]:
        return {
            "manifest": self.signed.data.decode("ascii"),
            "manifest_signature": self.signed.signature.hex(),
            "uploads": [[r.artist, r.body, r.signature.hex()] for r in self.receipts],
            "result": self.result,
            "kept": [int(kept) for kept in self.kept],
            "previous": self.previous,
        }


@dataclass(frozen=True)
class Closing:
    """The end of a run.

    Attributes:
        run: The run.
        settings: SHA-256 of its settings.
        files: SHA-256 of each of its files by name, as the platform stated them once, when the run ended.
        previous: As of an entry.
    """

    run: str
    settings: str
    files: Mapping[str, str]
    previous: str

    def to_line(self, opener: Identity) -> bytes:
        """The signed line, with its newline. Raises ValueError where a digest is none."""
        for value in (self.settings, self.previous, *self.files.values()):
            unhex(value, 32)
        body = {name: getattr(self, name) for name in _CLOSING}
        signature = opener.sign(_CLOSING_DOMAIN, canonical(body))
        return canonical({"closing": body, "signature": signature.hex()}) + b"\n"


@dataclass(frozen=True)
class Transcript:
    """What a transcript says, whoever signed it.

    Attributes:
        manifests: Of the openings, in order.
        closing: The end of the run, if it has one.
    """

    manifests: tuple[Manifest, ...]
    closing: Closing | None


def start_digest(run: str) -> str:
    """What the first line of a run has as its previous one."""
    return digest("transcript start", run.encode()).hex()


def line_digest(line: bytes) -> str:
    """SHA-256 of a line without its newline."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def result_digest(manifest: Manifest, total: np.ndarray, kept: np.ndarray) -> str:
    """Binds what was released to its manifest.

    Args:
        manifest: The attempt.
        total: int64 (D,), as released.
        kept: bool (K,).
    """
    values = np.ascontiguousarray(total, dtype="<i8").tobytes()
    return digest(
        "result", manifest.digest.encode(), values, np.asarray(kept, dtype=np.uint8).tobytes()
    ).hex()


def shows(line: bytes, total: np.ndarray, kept: np.ndarray) -> bool:
    """Whether a line, whose signature `verify` has checked, is about exactly these released values.

    Args:
        line: One line of a transcript.
        total: int64 (D,).
        kept: bool (K,).

    Raises:
        Refusal, ValueError: It is no line of a transcript.
    """
    entry = _read_entry(_split(line.rstrip(b"\n"), "entry")[0])
    return entry.result == result_digest(Manifest.from_bytes(entry.signed.data), total, kept)


def read(path: Path) -> Transcript:
    """Read a transcript that `verify` found nothing wrong with.

    Raises:
        Refusal, ValueError: It is none.
    """
    *lines, last = path.read_bytes().splitlines() or [b""]
    closing = None
    if _is_closing(last):
        closing = _read_closing(_split(last, "closing")[0])
    elif last:
        lines.append(last)
    entries = (_read_entry(_split(line, "entry")[0]) for line in lines)
    return Transcript(tuple(Manifest.from_bytes(entry.signed.data) for entry in entries), closing)


def verify(path: Path, opener: str) -> list[str]:
    """Check a run's transcript.

    Args:
        path: `transcript.jsonl`.
        opener: The pinned public key of the opener.

    Returns:
        One line for each problem, with the number of its line in the file; empty if there is none.
    """
    data = path.read_bytes()
    lines = data.split(b"\n")
    problems = [] if lines.pop() == b"" else [f"line {len(lines) + 1}: cut off, it has no newline"]
    manifests: dict[int, Manifest] = {}
    previous = None
    if lines and _is_closing(lines[-1]):
        problems += [f"line {len(lines)}: {fault}" for fault in _check_closing(lines, opener)]
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            entry, manifest, faults = _check_line(line, opener)
        except (Refusal, ValueError) as error:
            faults, entry, manifest = [f"not a transcript entry: {error}"], None, None
        if entry is not None and manifest is not None:
            expected = start_digest(manifest.run) if previous is None else previous
            if entry.previous != expected:
                faults.append("does not follow the line before it")
            manifests[number] = manifest
        previous = line_digest(line)
        problems += [f"line {number}: {fault}" for fault in faults]
    return problems + _check_rounds(manifests)


def _is_closing(line: bytes) -> bool:
    return line.startswith(b'{"closing":')


def _read_closing(body: bytes) -> Closing:
    """The closing in the bytes that are signed. Raises ValueError."""
    top = fields(parse(body, _MAX_LINE), _CLOSING)
    files = {name: unhex(value, 32).hex() for name, value in mapping(top["files"]).items()}
    return Closing(
        text(top["run"]), unhex(top["settings"], 32).hex(), files, unhex(top["previous"], 32).hex()
    )


def _check_closing(lines: Sequence[bytes], opener: str) -> list[str]:
    """What the last line says by itself, and of the one before it."""
    try:
        body, signature = _split(lines[-1], "closing")
        if not verified(opener, signature, _CLOSING_DOMAIN, body):
            return ["the opener's signature does not fit the closing"]
        closing = _read_closing(body)
    except ValueError as error:
        return [f"not a closing: {error}"]
    before = line_digest(lines[-2]) if len(lines) > 1 else start_digest(closing.run)
    return [] if closing.previous == before else ["does not follow the line before it"]


def _check_line(line: bytes, opener: str) -> tuple[Entry, Manifest, list[str]]:
    """What one line says by itself: signatures, digests, cohort."""
    body, signature = _split(line, "entry")
    if not verified(opener, signature, _DOMAIN, body):
        raise ValueError("the opener's signature does not fit the entry")
    entry, faults = _read_entry(body), []
    manifest = Manifest.from_bytes(entry.signed.data)
    try:
        entry.signed.read(opener)
    except Refusal as refusal:
        faults.append(str(refusal))
    if tuple(receipt.artist for receipt in entry.receipts) != manifest.artists:
        faults.append("the uploads are not those of the manifest's cohort, each once")
    for receipt in entry.receipts:
        code = receipt.fault(manifest)
        if code is not None:
            faults.append(f"artist {receipt.artist!r}: {code.phrase}")
    if len({receipt.body for receipt in entry.receipts}) != len(entry.receipts):
        faults.append("two artists uploaded the same body")
    terms = manifest.terms
    if not terms.smallest_cohort <= len(manifest.roster) <= terms.n_max:
        faults.append(
            f"{len(manifest.roster)} artists are not between {terms.smallest_cohort} and {terms.n_max}"
        )
    if len(entry.kept) != (0 if terms.groups is None else terms.groups.count):
        faults.append("the groups shown do not fit the manifest")
    return entry, manifest, faults


def _split(line: bytes, kind: str) -> tuple[bytes, bytes]:
    """What is signed in a line of that kind, and the signature, neither of them read: a line has one form."""
    start, middle, end = b'{"%s":' % kind.encode(), b',"signature":"', b'"}'
    tail = len(middle) + _SIGNATURE_DIGITS + len(end)
    body, rest = line[len(start) : -tail], line[-tail:]
    framed = line.startswith(start) and rest.startswith(middle) and rest.endswith(end)
    if len(line) > _MAX_LINE or not framed:
        raise ValueError("not a line of a transcript")
    return body, unhex(rest[len(middle) : -len(end)].decode("ascii"), _SIGNATURE_DIGITS // 2)


def _read_entry(body: bytes) -> Entry:
    top = fields(parse(body, _MAX_LINE), _ENTRY)
    signed = SignedManifest(
        text(top["manifest"]).encode("ascii"), unhex(top["manifest_signature"], SIGNATURE_BYTES)
    )
    manifest = signed.digest
    kept = [integer(k) for k in items(top["kept"])]
    if not set(kept) <= {0, 1}:
        raise ValueError("kept must be a list of 0 and 1")
    return Entry(
        signed=signed,
        receipts=tuple(
            Receipt(text(artist), manifest, unhex(body, 32).hex(), unhex(signature, SIGNATURE_BYTES))
            for artist, body, signature in (items(upload, 3) for upload in items(top["uploads"]))
        ),
        result=unhex(top["result"], 32).hex(),
        kept=tuple(bool(k) for k in kept),
        previous=unhex(top["previous"], 32).hex(),
    )


def _check_rounds(manifests: dict[int, Manifest]) -> list[str]:
    """What the lines say together: one run, one opening a round and a key, same terms and safe cohorts in an
    epoch."""
    problems = []
    opened: dict[int, int] = {}
    keys: dict[str, int] = {}
    epochs: dict[int, list[tuple[int, Manifest]]] = defaultdict(list)
    first = next(iter(manifests.values()), None)
    for number, manifest in manifests.items():
        if first is not None and manifest.run != first.run:
            problems.append(f"line {number}: of another run than the first line")
        if manifest.round in opened:
            problems.append(
                f"line {number}: round {manifest.round} was opened in line {opened[manifest.round]} already"
            )
        opened.setdefault(manifest.round, number)
        if manifest.fingerprint in keys:
            problems.append(
                f"line {number}: opened with the key of line {keys[manifest.fingerprint]}; "
                "every opening has a key of its own"
            )
        keys.setdefault(manifest.fingerprint, number)
        epochs[manifest.epoch].append((number, manifest))
    for epoch, members in epochs.items():
        problems += _check_epoch(epoch, members)
    return problems


def _check_epoch(epoch: int, members: Sequence[tuple[int, Manifest]]) -> list[str]:
    problems: list[str] = []
    _, first = members[0]
    cohorts: list[tuple[str, ...]] = []
    for number, manifest in members:
        if manifest.terms != first.terms:
            problems.append(f"line {number}: other terms than before in epoch {epoch}")
        if manifest.artists not in cohorts:
            cohorts.append(manifest.artists)
            if not first.terms.differences_covered and smallest_difference(cohorts) < first.terms.k_min:
                problems.append(
                    f"line {number}: with the openings before it in epoch {epoch}, the cohort singles out "
                    f"fewer than {first.terms.k_min} artists"
                )
    return problems

"""Audit scores of any attack on any model, from arrays or from a file; nothing here knows a framework."""

from __future__ import annotations

import csv
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attacks.auditing.audit import Audit
from attacks.auditing.findings import Claim
from attacks.auditing.measures import CONFIDENCE, Judged, as_curves, check_asked, epsilon_row, membership_rows
from attacks.errors import AttackError, one_line
from attacks.plots import AttackScores

RATES = (0.1, 0.01, 0.001)

_UNREADABLE = (
    OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, MemoryError, OverflowError,
    csv.Error, zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError,
)  # fmt: skip
"""What readers raise at a damaged or crafted file: a header that asks for more memory than there is, a stream
that does not inflate, a method that nobody has."""

_NO_SCORES = "bcmM"
"""Kinds of numpy that turn into floats and are none: truths, complex numbers, times."""

_TRUE, _FALSE = frozenset({"1", "true", "yes", "1.0"}), frozenset({"0", "false", "no", "0.0"})


def audit_scores(
    scores: Path | str | Mapping[str, Any],
    *,
    attacks: Sequence[str] = (),
    member: str = "member",
    canaries: bool = False,
    claim: Claim | None = None,
    rates: Sequence[float] = RATES,
    confidence: float = CONFIDENCE,
) -> Audit:
    """What scores tell of membership, or what those of planted canaries prove about epsilon.

    Without the model there is no positive control and no blind baseline: such a row says `leaks` or
    `inconclusive`, and never that nothing was broken.

    Args:
        scores: A CSV, Parquet or npz file, or arrays by name. One column, named by `member`, holds the truth
            (bool, 0 and 1, yes and no); every other numeric one is an attack, larger is more likely a member.
            In place of the truth, `members` and `non_members` hold the scores of one attack.
        attacks: Which columns; none for all numeric ones.
        member: The column of the truth, or of the coins.
        canaries: Whether the rows are canaries, each of which was in by its own fair coin.
        claim: The epsilon that is claimed.
        rates: False-positive rates, each in (0, 1).
        confidence: In (0, 1), of all intervals together.

    Raises:
        AttackError: The file cannot be read, or a column is missing or holds something else; names it.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> member = np.arange(400) < 200
        >>> print(audit_scores({"member": member, "mine": rng.normal(member)}, rates=()).rows[0])
        mine: membership AUC 0.788 [0.717, 0.844], 0.500 without looking: leaks
    """
    check_asked(rates, confidence)
    if isinstance(scores, Mapping):
        name, columns = "scores", {key: _array(f"scores: {key!r}", value) for key, value in scores.items()}
    elif isinstance(scores, Path | str):
        name, columns = str(scores), read_columns(Path(scores))
    else:
        raise AttackError(f"scores must be a file or arrays by name, not {type(scores).__name__}")
    truth, found = _told(name, columns, member, attacks)
    about = {"source": name, "records": len(truth), "members": int(truth.sum()), "confidence": confidence}
    if canaries:
        rows = tuple(epsilon_row(key, values, truth, claim, confidence) for key, values in found.items())
        return Audit("scores", rows, (), claim, about)
    if truth.all() or not truth.any():
        raise AttackError(f"{name}: column {member!r} has only {'members' if truth.all() else 'non-members'}")
    none = "has no positive control, as there are scores only"
    judged = [Judged(key, AttackScores(values[truth], values[~truth]), none) for key, values in found.items()]
    rows = membership_rows(judged, None, tuple(rates), confidence)
    return Audit("scores", rows, (), claim, about, as_curves(judged))


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """A file's columns, each (n,).

    Args:
        path: Ends in csv, parquet or npz.

    Raises:
        AttackError: It cannot be read; names it.
    """
    readers = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise AttackError(f"{path}: scores are read from {', '.join(readers)}")
    try:
        columns = reader(path)
    except _UNREADABLE as error:
        if isinstance(error, AttackError):
            raise
        raise AttackError(f"{path}: cannot be read: {one_line(error)}") from None
    if not columns:
        raise AttackError(f"{path}: holds no column")
    return columns


def _csv(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    if not rows:
        raise AttackError(f"{path}: is empty")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise AttackError(f"{path}:{number}: has {len(row)} cells, and the head {len(rows[0])}")
    _refuse_twice(path, rows[0])
    return {name: np.array([row[k] for row in rows[1:]]) for k, name in enumerate(rows[0])}


def _parquet(path: Path) -> dict[str, np.ndarray]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise AttackError(f"{path}: Parquet needs pyarrow: pip install pyarrow") from None
    table = parquet.read_table(path)
    _refuse_twice(path, table.column_names)
    return {name: table[name].to_numpy() for name in table.column_names}


def _npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as parts:
        _refuse_twice(path, [part.removesuffix(".npy") for part in parts.namelist()])
    with np.load(path, allow_pickle=False) as file:
        # What is no array in the archive comes as bytes, and is no score.
        return {name: np.asarray(values) for name, values in file.items()}


def _refuse_twice(path: Path, names: Sequence[str]) -> None:
    """One of two columns of a name would be taken without a word."""
    if twice := next((name for k, name in enumerate(names) if name in names[:k]), None):
        raise AttackError(f"{path}: has two columns {twice!r}: leave one")


def _told(
    name: str, columns: Mapping[str, np.ndarray], member: str, attacks: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The truth bool (n,), and scores float64 (n,) by attack."""
    if member not in columns and {"members", "non_members"} <= set(columns):
        sides = [_numbers(f"{name}: {key}", columns[key]) for key in ("members", "non_members")]
        return np.arange(sum(map(len, sides))) < len(sides[0]), {"scores": np.concatenate(sides)}
    if member not in columns:
        raise AttackError(f"{name}: has no column {member!r}; it has {', '.join(columns)}")
    truth = _truth(f"{name}: column {member!r}", columns[member])
    if missing := [key for key in attacks if key not in columns]:
        raise AttackError(f"{name}: has no column {missing[0]!r}; it has {', '.join(columns)}")
    if member in attacks:
        raise AttackError(f"{name}: column {member!r} is the truth, and no attack")
    chosen = attacks or [key for key, values in columns.items() if key != member and _is_numeric(values)]
    if not chosen:
        raise AttackError(f"{name}: has no column of numbers beside {member!r}")
    found = {key: _numbers(f"{name}: column {key!r}", columns[key]) for key in chosen}
    for key, values in found.items():
        if values.shape != truth.shape:
            raise AttackError(f"{name}: column {key!r} has {values.shape}, and the truth {truth.shape}")
    return truth, found


def _array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:
        raise AttackError(f"{name}: is no array (n,): {one_line(error)}") from None


def _truth(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        return values
    said = [str(value).strip().lower() for value in values.tolist()]
    if strange := next((value for value in said if value not in _TRUE | _FALSE), None):
        raise AttackError(f"{name}: {strange!r} is neither a member (1, true, yes) nor none (0, false, no)")
    return np.array([value in _TRUE for value in said])


def _is_numeric(values: np.ndarray) -> bool:
    try:
        return values.ndim == 1 and values.dtype.kind not in _NO_SCORES and len(values.astype(np.float64)) > 0
    except (ValueError, TypeError):
        return False


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in _NO_SCORES and values.dtype != bool:
        raise AttackError(f"{name}: holds {values.dtype}, and scores are real numbers")
    try:
        found = values.astype(np.float64)
    except (ValueError, TypeError):
        raise AttackError(f"{name}: holds something that is no number") from None
    if found.ndim != 1 or not np.isfinite(found).all():
        raise AttackError(f"{name}: must be finite numbers (n,), not {found.shape}")
    return found

"""A finished run at work: reading crops, and how well it reads a folder of crops with texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.base import Skipped
from fedstyle_secure.galleries.pictures import PictureError, decode_picture, read_picture_bytes
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.systems.text.crops import HEIGHT, WORDS
from fedstyle_secure.systems.text.decode import Guess, beam, greedy
from fedstyle_secure.systems.text.folders import listed
from fedstyle_secure.systems.text.personal import personal_model
from fedstyle_secure.systems.text.recogniser.network import Recogniser, prepare
from fedstyle_secure.systems.text.scores import Reads, alphanumeric, cer_interval, reads
from fedstyle_secure.systems.text.system import TextSystem, finished
from fedstyle_secure.systems.text.tables import LABELS, TRUTH, read_table, table_in

_CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Reader:
    """A recogniser that reads.

    Attributes:
        system: Of its run.
        model: Its weights.
    """

    system: TextSystem
    model: Recogniser

    @classmethod
    def of(cls, run: RunFolder, artist: str | None = None, studios: Path | None = None) -> Reader:
        """The recogniser of a finished run.

        Args:
            run: A finished run.
            artist: Whose own it is to be, as `personal.personalise` made it; None: the shared one.
            studios: Where the artists' own folders lie; None: where the run says.

        Raises:
            RunError: The run is not finished, its files are damaged, or the artist has none of its own.
            ConfigError: It is a run of another system.
            FederationError: Its product is none of its settings, or not of numbers.
        """
        system, model = finished(run)
        return cls(system, model if artist is None else personal_model(run, artist, studios))

    def read(self, pictures: np.ndarray) -> list[Guess]:
        """What stands in crops.

        Args:
            pictures: uint8 (n, 32, 128, 3).
        """
        width, charset = self.system.config.text.beam, self.system.charset
        decode: Callable[[np.ndarray], Guess] = partial(greedy, charset=charset)
        if width > 1:
            decode = partial(beam, charset=charset, width=width)
        return [decode(scores) for scores in self.model.read(prepare(pictures))]

    def read_files(self, paths: Sequence[Path]) -> list[Guess]:
        """What stands in picture files, each a crop of one word.

        Raises:
            GalleryError: A file is no picture; names it.
        """
        return self.read(np.stack([_crop(path) for path in paths]))


@dataclass(frozen=True)
class Score:
    """How well a folder is read.

    Attributes:
        exact: Every letter counts, case too where the charset has it.
        alphanumeric: The field's protocol: letters a to z and digits alone, without case; what has none of
            them counts in no figure.
        low, high: Of the word accuracy by that protocol, at 0.95 (Wilson 1927); 0 and 1 where no text counts.
        cer_low, cer_high: Of its character error rate, at 0.95, by drawing words; 0 and 1 likewise.
        left_out: Rows that could not be used.
    """

    exact: Reads
    alphanumeric: Reads
    low: float
    high: float
    cer_low: float
    cer_high: float
    left_out: tuple[Skipped, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def evaluate(reader: Reader, folder: Path) -> Score:
    """How well crops are read whose texts are known.

    Args:
        reader: Reads them.
        folder: With a `labels.csv` (columns path, text) or a `gt.txt`.

    Raises:
        GalleryError: There is no such table, or no row of it can be used.
    """
    table = table_in(folder) if folder.is_dir() else None
    if table is None:
        raise GalleryError(f"{folder}: holds no {LABELS} and no {TRUTH}; valid: a folder with one of them")
    texts, crops, left_out = [], [], []
    for _, row in listed(folder, "", read_table(table, "split", artists=False), "skip"):
        try:
            if row.problem:
                raise PictureError(row.problem)
            crops.append(_decoded(folder / row.path))
            texts.append(row.label)
        except PictureError as error:
            left_out.append(Skipped("", row.name, str(error)))
    if not texts:
        raise GalleryError(f"{folder}: no row of {table.name} can be used ({left_out[0].reason})")
    read = [guess.text for guess in reader.read(np.stack(crops))]
    plain = [(alphanumeric(text), alphanumeric(guess)) for text, guess in zip(texts, read, strict=True)]
    counted = [pair for pair in plain if pair[0]]
    wanted, got = [text for text, _ in counted], [guess for _, guess in counted]
    by_protocol = reads(wanted, got)
    right = round(by_protocol.word_accuracy * by_protocol.words)
    low, high = 0.0, 1.0
    if counted:
        interval = binomtest(right, len(counted)).proportion_ci(_CONFIDENCE, method="wilson")
        low, high = float(interval.low), float(interval.high)
    exact = reads([reader.system.charset.plain(text) for text in texts], read)
    of_cer = cer_interval(wanted, got, _CONFIDENCE)
    return Score(exact, by_protocol, low, high, *of_cer, left_out=tuple(left_out))


def _crop(path: Path) -> np.ndarray:
    try:
        return _decoded(path)
    except PictureError as error:
        raise GalleryError(f"{path}: {error}") from None


def _decoded(path: Path) -> np.ndarray:
    return decode_picture(read_picture_bytes(path), HEIGHT, min_side=WORDS.min_side, fit=WORDS.fit)

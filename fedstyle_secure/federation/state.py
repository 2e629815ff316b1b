"""What the platform knows between two rounds, and its checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.federation.summing import Opened
from fedstyle_secure.files import read_arrays, write_arrays
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.style.prototypes import Styles


@dataclass(frozen=True)
class PlatformState:
    """What the platform knows after `round` rounds; all of it is public.

    Attributes:
        round: Whole rounds so far, the number of the next one.
        encoder: All arrays of the encoder.
        styles: Shared styles.
        cards: Artists to their cards, float32 unit vectors (d,).
    """

    round: int
    encoder: dict[str, np.ndarray]
    styles: Styles
    cards: dict[str, np.ndarray]

    def card_matrix(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Artists with a card, by name, and their cards (a, d)."""
        names = tuple(sorted(self.cards))
        dim = self.styles.prototypes.shape[1]
        return names, np.stack([self.cards[n] for n in names]) if names else np.zeros((0, dim), np.float32)

    def save(self, run: RunFolder) -> None:
        """Write the checkpoint."""
        names, cards = self.card_matrix()
        arrays = {f"encoder/{name}": array for name, array in self.encoder.items()}
        meta = {
            "round": self.round,
            "styles": self.styles.names,
            "by_label": self.styles.by_label,
            "card_artists": names,
        }
        write_arrays(
            run.checkpoint_file,
            arrays | {"prototypes": self.styles.prototypes, "cards": cards},
            {"state": json.dumps(meta)},
        )

    @classmethod
    def load(cls, run: RunFolder) -> PlatformState:
        """Read the checkpoint. Raises RunError if it is missing or damaged."""
        arrays, metadata = read_arrays(run.checkpoint_file)
        meta = json.loads(metadata["state"])
        encoder = {n.removeprefix("encoder/"): a for n, a in arrays.items() if n.startswith("encoder/")}
        styles = Styles(tuple(meta["styles"]), arrays["prototypes"], meta["by_label"])
        return cls(
            meta["round"], encoder, styles, dict(zip(meta["card_artists"], arrays["cards"], strict=True))
        )


def save_opened(run: RunFolder, number: int, opened: Opened) -> None:
    """Keep an opened sum of a round until the round is over: the opener opens nothing twice."""
    arrays = {"total": opened.total, "kept": opened.kept}
    write_arrays(run.opened_file, arrays, {"round": str(number), "artists": str(opened.artists)})


def load_opened(run: RunFolder, number: int) -> Opened | None:
    """The opened sum of a round, if it was opened. Raises RunError if the file is damaged."""
    if not run.opened_file.exists():
        return None
    arrays, metadata = read_arrays(run.opened_file)
    if int(metadata["round"]) != number:
        return None
    return Opened(arrays["total"], arrays["kept"], int(metadata["artists"]))

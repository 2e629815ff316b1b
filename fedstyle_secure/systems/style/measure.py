"""How well artists are found: the experimenter's look at held-out pictures.

It sees every artist's test pictures, so it belongs to a simulation and is no part of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from fedstyle_secure.fairness import by_artist, main_label
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.system import Figures, State, Summed
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.prototypes import Styles, picture_rows, unit
from fedstyle_secure.systems.style.retrieval import own_ranks, utility


@dataclass(frozen=True)
class StyleUtility:
    """What shared styles are worth where artists cannot be found by name.

    Attributes:
        style_cosine: Mean over styles of the cosine between the noisy sum and the true one.
        style_top1: Share of test pictures whose nearest prototype is that of their style: their label, or the
            one nearest to them without noise.
        style_baseline_top1: The same with the prototypes before the release.
    """

    style_cosine: float
    style_top1: float
    style_baseline_top1: float


class Meter:
    """Measures states on the pictures of the private artists."""

    def __init__(
        self,
        encoder_of: Callable[[State], StyleEncoder],
        styles_of: Callable[[State], Styles],
        portfolios: Sequence[Portfolio],
        *,
        by_artist: bool,
    ) -> None:
        """
        Args:
            encoder_of: The encoder of a state.
            styles_of: The shared styles of a state.
            portfolios: The private artists' portfolios, without canaries.
            by_artist: Whether the unit of privacy is the artist, so that nobody has a card.
        """
        self._encoder_of = encoder_of
        self._styles_of = styles_of
        self._by_artist = by_artist
        self._artists = np.concatenate([np.full(int(p.test.sum()), p.artist) for p in portfolios])
        self._pictures = np.concatenate([p.test_pictures for p in portfolios])
        self._labels = {p.artist: main_label(p.labels) for p in portfolios}
        self._portfolios = portfolios
        self._prepared: tuple[str, torch.Tensor] | None = None

    def __call__(self, before: State, now: State, sums: Mapping[str, Summed]) -> Figures:
        """Figures of a round: how artists are found, and how good its prototypes are where artists have no
        cards."""
        figures: Figures = {}
        if (asked := self._asked(now)) is not None:
            queries, owners, cards = asked
            figures = asdict(utility(queries, owners, cards))
            first = own_ranks(queries @ cards.T, owners) == 1
            figures |= by_artist(_shares(np.array(now.texts["cards"])[owners], first), self._labels)
        if self._by_artist and "prototypes" in sums:
            styles, nearest = self.measure_styles(before, now, sums["prototypes"].arrays["sums"])
            then, there = (_shares(self._artists, hits) for hits in nearest)
            figures |= asdict(styles) | by_artist(there, self._labels, then)
        return figures

    def measure_styles(
        self, before: State, now: State, sums: np.ndarray
    ) -> tuple[StyleUtility, tuple[np.ndarray, np.ndarray]]:
        """How good the prototypes are after a release of style sums.

        Args:
            before: The state that the artists were asked under.
            now: The state after the round.
            sums: float (k * (d + 1),), the decoded sum over artists.

        Returns:
            The figures, and which test pictures lie nearest to their style's prototype, bool (n,): before the
            release and after it.
        """
        encoder, styles = self._encoder_of(before), self._styles_of(before)
        count = len(styles.names)
        exact = np.zeros((count, styles.prototypes.shape[1]))
        for portfolio in self._portfolios:
            vectors = encoder.released(encoder.prepare(portfolio.train_pictures))
            assigned = styles.assign(vectors, portfolio.train_labels)
            rows = picture_rows(vectors, assigned, count).mean(axis=0)
            exact += rows.reshape(count, -1)[:, :-1]
        there = np.linalg.norm(exact, axis=1) > 0
        noisy = unit(sums.reshape(count, -1)[:, :-1])
        cosines = (noisy * unit(exact)).sum(axis=1)[there]
        true = replace(styles, prototypes=np.where(there[:, None], unit(exact), styles.prototypes))
        vectors = encoder.released(encoder.prepare(self._pictures))
        labels = tuple(s for p in self._portfolios for s, t in zip(p.labels, p.test, strict=True) if t)
        wanted = true.assign(vectors, labels)

        then, there = ((vectors @ s.public["prototypes"].T).argmax(axis=1) == wanted for s in (before, now))
        return StyleUtility(float(cosines.mean()), float(there.mean()), float(then.mean())), (then, there)

    def _asked(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Embeddings of the test pictures of artists that have a card, whose each is among the cards, and the
        cards; None while nobody has one."""
        names = state.texts["cards"]
        asked = np.isin(self._artists, names)
        if not asked.any():
            return None
        encoder = self._encoder_of(state)
        if self._prepared is None or self._prepared[0] != state.fixed_digest:
            self._prepared = (state.fixed_digest, encoder.prepare(self._pictures))
        queries = encoder.embed(self._prepared[1][torch.from_numpy(asked)])
        owners = np.searchsorted(names, self._artists[asked])
        return queries, owners, encoder.place(state.public["cards"]).numpy()


def _shares(artists: np.ndarray, hits: np.ndarray) -> dict[str, float]:
    """Share of each artist's pictures that hit, by name: of artists (n,) and bool (n,)."""
    return {str(artist): float(hits[artists == artist].mean()) for artist in dict.fromkeys(artists.tolist())}

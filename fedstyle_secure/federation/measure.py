"""How well artists are found: the experimenter's look at held-out pictures.

It sees every artist's test pictures, so it belongs to a simulation and is no part of the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fedstyle_secure.config import StyleSection
from fedstyle_secure.federation.state import PlatformState
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.style.encoders import encoder_from_arrays
from fedstyle_secure.style.retrieval import Utility, utility


class Meter:
    """Measures retrieval of a state over the test pictures of the private artists."""

    def __init__(self, style: StyleSection, portfolios: Sequence[Portfolio]) -> None:
        """Args: style: The encoder's settings. portfolios: The private artists' portfolios."""
        self._style = style
        self._artists = np.concatenate([np.full(int(p.test.sum()), p.artist) for p in portfolios])
        self._pictures = np.concatenate([p.test_pictures for p in portfolios])
        self._prepared: tuple[str, torch.Tensor] | None = None

    def measure(self, state: PlatformState) -> Utility | None:
        """Utility among the artists that have a card; None while nobody has one."""
        names, cards = state.card_matrix()
        asked = np.isin(self._artists, names)
        if not asked.any():
            return None
        encoder = encoder_from_arrays(self._style, state.encoder)
        key = encoder.fixed_digest()
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = (key, encoder.prepare(self._pictures))
        queries = encoder.embed(self._prepared[1][torch.from_numpy(asked)])
        owners = np.searchsorted(names, self._artists[asked])
        return utility(queries, owners, encoder.place(cards).numpy())

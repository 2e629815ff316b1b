"""How well a state knows the artists' held-out works: the experimenter's look, no part of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.system import Figures, State, Summed
from fedstyle_secure.systems.art.backbone.network import Denoiser, as_tensor
from fedstyle_secure.systems.art.records import drawn_for
from fedstyle_secure.systems.art.settings import ArtConfig

DRAWS = 8
"""Looks at each held-out work."""

_SEED = 77
"""Of those; training has others."""


def losses(model: Denoiser, pictures: np.ndarray, condition: int, draws: int = DRAWS) -> np.ndarray:
    """Denoising losses float64 (n, draws) of pictures uint8 (n, s, s, 3) at fixed times and noises."""
    found = []
    with torch.no_grad():
        for picture, clean in zip(pictures, as_tensor(pictures), strict=True):
            time, noise = drawn_for(picture, draws, model.steps, _SEED)
            many = clean.expand(draws, *clean.shape)
            found.append(model.denoising_losses(many, noise, time, torch.full((draws,), condition)))
    return torch.stack(found).double().numpy() if found else np.zeros((0, draws))


def silence(model: Denoiser, pictures: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """The same for a model that predicts nothing at all."""
    found = []
    for picture, clean in zip(pictures, as_tensor(pictures), strict=True):
        time, noise = drawn_for(picture, draws, model.steps, _SEED)
        found.append(
            model.wanted(clean.expand(draws, *clean.shape), noise, time).square().mean(dim=(1, 2, 3))
        )
    return torch.stack(found).double().numpy() if found else np.zeros((0, draws))


class Meter:
    """Measures states on the held-out works of the private artists."""

    def __init__(
        self,
        config: ArtConfig,
        product_of: Callable[[State], Denoiser],
        portfolios: Sequence[Portfolio],
    ) -> None:
        """
        Args:
            config: The run's settings.
            product_of: What a state draws with.
            portfolios: The private artists', without canaries.
        """
        self._config, self._product_of, self._portfolios = config, product_of, portfolios
        self._nothing: float | None = None

    def __call__(self, before: State, now: State, sums: Mapping[str, Summed]) -> Figures:
        model = self._product_of(now)
        found = []
        for portfolio in self._portfolios:
            works = portfolio.test_pictures
            labels = [label for label, held in zip(portfolio.labels, portfolio.test, strict=True) if held]
            asked = model.asked_by(labels)
            for condition in sorted(set(asked.tolist())):
                of_it = asked == condition
                found.append(losses(model, works[of_it], condition))
        loss = float(np.concatenate(found).mean())
        if self._nothing is None:
            self._nothing = float(
                np.concatenate([silence(model, p.test_pictures) for p in self._portfolios]).mean()
            )
        return {
            "denoising_loss": loss,
            "explained": max(0.0, 1 - loss / self._nothing),
            "works": sum(len(p.test_pictures) for p in self._portfolios),
            "update_values": sum(array.size for array in now.trained.values()),
        }

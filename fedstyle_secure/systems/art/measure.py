"""How well a state knows the artists' held-out works: the experimenter's look, no part of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from fedstyle_secure.fairness import by_artist, main_label
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.system import Figures, State, Summed
from fedstyle_secure.systems.art.backbone.latent import codes
from fedstyle_secure.systems.art.backbone.network import Denoiser
from fedstyle_secure.systems.art.records import drawn_for
from fedstyle_secure.systems.art.settings import ArtConfig

DRAWS = 8
"""Looks at each held-out work."""

_SEED = 77
"""Of those; training has others."""


def losses(model: Denoiser, pictures: np.ndarray, conditions: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Denoising losses float64 (n, draws) at fixed times and noises of each picture.

    Args:
        model: What predicts.
        pictures: uint8 (n, s, s, 3).
        conditions: int64 (n,), what each is asked to be.
        draws: Looks at each.
    """
    found = np.zeros((len(pictures), draws))
    with torch.no_grad():
        for row, picture, clean, asked in zip(
            found, pictures, codes(model, pictures), conditions.tolist(), strict=True
        ):
            time, noise = drawn_for(picture, clean, draws, model.steps, _SEED)
            many = clean.expand(draws, *clean.shape)
            row[:] = model.denoising_losses(many, noise, time, torch.full((draws,), asked)).double().numpy()
    return found


def energies(model: Denoiser, pictures: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """The same losses for a model that predicts nothing at all."""
    found = np.zeros((len(pictures), draws))
    for row, picture, clean in zip(found, pictures, codes(model, pictures), strict=True):
        time, noise = drawn_for(picture, clean, draws, model.steps, _SEED)
        wanted = model.wanted(clean.expand(draws, *clean.shape), noise, time)
        row[:] = wanted.square().mean(dim=(1, 2, 3)).double().numpy()
    return found


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
        self._config, self._product_of = config, product_of
        self._portfolios = [p for p in portfolios if p.test.any()]
        self._energies: list[np.ndarray] = []

    def __call__(self, before: State, now: State, sums: Mapping[str, Summed]) -> Figures:
        model, portfolios = self._product_of(now), self._portfolios
        values = {"update_values": sum(array.size for array in now.trained.values())}
        if not portfolios:
            return values
        if not self._energies:
            self._energies = [energies(model, p.test_pictures) for p in portfolios]
        found = [losses(model, p.test_pictures, model.asked_by(_held_out(p))) for p in portfolios]
        loss = float(np.concatenate(found).mean())
        shares = {
            p.artist: _explained(one, energy)
            for p, one, energy in zip(portfolios, found, self._energies, strict=True)
        }
        return {
            "denoising_loss": loss,
            "explained": _explained(np.concatenate(found), np.concatenate(self._energies)),
            "works": sum(map(len, found)),
            **values,
            **by_artist(shares, {p.artist: main_label(p.labels) for p in portfolios}),
        }


def _held_out(portfolio: Portfolio) -> list[str]:
    return [label for label, held in zip(portfolio.labels, portfolio.test, strict=True) if held]


def _explained(found: np.ndarray, energy: np.ndarray) -> float:
    """Share of the energy that is predicted, in [0, 1]."""
    return max(0.0, 1 - float(found.mean() / energy.mean()))

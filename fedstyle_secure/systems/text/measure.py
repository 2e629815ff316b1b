"""How well a recogniser reads: the experimenter's look at held-out crops, and at what a run is compared with.

It sees every artist's crops, so it belongs to a simulation and is no part of the protocol.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from torch import Tensor

from fedstyle_secure.devices import device_named, placed
from fedstyle_secure.fairness import by_artist
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.system import Figures, State, Summed
from fedstyle_secure.systems.text.decode import greedy
from fedstyle_secure.systems.text.own import trained_on
from fedstyle_secure.systems.text.recogniser.charset import Charset
from fedstyle_secure.systems.text.recogniser.fitting import fit
from fedstyle_secure.systems.text.recogniser.network import Recogniser, prepare
from fedstyle_secure.systems.text.recogniser.start import pooled, targets_of
from fedstyle_secure.systems.text.scores import Reads, reads
from fedstyle_secure.systems.text.settings import TextConfig

_RATE = 1e-3
"""Of central and of local training; from 5e-4 to 2e-3 the first came out the same."""


class Meter:
    """Measures states on the crops of the private artists."""

    def __init__(
        self,
        config: TextConfig,
        charset: Charset,
        model_of: Callable[[State], Recogniser],
        portfolios: Sequence[Portfolio],
    ) -> None:
        """
        Args:
            config: The run's settings.
            charset: Of the recogniser.
            model_of: The recogniser of a state.
            portfolios: The private artists' portfolios, without canaries.

        Raises:
            GalleryError: A text cannot be trained on, and `gallery.on_bad` is "refuse".
        """
        self._config, self._device = config, device_named(config.run.device)
        self._charset = charset
        self._model_of = model_of
        self._portfolios = portfolios
        # A text that cannot be trained on is named before anything is released, not by its artist's silence.
        for portfolio in portfolios:
            targets_of(charset, portfolio, ~portfolio.test, config.gallery.on_bad)
        self._crops = [prepare(p.test_pictures) for p in portfolios]
        self._texts = [
            [text for text, held_out in zip(p.labels, p.test, strict=True) if held_out] for p in portfolios
        ]

    def __call__(self, before: State, now: State, sums: Mapping[str, Summed]) -> Figures:
        model = self._model_of(now)
        read = [self._read(model, place) for place in range(len(self._portfolios))]
        found = asdict(_pooled_reads(read))
        own = zip(self._portfolios, read, strict=True)
        found |= by_artist({p.artist: reads(*one).word_accuracy for p, one in own if one[0]})
        found["update_values"] = sum(array.size for array in now.trained.values())
        found["weights"] = sum(p.numel() for p in Recogniser(self._charset.classes).parameters())
        # What a run is compared with begins where it begins itself, when nothing is released yet.
        if before.round == 0 and self._config.text.compare_epochs:
            found |= self._compared(self._model_of(before))
        if before.round == self._config.run.rounds and self._config.text.compare_epochs:
            found["personal_own_word_accuracy"] = self._personal(model)
        return found

    def _personal(self, shared: Recogniser) -> float:
        """Own test crops, read by artists who trained the shared recogniser on for themselves."""
        own = [
            self._reads(
                trained_on(shared, self._config.text, *self._pooled([portfolio]), self._device), [place]
            )
            for place, portfolio in enumerate(self._portfolios)
        ]
        return _pooled_accuracy(own)

    def everybody(self, model: Recogniser) -> Reads:
        """How a recogniser reads the test crops of all artists."""
        return self._reads(model, range(len(self._portfolios)))

    def _compared(self, start: Recogniser) -> Figures:
        """What the start would be after as many passes over everybody's crops in one place, and over each
        artist's own alone."""
        central = self._trained(start, self._portfolios)
        alone = [self._trained(start, [portfolio]) for portfolio in self._portfolios]
        own = [self._reads(model, [place]) for place, model in enumerate(alone)]
        return {
            "central_word_accuracy": self.everybody(central).word_accuracy,
            "local_word_accuracy": float(np.mean([self.everybody(model).word_accuracy for model in alone])),
            "local_own_word_accuracy": _pooled_accuracy(own),
        }

    def _trained(self, start: Recogniser, portfolios: Sequence[Portfolio]) -> Recogniser:
        model = copy.deepcopy(start)
        crops, targets = self._pooled(portfolios)
        with placed(model, self._device):
            fit(
                model, crops.to(self._device), targets.to(self._device),
                self._config.text.compare_epochs, _RATE, seed=0,
            )  # fmt: skip
        return model

    def _pooled(self, portfolios: Sequence[Portfolio]) -> tuple[Tensor, Tensor]:
        return pooled(self._charset, portfolios, self._config.gallery.on_bad)

    def _reads(self, model: Recogniser, places: Iterable[int]) -> Reads:
        return _pooled_reads([self._read(model, place) for place in places])

    def _read(self, model: Recogniser, place: int) -> tuple[list[str], list[str]]:
        """What stands in an artist's test crops, and what is read there."""
        read = [greedy(one, self._charset).text for one in model.read(self._crops[place])]
        return [self._charset.plain(text) for text in self._texts[place]], read


def _pooled_reads(pairs: Sequence[tuple[list[str], list[str]]]) -> Reads:
    return reads([text for texts, _ in pairs for text in texts], [text for _, read in pairs for text in read])


def _pooled_accuracy(found: Sequence[Reads]) -> float:
    return float(np.average([one.word_accuracy for one in found], weights=[one.words for one in found]))

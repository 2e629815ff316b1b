"""Text recognition: artists train one recogniser of lettering together, and nobody sees their crops or words.

FedOCR (Zhang et al. 2020): a lightweight model and hashed updates, which save bytes. What its abstract lacks:
DP-SGD, encrypted sums with shared noise, and attacks that say what leaks.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.config import Config
from fedstyle_secure.consent.uses import Purpose
from fedstyle_secure.devices import device_named
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.canaries import canary_kind
from fedstyle_secure.hashing import hash_weights
from fedstyle_secure.privacy.kinds import Kind, update_kind
from fedstyle_secure.privacy.mechanisms import Rows
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.server_optimizer import first_moments, stepped
from fedstyle_secure.system import (
    Figures,
    Form,
    Records,
    State,
    Summed,
    System,
    require_arrays,
    split_arrays,
    tensors,
)
from fedstyle_secure.systems.text.measure import Meter
from fedstyle_secure.systems.text.recogniser.charset import Charset
from fedstyle_secure.systems.text.recogniser.ctc import TextLoss
from fedstyle_secure.systems.text.recogniser.network import Recogniser, prepare
from fedstyle_secure.systems.text.recogniser.start import public_start, targets_of
from fedstyle_secure.systems.text.settings import TextConfig
from fedstyle_secure.systems.text.words import WORDS
from fedstyle_secure.words import Words

_LARGEST = 1e3
"""Largest absolute value of a weight that is plausible: those of honest runs stay under 10."""


def text_config(run: RunFolder) -> TextConfig:
    """The settings of a run of text recognition.

    Raises:
        ConfigError: It is a run of another system.
    """
    config = run.config()
    if not isinstance(config, TextConfig):
        raise ConfigError(
            f"{run.path}: a run of the system {config.run.system!r} reads nothing; valid is one of 'text'"
        )
    return config


def finished(run: RunFolder) -> tuple[TextSystem, Recogniser]:
    """The recogniser of a finished run, held to what artists hold it to.

    Raises:
        RunError: The run is not finished, or its files are damaged.
        ConfigError: It is a run of another system.
        FederationError: Its product is none of its settings, or not of numbers.
    """
    system = TextSystem(text_config(run))
    state = State.load(run.product_file)
    system.admit(state, 0)
    return system, system.model(state)


class TextSystem(System[TextConfig, Recogniser, Records]):
    """Text recognition under the settings of one run."""

    name: ClassVar[str] = "text"
    purpose: ClassVar[Purpose] = "ai_training"
    settings: ClassVar[type[Config]] = TextConfig
    words: ClassVar[Words] = WORDS
    attacks: ClassVar[str] = "fedstyle_secure.systems.text.attacks.catalogue:catalogue"
    smooth_loss: ClassVar[str] = "attacks.text.ctc:ctc_loss"

    @property
    def charset(self) -> Charset:
        """The letters that it reads."""
        return Charset(self.config.text.charset)

    def check(self, artists: Sequence[str]) -> None:
        if self.config.training.local_steps == 0:
            raise ConfigError(
                "training.local_steps = 0: artists of text recognition release nothing but updates; valid: "
                ">= 1"
            )
        # Such a canary's artist could not answer, and so would say on which side its coin fell.
        strange = set(self.charset.plain(string.ascii_letters + string.digits)) - set(self.charset.letters)
        if canary_kind(self.config) == "foreign" and strange:
            raise ConfigError(
                "audit.canary_kind = 'foreign' plants words of a to z and digits, of both cases where "
                f"text.charset has both, and that lacks {min(strange)!r}; valid: 'gradient', 'mislabelled'"
            )

    # What is public.

    def learn(self, public: Sequence[Portfolio]) -> State:
        text = self.config.text
        on_bad, device = self.config.gallery.on_bad, device_named(self.config.run.device)
        start = public_start(self.charset, text.practice_epochs, public, text.public_epochs, on_bad, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.run.seed)
            model = self._model(start if self.config.hashing.base == "public" else None)
        fixed, trained = split_arrays(model)
        moments = first_moments(self.config.training, sum(a.size for a in trained.values()))
        return State(0, fixed, trained, moments, {})

    def admit(self, state: State, artists: int) -> None:
        if state.texts:
            raise FederationError("the instruction has texts, and text recognition sends none")
        expected = split_arrays(self._model())
        size = sum(array.size for array in expected[1].values())
        require_arrays("fixed", state.fixed, expected[0], _LARGEST)
        require_arrays("trained", state.trained, expected[1], _LARGEST)
        require_arrays("public", state.public, first_moments(self.config.training, size), _LARGEST)

    def model(self, state: State) -> Recogniser:
        model = self._model()
        try:
            model.load_state_dict(tensors({**state.fixed, **state.trained}))
        except RuntimeError as error:
            raise FederationError(f"recogniser: {error}") from None
        return model

    def _model(self, start: Mapping[str, np.ndarray] | None = None, *, hashed: bool = True) -> Recogniser:
        """A recogniser, hashed as the settings say, with what is to train and nothing else to be trained."""
        model = Recogniser(self.charset.classes)
        if start is not None:
            model.load_state_dict(tensors(start))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(self.config.text.train == "all" or name.startswith("letters."))
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        hash_weights(model, self.config.hashing, trained if hashed else ())
        return model

    # What artists release.

    def kinds(self) -> tuple[Kind, ...]:
        return (update_kind(self.config),)

    def forms(self, state: State) -> Mapping[str, Form]:
        return {"update": Form({name: array.shape for name, array in state.trained.items()})}

    def inputs(self, model: Recogniser, portfolio: Portfolio) -> Tensor:
        return prepare(portfolio.train_pictures)[:, None]

    def records(
        self, model: Recogniser, state: State, artist: str, inputs: Tensor, portfolio: Portfolio
    ) -> Records:
        on_bad = self.config.gallery.on_bad
        return Records(inputs, targets_of(self.charset, portfolio, ~portfolio.test, on_bad))

    def loss(self, model: Recogniser, state: State) -> TextLoss:
        return TextLoss()

    def rows(self, kind: Kind, model: Recogniser, state: State, artist: str, records: Records) -> Rows | None:
        raise FederationError(f"text recognition releases updates only, not {kind.name!r}")

    # What becomes of it.

    def take(
        self, state: State, kind: Kind, summed: Summed, public: Sequence[Portfolio]
    ) -> tuple[State, Figures]:
        return stepped(state, summed, self.config.training, self._server_rate(state))

    def _server_rate(self, state: State) -> float:
        """The platform's step size for the numbers that train.

        A step of equal length in each of k numbers goes 1 / sqrt(weights / k) as far along the weights' own
        gradient, and so does its noise: with this factor a ratio of hashing changes neither.
        """
        weights = sum(p.numel() for p in self._model(hashed=False).parameters() if p.requires_grad)
        numbers = sum(array.size for array in state.trained.values())
        return self.config.training.server_rate * math.sqrt(weights / numbers)

    def forecast(
        self, state: State, deviations: Mapping[str, float], artists: int, public: Sequence[Portfolio]
    ) -> None:
        """Nothing is told: an update's signal is not known before it is made."""

    # How good it is.

    def meter(
        self, portfolios: Sequence[Portfolio]
    ) -> Callable[[State, State, Mapping[str, Summed]], Figures]:
        return Meter(self.config, self.charset, self.model, portfolios)

    def utility(self, lines: Sequence[Mapping[str, Any]]) -> Figures:
        first, last = lines[0], lines[-1]
        begun = {f"baseline_{key}": first.get(key) for key in ("word_accuracy", "cer")}
        # What a run is compared with was measured when it began.
        return {figure.key: {**first, **last, **begun}.get(figure.key) for figure in WORDS.figures}

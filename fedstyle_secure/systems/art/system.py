"""Private AI art: artists tune a diffusion backbone together, and each makes an adapter that stays with it.

The backbone has seen public and procedural pictures only. What trains together is a small change of it, by
DP-SGD on a few fixed looks at each picture; what draws in an artist's own manner is trained by that artist
after the run, for itself, and is no release of any kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.galleries.base import Gallery, Portfolio
from fedstyle_secure.privacy.kinds import Kind, update_kind
from fedstyle_secure.privacy.mechanisms import Rows
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.server_optimizer import first_moments, stepped
from fedstyle_secure.system import Figures, Form, Records, State, Summed, System, tensors
from fedstyle_secure.systems.art.backbone.folder import backbone, digest_of
from fedstyle_secure.systems.art.backbone.network import Denoiser
from fedstyle_secure.systems.art.factors import SHARED, add_factors, merge_factors, train_conditioning
from fedstyle_secure.systems.art.measure import Meter
from fedstyle_secure.systems.art.records import Looker, LookLoss, looks
from fedstyle_secure.systems.art.settings import ArtConfig
from fedstyle_secure.systems.art.words import WORDS
from fedstyle_secure.words import Words

_LARGEST = 1e3
"""Largest absolute value of a weight that is plausible: those of honest runs stay under 10."""

BACKBONE = "backbone"
"""Name of the text that says which backbone a state belongs to."""


def art_config(run: RunFolder) -> ArtConfig:
    """The settings of a run of private AI art.

    Raises:
        ConfigError: It is a run of another system.
    """
    config = run.config()
    if not isinstance(config, ArtConfig):
        raise ConfigError(
            f"{run.path}: a run of the system {config.run.system!r} draws nothing; valid is one of 'art'"
        )
    return config


def finished(run: RunFolder) -> tuple[ArtSystem, Denoiser]:
    """What a finished run's artists learned together, held to what artists hold it to.

    Raises:
        RunError: The run is not finished, or its files are damaged.
        ConfigError: It is a run of another system, or its backbone is not here.
        FederationError: Its product is none of its settings, or not of numbers.
    """
    system = ArtSystem(art_config(run))
    state = State.load(run.product_file)
    system.admit(state, 0)
    return system, system.product(state)


class ArtSystem(System[ArtConfig, Looker, Records]):
    """Private AI art under the settings of one run."""

    name: ClassVar[str] = "art"
    settings: ClassVar[type[Config]] = ArtConfig
    words: ClassVar[Words] = WORDS

    def require_learnable(self) -> None:
        digest_of(self.config.art.backbone)

    def check(self, gallery: Gallery) -> None:
        art, size = self.config.art, self.config.gallery.size
        if self.config.training.local_steps == 0:
            raise ConfigError(
                "training.local_steps = 0: artists of private AI art release nothing but updates; valid: >= 1"
            )
        made = backbone(art.backbone).size
        if size != made:
            raise ConfigError(
                f"gallery.size = {size}: the backbone makes pictures of {made}; valid: {made}, or another "
                "art.backbone"
            )

    # What is public.

    def learn(self, public: Sequence[Portfolio]) -> State:
        fixed, trained = self._parts(self._model())
        moments = first_moments(self.config.training, sum(array.size for array in trained.values()))
        return State(0, fixed, trained, moments, {BACKBONE: (digest_of(self.config.art.backbone),)})

    def admit(self, state: State, artists: int) -> None:
        own = digest_of(self.config.art.backbone)
        if dict(state.texts) != {BACKBONE: (own,)}:
            raise FederationError(
                "the instruction belongs to another backbone than "
                f"{self.config.art.backbone or 'the default'} (SHA-256 {own[:16]}...)"
            )
        fixed, trained = self._parts(self._model())
        size = sum(array.size for array in trained.values())
        parts = (
            ("fixed", state.fixed, fixed),
            ("trained", state.trained, trained),
            ("public", state.public, first_moments(self.config.training, size)),
        )
        for part, sent, wanted in parts:
            if odd := sorted(set(sent) ^ set(wanted)):
                raise FederationError(f"instruction: tensor {odd[0]!r} is missing or foreign in {part}")
            for name, array in sent.items():
                if array.shape != wanted[name].shape or array.dtype != np.float32:
                    raise FederationError(
                        f"instruction: tensor {name!r} must be float32 of shape {wanted[name].shape}"
                    )
                if not (np.abs(array) <= _LARGEST).all():
                    raise FederationError(
                        f"instruction: tensor {name!r} has values beyond {_LARGEST:g} or none"
                    )

    def model(self, state: State) -> Looker:
        model = self._model()
        known = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in tensors({**state.fixed, **state.trained}).items():
                if name not in known or known[name].shape != value.shape:
                    raise FederationError(f"backbone: tensor {name!r} is foreign or of another shape")
                known[name].copy_(value)
        return model

    def _model(self) -> Looker:
        """The backbone with what trains, and nothing else, to be trained."""
        art, denoiser = self.config.art, backbone(self.config.art.backbone)
        if art.shared == "factors":
            add_factors(denoiser.unet, art.rank, SHARED, self.config.run.seed, first_trains=False)
        else:
            train_conditioning(denoiser.unet)
        return Looker(denoiser)

    def _parts(self, model: Looker) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What of a model a state holds: held first factors, and what trains. The backbone is known by its
        digest."""
        trained = {n: p.detach().numpy().copy() for n, p in model.named_parameters() if p.requires_grad}
        fixed = {n: p.detach().numpy().copy() for n, p in model.named_parameters() if "lora_A." in n}
        return fixed, trained

    def product(self, state: State) -> Denoiser:
        """A backbone that draws by what was learned, with nothing left to train."""
        made = self.model(state).denoiser
        if self.config.art.shared == "factors":
            merge_factors(made.unet)
        return made.requires_grad_(False).eval()

    # What artists release.

    def kinds(self) -> tuple[Kind, ...]:
        return (update_kind(self.config),)

    def forms(self, state: State) -> Mapping[str, Form]:
        return {"update": Form({name: array.shape for name, array in state.trained.items()})}

    def inputs(self, model: Looker, portfolio: Portfolio) -> Tensor:
        conditions = model.denoiser.asked_by(portfolio.train_labels)
        art, steps = self.config.art, model.denoiser.steps
        return looks(portfolio.train_pictures, conditions, art.draws, steps, self.config.run.seed)

    def records(
        self, model: Looker, state: State, artist: str, inputs: Tensor, portfolio: Portfolio
    ) -> Records:
        return Records(inputs, torch.zeros(len(inputs), dtype=torch.int64))

    def loss(self, model: Looker, state: State) -> LookLoss:
        return LookLoss()

    def rows(self, kind: Kind, model: Looker, state: State, artist: str, records: Records) -> Rows | None:
        raise FederationError(f"private AI art releases updates only, not {kind.name!r}")

    # What becomes of it.

    def take(
        self, state: State, kind: Kind, summed: Summed, public: Sequence[Portfolio]
    ) -> tuple[State, Figures]:
        return stepped(state, summed, self.config.training, self.config.training.server_rate)

    def forecast(
        self, state: State, deviations: Mapping[str, float], artists: int, public: Sequence[Portfolio]
    ) -> None:
        """Nothing is told: an update's signal is not known before it is made."""

    # How good it is.

    def meter(
        self, portfolios: Sequence[Portfolio]
    ) -> Callable[[State, State, Mapping[str, Summed]], Figures]:
        return Meter(self.config, self.product, portfolios)

    def utility(self, lines: Sequence[Mapping[str, Any]]) -> Figures:
        first, last = lines[0], lines[-1]
        begun = {f"baseline_{key}": first.get(key) for key in ("explained", "denoising_loss")}
        return {figure.key: {**first, **last, **begun}.get(figure.key) for figure in WORDS.figures}

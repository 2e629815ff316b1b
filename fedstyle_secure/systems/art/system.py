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
from fedstyle_secure.galleries.base import Portfolio
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
from fedstyle_secure.systems.art.backbone.folder import Backbone, Blueprint, backbone, shipped
from fedstyle_secure.systems.art.backbone.network import Denoiser
from fedstyle_secure.systems.art.factors import SHARED, add_factors, merge_factors
from fedstyle_secure.systems.art.measure import Meter
from fedstyle_secure.systems.art.records import Looker, LookLoss, looks
from fedstyle_secure.systems.art.settings import ArtConfig
from fedstyle_secure.systems.art.words import WORDS
from fedstyle_secure.words import Words

LARGEST = 1e3
"""Largest absolute value of a weight that is plausible: those of honest runs stay under 10."""

_NAMES, _NETWORK, _SCHEDULE, _AUTOENCODER = "conditions", "network", "schedule", "autoencoder"
"""Texts of a state that say what its backbone is; the last of those alone that have one."""

_INSIDE, _INSIDE_NETWORK = "denoiser.", "denoiser.unet."
"""Where a backbone and its network lie in a `Looker`."""


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
        ConfigError: It is a run of another system.
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
    attacks: ClassVar[str] = "fedstyle_secure.systems.art.attacks.catalogue:catalogue"
    plain: ClassVar[bool] = False
    dear: ClassVar[bool] = True

    def require_learnable(self) -> None:
        self._backbone()

    def check(self, artists: Sequence[str]) -> None:
        if self.config.training.local_steps == 0:
            raise ConfigError(
                "training.local_steps = 0: artists of private AI art release nothing but updates; valid: >= 1"
            )

    # What is public.

    def origins(self) -> Mapping[str, str]:
        return {"backbone": self._agreed}

    @property
    def _agreed(self) -> str:
        """Digest of the backbone that everybody agreed to."""
        return self.config.art.backbone_sha256 or shipped().digest

    def _backbone(self) -> Backbone:
        """The platform's, held to what was agreed.

        Raises:
            ConfigError: There is none, or another one; or its pictures have another size.
        """
        art = self.config.art
        if bool(art.backbone) != bool(art.backbone_sha256):
            known = f"; that of the folder is {self._of_folder().digest}" if art.backbone else ""
            raise ConfigError(
                f"art.backbone = {art.backbone!r} and art.backbone_sha256 = {art.backbone_sha256!r}: valid "
                f"are both, or neither for the backbone that comes with the package{known}"
            )
        found = self._of_folder()
        if found.digest != self._agreed:
            raise ConfigError(
                f"art.backbone: {art.backbone}: is another one than art.backbone_sha256 says: {found.digest}"
            )
        self._require_size(found.build())
        return found

    def _of_folder(self) -> Backbone:
        return backbone(self.config.art.backbone, self.config.art.prompts)

    def _require_size(self, model: Denoiser) -> None:
        if self.config.gallery.size != model.size:
            raise ConfigError(
                f"gallery.size = {self.config.gallery.size}: the backbone makes pictures of {model.size}; "
                f"valid: {model.size}, or another art.backbone"
            )

    def learn(self, public: Sequence[Portfolio]) -> State:
        found = self._backbone()
        fixed, trained = split_arrays(self._factored(found))
        moments = first_moments(self.config.training, sum(array.size for array in trained.values()))
        plan = found.blueprint
        texts = {_NAMES: plan.names, _NETWORK: (plan.network,), _SCHEDULE: (plan.schedule,)}
        if plan.autoencoder:
            texts[_AUTOENCODER] = (plan.autoencoder,)
        return State(0, fixed, trained, moments, texts)

    def begun(self, product: State) -> State:
        """The state that a product's run began with: second factors begin at nothing."""
        trained = {name: np.zeros_like(array) for name, array in product.trained.items()}
        moments = first_moments(self.config.training, sum(array.size for array in trained.values()))
        return State(0, product.fixed, trained, moments, product.texts)

    def admit(self, state: State, artists: int) -> None:
        # What never changes must be what everybody agreed to, to the last bit; then it is safe to build.
        if set(state.texts) - {_AUTOENCODER} != {_NAMES, _NETWORK, _SCHEDULE}:
            raise FederationError(f"the instruction has texts {sorted(state.texts)}, which are no backbone's")
        if odd := [key for key, texts in state.texts.items() if key != _NAMES and len(texts) != 1]:
            raise FederationError(f"the instruction has a backbone whose {odd[0]} is not one text")
        found = _sent(state)
        if found.digest != self._agreed:
            raise FederationError(
                f"the instruction has another backbone than was agreed to: {found.digest}, not {self._agreed}"
            )
        fixed, trained = split_arrays(self._factored(found))
        if odd := sorted(set(state.fixed) ^ set(fixed)):
            raise FederationError(f"instruction: tensor {odd[0]!r} is missing or foreign in fixed")
        if odd := sorted(name for name in fixed if not _same(fixed[name], state.fixed[name])):
            raise FederationError(f"instruction: tensor {odd[0]!r} does not follow from run.seed")
        size = sum(array.size for array in trained.values())
        require_arrays("trained", state.trained, trained, LARGEST)
        require_arrays("public", state.public, first_moments(self.config.training, size), LARGEST)

    def model(self, state: State) -> Looker:
        model = self._factored(_sent(state))
        try:
            model.load_state_dict(tensors({**state.fixed, **state.trained}))
        except RuntimeError as error:
            raise FederationError(f"backbone: {error}") from None
        self._require_size(model.denoiser)
        return model

    def _factored(self, found: Backbone) -> Looker:
        """A backbone with the factors that train, and nothing else to be trained."""
        model = found.build()
        add_factors(model.unet, self.config.art.rank, SHARED, self.config.run.seed, first_trains=False)
        return Looker(model)

    def product(self, state: State) -> Denoiser:
        """A backbone that draws by what was learned, with nothing left to train."""
        made = self.model(state).denoiser
        merge_factors(made.unet)
        return made.requires_grad_(False).eval()

    # What artists release.

    def kinds(self) -> tuple[Kind, ...]:
        return (update_kind(self.config),)

    def forms(self, state: State) -> Mapping[str, Form]:
        return {"update": Form({name: array.shape for name, array in state.trained.items()})}

    def inputs(self, model: Looker, portfolio: Portfolio) -> Tensor:
        conditions = model.denoiser.asked_by(portfolio.train_labels)
        draws, seed = self.config.art.draws, self.config.run.seed
        return looks(model.denoiser, portfolio.train_pictures, conditions, draws, seed)

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


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether type, shape and every bit are."""
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def _sent(state: State) -> Backbone:
    """The backbone inside a state: its fixed tensors that are no factors."""
    network, schedule, autoencoder = (
        "".join(state.texts.get(key, ())) for key in (_NETWORK, _SCHEDULE, _AUTOENCODER)
    )
    weights = {
        name.removeprefix(_INSIDE_NETWORK).removeprefix(_INSIDE).replace(".base_layer.", "."): array
        for name, array in state.fixed.items()
        if ".lora_A." not in name
    }
    return Backbone(Blueprint(tuple(state.texts.get(_NAMES, ())), network, schedule, autoencoder), weights)

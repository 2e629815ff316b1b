"""The contract of a system: what artists learn together, and every question that the house asks of it.

A system gives rows, one a record, without noise. The house clips, adds up, adds noise, pays and sends; so a
system cannot forget any of it. It lives in one folder, or in somebody else's package (`registry`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fedstyle_secure.config import Config
from fedstyle_secure.consent.uses import Purpose
from fedstyle_secure.errors import FederationError, RunError
from fedstyle_secure.files import arrays_digest, read_arrays, write_arrays
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.privacy.kinds import Kind
from fedstyle_secure.privacy.mechanisms import Rows
from fedstyle_secure.privacy.picture_loss import PictureLoss
from fedstyle_secure.privacy.plan import Plan, solve
from fedstyle_secure.privacy.shrinkage import signal_share
from fedstyle_secure.registry import system_named
from fedstyle_secure.words import Words

Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]
Figures = dict[str, Any]

SettingsT = TypeVar("SettingsT", bound=Config)
ModelT = TypeVar("ModelT", bound=nn.Module)
RecordsT = TypeVar("RecordsT", bound="Records")

_PARTS = ("fixed", "trained", "public")


@dataclass(frozen=True, eq=False)
class State:
    """What a system knows between two rounds. All of it is public.

    Attributes:
        round: The number of the next round, from 0.
        fixed: What never changes in a run: sent to an artist once, known by its digest from then on.
        trained: The weights that artists train, float32.
        public: What else all artists are sent in every round.
        texts: Names that belong to the arrays.
    """

    round: int
    fixed: Arrays
    trained: Arrays
    public: Arrays
    texts: Mapping[str, tuple[str, ...]]

    @cached_property
    def fixed_digest(self) -> str:
        """SHA-256 of what never changes."""
        return arrays_digest(self.fixed)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything in it."""
        told = json.dumps([self.round, self.fixed_digest, {k: self.texts[k] for k in sorted(self.texts)}])
        named = {f"{part}/{n}": a for part in ("trained", "public") for n, a in getattr(self, part).items()}
        return arrays_digest(named, told)

    def save(self, path: Path, *, fixed: bool = True, told: Mapping[str, str] | None = None) -> None:
        """Write it, whole or not at all.

        Args:
            path: A safetensors file.
            fixed: With what never changes, or with its digest alone.
            told: What else the file is to say of itself, by name.
        """
        parts = {"trained": self.trained, "public": self.public} | ({"fixed": self.fixed} if fixed else {})
        arrays = {f"{part}/{name}": array for part, named in parts.items() for name, array in named.items()}
        own = {"round": self.round, "texts": dict(self.texts), "fixed": self.fixed_digest}
        write_arrays(path, arrays, {"state": json.dumps(own), **(told or {})})

    @classmethod
    def load(cls, path: Path, fixed: Arrays | None = None) -> State:
        """Read it.

        Args:
            path: A file that `save` wrote.
            fixed: What never changes, where the file has its digest alone.

        Raises:
            RunError: The file is missing or damaged, or belongs to another fixed part.
        """
        arrays, metadata = read_arrays(path)
        try:
            told = json.loads(metadata["state"])
            parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in _PARTS}
            for key, array in arrays.items():
                part, name = key.split("/", 1)
                parts[part][name] = array
            texts = {name: tuple(map(str, values)) for name, values in told["texts"].items()}
            never = parts["fixed"] if fixed is None else fixed
            number, digest = int(told["round"]), told["fixed"]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise RunError(f"{path}: is no state of a run: {error!r}") from None
        state = cls(number, never, parts["trained"], parts["public"], texts)
        if state.fixed_digest != digest:
            raise RunError(f"{path}: belongs to another fixed part than the one that it came with")
        return state


def split_arrays(model: nn.Module) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A model's weights and buffers as the fixed and the trained part of a state: what trains requires
    gradients."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    arrays = {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}
    return (
        {name: array for name, array in arrays.items() if name not in trained},
        {name: array for name, array in arrays.items() if name in trained},
    )


def require_parts(model: nn.Module, state: State) -> None:
    """Check that a state's parts are what they are called: what trains, and nothing else, is in `trained`.

    A tensor of the fixed part that came among the trained ones would change from round to round, although
    the digest of the fixed part stays.

    Raises:
        FederationError: Names a tensor that is in the wrong part.
    """
    wanted = {name for name, p in model.named_parameters() if p.requires_grad}
    odd = sorted(wanted ^ set(state.trained)) or sorted(set(state.fixed) & set(state.trained))
    if odd:
        raise FederationError(
            f"instruction: tensor {odd[0]!r} is in the wrong part: trained is what trains by the settings"
        )


def require_arrays(part: str, sent: Arrays, wanted: Arrays, largest: float) -> None:
    """Check a part of a state against arrays of the same names, types and shapes.

    Args:
        part: Its name, for the message.
        sent: As a platform sent it.
        wanted: What the settings say, float32; its values do not count.
        largest: Largest absolute value that is plausible.

    Raises:
        FederationError: Names a tensor that is missing, foreign, of another type or shape, or has values
            beyond that or none.
    """
    if odd := sorted(set(sent) ^ set(wanted)):
        raise FederationError(f"instruction: tensor {odd[0]!r} is missing or foreign in {part}")
    for name, array in sent.items():
        if array.shape != wanted[name].shape or array.dtype != np.float32:
            raise FederationError(
                f"instruction: tensor {name!r} must be float32 of shape {wanted[name].shape}"
            )
        if not (np.abs(array) <= largest).all():
            raise FederationError(f"instruction: tensor {name!r} has values beyond {largest:g} or none")


@dataclass(frozen=True)
class Form:
    """What a release of a kind looks like, before anything is in it.

    Attributes:
        tensors: Shapes by name.
        groups: Blocks of equal length that it falls into; 0: none.
    """

    tensors: Shapes
    groups: int = 0


@dataclass(frozen=True, eq=False)
class Records:
    """An artist's records of a round. A system adds what it needs to make rows of them.

    Attributes:
        inputs: What the model takes, float32 (n, views, ...); all views of a record count as one.
        targets: int64 (n, ...), what the loss wants to know of each.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class Summed:
    """What artists released of one kind, added up.

    Attributes:
        arrays: By tensor: float64, or int64 where the kind is of integers.
        artists: In the sum.
        deviation: Of the noise in each value of the sum; 0 where there is none.
        enough: bool (groups,): groups that enough artists contribute to; all others are not to be used.
    """

    arrays: Arrays
    artists: int
    deviation: float
    enough: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


class System(ABC, Generic[SettingsT, ModelT, RecordsT]):
    """One system, under the settings of one run. It holds nothing else; every method is a function of what it
    is given."""

    name: ClassVar[str]
    """As in `run.system`, in summaries and in reports."""

    purpose: ClassVar[Purpose] = "ai_generative_training"
    """What it does with works, in the words of `consent.uses`: the most that there is, if it says no less."""

    settings: ClassVar[type[Config]]
    """Its settings: the house's, with sections of its own."""

    words: ClassVar[Words] = Words()
    """What reports call things."""

    attacks: ClassVar[str] = ""
    """Attacks on what only this system releases, beside those on any: `package.module:function`, a function
    that gives `audit.catalogue.Known`s. One with the key of an attack on any system takes its place. As a
    text, since the audit stands above what a run needs."""

    plain: ClassVar[bool] = True
    """Whether the model takes a picture as it is, or features of it, first of its views. Where it takes more,
    such as noise beside the picture, no attack takes an input for a picture, and all views count."""

    dear: ClassVar[bool] = False
    """Whether a picture's gradient takes so long that an audit tries few pictures: `AuditSettings.tried`."""

    smooth_loss: ClassVar[str] = ""
    """The same as `loss`, for attacks, where that one has no second derivative or cannot be stacked:
    `package.module:function` of what the model returns and targets. As a text, like `attacks`."""

    planned: ClassVar[tuple[str, ...]] = ()
    """Settings that a rehearsal may choose, where `run.plan` is "auto"."""

    rehearsal: ClassVar[str] = ""
    """What chooses them, by playing a run on pictures that are nobody's secret: `package.module:function`, of
    the settings, the number of artists and what takes sentences; it gives settings as for `-s`. As a text,
    since it plays the whole of a run. Without one, a run is as set."""

    def __init__(self, config: SettingsT) -> None:
        """Args: config: Of the type `settings`."""
        self.config = config

    def require_learnable(self) -> None:
        """Check, from the settings alone, what `learn` needs, before any picture is read.

        Raises:
            ConfigError: Names the setting.
        """

    def check(self, artists: Sequence[str]) -> None:
        """Check settings that only make sense together, or with these artists: the platform does, and so does
        each artist.

        Args:
            artists: All private artists of the run.

        Raises:
            ConfigError: Names the setting.
        """

    def origins(self) -> Mapping[str, str]:
        """SHA-256 of files that a run follows from beside its settings and pictures, by name, for its
        manifest."""
        return {}

    @abstractmethod
    def learn(self, public: Sequence[Portfolio]) -> State:
        """The state before anything private: learned from the public portfolios alone."""

    @abstractmethod
    def kinds(self) -> tuple[Kind, ...]:
        """What artists release, whatever noise it comes with: the plan sets that."""

    @abstractmethod
    def forms(self, state: State) -> Mapping[str, Form]:
        """What a release of each kind looks like, by the kind's name, without building a model."""

    @abstractmethod
    def admit(self, state: State, artists: int) -> None:
        """Refuse what no honest platform sends, before `model` is asked and any picture is looked at.

        What a platform may choose is bounded by what everybody knows, or it could choose sizes at which an
        artist's machine fails beyond some number of pictures.

        Args:
            state: As it was sent.
            artists: Length of the roster.

        Raises:
            FederationError: Names the tensor or text, and what would be valid.
        """

    @abstractmethod
    def model(self, state: State) -> ModelT:
        """The model with these weights; what trains privately requires gradients.

        Raises:
            FederationError: A tensor is missing, foreign, misshapen or beyond what is plausible; names it.
        """

    @abstractmethod
    def inputs(self, model: ModelT, portfolio: Portfolio) -> Tensor:
        """What the model takes of a portfolio's training pictures, float32 (n, views, ...).

        A function of the fixed part and of each picture alone: callers keep it while the fixed part stays.
        """

    @abstractmethod
    def records(
        self, model: ModelT, state: State, artist: str, inputs: Tensor, portfolio: Portfolio
    ) -> RecordsT:
        """An artist's records of a round: of what `inputs` gave for the portfolio."""

    @abstractmethod
    def loss(self, model: ModelT, state: State) -> PictureLoss:
        """What artists train on, one value a record."""

    def publishes(self, kind: Kind, artist: str) -> bool:
        """Whether an artist agreed to what leaves under its name: nobody did, unless the system says so."""
        return False

    @abstractmethod
    def rows(self, kind: Kind, model: ModelT, state: State, artist: str, records: RecordsT) -> Rows | None:
        """Each record's row of a release, one at a time, without noise; None: this artist has nothing to say.

        Whether it has must not follow from its pictures. Not asked of updates: those are the loss' gradients.
        """

    @abstractmethod
    def take(
        self, state: State, kind: Kind, summed: Summed, public: Sequence[Portfolio]
    ) -> tuple[State, Figures]:
        """The state after a sum of a kind, and figures for the round's line of metrics. It sees what was
        released and the public portfolios, so it costs no privacy."""

    def publish(self, state: State, kind: Kind, artist: str, arrays: Arrays) -> State:
        """The state after an artist's release under its own name."""
        return state

    def forget(self, state: State, artists: Collection[str]) -> State:
        """The state without what bears these artists' names."""
        return state

    def forecast(
        self, state: State, deviations: Mapping[str, float], artists: int, public: Sequence[Portfolio]
    ) -> None:
        """Log, before anything is released, what noise will leave of the first sum, where the unit is the
        artist.

        Args:
            state: Before the first round.
            deviations: Of the noise in each value of a sum over artists of mean rows, by kind.
            artists: In the sum.
            public: The platform's own portfolios.
        """

    @abstractmethod
    def meter(
        self, portfolios: Sequence[Portfolio]
    ) -> Callable[[State, State, Mapping[str, Summed]], Figures]:
        """The experimenter's look at private pictures, no part of the protocol: figures of a round from the
        states before and after it and what was summed.

        With `fairness.by_artist` among them, summary, report and sweeps say whom the run serves.
        """

    def utility(self, lines: Sequence[Mapping[str, Any]]) -> Figures:
        """The figures of a run's summary, from its lines of metrics."""
        return {}

    def blind_features(self, pictures: np.ndarray) -> np.ndarray:
        """What a guess about membership looks at that looks at no model, float (n, f): where this alone tells
        who trained, an attack that does so shows nothing.

        Args:
            pictures: uint8 (n, s, s, 3).
        """
        flat = pictures.reshape(len(pictures), -1, 3).astype(np.float64) / 255
        return np.concatenate([flat.mean(axis=1), flat.std(axis=1)], axis=1)


AnySystem = System[Config, nn.Module, Records]


def system_bound(config: Config) -> AnySystem:
    """The system that settings name, under these settings.

    Raises:
        ConfigError: There is no such system.
    """
    system: AnySystem = system_named(config.run.system)(config)
    return system


def plan_of(config: Config, artists: int, kept: Path | None = None, scale: float | None = None) -> Plan:
    """The plan of a run of the system that its settings name. Arguments and errors as of `plan.solve`."""
    return solve(config, system_bound(config).kinds(), artists, kept, scale)


def moved(state: State, summed: Summed) -> tuple[State, Figures]:
    """The trained weights moved by the mean of the updates, as far as their sum stands out of its noise
    (`privacy.shrinkage`). All artists weigh the same: a weight by portfolio size would be another release."""
    flat = np.concatenate([summed.arrays[name].ravel() for name in sorted(state.trained)])
    kept = float(signal_share(flat, summed.deviation))
    trained = {
        name: (array + kept * summed.arrays[name] / summed.artists).astype(np.float32)
        for name, array in state.trained.items()
    }
    return replace(state, trained=trained), {"update_kept": kept}


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Arrays as tensors of their own memory."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}

"""Style search: a style encoder, shared prototypes, and cards of artists who want to be found.

FedStyle (Ran et al. 2024), with contrast against what is already public in place of contrast between an
artist's own pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.config import Config
from fedstyle_secure.consent.uses import Purpose
from fedstyle_secure.devices import device_named
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.canaries import PICTURES, canary_kind
from fedstyle_secure.galleries.checks import require_artists
from fedstyle_secure.privacy.alone import one_at_a_time
from fedstyle_secure.privacy.kinds import Kind, spread, update_kind
from fedstyle_secure.privacy.mechanisms import GaussianSum, NoisyCounts, Rows
from fedstyle_secure.system import (
    Arrays,
    Figures,
    Form,
    Records,
    State,
    Summed,
    System,
    moved,
    split_arrays,
)
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.encoders import (
    encoder_from_arrays,
    learned,
    prepare_views,
    realign,
    require_learnable,
)
from fedstyle_secure.systems.style.forecast import announce, forecast
from fedstyle_secure.systems.style.heads import (
    HEAD_PUBLIC,
    Residuals,
    denoised,
    directions_of,
    second_moment,
    whitening_base,
)
from fedstyle_secure.systems.style.losses import PrototypeContrast
from fedstyle_secure.systems.style.measure import Meter, StyleUtility
from fedstyle_secure.systems.style.prototypes import (
    COUNT_SCALE,
    MOST_STYLES,
    ROW_NORM,
    PictureRows,
    Styles,
    picture_rows,
    refresh,
    styles_from_labels,
    styles_from_vocabulary,
    unit,
)
from fedstyle_secure.systems.style.retrieval import Utility
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.systems.style.words import WORDS
from fedstyle_secure.textures.statistics import texture_features
from fedstyle_secure.words import Words

CARD, PROTOTYPES, METRICS, SCATTER = "card", "prototypes", "metrics", "scatter"
COUNTS = ("pictures", "found")
"""The counts of a metrics release."""

_PULL = 0.5
"""Of its artist's card in a picture, before the second moment: about the length of an artist's mean vector on
public pictures (0.56); between the two it made no difference."""

_MOST_NOISE = 0.03
"""Largest deviation that the noise of all steps together may leave in a value of a directed head: longer
steps are shortened to it. Without, few artists lose by training (procedural ones, 10 to 28: 0.03 to 0.09)."""

_LONGEST = 1.001
"""Prototypes and cards are unit vectors, but for rounding."""


@dataclass(frozen=True, eq=False)
class StyleRecords(Records):
    """An artist's pictures of a round.

    Attributes:
        vectors: What cards and prototypes are sums of, float32 (n, r).
        assigned: int64 (n,), style of each picture.
        anchors: float32 (n, r), what each picture is held against: its artist's card, else its style's
            prototype.
        canaries: So many of the last pictures were planted, and count in no figure.
    """

    vectors: np.ndarray
    assigned: np.ndarray
    anchors: np.ndarray
    canaries: int


class StyleSystem(System[StyleConfig, StyleEncoder, StyleRecords]):
    """Style search under the settings of one run."""

    name: ClassVar[str] = "style"
    purpose: ClassVar[Purpose] = "ai_training"
    settings: ClassVar[type[Config]] = StyleConfig
    words: ClassVar[Words] = WORDS
    attacks: ClassVar[str] = "fedstyle_secure.systems.style.attacks.catalogue:catalogue"

    planned: ClassVar[tuple[str, ...]] = ("style.train", "style.scatter")
    rehearsal: ClassVar[str] = "fedstyle_secure.systems.style.rehearsal:rehearsed"

    def __init__(self, config: StyleConfig) -> None:
        super().__init__(config)
        self._realigning: tuple[str, Tensor] | None = None

    def require_learnable(self) -> None:
        require_learnable(self.config.style, self.config.gallery)

    def check(self, artists: Sequence[str]) -> None:
        least, config = self.config.styles.min_contributors, self.config
        require_artists("cards.consent", config.cards.consent, tuple(artists))
        kind, cards = canary_kind(config), config.cards.consent == ("all",)
        if kind in PICTURES and not config.trains and not cards:
            raise ConfigError(
                f"audit.canary_kind = {kind!r} shows in updates and cards only: set "
                'training.local_steps > 0, or cards.consent = "all"'
            )
        summed = config.prototypes.releases or config.secure_sum.updates
        encrypted = config.secure_sum.enabled and config.privacy.unit == "artwork" and summed
        if encrypted and len(artists) < least:
            raise ConfigError(
                f"styles.min_contributors = {least}, but the gallery has {len(artists)} artists: "
                "nothing of theirs may be summed; set prototypes.releases to 0"
            )
        self._check_scatter()
        if config.style.train != "head" and config.trains and config.cards.releases == 1:
            raise ConfigError(
                f"style.train = {config.style.train!r} moves the space that cards lie in, so one release "
                "before training is not enough; set cards.releases to 2 or more"
            )

    def _check_scatter(self) -> None:
        """Raise ConfigError where second moments are asked for and would hurt, or have no place."""
        config = self.config
        private = config.privacy.dp == "on" and config.privacy.noise_multiplier != 0
        if config.style.scatter != "on":
            return
        if config.privacy.unit == "artist" or (private and not config.shares_noise):
            raise ConfigError(
                'style.scatter = "on" needs a sum with one noise of the unit artwork (secure_sum.enabled = '
                'true, privacy.noise = "auto"), as N noises were measured to hurt; or "auto"'
            )
        if config.style.train not in ("none", "head"):
            raise ConfigError(
                f'style.scatter = "on" sets the head, and style.train = {config.style.train!r} moves what '
                'lies before it; use style.train = "head", or "auto"'
            )

    # What is public.

    def learn(self, public: Sequence[Portfolio]) -> State:
        run = self.config.run
        device = device_named(run.device)
        encoder, prepared = learned(self.config.style, public, run.seed, self.config.rank, device)
        vectors = encoder.released(prepared)
        if self.config.styles.source == "labels":
            styles = styles_from_labels(vectors, tuple(s for p in public for s in p.labels))
        else:
            styles = styles_from_vocabulary(vectors, self.config.styles.count, self.config.run.seed)
        fixed, trained = split_arrays(encoder)
        none = np.zeros((0, styles.prototypes.shape[1]), np.float32)
        # What is set anew by sums travels with what is public.
        head = {name: array for name, array in fixed.items() if name in HEAD_PUBLIC}
        kept = {name: array for name, array in fixed.items() if name not in head}
        arrays = {"prototypes": styles.prototypes, "cards": none, **head}
        state = State(0, kept, trained, arrays, {"styles": styles.names, "cards": ()})
        return self._directed(state)

    def _directed(self, state: State, base: np.ndarray | None = None) -> State:
        """With the directions that cards lie in, or prototypes while there are none, and another base."""
        if HEAD_PUBLIC[0] not in state.public:
            return state
        base = state.public[HEAD_PUBLIC[0]] if base is None else base
        cards, rank = state.public["cards"], state.public[HEAD_PUBLIC[1]].shape[1]
        vectors = cards if len(cards) else state.public["prototypes"]
        head = dict(zip(HEAD_PUBLIC, (base, directions_of(vectors, base, rank)), strict=True))
        return replace(state, public={**state.public, **head})

    def admit(self, state: State, artists: int) -> None:
        if set(state.public) - set(HEAD_PUBLIC) != {"prototypes", "cards"} or set(state.texts) != {
            "styles",
            "cards",
        }:
            raise FederationError("instruction: tensors 'prototypes' and 'cards', and names of both, are all")
        if odd := sorted(set(HEAD_PUBLIC) & (set(state.fixed) | set(state.trained))):
            raise FederationError(f"instruction: tensor {odd[0]!r} is public: it belongs to no other part")
        styles, cards = state.texts["styles"], state.texts["cards"]
        if self.config.styles.source == "vocabulary" and len(styles) != self.config.styles.count:
            raise FederationError("the instruction has another number of styles than the settings say")
        for name, what, names, most in (
            ("prototypes", "styles", styles, MOST_STYLES),
            ("cards", "cards", cards, artists),
        ):
            rows = state.public[name]
            if len(names) > most or len(set(names)) < len(names):
                raise FederationError(
                    f"the instruction has {len(names)} {what}: valid are {most} at most, each once"
                )
            if rows.dtype != np.float32 or rows.ndim != 2 or len(rows) != len(names):
                raise FederationError(f"instruction: tensor {name!r} must be float32 with {len(names)} rows")
            if not (np.square(rows.astype(np.float64)).sum(axis=1) <= _LONGEST**2).all():
                raise FederationError(f"instruction: tensor {name!r} must have rows of length at most 1")
        if not styles:
            raise FederationError("the instruction has no styles")
        if state.public["prototypes"].shape[1] != state.public["cards"].shape[1]:
            raise FederationError("instruction: tensor 'cards' must be as wide as tensor 'prototypes'")

    def model(self, state: State) -> StyleEncoder:
        head = {name: array for name, array in state.public.items() if name in HEAD_PUBLIC}
        encoder = encoder_from_arrays(
            self.config.style, {**state.fixed, **state.trained, **head}, self.config.rank
        )
        if state.public["prototypes"].shape[1] != encoder.width:
            raise FederationError("the instruction's prototypes are not as wide as what the encoder gives")
        return encoder

    # What artists release.

    def kinds(self) -> tuple[Kind, ...]:
        config = self.config
        by_artist = config.privacy.unit == "artist"
        # The opening round, that of the second moments, those with training, and a closing one.
        trained = 1 + config.scatters
        last = trained + (config.run.rounds if config.trains else 0)
        # No guarantee for a whole portfolio can cover what names its artist, or what leaves unsummed.
        named = not by_artist and config.cards.consent != ("none",)
        clipped = by_artist or config.privacy.dp == "on"
        least = config.styles.min_contributors
        # Nobody is found before cards are out, so not in the opening round.
        counted = spread(config.metrics.releases if named else 0, last - 1)
        update = update_kind(config, least)
        updates = frozenset(range(trained, last)) if config.trains else frozenset[int]()
        return (
            replace(update, rounds=updates),
            Kind(
                name=SCATTER,
                rounds=frozenset({1} if config.scatters else ()),
                mechanism=GaussianSum(1.0 if clipped else math.inf, 0.0),
                share=config.share.scatter,
                setting="share.scatter",
                leaves="summed",
                least=least,
            ),
            Kind(
                name=CARD,
                rounds=spread(config.cards.releases if named else 0, last),
                mechanism=GaussianSum(1.0 if clipped else math.inf, 0.0),
                share=config.share.cards,
                setting="share.cards",
                leaves="named",
                ages=config.style.train != "head",
            ),
            Kind(
                name=PROTOTYPES,
                rounds=spread(config.prototypes.releases, last),
                mechanism=GaussianSum(ROW_NORM if clipped else math.inf, 0.0),
                share=config.share.prototypes,
                setting="share.prototypes",
                leaves="summed",
                least=least,
                count=COUNT_SCALE,
            ),
            Kind(
                name=METRICS,
                rounds=frozenset(last - number for number in counted),
                # Counts are summed like everything else where noise is shared.
                mechanism=GaussianSum(math.sqrt(len(COUNTS)), 0.0)
                if config.shares_noise
                else NoisyCounts(math.inf, len(COUNTS)),
                share=config.share.metrics,
                setting="share.metrics",
                leaves="summed" if config.shares_noise else "clear",
                optional=True,
            ),
        )

    def forms(self, state: State) -> Mapping[str, Form]:
        styles, dim = state.public["prototypes"].shape
        return {
            "update": Form({name: array.shape for name, array in state.trained.items()}),
            CARD: Form({"card": (dim,)}),
            PROTOTYPES: Form({"sums": (styles * (dim + 1),)}, groups=styles),
            METRICS: Form({"counts": (len(COUNTS),)}),
            SCATTER: Form({"moments": (dim * (dim + 1) // 2,)}),
        }

    def inputs(self, model: StyleEncoder, portfolio: Portfolio) -> Tensor:
        seed = str(self.config.run.seed)
        return prepare_views(model, portfolio.train_pictures, self.config.style.views, seed)

    def records(
        self, model: StyleEncoder, state: State, artist: str, inputs: Tensor, portfolio: Portfolio
    ) -> StyleRecords:
        vectors = model.released(inputs[:, 0])
        assigned = self.styles(state).assign(vectors, portfolio.train_labels)
        targets = self.targets(state, artist, assigned)
        cards = self.cards(state)
        anchors = state.public["prototypes"][assigned]
        if artist in cards:
            anchors = np.broadcast_to(cards[artist], anchors.shape)
        return StyleRecords(inputs, targets, vectors, assigned, anchors, portfolio.canaries)

    def targets(self, state: State, artist: str, assigned: np.ndarray) -> Tensor:
        """Each picture's own anchor, and one that is no negative for it, int64 (n, 2).

        An artist with a card trains toward it, one without toward its pictures' prototypes.
        """
        targets = np.stack([assigned, np.full_like(assigned, -1)], axis=1)
        if artist in state.texts["cards"]:
            targets[:, 1] = assigned
            targets[:, 0] = len(state.texts["styles"]) + state.texts["cards"].index(artist)
        return torch.from_numpy(targets)

    def loss(self, model: StyleEncoder, state: State) -> PrototypeContrast:
        anchors = np.concatenate([state.public["prototypes"], state.public["cards"]])
        style = self.config.style
        return PrototypeContrast(lambda: model.place(anchors), style.temperature, style.alignment)

    def publishes(self, kind: Kind, artist: str) -> bool:
        consent = self.config.cards.consent
        return consent == ("all",) or artist in consent

    def rows(
        self, kind: Kind, model: StyleEncoder, state: State, artist: str, records: StyleRecords
    ) -> Rows | None:
        if kind.name == CARD:
            return records.vectors
        if kind.name == PROTOTYPES:
            return PictureRows(records.vectors, records.assigned, len(state.texts["styles"]))
        if kind.name == SCATTER:
            return Residuals(records.vectors, records.anchors, _PULL)
        return self._found(model, state, artist, records) if artist in state.texts["cards"] else None

    def _found(self, model: StyleEncoder, state: State, artist: str, records: StyleRecords) -> np.ndarray:
        """bool (n, 2), a row a training picture that is no canary: there, and its artist's card nearest."""
        pictures = records.inputs[: len(records.inputs) - records.canaries, 0]
        cards = model.place(state.public["cards"])
        embedded = torch.from_numpy(model.embed(pictures))
        nearest = one_at_a_time(lambda one: (one @ cards.T).argmax(dim=1), embedded).numpy()
        found = nearest == state.texts["cards"].index(artist)
        return np.stack([np.ones_like(found), found], axis=1)

    # What becomes of it.

    def take(
        self, state: State, kind: Kind, summed: Summed, public: Sequence[Portfolio]
    ) -> tuple[State, Figures]:
        if kind.name == PROTOTYPES:
            return self._refreshed(state, summed), {}
        if kind.name == SCATTER:
            return self._whitened(state, summed), {}
        if kind.name == METRICS:
            pictures, found = summed.arrays["counts"]
            return state, {"found_share": float(np.clip(found / max(pictures, 1), 0, 1))}
        if HEAD_PUBLIC[0] in state.public:
            state, figures = self._stepped(state, summed)
        else:
            state, figures = moved(state, summed)
        return self._realigned(state, public), figures

    def _whitened(self, state: State, summed: Summed) -> State:
        """With the head's base from the artists' second moments."""
        dim = state.public["prototypes"].shape[1]
        moment = second_moment(summed.arrays["moments"], dim)
        base = whitening_base(denoised(moment, summed.deviation))
        if HEAD_PUBLIC[0] in state.public:
            return self._directed(state, base)
        return replace(state, trained={**state.trained, "head.weight": base.T.copy()})

    def _stepped(self, state: State, summed: Summed) -> tuple[State, Figures]:
        """The directed head moved by the artists' mean update, shortened as far as its noise asks for."""
        noise = summed.deviation / summed.artists * math.sqrt(self.config.run.rounds)
        kept = min(1.0, _MOST_NOISE / noise) if noise else 1.0
        step = kept * summed.arrays["head.core"] / summed.artists
        # All steps together move no direction by more than its length, so that the map stays one to one.
        longest = max(1.0, float(np.linalg.norm((step + step.T) / 2, 2)) * self.config.run.rounds)
        core, kept = state.trained["head.core"] + step / longest, kept / longest
        return replace(state, trained={"head.core": core.astype(np.float32)}), {"update_kept": kept}

    def _refreshed(self, state: State, summed: Summed) -> State:
        styles = refresh(self.styles(state), summed.arrays["sums"], summed.deviation, summed.enough)
        return replace(state, public={**state.public, "prototypes": styles.prototypes})

    def _realigned(self, state: State, public: Sequence[Portfolio]) -> State:
        training = self.config.training
        if training.realign_steps == 0:
            return state
        encoder = self.model(state)
        if self._realigning is None or self._realigning[0] != state.fixed_digest:
            pictures = np.concatenate([p.pictures for p in public])
            self._realigning = (state.fixed_digest, encoder.prepare(pictures))
        labels = np.repeat(np.arange(len(public)), [len(p.pictures) for p in public])
        temperature = self.config.style.temperature
        realign(
            encoder, self._realigning[1], labels, training.realign_steps, training.realign_rate, temperature
        )
        return replace(state, trained=split_arrays(encoder)[1])

    def publish(self, state: State, kind: Kind, artist: str, arrays: Arrays) -> State:
        return self._with_cards(state, {**self.cards(state), artist: unit(arrays["card"])})

    def forget(self, state: State, artists: Collection[str]) -> State:
        return self._with_cards(state, {a: c for a, c in self.cards(state).items() if a not in artists})

    def forecast(
        self, state: State, deviations: Mapping[str, float], artists: int, public: Sequence[Portfolio]
    ) -> None:
        if PROTOTYPES not in deviations:
            return
        encoder, rows, styles = self.model(state), [], len(state.texts["styles"])
        for portfolio in public:
            vectors = encoder.released(encoder.prepare(portfolio.train_pictures))
            assigned = self.styles(state).assign(vectors, portfolio.train_labels)
            rows.append(picture_rows(vectors, assigned, styles).mean(axis=0))
        announce(forecast(artists, deviations[PROTOTYPES], rows, styles), artists)

    # How good it is.

    def meter(
        self, portfolios: Sequence[Portfolio]
    ) -> Callable[[State, State, Mapping[str, Summed]], Figures]:
        by_artist = self.config.privacy.unit == "artist"
        return Meter(self.model, self.styles, portfolios, by_artist=by_artist)

    def utility(self, lines: Sequence[Mapping[str, Any]]) -> Figures:
        # The opening round releases cards under the public encoder: that is the run before any training.
        first = next((line["artist_top1"] for line in lines if line.get("artist_top1") is not None), None)
        values = {key: lines[-1].get(key) for key in Utility.__dataclass_fields__}
        keys = StyleUtility.__dataclass_fields__
        styles = [{key: line[key] for key in keys} for line in lines if "style_cosine" in line]
        return values | {"baseline_top1": first} | (styles[-1] if styles else dict.fromkeys(keys))

    def blind_features(self, pictures: np.ndarray) -> np.ndarray:
        return texture_features(pictures)

    # What a state holds.

    def styles(self, state: State) -> Styles:
        """The shared styles."""
        by_label = self.config.styles.source == "labels"
        return Styles(state.texts["styles"], state.public["prototypes"], by_label)

    def cards(self, state: State) -> dict[str, np.ndarray]:
        """Artists to their cards, float32 unit vectors (d,)."""
        return dict(zip(state.texts["cards"], state.public["cards"], strict=True))

    def _with_cards(self, state: State, cards: Mapping[str, np.ndarray]) -> State:
        names = tuple(sorted(cards))
        none = np.zeros((0, state.public["prototypes"].shape[1]), np.float32)
        rows = np.stack([cards[name] for name in names]) if names else none
        with_cards = replace(
            state, public={**state.public, "cards": rows}, texts={**state.texts, "cards": names}
        )
        # Once weights train, or a base is found, directions stay.
        return self._directed(with_cards) if state.round == 0 else with_cards

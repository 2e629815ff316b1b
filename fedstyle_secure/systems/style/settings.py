"""The settings of style search: the encoder, the shared styles, the cards, and how they share the budget."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from fedstyle_secure.config import PLACES, Config, Idle, Section, Share, ShareSection, all_none_or_names
from fedstyle_secure.names import Names

_RANK = 64
"""Directions of a head: from 48 to 96 it made no difference on procedural artists."""

_WAY = 80.0
"""What the steps of a directed head add up to, in units of the clipped mean gradient."""

_OF_BACKBONE = ("style.backbone", "style.weights", "style.weights_sha256")


class StyleSection(Section):
    """The encoder."""

    encoder: Literal["texture", "cnn", "backbone"] = Field("texture", description="Kind of encoder.")
    dim: int = Field(
        128, ge=4, le=1024, description="Dimensions of an embedding (texture, backbone: at most)."
    )
    train: Literal["none", "head", "norms", "all"] = Field(
        "head", description="Weights that train privately; none: all of the budget goes to cards and sums."
    )
    rank: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = Field(
        "auto",
        description="Public directions that the head moves in; 0: it trains as a whole; auto: 64 where "
        "noise is shared, else 0.",
    )
    scatter: Literal["auto", "on", "off"] = Field(
        "auto",
        description="One private sum of second moments sets the head before it trains; auto: where noise is "
        "shared.",
    )
    temperature: float = Field(
        0.05,
        ge=1e-3,
        le=10,
        description="Temperature of the contrast; lower: only the nearest anchors count.",
    )
    alignment: float = Field(0.3, ge=0, le=100, description="Weight of the pull to the picture's own anchor.")
    views: int = Field(1, ge=1, le=16, description="Augmented views of a picture; they count as one record.")
    practice_artists: int = Field(
        56, ge=0, le=1000, description="Procedural artists to practise on beside the public set; 0: none."
    )
    pretrain_steps: int = Field(300, ge=0, le=100_000, description="cnn: steps of public learning.")
    backbone: str = Field("", description="backbone: the pretrained network, such as efficientnet_lite0.")
    weights: str = Field("", description="backbone: file of its weights on the platform's machine.")
    weights_sha256: str = Field("", description="backbone: SHA-256 of that file, 64 hexadecimal digits.")


class StylesSection(Section):
    """The shared styles."""

    source: Literal["labels", "vocabulary"] = Field("vocabulary", description="Where styles come from.")
    count: int = Field(12, ge=1, le=4096, description="vocabulary: number of styles.")
    min_contributors: int = Field(3, ge=2, description="Artists that a released prototype needs.")


class PrototypesSection(Section):
    """Prototypes of the shared styles."""

    releases: int = Field(1, ge=0, le=1000, description="How often the artists' sums refresh them.")


class CardsSection(Section):
    """Style cards of artists who want to be found."""

    consent: Names = Field(
        Names.read("all"), description='Artists who publish a card: "all", "none" or names.'
    )

    _allowed = field_validator("consent")(all_none_or_names)

    releases: int = Field(
        1, ge=1, le=1000, description="Releases of a card: one before training, the last at the end."
    )


class MetricsSection(Section):
    """A figure of utility that artists may give away."""

    releases: int = Field(
        0,
        ge=0,
        le=1000,
        description="Releases of noisy counts: pictures, and those found; the last at the end.",
    )


class StyleShareSection(ShareSection):
    """How the budget is split over the kinds of release (relative weights)."""

    cards: Share = Field(0.8, description="Share of the style cards; more of it: they are found better.")
    scatter: Share = Field(0.06, description="Share of the sum of second moments, where there is one.")
    prototypes: Share = Field(0.02, description="Share of the prototype sums.")
    metrics: Share = Field(0.05, description="Share of the noisy counts, where they are released.")


class StyleConfig(Config):
    """All settings of a run of style search."""

    style: StyleSection = StyleSection()
    styles: StylesSection = StylesSection()
    prototypes: PrototypesSection = PrototypesSection()
    cards: CardsSection = CardsSection()
    metrics: MetricsSection = MetricsSection()
    share: StyleShareSection = StyleShareSection()

    places: ClassVar[tuple[str, ...]] = (*PLACES, "style.weights")

    @property
    def rank(self) -> int:
        """Directions that the head moves in; 0: it trains as a whole."""
        usual = _RANK if self.shares_noise and self.style.train in ("none", "head") else 0
        return usual if self.style.rank == "auto" else self.style.rank

    @property
    def usual_rate(self) -> float:
        return _WAY / self.run.rounds if self.rank else super().usual_rate

    @property
    def trains(self) -> bool:
        """Whether weights train privately, step by step."""
        return self.training.local_steps > 0 and self.style.train != "none"

    @property
    def scatters(self) -> bool:
        """Whether artists release second moments of their pictures' residuals."""
        usual = self.shares_noise and self.style.train in ("none", "head")
        return self.style.scatter == "on" or (self.style.scatter == "auto" and usual)

    idle: ClassVar[tuple[Idle, ...]] = (
        (
            'style.train = "none"',
            lambda c: c.style.train == "none",
            (
                *("style.rank", "style.views", "style.temperature", "style.alignment", "run.rounds"),
                *("training.local_steps", "training.sampling_rate", "training.learning_rate", "share.sgd"),
                "secure_sum.updates",
            ),
        ),
        (
            "style.train trains more than the head",
            lambda c: c.style.train not in ("none", "head"),
            ("style.rank",),
        ),
        (
            "style.scatter: no second moments are released",
            lambda c: not c.scatters,
            ("share.scatter",),
        ),
        (
            'privacy.dp = "off"',
            lambda c: c.privacy.dp == "off",
            ("share.cards", "share.scatter", "share.prototypes", "share.metrics"),
        ),
        (
            'privacy.unit = "artist"',
            lambda c: c.privacy.unit == "artist",
            (
                *("cards.consent", "cards.releases", "metrics.releases"),
                *("share.cards", "share.prototypes", "share.metrics"),
            ),
        ),
        (
            'cards.consent = "none"',
            lambda c: c.cards.consent == ("none",),
            ("cards.releases", "share.cards", "metrics.releases", "share.metrics"),
        ),
        ("prototypes.releases = 0", lambda c: c.prototypes.releases == 0, ("share.prototypes",)),
        ("metrics.releases = 0", lambda c: c.metrics.releases == 0, ("share.metrics",)),
        (
            "training.local_steps = 0",
            lambda c: c.training.local_steps == 0,
            ("style.views", "style.alignment"),
        ),
        (
            'style.encoder = "texture"',
            lambda c: c.style.encoder == "texture",
            ("style.pretrain_steps", *_OF_BACKBONE),
        ),
        ('style.encoder = "cnn"', lambda c: c.style.encoder == "cnn", _OF_BACKBONE),
        ('style.encoder = "backbone"', lambda c: c.style.encoder == "backbone", ("style.pretrain_steps",)),
        ('styles.source = "labels"', lambda c: c.styles.source == "labels", ("styles.count",)),
    )

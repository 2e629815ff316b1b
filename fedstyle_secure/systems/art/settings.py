"""The settings of private AI art: the backbone, what of it artists train together, adapters, drawing."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedstyle_secure.config import PLACES, Config, Idle, PrivacySection, Section, ServerTrainingSection
from fedstyle_secure.names import Names
from fedstyle_secure.systems.art.gallery_settings import ArtGallerySection

MOST_RANK = 256
"""Of a low-rank change."""


class ArtSection(Section):
    """The backbone and what becomes of it."""

    backbone: str = Field(
        "", description="Folder of a model in diffusers' format; empty: the one that comes with the package."
    )
    backbone_sha256: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="Of a folder's backbone, so that everybody knows which one it is.",
    )
    prompts: Names = Field(
        Names.read(""),
        description="Of a folder with a text encoder: words that it can be asked with; a picture with such a "
        "label is shown as that.",
    )
    rank: int = Field(
        4, ge=1, le=MOST_RANK, description="Of what trains together: of the change in each layer."
    )
    draws: int = Field(4, ge=1, le=256, description="Fixed times and noises that a picture is looked at in.")
    steps: int = Field(16, ge=2, le=1000, description="Of the solver that draws a picture.")
    guidance: float = Field(2.0, ge=1, le=50, description="How much more a picture is to be what was asked.")
    adapter_rank: int = Field(8, ge=1, le=MOST_RANK, description="Rank of an artist's own adapter.")
    adapter_steps: int = Field(100, ge=1, le=100_000, description="Steps that it learns for.")
    adapter_batch: int = Field(16, ge=1, le=1024, description="Pictures a step.")
    adapter_rate: float = Field(3e-3, gt=0, le=1, description="Its largest step size.")


class ArtTrainingSection(ServerTrainingSection):
    """Local training and what the platform does with it."""

    server_rate: float = Field(3e-3, gt=0, le=10, description="adam: step size of the platform.")


class ArtPrivacySection(PrivacySection):
    """The guarantee."""

    clip_norm: float = Field(
        0.01,
        gt=0,
        description="L2 bound on a picture's gradient (unit artwork) or an artist's update (artist).",
    )


class ArtConfig(Config):
    """All settings of a run of private AI art."""

    gallery: ArtGallerySection = ArtGallerySection()
    training: ArtTrainingSection = ArtTrainingSection()
    privacy: ArtPrivacySection = ArtPrivacySection()
    art: ArtSection = ArtSection()

    places: ClassVar[tuple[str, ...]] = (*PLACES, "art.backbone")

    idle: ClassVar[tuple[Idle, ...]] = (
        (
            'training.server_optimizer = "mean"',
            lambda c: c.training.server_optimizer == "mean",
            ("training.server_rate",),
        ),
        (
            "art: the platform takes no steps of its own between rounds",
            lambda c: True,
            ("training.realign_steps", "training.realign_rate"),
        ),
    )

    @property
    def usual_rate(self) -> float:
        """Step size of an artist: its gradients are as short as its clip."""
        return 1.0

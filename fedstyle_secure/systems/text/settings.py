"""The settings of text recognition: the recogniser, what of it travels, what the platform does with it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from fedstyle_secure.config import Config, Idle, Section, ServerTrainingSection
from fedstyle_secure.hashing import HashingSection
from fedstyle_secure.systems.text.gallery_settings import TextGallerySection
from fedstyle_secure.systems.text.scores import ALPHANUMERICS


class TextSection(Section):
    """The recogniser."""

    charset: str = Field(ALPHANUMERICS, description="Letters that it reads, each once; lower ones: any case.")
    train: Literal["all", "letters"] = Field(
        "all", description="Weights that train privately; letters: the last layer."
    )
    practice_epochs: int = Field(
        8, ge=0, le=1000, description="Passes over procedural lettering before all else; kept."
    )
    public_epochs: int = Field(4, ge=0, le=1000, description="Passes over the public set after that.")
    beam: int = Field(1, ge=1, le=100, description="Texts kept while reading; 1: the likeliest letters.")
    compare_epochs: int = Field(
        4, ge=0, le=100,
        description="Experimenter's: passes of training alone, and centrally, to compare with; 0: none.",
    )  # fmt: skip

    personal: Literal["all", "letters"] = Field(
        "all", description="What an artist trains on for itself after a run; it never leaves."
    )
    personal_epochs: int = Field(2, ge=1, le=1000, description="Passes over its own crops for that.")

    @field_validator("charset")
    @classmethod
    def _letters(cls, charset: str) -> str:
        if not charset or len(set(charset)) < len(charset) or not charset.isprintable():
            raise ValueError("letters, each once")
        return charset


class TextTrainingSection(ServerTrainingSection):
    """Local training and what the platform does with it."""

    expected_pictures: int = Field(
        500, ge=1, le=10**9, description="Public guess of a portfolio's size; scales steps."
    )
    server_rate: float = Field(
        1.5e-3, gt=0, le=10, description="adam: step size of the platform, of weights that are not hashed."
    )


class TextConfig(Config):
    """All settings of a run of text recognition."""

    gallery: TextGallerySection = TextGallerySection()
    training: TextTrainingSection = TextTrainingSection()
    text: TextSection = TextSection()
    hashing: HashingSection = HashingSection(ratio=0.125)

    idle: ClassVar[tuple[Idle, ...]] = (
        (
            'training.server_optimizer = "mean"',
            lambda c: c.training.server_optimizer == "mean",
            ("training.server_rate",),
        ),
        (
            "text: the platform takes no steps of its own between rounds",
            lambda c: True,
            ("training.realign_steps", "training.realign_rate"),
        ),
        (
            "hashing.ratio = 1",
            lambda c: c.hashing.ratio == 1,
            ("hashing.base", "hashing.seed", "hashing.least"),
        ),
    )

    @property
    def usual_rate(self) -> float:
        """Step size of an artist: short beside the platform's, as a long way alone leads apart."""
        return 3e-3

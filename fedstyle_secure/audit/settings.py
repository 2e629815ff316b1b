"""How an audit is run: whom it attacks, what the attacks may spend, and what is assumed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedstyle_secure.config import DeviceName
from fedstyle_secure.errors import ConfigError

Defence = Literal["noise", "clip", "encryption", "masks", "min_cohort", "opener_checks"]

DEFENCES: tuple[Defence, ...] = get_args(Defence)


class AuditSettings(BaseModel):
    """Settings of an audit, as in `configs/audit_*.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    preset: str = Field("quick", description="Name for tables and reports.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of targets, candidates and attacks.")
    artists: int = Field(16, ge=0, description="Most artists that are attacked; 0: all.")
    targets: int = Field(20, ge=4, le=1000, description="Pictures attacked one at a time, closed-form.")
    candidates: int = Field(100, ge=2, le=10_000, description="Pictures that a target is sought among.")
    pictures: int = Field(10, ge=1, le=100, description="Pictures rebuilt by optimisation (cnn encoder).")
    steps: int = Field(150, ge=2, le=100_000, description="Steps of an optimisation.")
    restarts: int = Field(1, ge=1, le=64, description="Restarts of an optimisation.")
    rounds: int = Field(4, ge=0, description="Most rounds whose updates are read; 0: all.")
    tried: int = Field(
        160, ge=0, description="Most pictures tried where each takes long (private AI art); 0: all."
    )
    fpr: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.01, 0.1), strict=False, description="False-positive rates at which the TPR is reported."
    )
    confidence: float = Field(0.995, gt=0.5, lt=1, description="Of every interval by itself.")
    colluders: int = Field(1, ge=1, description="Artists that help the platform in one of the views.")
    show_pictures: bool = Field(
        False, description="Whether artists' pictures are written into the audit and shown in reports."
    )
    without: tuple[Defence, ...] = Field(
        (), strict=False, description="Defences assumed to be missing: what if."
    )
    processes: int = Field(0, ge=0, description="Processes; 0: as many as cores.")
    device: DeviceName = Field(
        "cpu", description="Where a model draws and its errors are measured (private AI art)."
    )

    @property
    def label(self) -> str:
        """The preset's name, with what was changed in it and what is assumed; reports print it."""
        preset = PRESETS.get(self.preset)
        if preset is None:
            text = f"{self.preset} (own settings)"
        else:
            usual = type(self)(**preset)
            apart = {"preset", "seed", "processes", "device", "show_pictures", "without"}
            changed = [
                k for k in type(self).model_fields if k not in apart and getattr(self, k) != getattr(usual, k)
            ]
            text = self.preset + (f", changed: {', '.join(changed)}" if changed else "")
        return text + (f", WHAT IF it lacked: {', '.join(self.without)}" if self.without else "")

    @classmethod
    def from_preset(cls, name: str) -> Self:
        """One of the presets.

        Raises:
            ConfigError: There is none of that name.
        """
        if name not in PRESETS:
            raise ConfigError(f"preset {name!r} is none of {', '.join(PRESETS)}")
        return cls(preset=name, **PRESETS[name])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file.

        Raises:
            ConfigError: It is missing, no TOML, or a key or value is not allowed; names it.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"][:1])
            valid = ", ".join(cls.model_fields) if problem["type"] == "extra_forbidden" else problem["msg"]
            raise ConfigError(f"{path}: {key} = {problem['input']!r} is not allowed: {valid}") from None


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "standard": {
        "artists": 0,
        "targets": 50,
        "pictures": 12,
        "steps": 600,
        "restarts": 2,
        "rounds": 0,
        "tried": 640,
    },
    "deep": {
        "artists": 0,
        "targets": 100,
        "pictures": 20,
        "steps": 1450,
        "restarts": 4,
        "rounds": 0,
        "tried": 0,
    },
}
"""Budgets by name: a demonstration within minutes, a usual audit, and all that is worth its time."""

"""What several tests share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fedstyle_secure.config import Config


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """`benchmarks/NAME.py` by its name: peers and planted bugs that tests use, too."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module


@pytest.fixture
def tiny(tmp_path_factory, monkeypatch) -> Config:
    """A run of seconds: four small procedural artists, a hardly trained CNN, two rounds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    return Config().override(
        [
            "gallery.artists=4",
            "gallery.public_artists=3",
            "gallery.pictures=12",
            "gallery.size=32",
            "style.encoder=cnn",
            "style.dim=8",
            "style.pretrain_steps=3",
            "style.practice_artists=0",
            "style.views=2",
            "styles.count=3",
            "run.rounds=2",
            "training.expected_pictures=9",
            # Solving for a target takes seconds; tests that need it set "auto".
            "privacy.noise_multiplier=2",
        ]
    )

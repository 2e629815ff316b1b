"""Runs of text recognition that several tests share."""

import pytest

import fedstyle_secure
from fedstyle_secure.config import Config

SETTINGS = {
    "run": {"system": "text", "rounds": 2},
    "gallery": {"artists": 3, "public_artists": 1, "pictures": 20},
    "text": {"practice_epochs": 0, "public_epochs": 1, "compare_epochs": 1},
    "training": {"expected_pictures": 15},
    "privacy": {"noise_multiplier": 1.0},
    "audit": {"record": "all"},
}
"""Three artists, an untrained start, two rounds."""


def settings(**sections):
    """SETTINGS with other values in some sections."""
    return Config.from_dict({**SETTINGS, **{k: SETTINGS.get(k, {}) | v for k, v in sections.items()}})


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Trained once, with shared noise and encrypted sums."""
    root = tmp_path_factory.mktemp("text")
    return fedstyle_secure.train(settings(), root / "runs" / "run").folder

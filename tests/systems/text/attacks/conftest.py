"""Small runs of text recognition from an untrained start, to be audited."""

from __future__ import annotations

import pytest

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.threads import one_thread

SMALL = {
    "run": {"system": "text", "rounds": 1},
    "gallery": {"artists": 3, "public_artists": 3, "pictures": 30},
    "training": {"expected_pictures": 24},
    "text": {"practice_epochs": 0, "public_epochs": 0, "compare_epochs": 0},
    "audit": {"record": "all"},
}


@pytest.fixture(scope="session")
def read_run(tmp_path_factory):
    """Trains with settings (`key=value`) beside the small ones, in a folder of its own."""

    def build(*settings):
        folder = tmp_path_factory.mktemp("read")
        with one_thread():
            config = Config.from_dict(SMALL).override([f"run.studios={folder / 'studios'}", *settings])
            return fedstyle_secure.train(config, folder / "run").folder

    return build


@pytest.fixture(autouse=True)
def single():
    """As audits run; torch's threads would wait for one another."""
    with one_thread():
        yield

"""Style search as a system: what it asks of settings and gallery, and what its states hold."""

from dataclasses import replace

import numpy as np
import pytest

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.system import State, Summed, system_bound
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.systems.style.system import StyleSystem


@pytest.fixture(scope="module")
def learned(tiny):
    gallery = fedstyle_secure.open_gallery(tiny.gallery)
    public = [gallery.portfolio(artist) for artist in gallery.public_artists]
    system = StyleSystem(tiny)
    return system, system.learn(public), public


def test_the_default_settings_are_those_of_style_search():
    assert type(Config()) is StyleConfig
    assert isinstance(system_bound(Config()), StyleSystem)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            [
                "audit.canaries=3",
                "training.local_steps=0",
                "audit.canary_kind=foreign",
                "cards.consent=impasto-1",
            ],
            r"'foreign' .* training\.local_steps > 0, or cards\.consent",
        ),
        (["cards.consent=nobody"], r"cards\.consent: 'nobody' is no artist of the run"),
        (["styles.min_contributors=5"], r"styles\.min_contributors = 5, but the gallery has 4 artists"),
        (["style.train=norms"], r"cards\.releases to 2 or more"),
    ],
)
def test_settings_that_do_not_go_with_the_gallery_are_refused_by_platform_and_artist(tiny, settings, text):
    config = tiny.override(settings)
    with pytest.raises(ConfigError, match=text):
        StyleSystem(config).check(fedstyle_secure.open_gallery(config.gallery).artists)


def test_a_card_is_published_replaced_and_forgotten_by_name(learned):
    system, state, _ = learned
    card = system.kinds()[1]
    for artist, row in (("bo", 1.0), ("ann", 2.0), ("bo", -3.0)):
        given = np.zeros(8, np.float32)
        given[0] = row
        state = system.publish(state, card, artist, {"card": given})
    assert state.texts["cards"] == ("ann", "bo")
    assert state.public["cards"][:, 0].tolist() == [1.0, -1.0]
    assert system.forget(state, ["ann"]).texts["cards"] == ("bo",)
    none = system.forget(state, ["ann", "bo"])
    assert none.public["cards"].shape == (0, 8)
    system.admit(none, 4)


def test_only_styles_with_enough_contributors_move(learned):
    system, state, public = learned
    kind = next(kind for kind in system.kinds() if kind.name == "prototypes")
    total = np.zeros((3, 9))
    total[:, 1], total[:, -1] = 10.0, 5.0
    enough = np.array([True, False, True])
    now, _ = system.take(state, kind, Summed({"sums": total.ravel()}, 4, 0.0, enough), public)
    before, after = state.public["prototypes"], now.public["prototypes"]
    assert np.array_equal(after[1], before[1])
    assert np.allclose(after[[0, 2], 1], 1.0)


def test_a_state_survives_its_file_to_the_bit(learned, tmp_path):
    _, state, _ = learned
    state = replace(state, round=7)
    state.save(tmp_path / "whole", told={"canaries": "0"})
    state.save(tmp_path / "rest", fixed=False)
    for again in (State.load(tmp_path / "whole"), State.load(tmp_path / "rest", state.fixed)):
        assert again.digest == state.digest
        assert (again.round, again.texts) == (7, dict(state.texts))
    other = {name: array + np.float32(1) for name, array in state.fixed.items()}
    with pytest.raises(fedstyle_secure.errors.RunError, match="belongs to another fixed part"):
        State.load(tmp_path / "rest", other)

"""Rehearsal: what is played is what a run does, and a plan is chosen by its figures alone."""

import numpy as np
import pytest

import fedstyle_secure
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.federation.simulation import play
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.system import State, system_bound
from fedstyle_secure.systems.style import rehearsal
from fedstyle_secure.systems.style.rehearsal import Played, Rehearsal, rehearse
from fedstyle_secure.threads import one_thread

SMALL = [
    "gallery.artists=4",
    "gallery.pictures=8",
    "gallery.public_artists=2",
    "gallery.size=32",
    "training.expected_pictures=6",
    "style.practice_artists=0",
    "style.dim=8",
    "styles.count=2",
    "styles.min_contributors=2",
    "run.rounds=2",
]


def test_a_played_run_is_the_run_to_the_bit(tmp_path):
    """Without noise, through Flower and ciphertexts, or played: the same weights and cards."""
    config = fedstyle_secure.Config().override([*SMALL, "privacy.dp=off", "style.scatter=on", "style.rank=4"])
    with one_thread():
        run = fedstyle_secure.train(config.override(["secure_sum.enabled=false"]), tmp_path / "run")
    trained = State.load(run.folder.product_file)
    system, gallery = (
        system_bound(config.override(["secure_sum.enabled=false"])),
        open_gallery(config.gallery),
    )
    public = [gallery.portfolio(name) for name in gallery.public_artists]
    private = [gallery.portfolio(name) for name in gallery.artists]
    with one_thread():
        start = system.learn(public)
    with one_thread():
        model = system.model(start)
        inputs = {p.artist: system.inputs(model, p) for p in private}
        state = play(system, solve(system.config, system.kinds(), 4), start, private, inputs, public)
    assert state.digest == trained.digest
    assert np.abs(state.trained["head.core"]).max() > 0
    assert not np.array_equal(state.public["head.base"], np.eye(8))


def test_a_plan_is_proposed_only_beyond_its_error():
    cards = Played("cards", 0.5, 0.0, 0.0)
    unsure, sure = Played("head", 0.52, 0.02, 0.03), Played("scatter", 0.51, 0.015, 0.01)
    assert Rehearsal((cards, unsure), 20, 60).chosen is cards
    assert Rehearsal((cards, unsure), 20, 60).settings == ("style.train=none", "style.scatter=off")
    assert Rehearsal((cards, sure), 20, 60).chosen is sure
    assert "no gain is to be expected" in Rehearsal((cards, unsure), 20, 60).verdict


@pytest.mark.long
def test_no_private_picture_is_looked_at(monkeypatch):
    """The gallery of a rehearsal is painted; a private one is never opened."""
    config = fedstyle_secure.Config().override(SMALL)
    names = []
    made = rehearsal.Atelier

    def painted(**asked):
        names.append(asked["seed"])
        return made(**asked)

    monkeypatch.setattr(rehearsal, "Atelier", painted)
    found = rehearse(config, 4, draws=1)
    assert names == [rehearsal._SEED]
    assert config.gallery.seed != rehearsal._SEED
    assert [p.plan for p in found.plans] == list(rehearsal.PLANS)
    assert found.plans[0].gain == 0
    assert found.artists == 4


@pytest.mark.long
def test_with_noise_of_their_own_artists_are_not_asked_for_second_moments():
    config = fedstyle_secure.Config().override([*SMALL, "privacy.noise=own", "run.rounds=1"])
    assert [p.plan for p in rehearse(config, 3, draws=1).plans] == ["cards", "head"]


@pytest.mark.parametrize("setting", ["privacy.unit=artist", "cards.consent=none"])
def test_a_run_without_cards_has_nothing_to_weigh(setting):
    with pytest.raises(ConfigError, match="weighs training against cards"):
        rehearse(fedstyle_secure.Config().override([*SMALL, setting]), 4)


@pytest.mark.long
def test_plan_auto_rehearses_first_and_keeps_what_it_chose(tmp_path, monkeypatch):
    asked = []

    def rehearsed(config, artists, tell):
        asked.append(artists)
        return ("style.train=none", "style.scatter=off")

    monkeypatch.setattr(rehearsal, "rehearsed", rehearsed)
    config = fedstyle_secure.Config().override([*SMALL, "run.plan=auto"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    assert asked == [4]
    kept = run.folder.config()
    assert (kept.run.plan, kept.style.train, kept.style.scatter) == ("auto", "none", "off")
    assert run.summary["utility"]["artist_top1"] == run.summary["utility"]["baseline_top1"]
    ledger = fedstyle_secure.runs.RunFolder(tmp_path / "run").ledger_file.read_text()
    assert '"update"' not in ledger
    assert '"scatter"' not in ledger
    # Resumed, it goes on as it began and rehearses nothing.
    fedstyle_secure.train(config, tmp_path / "run", resume=True)
    assert asked == [4]

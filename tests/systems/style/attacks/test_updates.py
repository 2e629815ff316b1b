"""The style of a picture from its update: told where nothing is defended, and held against a blind guess."""

import pytest

from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.privacy.accounting import merge
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.systems.style.attacks import updates
from fedstyle_secure.systems.style.attacks.works import records_of

pytestmark = pytest.mark.long

SETTINGS = AuditSettings(targets=12, candidates=30, confidence=0.95, rounds=0, processes=1, fpr=(0.1,))
SMALL = (
    "gallery.artists=6", "gallery.public_artists=6", "gallery.pictures=24", "gallery.size=32", "style.dim=64",
    "style.practice_artists=0", "styles.count=4", "run.rounds=3", "training.expected_pictures=18",
    "audit.record=all", "secure_sum.enabled=false", "prototypes.releases=2",
    "privacy.noise_multiplier=2", "privacy.clip_norm=0.5", "training.sampling_rate=0.5",
)  # fmt: skip


@pytest.fixture(scope="module")
def noisy(train_run):
    """Read only."""
    return Scene(train_run(*SMALL), SETTINGS)


def test_the_style_is_named_where_nothing_is_defended(noisy):
    """One of four; with the sign of the features turned round it would be the least likely one."""
    assert updates.style_of_one(noisy).findings[0].control > 0.6


def test_the_limit_covers_the_update_and_what_it_was_made_at(noisy, limit_of):
    """The opening round has a card and a prototype sum. A batch of one was surely drawn."""
    plan = noisy.plan
    assert {0} <= plan.rounds_of("card") & plan.rounds_of("prototypes")
    surely = SampledGaussian(plan.sgd.noise_multiplier, 1.0, plan.sgd.steps)
    opening = [plan.kinds[name].mechanism.event("artwork") for name in ("card", "prototypes")]
    assert limit_of(updates, updates.style_of_one, noisy) == (merge([surely, *opening]), 1)


def test_style_is_held_against_what_the_attack_names_without_the_picture(noisy, monkeypatch):
    """An attack that always names the right style, whatever it is shown, gives nothing away."""

    def always_right(scene, sent, target, *_):
        return int(records_of(scene, target.works, sent).assigned[target.index])

    monkeypatch.setattr(updates, "_guessed_style", always_right)
    found = updates.style_of_one(noisy).findings[0]
    assert (found.value, found.baseline, found.details["prior only"]) == (1.0, 1.0, 1.0)
    assert found.verdict != "leaks"

"""Letters and words show in an update in clear, hashed or not; noise hides both; figures have limits."""

import numpy as np
import pytest
import torch

from fedstyle_secure.audit.catalogue import catalogue
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.accounting import merge
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.systems.text.attacks import letters, model, named
from fedstyle_secure.systems.text.attacks.words import private_words

SETTINGS = AuditSettings(targets=8, candidates=12, confidence=0.95, rounds=0, processes=1, fpr=(0.3,))
CLEAR = ("secure_sum.enabled=false",)
NOISY = ("privacy.noise_multiplier=4", "privacy.clip_norm=1")
PLANTED = ("audit.canaries=40", "audit.canary_kind=foreign")


@pytest.fixture(scope="module")
def plain(read_run):
    """Read only."""
    return Scene(read_run(*CLEAR, "privacy.dp=off"), SETTINGS)


@pytest.fixture(scope="module")
def noisy(read_run):
    """Read only."""
    return Scene(read_run(*CLEAR, *NOISY, *PLANTED), SETTINGS)


def test_in_clear_every_letter_shows_and_none_is_made_up(plain):
    (found,) = letters.letters_of_one(plain).findings
    assert found.verdict == "leaks"
    assert (found.value, found.control, found.bound) == (1.0, 1.0, None)
    assert found.details["words without a false letter"] == 1.0
    assert found.details["median recall"] == 1.0
    assert found.baseline < 0.5


@pytest.mark.slow
def test_in_clear_the_word_is_named_hashed_or_not(plain, read_run):
    whole = Scene(read_run(*CLEAR, "privacy.dp=off", "hashing.ratio=1"), SETTINGS)
    assert whole.config.hashing.ratio > plain.config.hashing.ratio
    for scene in (plain, whole):
        (found,) = named.word_named(scene).findings
        assert found.value == 1.0
        assert found.verdict == "leaks"
        assert found.details["prior only"] < 0.5


@pytest.mark.slow
def test_noise_hides_the_letters_and_says_that_the_attack_could_have_won(noisy):
    (found,) = letters.letters_of_one(noisy).findings
    assert found.verdict == "not broken by this attack"
    assert found.control == 1.0
    assert found.low <= found.baseline < found.bound < 0.6


@pytest.mark.slow
def test_noise_hides_the_word(noisy):
    """Updates are made anew at the public start, with seeded noise: nothing here is drawn by chance."""
    (found,) = named.word_named(noisy).findings
    assert found.verdict == "not broken by this attack"
    assert found.control == 1.0
    assert found.value <= 0.25
    assert found.bound > found.details["chance"]
    assert not found.alarm


@pytest.mark.slow
def test_the_limit_is_that_of_a_batch_of_one(noisy, limit_of):
    """Nothing but updates leaves, and the first round's are made at the public start."""
    plan = noisy.plan.sgd
    surely = SampledGaussian(plan.noise_multiplier, 1.0, plan.steps)
    assert limit_of(letters, letters.letters_of_one, noisy) == (merge([surely]), 1)


@pytest.mark.slow
def test_a_share_that_is_read_by_itself_has_no_limit(read_run):
    """Noise is shared: in the sum it is whole, and whoever reads one update has next to none to see past."""
    settings = SETTINGS.model_copy(update={"without": ("encryption",)})
    scene = Scene(read_run(*NOISY, "secure_sum.updates=true"), settings)
    assert scene.plan.kinds["update"].shared is not None
    (found,) = letters.letters_of_one(scene).findings
    assert found.bound is None


def test_candidates_are_different_words_of_like_length(plain):
    for sought in private_words(plain, plain.first, 6):
        assert len(sought.targets) == len(sought.candidates) == 12
        assert len(sought.targets.unique(dim=0)) == 12
        own = plain.records(plain.first, sought.candidates, sought.artist).targets
        assert (own == sought.targets).all(), "each crop beside its own word"
        assert int((sought.targets[:, 0] - sought.word[0]).abs().max()) <= 4


@pytest.mark.slow
def test_a_bias_that_does_not_train_by_itself_is_said_to_be_missing(read_run):
    scene = Scene(read_run(*CLEAR, "privacy.dp=off", "hashing.least=1"), SETTINGS)
    with pytest.raises(AuditError, match="none trains here"):
        letters.letters_of_one(scene)


@pytest.mark.slow
def test_what_the_product_learned_of_crops_is_held_against_the_whole_run(noisy):
    found = model.crop_gain(noisy).findings[0]
    assert 0.5 < found.bound < 0.8
    assert not found.alarm
    assert found.control is not None


@pytest.mark.slow
def test_planted_crops_of_a_real_run_prove_no_more_than_its_ledger_says(noisy):
    (found,) = model.exposure(noisy).findings
    assert not found.alarm
    assert found.details["in"] + found.details["out"] == 40
    assert found.details["mean exposure in bits"] < 4


@pytest.mark.parametrize(
    ("learned", "by_heart", "verdict"),
    [
        (4.0, 4.0, "leaks"),
        (0.0, 4.0, "not broken by this attack"),
        (0.0, 0.0, "inconclusive"),
    ],
)
@pytest.mark.slow
def test_exposure_is_read_from_what_was_learned_of_those_that_are_in(
    noisy, monkeypatch, learned, by_heart, verdict
):
    """Of 80 planted crops, half in: losses before, then at the final model, then where all are known."""
    inside, rng = np.arange(80) % 2 == 0, np.random.default_rng(0)
    before = rng.uniform(5, 9, 80)
    losses = iter(
        [before, *(before - gain * inside + rng.normal(0, 0.3, 80) for gain in (learned, by_heart))]
    )
    crops = torch.zeros(80, 1), torch.zeros(80, 1, dtype=torch.int64), inside
    monkeypatch.setattr(model, "_planted", lambda _: crops)
    monkeypatch.setattr(model, "_losses", lambda *_: next(losses))
    monkeypatch.setattr(model, "memorised", lambda *_: None)
    (found,) = model.exposure(noisy).findings
    assert found.verdict == verdict
    assert (found.details["mean exposure in bits"] > 5) == (learned > 0)
    assert found.details["mean without a leak in bits"] == pytest.approx(1.44, abs=0.15)


@pytest.mark.slow
def test_exposure_needs_planted_crops_and_a_record(plain, read_run):
    with pytest.raises(AuditError, match=r"audit\.canaries"):
        model.exposure(plain)
    other = Scene(read_run(*CLEAR, *NOISY, "audit.record=none"), SETTINGS)
    with pytest.raises(AuditError, match=r"audit\.record"):
        model.crop_gain(other)


def test_the_catalogue_has_them_once_each(plain):
    keys = [known.card.key for known in catalogue(plain.system)]
    assert len(keys) == len(set(keys))
    assert {"letters", "word_named", "crop_gain", "exposure"} <= set(keys)

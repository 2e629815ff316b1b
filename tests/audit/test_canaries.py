"""Canaries of real runs, looked for in what was recorded: told apart without noise, and bounded with it."""

import math
from dataclasses import replace

import numpy as np
import pytest

import fedstyle_secure
from attacks.bounds import Bonferroni
from fedstyle_secure.audit.canaries import CanaryAudit, _membership, audit_canaries
from fedstyle_secure.errors import RunError
from fedstyle_secure.federation import local_training
from fedstyle_secure.galleries.canaries import Canaries, Canary
from fedstyle_secure.privacy.dp_sgd import DPTrainer
from fedstyle_secure.privacy.shared_noise import SharedNoise
from fedstyle_secure.runs import RunFolder

SILENT = "privacy.noise_multiplier=0"


@pytest.fixture
def audited(tiny):
    """Small runs with room for canaries: 4096 coordinates, and a fixed encoder that knows styles apart.
    Updates leave in clear, each with all of its noise."""
    own = ["secure_sum.updates=false", "privacy.noise=own"]
    return tiny.override(["style.dim=64", "audit.record=all", "audit.canaries=24", *own])


def planted(config, out, seed=0):
    """Train a run whose coins follow from a seed."""
    run = RunFolder(out)
    run.begin(config, resume=False, force=False)
    drawn = Canaries.draw(config, fedstyle_secure.open_gallery(config.gallery))
    coins = np.random.default_rng(seed).random(len(drawn.each)) < 0.5
    each = tuple(Canary(c.artist, bool(coin)) for c, coin in zip(drawn.each, coins, strict=True))
    Canaries(drawn.kind, each).save(run.canaries_file)
    return fedstyle_secure.train(config, out, resume=True).folder


@pytest.mark.long
@pytest.mark.parametrize(
    "extra",
    [
        [],
        ["style.train=all", "cards.releases=2"],
        ["training.local_steps=3", "privacy.dp=off"],
        ["secure_sum.updates=true"],
    ],
)
def test_without_noise_gradient_canaries_are_told_apart(audited, tmp_path, extra):
    found = audit_canaries(planted(audited.override([SILENT, *extra]), tmp_path / "run"))
    assert found.kind == "gradient"
    assert found.unit == "artwork"
    assert found.released == ("update",)
    assert len(found.scores) == 24
    assert found.auc == 1.0
    assert math.isinf(found.accounted)
    gaussian, one_run = found.bounds
    assert min(gaussian.epsilon, one_run.epsilon) > 0.5
    # No guarantee was claimed, so none is broken.
    assert not found.alarm
    assert any("opened sums" in note for note in found.notes) == (extra == ["secure_sum.updates=true"])
    assert any("3 noisy gradient sums" in note for note in found.notes) == ("privacy.dp=off" in extra)


SHARED = ("privacy.noise=auto", "secure_sum.updates=true")


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 64])
def test_canaries_show_in_a_sum_with_one_noise_and_stay_below_the_ledger(audited, tmp_path, rank):
    """A quarter of a clip norm of noise on a canary that is in or out; 24 of 4096 values of the sum."""
    config = audited.override([*SHARED, "privacy.noise_multiplier=0.25", f"style.rank={rank}"])
    assert config.shares_noise
    found = audit_canaries(planted(config, tmp_path / "run"))
    assert found.auc > 0.9
    assert found.scores[found.inside].mean() - found.scores[~found.inside].mean() == pytest.approx(1, abs=0.5)
    assert math.isfinite(found.accounted)
    assert any("opened sums" in note for note in found.notes)
    # 24 coins prove at most ln(1 / (1 - 0.05^(1/24))) = 2.1.
    assert found.bounds[1].epsilon < found.accounted


class ForgetfulTrainer(DPTrainer):
    """A planted bug: the ledger gets the plan with noise, and training adds none."""

    def __init__(self, module, loss, plan, *more):
        super().__init__(module, loss, replace(plan, noise_multiplier=0.0), *more)


def seeded(config):
    """Settings whose updates hold no noise but DP-SGD's, so that seeding it makes a run repeatable."""
    return config.override(["cards.consent=none", "prototypes.releases=0", "secure_sum.enabled=false"])


def test_noise_that_is_off_while_the_ledger_says_on_is_flagged(audited, tmp_path, monkeypatch):
    config = seeded(audited).override(["privacy.noise_multiplier=6", "audit.canaries=48"])
    monkeypatch.setattr(local_training, "DPTrainer", ForgetfulTrainer)
    broken = audit_canaries(planted(config, tmp_path / "broken"))
    assert broken.auc == 1.0
    assert 0.5 < broken.accounted < 1.5
    assert broken.bounds[0].epsilon > 3 * broken.accounted
    assert broken.bounds[1].epsilon > broken.accounted
    assert broken.alarm
    assert broken.bounds[0].confidence == 0.95
    assert broken.bounds[0].strategy == repr(Bonferroni(25))
    assert {bound.delta for bound in broken.bounds} == {config.privacy.delta}


@pytest.mark.parametrize("noise", [0.6, 1.5, 6.0])
def test_with_the_noise_that_the_ledger_has_no_bound_is_above_it(audited, tmp_path, monkeypatch, noise):
    """Noise, coins and data order are seeded, so this cannot alarm by chance; unseeded each of the two bounds
    would in at most 5 % of runs."""
    config = seeded(audited).override([f"privacy.noise_multiplier={noise}", "audit.canaries=400"])
    read = np.random.default_rng(7).bytes
    monkeypatch.setattr(local_training, "DPTrainer", lambda *given: DPTrainer(*given[:4], read))
    found = audit_canaries(planted(config, tmp_path / "run"))
    assert not found.alarm
    assert all(bound.epsilon <= found.accounted for bound in found.bounds)
    # It looks where there is something to see: with little noise the bound is not far below.
    if noise == 0.6:
        assert found.auc > 0.9
        assert found.bounds[0].epsilon > 0.3 * found.accounted


@pytest.mark.long
@pytest.mark.parametrize("kind", [pytest.param("foreign", marks=pytest.mark.slow), "mislabelled"])
def test_picture_canaries_show_in_updates_without_noise(audited, tmp_path, kind):
    config = audited.override(
        [SILENT, f"audit.canary_kind={kind}", "style.encoder=texture", "gallery.public_artists=8"]
    )
    found = audit_canaries(planted(config, tmp_path / "run"))
    # 24 candidates, deviation of the AUC under chance 0.12.
    assert found.auc > 0.75
    assert len(found.bounds) == 1
    assert found.released == ("update", "scatter", "card", "prototypes", "metrics")


@pytest.mark.long
def test_where_nothing_trains_cards_are_looked_at(audited, tmp_path):
    config = audited.override(["training.local_steps=0", "audit.canary_kind=mislabelled"])
    strong = ["style.encoder=texture", "style.dim=96", "gallery.public_artists=8", "audit.canaries=64"]
    bare = audit_canaries(planted(config.override(["privacy.dp=off", *strong]), tmp_path / "bare"))
    assert bare.released == ("card",)
    # Deviation of the AUC under chance 0.07; nothing but the coins was random, and they follow from a seed.
    assert bare.auc > 0.68
    noisy = ["privacy.noise_multiplier=auto", "privacy.target_epsilon=2", "style.dim=8"]
    noised = audit_canaries(planted(config.override(noisy), tmp_path / "noised"))
    # The card's part of the budget only, as only the card was looked at.
    assert 0.5 < noised.accounted < 2


@pytest.mark.long
@pytest.mark.parametrize("encrypted", [True, False])
def test_canary_artists_show_in_sums_without_noise(tiny, tmp_path, encrypted):
    config = tiny.override(
        [
            "privacy.unit=artist",
            SILENT,
            "audit.record=all",
            "audit.canaries=8",
            "style.dim=32",
            "prototypes.releases=2",
        ]
    ).override([f"secure_sum.enabled={str(encrypted).lower()}"])
    folder = planted(config, tmp_path / "run")
    found = audit_canaries(folder)
    assert (found.kind, found.unit, found.released) == ("artist", "artist", ("sum",))
    assert found.auc > 0.95
    assert found.scores[found.inside].mean() - found.scores[~found.inside].mean() == pytest.approx(1, abs=0.4)
    assert any("zero-out" in note for note in found.notes)


@pytest.mark.long
def test_canary_artists_under_noise_stay_below_the_ledger(tiny, tmp_path):
    config = tiny.override(
        ["privacy.unit=artist", "privacy.noise_multiplier=1", "audit.record=mosaic-1", "audit.canaries=12"]
    )
    found = audit_canaries(planted(config, tmp_path / "run"))
    assert 0 < found.accounted < math.inf
    # 12 coins prove at most ln(1 / (1 - 0.05^(1/12))) = 1.5 with the one-run bound; the Gaussian one can pass
    # 7 by chance in at most 5 % of runs.
    assert found.bounds[1].epsilon < found.accounted


@pytest.mark.long
def test_a_run_that_cannot_be_looked_at_says_why(audited, finished, tmp_path):
    with pytest.raises(RunError, match=r"audit\.canaries = 0"):
        audit_canaries(finished)
    blind = fedstyle_secure.train(audited.override(["audit.record=none"]), tmp_path / "blind")
    with pytest.raises(RunError, match=r"audit\.record was none"):
        audit_canaries(blind.folder.path)
    partly = fedstyle_secure.train(audited.override(["audit.record=mosaic-1"]), tmp_path / "partly")
    with pytest.raises(RunError, match=r"audit\.record leaves out 'impasto-1', who has canaries"):
        audit_canaries(str(partly.folder.path))
    with pytest.raises(RunError, match="no run here"):
        audit_canaries(tmp_path / "none")


def test_coins_that_all_fell_alike_bound_nothing(audited, tmp_path):
    config = audited.override(["audit.canaries=1", SILENT])
    found = audit_canaries(fedstyle_secure.train(config, tmp_path / "run").folder)
    assert found.bounds == ()
    assert found.auc is None
    assert "bounds nothing" in found.notes[-1]


def test_an_alarm_is_a_proof_above_the_ledger_and_nothing_else(audited, tmp_path):
    found = audit_canaries(planted(audited.override([SILENT]), tmp_path / "run"))

    def with_accounted(value, **changes):
        bounds = tuple(replace(bound, **changes) for bound in found.bounds)
        return CanaryAudit(**(vars(found) | {"accounted": value, "bounds": bounds}))

    assert with_accounted(0.1).alarm
    assert not with_accounted(100.0).alarm
    assert not with_accounted(0.1, kind="estimate").alarm


def test_one_artists_only_candidates_are_compared_by_direction():
    """With nothing from elsewhere to learn from, what points along the mean scores higher."""
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, 0.0]])
    scores = _membership(rows, [0, 1, 2], np.array([0.5, 0.1]), 0.0)
    assert scores.tolist() == pytest.approx(
        [0.5 / math.hypot(0.5, 0.1), 0.1 / math.hypot(0.5, 0.1), -0.9805807]
    )


def one_noise(audited, canaries):
    return audited.override(
        [*SHARED, "privacy.noise_multiplier=10", "style.rank=16", f"audit.canaries={canaries}"]
    )


@pytest.mark.slow
def test_twenty_runs_with_one_noise_stay_below_their_ledgers(audited, tmp_path):
    """Each bound at a confidence of 0.999: all twenty are right but for 0.02."""
    config = one_noise(audited, 24)
    runs = [planted(config, tmp_path / str(seed) / "run", seed) for seed in range(20)]
    assert not any(audit_canaries(run, 0.999).alarm for run in runs)


@pytest.mark.long
def test_a_thousandth_of_one_noise_breaks_its_ledger(audited, tmp_path, monkeypatch):
    """As where shares are counted that nobody added. What canaries are told from is then the sum of the
    pictures' own gradients: 24 of them proved too little in 1 of 5 runs, 96 twelve times the ledger in
    each of 5."""
    real = SharedNoise.deviation
    monkeypatch.setattr(SharedNoise, "deviation", lambda self, noise: real(self, noise) / 1000)
    found = audit_canaries(planted(one_noise(audited, 96), tmp_path / "run"), 0.999)
    assert found.alarm
    assert found.bounds[0].epsilon > 3 * found.accounted

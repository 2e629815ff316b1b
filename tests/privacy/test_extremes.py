"""Ends of the permitted ranges: said before anything is charged, and always with a cost."""

from __future__ import annotations

import math
import warnings

import pytest

import fedstyle_secure
from fedstyle_secure.accounts import accounts
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.privacy.accounting import epsilon
from fedstyle_secure.privacy.distributed import DistributedSum
from fedstyle_secure.privacy.events import DiscreteLaplace, DistributedNoise, SampledGaussian
from fedstyle_secure.privacy.ledger import Entry, Ledger
from fedstyle_secure.system import plan_of

SHARE = DistributedSum(1000, 1.0, 1024.0, 0.001, 1, "gaussian", "00" * 16)
NOISE = (5e-324, 1e-300, 1e-160, 1e-100, 1e-20, 1e-7, 1e-3, 1e4, 1e20, 1e150, 1e300)


@pytest.mark.parametrize(
    ("noise", "rate"),
    [
        *((noise, 1.0) for noise in NOISE),
        *((noise, 0.5) for noise in NOISE[:7]),
        (1e-3, 1e-300),
        (1e20, 5e-324),
    ],
)
@pytest.mark.parametrize("delta", [1e-5, 5e-324])
def test_every_gaussian_has_a_cost(noise, rate, delta):
    """Squares of 1e-300 vanish and those of 1e200 overflow: a ZeroDivisionError in each later command."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spent = epsilon((SampledGaussian(noise, rate, 2),), delta)
    assert spent >= 0
    # No sampler is as exact as a delta of 5e-324 would have it.
    assert math.isinf(spent) == (noise < 1e-6 or delta < 1e-300)


@pytest.mark.parametrize(
    "event",
    [
        *(DiscreteLaplace(a, 2) for a in (5e-324, 1e-300, 1e-5, 1e4, 1e300, 1.7e308)),
        *(DistributedNoise(SHARE, hops, 1000, 3) for hops in (1, 2)),
    ],
    ids=repr,
)
def test_every_other_event_has_a_cost(event):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert epsilon((event,), 1e-5) >= 0


def test_more_noise_never_costs_more_across_the_ends():
    spent = [epsilon((SampledGaussian(noise),), 1e-5) for noise in (*NOISE[:6], 0.02, 0.5, 30, *NOISE[7:])]
    assert spent == sorted(spent, reverse=True)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (["privacy.noise_multiplier=1e-300"], "noise_multiplier = 1e-300"),
        (["privacy.noise_multiplier=1e-9"], "noise_multiplier = 1e-09"),
        (["privacy.noise_multiplier=5e-324", "training.sampling_rate=0.1"], "noise_multiplier"),
        (["privacy.noise_multiplier=1e20"], "noise_multiplier = 1e"),
        (["privacy.noise_multiplier=1e300"], "noise"),
        (["privacy.clip_norm=1e30"], "clip_norm = 1e"),
        (["privacy.clip_norm=1e300", "privacy.noise_multiplier=1e20"], "clip_norm = 1e"),
        (["share.cards=1e-6", "privacy.noise_multiplier=1e3"], r"share\.cards"),
        (["share.prototypes=1e-6", "privacy.noise_multiplier=1e3"], r"share\.prototypes"),
        (["share.metrics=1e-6", "metrics.releases=1", "privacy.noise_multiplier=1e3"], r"share\.metrics"),
        (["privacy.unit=artist", "privacy.noise_multiplier=1e-300"], "noise"),
        (["privacy.unit=artist", "privacy.clip_norm=1e30"], "clip_norm = 1e"),
    ],
)
def test_what_would_be_charged_for_nothing_is_refused_before_anything_leaves(tiny, tmp_path, settings, key):
    """All rounds, or the cards, were charged before it came out."""
    with pytest.raises(ConfigError, match=key):
        fedstyle_secure.train(tiny.override(settings), tmp_path / "run")
    assert list(tmp_path.rglob("ledger.jsonl")) == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("noise", [0.0, 1e-3, 1.0, 1e3])
def test_usual_noise_is_no_extreme(tiny, noise):
    config = tiny.override([f"privacy.noise_multiplier={noise}"])
    assert plan_of(config, 4).sgd.noise_multiplier == pytest.approx(noise)


@pytest.mark.long
def test_a_line_of_an_earlier_version_stops_no_later_command(tiny, tmp_path):
    """Written when such noise was permitted: no guarantee, as without noise, and every figure opens."""
    config = tiny.override(["run.rounds=1"])
    run = fedstyle_secure.train(config, tmp_path / "one").folder
    parameters = {"clip_norm": 1.0, "noise_multiplier": 1e-300}
    cost = SampledGaussian(1e-300)
    Ledger(tmp_path / "studios" / "impasto-1 0" / "ledger.jsonl").append(
        [Entry("old", "r", 0, "card", "now", "GaussianSum", parameters, 1.0, cost, None, "d")]
    )
    (account,) = accounts(run, "impasto-1")
    assert account.to_dict()["epsilon_artwork"] is None
    assert len(account.to_dict()["releases"]) == 4
    later = fedstyle_secure.train(config, tmp_path / "two").summary["privacy"]["per_artist"]
    figures = {one["artist"]: one["lifetime_epsilon_artwork"] for one in later}
    assert figures["impasto-1"] is None
    assert figures["mosaic-1"] > 0

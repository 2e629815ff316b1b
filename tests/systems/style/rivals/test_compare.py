"""What is spent, what tuning sees, and the errors that a table states."""

from __future__ import annotations

import numpy as np
import pytest

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.privacy.accounting import epsilon
from fedstyle_secure.systems.style.rivals import compare as module
from fedstyle_secure.systems.style.rivals import fedavg, fedproto, tuning
from fedstyle_secure.systems.style.rivals.budget import Budget, Spend, events_of
from fedstyle_secure.systems.style.rivals.catalogue import HISTOGRAM, PRODUCT, RIVALS, Rival
from fedstyle_secure.systems.style.rivals.compare import compare, row
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings, base_grid
from fedstyle_secure.systems.style.rivals.start import start
from fedstyle_secure.systems.style.rivals.task import Found
from fedstyle_secure.systems.style.rivals.tuning import tuned

DELTA = 1e-5


@pytest.fixture(scope="module")
def budget() -> Budget:
    return Budget.of(Config().override(["privacy.target_epsilon=4"]))


def spent(budget, spends) -> float:
    return epsilon(events_of(spends, budget.mechanisms(spends)), DELTA)


@pytest.mark.parametrize("settings", [Settings(rounds=1), Settings(rounds=16, steps=4, share=0.1)])
def test_every_method_spends_the_budget_and_no_more(budget, conditions, settings):
    for spends in (
        {"card": Spend(1, 1.0)},
        fedavg.spends(conditions, settings),
        fedavg.spends(conditions, settings, beside=1),
        fedproto.spends(conditions, settings),
    ):
        assert 0.99 * 4 <= spent(budget, spends) <= 4
        assert sum(one.share for one in spends.values()) == pytest.approx(1)


def test_control_variates_take_half_of_what_one_step_a_round_takes(conditions):
    plain = fedavg.spends(conditions, Settings(rounds=7))["training"]
    assert fedavg.spends(conditions, Settings(rounds=7), beside=1)["training"].times == 2 * plain.times


def test_training_is_clipped_to_the_settings_norm_and_cards_to_one(budget, conditions):
    spends = fedavg.spends(Conditions(budget, True, 1, 0.7, 5, 0.1, 4), Settings())
    found = budget.mechanisms(spends)
    assert (found["training"].clip_norm, found["card"].clip_norm) == (0.7, 1.0)
    assert Budget(0.0).mechanisms(spends)["training"].clip_norm == float("inf")


def test_differences_are_paired_over_pictures_after_averaging_draws():
    rng = np.random.default_rng(0)
    mine = [Found(rng.integers(1, 4, 30), 0.5) for _ in range(8)]
    product = [Found(rng.integers(1, 4, 30), 0.5) for _ in range(3)]
    found = row("x", mine, product, "", "", {})
    gaps = []
    for picture in range(30):
        own = sum(one.ranks[picture] == 1 for one in mine) / 8
        other = sum(one.ranks[picture] == 1 for one in product) / 3
        gaps.append(own - other)
    mean = sum(gaps) / 30
    error = (sum((gap - mean) ** 2 for gap in gaps) / 29 / 30) ** 0.5
    assert (found.top1_gap.mean, found.top1_gap.error) == pytest.approx((mean, error))
    assert found.artist_map.mean == pytest.approx(np.mean([1 / one.ranks for one in mine]))
    assert found.map_gap.mean == pytest.approx(
        found.artist_map.mean - np.mean([1 / p.ranks for p in product])
    )


def test_tuning_takes_what_finds_most_and_the_first_of_equals(task, conditions):
    def method(task, settings, conditions):
        return Found(np.full(3, 1 if settings.rate in (0.3, 1.0) else 2), None)

    assert tuned(task, method, conditions, {"rate": (0.1, 0.3, 1.0)}).rate == 0.3


def test_a_shared_noise_leaves_one_step_a_round():
    config = Config()
    assert base_grid(config)["steps"] == (1,)
    assert len(base_grid(config.override(["secure_sum.enabled=false"]))["steps"]) > 1
    assert "share" not in base_grid(config.override(["privacy.dp=off"]))


@pytest.fixture
def quick(monkeypatch):
    """Two rivals with a short grid, and a product that is not trained."""
    known = {rival.name: rival for rival in RIVALS}
    few = Rival(
        "FedAvg", known["FedAvg"].method, "x", True, {"rate": (0.3, 1.0), "rounds": (1,)}, steps=False
    )
    monkeypatch.setattr(module, "RIVALS", (few, known["start, cards"]))

    class Untrained:
        def __init__(self, config, portfolios, public):
            self.pictures = sum(int(p.test.sum()) for p in portfolios)

        def found(self, draw):
            return Found(np.ones(self.pictures, int), 1.0)

    monkeypatch.setattr(module, "Product", Untrained)
    monkeypatch.setattr(tuning, "LEAST", 4)


@pytest.mark.long
def test_everything_is_chosen_before_a_private_portfolio_is_opened(tiny, quick, monkeypatch):
    told, opened = [], Atelier.portfolio

    def spy(self, artist):
        # A practice artist is public to another atelier; a private one bears no such word.
        told.append("public" if artist.startswith("public-") else "private")
        return opened(self, artist)

    monkeypatch.setattr(Atelier, "portfolio", spy)
    chosen = module.tuned

    def choosing(*arguments):
        told.append("tuning")
        return chosen(*arguments)

    monkeypatch.setattr(module, "tuned", choosing)
    compare(tiny.override(["privacy.dp=off"]), 1)
    last = len(told) - 1 - told[::-1].index("tuning")
    assert "private" not in told[:last]
    assert told[last + 1 :] == ["private"] * 4


@pytest.mark.long
def test_a_comparison_has_a_line_a_method_and_as_many_draws_as_there_is_noise(tiny, quick):
    config = tiny.override(["privacy.noise_multiplier=auto"])
    rows = compare(config, 2)
    assert [one.method for one in rows] == [PRODUCT, "FedAvg", "start, cards", HISTOGRAM]
    assert [one.draws for one in rows] == [2, 2, 2, 1]
    assert rows[1].chosen.keys() == {"rate", "rounds"}
    assert rows[0].guarantee == rows[1].guarantee == "epsilon 8 an artwork"
    assert rows[-1].guarantee == "none"
    assert rows[0].top1_gap is None
    assert rows[1].top1_gap.mean == pytest.approx(rows[1].artist_top1.mean - 1)


def test_draws_differ_in_their_noise(task, budget):
    conditions = Conditions(budget, False, 0, 1.0, 5, 0.1, 4)
    one, same, other = (start(task, Settings(), conditions.drawn(draw)).leaks for draw in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize(
    ("setting", "error", "says"),
    [
        ("privacy.unit=artist", ConfigError, "privacy.unit"),
        ("cards.consent=none", ConfigError, "cards.consent"),
        ("style.train=all", ConfigError, "style.train"),
        ("privacy.noise_multiplier=2", ConfigError, "privacy.noise_multiplier = 2"),
        ("gallery.test_fraction=0.02", GalleryError, "fewer than two pictures"),
    ],
)
def test_what_cannot_be_compared_is_said(tiny, quick, setting, error, says):
    base = "privacy.dp=on" if "noise_multiplier" in setting else "privacy.dp=off"
    with pytest.raises(error, match=says):
        compare(tiny.override([base, setting]), 1)

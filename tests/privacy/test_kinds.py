"""Kinds of release: their rounds, their noise and their events, beside the formulas written out by hand."""

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, PrivacyError
from fedstyle_secure.privacy.kinds import Kind, spread
from fedstyle_secure.privacy.mechanisms import DpSgd, GaussianSum, NoisyCounts
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.system import system_bound

ROW_NORM = math.sqrt(1 + 0.5**2)
RUNS = sorted(
    path
    for path in (Path(__file__).parents[2] / "configs").glob("*.toml")
    if "[privacy]" in path.read_text() and "\nsystem = " not in path.read_text()
)


def by_hand(config, scale):
    """Each kind's rounds, multiplier (of counts: the parameter) and clip norm, as formulas have them."""
    training, share = config.training, config.share
    rounds = config.run.rounds if training.local_steps else 0
    last, off = rounds + 1, config.privacy.dp == "off"
    steps = max(1, rounds * training.local_steps)

    def evenly(m, end):
        return sorted({round(i * end / max(1, m - 1)) for i in range(m)})

    cards = evenly(config.cards.releases if config.cards.consent != ("none",) else 0, last)
    prototypes = evenly(config.prototypes.releases, last)
    metrics = sorted(last - n for n in evenly(config.metrics.releases, last - 1))
    counts = math.sqrt(share.metrics / (2 * max(1, len(metrics)))) / scale if scale else math.inf
    return {
        "update": (
            list(range(1, rounds + 1)),
            scale * training.sampling_rate * math.sqrt(steps / share.sgd),
            math.inf if off else config.privacy.clip_norm,
        ),
        # Second moments are asked for where noise is shared, which this is not.
        "scatter": ([], scale * math.sqrt(1 / share.scatter), math.inf if off else 1.0),
        "card": (cards, scale * math.sqrt(max(1, len(cards)) / share.cards), math.inf if off else 1.0),
        "prototypes": (
            prototypes,
            scale * math.sqrt(max(1, len(prototypes)) / share.prototypes),
            math.inf if off else ROW_NORM,
        ),
        "metrics": (metrics, counts, None),
    }


@settings(deadline=None, max_examples=30)
@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
@given(
    scale=st.floats(0.2, 50),
    cards=st.integers(1, 4),
    prototypes=st.integers(0, 3),
    metrics=st.integers(0, 2),
    steps=st.integers(0, 3),
    rate=st.floats(0.01, 1),
    off=st.booleans(),
)
def test_each_kind_has_the_rounds_and_the_noise_that_its_share_asks_for(
    path, scale, cards, prototypes, metrics, steps, rate, off
):
    config = Config.load(path).override(
        [
            *("privacy.unit=artwork", "privacy.noise_multiplier=auto", "style.train=head"),
            "privacy.noise=own",
            *(f"cards.releases={cards}", f"prototypes.releases={prototypes}", f"metrics.releases={metrics}"),
            *(f"training.local_steps={steps}", f"training.sampling_rate={rate}"),
            f"privacy.dp={'off' if off else 'on'}",
        ]
    )
    scale = 0.0 if off else scale
    try:
        plan = solve(config, system_bound(config).kinds(), 16, scale=scale)
    except ConfigError:
        # Releases that do not fit into the rounds, or noise that no value could carry: tested elsewhere.
        assume(False)
    expected = by_hand(config, scale)
    assert list(plan.kinds) == list(expected)
    events = []
    for name, (rounds, noise, clip) in expected.items():
        kind = plan.kinds[name]
        assert sorted(kind.rounds) == rounds
        found = kind.mechanism.parameter if name == "metrics" else kind.mechanism.noise_multiplier
        assert found == noise
        assert clip is None or kind.mechanism.clip_norm == clip
        events += [kind.mechanism.event("artwork")] * len(rounds)
    assert plan.events() == tuple(events)
    assert plan.rounds == 1 + max((n for rounds, _, _ in expected.values() for n in rounds), default=0)
    for number in range(plan.rounds):
        there = [name for name, (rounds, _, _) in expected.items() if number in rounds]
        assert [kind.name for kind in plan.of_round(number)] == there


def test_a_share_is_a_share_of_the_budget_whatever_the_kind():
    """Twice the share costs as much as half the releases: (q / noise multiplier)^2 summed over releases."""
    config = Config().override(
        ["share.cards=0.4", "share.sgd=0.2", "training.sampling_rate=0.5", "privacy.noise=own"]
    )
    plan = solve(config, system_bound(config).kinds(), 16, scale=3.0)

    def spent(name):
        kind = plan.kinds[name]
        rate, steps = getattr(kind.mechanism, "sampling_rate", 1.0), getattr(kind.mechanism, "steps", 1)
        return len(kind.rounds) * steps * (rate / kind.mechanism.noise_multiplier) ** 2

    assert spent("card") / spent("update") == pytest.approx(0.4 / 0.2)
    assert spent("prototypes") / spent("card") == pytest.approx(config.share.prototypes / 0.4)


@given(st.integers(1, 20), st.integers(0, 40))
def test_releases_are_spread_from_the_first_round_to_the_last(releases, last):
    if releases > last + 1:
        with pytest.raises(ConfigError, match=rf"{releases} releases do not fit into {last + 1} rounds"):
            spread(releases, last)
        return
    found = sorted(spread(releases, last))
    assert len(found) == releases
    assert found[0] == 0
    assert releases == 1 or found[-1] == last
    gaps = [b - a for a, b in itertools.pairwise(found)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "sum"}, "has a name of another use"),
        ({"name": "Palette!"}, "small letters"),
        ({"name": "update"}, "exactly if DP-SGD makes it"),
        ({"mechanism": DpSgd(1.0, 1.0, 0.5, 3, 4.0)}, "exactly if DP-SGD makes it"),
        ({"share": 0.0}, "a share > 0"),
        ({"share": math.nan}, "a share > 0"),
        ({"least": 1}, "two artists at least"),
        ({"largest": math.inf}, "a largest value > 0"),
        ({"mechanism": NoisyCounts(1.0, 9)}, "of integers"),
        ({"rounds": frozenset({-1, 2})}, "rounds from 0"),
    ],
)
def test_a_kind_that_no_mechanism_or_message_can_take_is_refused_by_name(changes, says):
    given = {"name": "palette", "rounds": frozenset({1}), "mechanism": GaussianSum(1.0, 0.0), "share": 0.5}
    given |= {"setting": "share.palette", "leaves": "summed"}
    assert Kind(**given).name == "palette"
    with pytest.raises(PrivacyError, match=says):
        Kind(**given | changes)

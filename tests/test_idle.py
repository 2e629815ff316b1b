"""Settings without effect are said, and only those."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedstyle_secure.config import Config
from fedstyle_secure.idle import _RULES, idle
from fedstyle_secure.system import plan_of

OTHERS = ("audit", "policy", "tradeoff")
CONFIGS = [
    path
    for path in sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
    if not path.name.startswith(OTHERS)
]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["training.realign_rate=0.5"], "training.realign_rate = 0.5: training.realign_steps = 0"),
        (["style.pretrain_steps=9"], 'style.pretrain_steps = 9: style.encoder = "texture"'),
        (["style.backbone=x"], 'style.backbone = x: style.encoder = "texture"'),
        (["style.encoder=cnn", "style.weights=x"], 'style.weights = x: style.encoder = "cnn"'),
        (["styles.source=labels", "styles.count=9"], 'styles.count = 9: styles.source = "labels"'),
        (
            ["privacy.noise=own", "privacy.colluders=2"],
            "privacy.colluders = 2: privacy.noise: no sum holds shared noise",
        ),
        (["secure_sum.bits=12"], "secure_sum.bits = 12: privacy.noise: sums hold shared noise"),
        (["style.train=none", "style.rank=8"], 'style.rank = 8: style.train = "none"'),
        (["privacy.unit=artist", "share.sgd=2"], 'share.sgd = 2.0: privacy.unit = "artist"'),
        (["privacy.dp=off", "privacy.clip_norm=2"], 'privacy.clip_norm = 2.0: privacy.dp = "off"'),
        (["share.metrics=1"], "share.metrics = 1.0: metrics.releases = 0"),
        (["cards.consent=none", "metrics.releases=1"], 'metrics.releases = 1: cards.consent = "none"'),
        (["training.local_steps=0", "run.rounds=3"], "run.rounds = 3: training.local_steps = 0"),
        (["audit.canary_kind=gradient"], "audit.canary_kind = gradient: audit.canaries = 0"),
    ],
)
def test_a_setting_without_effect_is_said_with_its_reason(settings, sentence):
    assert list(idle(Config().override(settings))) == [sentence.replace(": ", " has no effect: ", 1)]


def test_the_default_and_a_setting_that_works_say_nothing():
    assert list(idle(Config())) == []
    assert list(idle(Config().override(["training.realign_rate=0.5", "training.realign_steps=2"]))) == []


def test_every_rule_names_settings_that_there_are():
    known = set(Config().to_flat())
    assert {key for _, _, keys in _RULES for key in keys} <= known
    assert all(any(why.startswith(key) for key in known) for why, _, _ in _RULES)


OTHER = {
    "share.sgd": 2.0,
    "share.cards": 2.0,
    "share.prototypes": 2.0,
    "share.metrics": 2.0,
    "privacy.target_epsilon": 3.0,
    "privacy.noise_multiplier": 3.0,
    "privacy.clip_norm": 3.0,
    "privacy.min_cohort": 5,
    "privacy.colluders": 2,
    "privacy.shares": "skellam",
    "cards.releases": 3,
    "secure_sum.bits": 9,
}


@pytest.mark.parametrize(
    "start",
    [
        ["privacy.dp=off"],
        ["privacy.noise_multiplier=2"],
        ["privacy.noise_multiplier=2", "cards.consent=none"],
        ["privacy.noise_multiplier=2", "prototypes.releases=0"],
        ["privacy.noise_multiplier=3", "privacy.unit=artist"],
    ],
)
def test_what_is_called_idle_leaves_every_release_as_it_was(start):
    """And the plan's events, which everything is charged by, to the bit."""
    plain = Config().override(start)
    before = plan_of(plain, 16)
    for key, value in OTHER.items():
        config = Config.from_flat(plain.to_flat() | {key: value})
        if any(sentence.startswith(f"{key} =") for sentence in idle(config)):
            after = plan_of(config, 16)
            assert after.events() == before.events(), key
            rounds = [{name: kind.rounds for name, kind in p.kinds.items()} for p in (before, after)]
            assert rounds[0] == rounds[1], key


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_no_configuration_of_ours_sets_what_has_no_effect(path):
    assert list(idle(Config.load(path))) == []

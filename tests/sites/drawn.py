"""Settings of runs, their plans and policies, drawn for tests."""

import functools

from hypothesis import strategies as st

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.sites.policy import Policy
from fedstyle_secure.system import plan_of

ARTISTS = 16
SCALE = 0.61
"""About what the settings as they are solve to."""


def of(*settings, system="style"):
    return Config.from_dict({"run": {"system": system}}).override(settings)


@functools.cache
def planned(config, artists=ARTISTS, scale=SCALE):
    return plan_of(config, artists, scale=scale)


def met_by(config, scale=SCALE):
    """A plan of settings, or None where they contradict each other."""
    try:
        return planned(config, scale=scale)
    except ConfigError:
        return None


_SETTINGS = {
    "run.rounds": st.sampled_from([1, 4, 16, 40]),
    "privacy.dp": st.sampled_from(["on", "on", "on", "off"]),
    "privacy.unit": st.sampled_from(["artwork", "artist"]),
    "privacy.delta": st.sampled_from([1e-7, 1e-5, 1e-3]),
    "privacy.noise_multiplier": st.sampled_from(["auto", "auto", 0, 2.0, 8.0]),
    "privacy.clip_norm": st.sampled_from([0.5, 1.0, 3.0]),
    "privacy.min_cohort": st.sampled_from(["auto", 2, 5, 16]),
    "privacy.colluders": st.sampled_from([0, 1]),
    "privacy.noise": st.sampled_from(["auto", "own"]),
    "secure_sum.enabled": st.sampled_from(["true", "true", "false"]),
    "secure_sum.updates": st.sampled_from(["true", "false"]),
    "training.local_steps": st.sampled_from([0, 1]),
    "cards.releases": st.sampled_from([1, 2, 4]),
    "cards.consent": st.sampled_from(["all", "none"]),
    "metrics.releases": st.sampled_from([0, 1]),
    "styles.min_contributors": st.sampled_from([2, 3, 5]),
    "audit.canaries": st.sampled_from([0, 0, 0, 20]),
    "audit.record": st.sampled_from(["none", "none", "all"]),
}

_POLICIES = {
    "allow.systems": st.sampled_from([["style"], ["style", "text"], []]),
    "allow.purposes": st.sampled_from([["ai_training"], ["ai_training", "data_mining"], ["ai_inference"]]),
    "privacy.dp": st.sampled_from(["required", "optional"]),
    "privacy.units": st.sampled_from([["artwork"], ["artist"], ["artwork", "artist"]]),
    "privacy.min_noise_multiplier": st.sampled_from([0.0, 0.5, 1.0, 4.0]),
    "privacy.max_epsilon_run": st.sampled_from([1.0, 8.0, 30.0, 300.0]),
    "privacy.max_epsilon_lifetime": st.sampled_from([4.0, 16.0, 300.0]),
    "privacy.max_delta": st.sampled_from([1e-6, 1e-5, 1e-2]),
    "privacy.max_clip_norm": st.sampled_from([0.5, 1.0, 10.0]),
    "privacy.max_rounds": st.sampled_from([0, 3, 20, 64]),
    "privacy.max_releases_a_day": st.sampled_from([0, 3, 40, 200]),
    "sum.required": st.sampled_from([["all"], ["none"], ["update"], ["update", "prototypes"]]),
    "sum.min_cohort": st.sampled_from([2, 3, 14, 30]),
    "sum.min_contributors": st.sampled_from([2, 3, 8]),
    "sum.min_colluders": st.sampled_from([0, 1, 3]),
    "card.publish": st.booleans(),
    "card.max_releases": st.sampled_from([0, 1, 2, 9]),
    "record.canaries": st.booleans(),
    "record.messages": st.booleans(),
}


def _a_few(values):
    """Most as they usually are, or every run would be declined for something."""
    keys = st.sets(st.sampled_from(sorted(values)), max_size=4)
    return keys.flatmap(lambda chosen: st.fixed_dictionaries({key: values[key] for key in sorted(chosen)}))


runs = _a_few(_SETTINGS).map(lambda chosen: of(*(f"{key}={value}" for key, value in chosen.items())))
scales = st.sampled_from([0.4, SCALE, 2.0, 8.0])
changes = _a_few(_POLICIES)
policies = changes.map(lambda chosen: Policy().changed(chosen))
wide = Policy().changed(
    {
        "allow.systems": ["style", "text", "art"],
        "allow.purposes": ["ai_training", "ai_generative_training"],
        "privacy.min_noise_multiplier": 0.0,
        "privacy.max_epsilon_run": 1e9,
        "privacy.max_epsilon_lifetime": 1e9,
        "privacy.max_delta": 0.05,
        "privacy.max_clip_norm": 1e9,
        "privacy.max_rounds": 10_000,
        "privacy.max_releases_a_day": 10_000,
        "sum.required": ["none"],
        "sum.min_cohort": 2,
        "sum.min_contributors": 2,
        "sum.min_colluders": 0,
        "card.max_releases": 10_000,
        "record.canaries": True,
        "record.messages": True,
        "privacy.dp": "optional",
    }
)
"""Declines nothing."""

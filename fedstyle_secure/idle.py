"""Settings that change nothing beside others: whoever sets one of them is told, and by what it is idle."""

from __future__ import annotations

from collections.abc import Iterator

from fedstyle_secure.config import Config, Idle

_RULES: tuple[Idle, ...] = (
    (
        'privacy.dp = "off"',
        lambda c: c.privacy.dp == "off",
        (
            *("privacy.target_epsilon", "privacy.noise_multiplier", "privacy.clip_norm", "share.sgd"),
            "privacy.noise",
        ),
    ),
    (
        'privacy.unit = "artwork"',
        lambda c: c.privacy.unit == "artwork",
        ("privacy.shares",),
    ),
    (
        "privacy.noise: no sum holds shared noise",
        lambda c: c.privacy.unit == "artwork" and not c.shares_noise,
        ("privacy.min_cohort", "privacy.colluders"),
    ),
    (
        "privacy.noise: sums hold shared noise",
        lambda c: c.shares_noise,
        ("secure_sum.bits",),
    ),
    (
        'privacy.unit = "artist"',
        lambda c: c.privacy.unit == "artist",
        ("secure_sum.updates", "secure_sum.bits", "share.sgd", "privacy.noise"),
    ),
    (
        "secure_sum.enabled = false",
        lambda c: not c.secure_sum.enabled,
        ("secure_sum.updates", "secure_sum.bits"),
    ),
    (
        "training.local_steps = 0",
        lambda c: c.training.local_steps == 0,
        (
            *("run.rounds", "training.sampling_rate", "training.learning_rate", "share.sgd"),
            "secure_sum.updates",
        ),
    ),
    (
        "training.realign_steps = 0",
        lambda c: c.training.realign_steps == 0,
        ("training.realign_rate",),
    ),
    ('audit.record = "none"', lambda c: c.audit.record == ("none",), ("audit.record_limit_mb",)),
    ("audit.canaries = 0", lambda c: c.audit.canaries == 0, ("audit.canary_kind",)),
)


def idle(config: Config) -> Iterator[str]:
    """A sentence for each setting that is not at its default and has no effect."""
    usual, given = type(config)().to_flat(), config.to_flat()
    told = set()
    for why, holds, keys in (*_RULES, *config.idle):
        for key in keys if holds(config) else ():
            if given[key] != usual[key] and key not in told:
                told.add(key)
                yield f"{key} = {given[key]} has no effect: {why}"

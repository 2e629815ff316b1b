"""Settings that change nothing beside others: whoever sets one of them is told, and by what it is idle."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fedstyle_secure.config import Config

_SHARES = ("share.sgd", "share.cards", "share.prototypes", "share.metrics")

_RULES: tuple[tuple[str, Callable[[Config], bool], tuple[str, ...]], ...] = (
    (
        'privacy.dp = "off"',
        lambda c: c.privacy.dp == "off",
        ("privacy.target_epsilon", "privacy.noise_multiplier", "privacy.clip_norm", *_SHARES),
    ),
    (
        'privacy.unit = "artwork"',
        lambda c: c.privacy.unit == "artwork",
        ("privacy.min_cohort", "privacy.colluders", "privacy.shares"),
    ),
    (
        'privacy.unit = "artist"',
        lambda c: c.privacy.unit == "artist",
        (
            *("cards.consent", "cards.releases", "metrics.releases"),
            *("secure_sum.updates", "secure_sum.bits", *_SHARES),
        ),
    ),
    (
        "secure_sum.enabled = false",
        lambda c: not c.secure_sum.enabled,
        ("secure_sum.updates", "secure_sum.bits"),
    ),
    (
        'cards.consent = "none"',
        lambda c: c.cards.consent == ("none",),
        ("cards.releases", "share.cards"),
    ),
    ("prototypes.releases = 0", lambda c: c.prototypes.releases == 0, ("share.prototypes",)),
    ("metrics.releases = 0", lambda c: c.metrics.releases == 0, ("share.metrics",)),
    (
        "training.local_steps = 0",
        lambda c: c.training.local_steps == 0,
        (
            *("run.rounds", "training.sampling_rate", "training.learning_rate", "share.sgd"),
            *("secure_sum.updates", "style.views", "style.alignment"),
        ),
    ),
    (
        "training.realign_steps = 0",
        lambda c: c.training.realign_steps == 0,
        ("training.realign_rate",),
    ),
    ('style.encoder = "texture"', lambda c: c.style.encoder == "texture", ("style.pretrain_steps",)),
    ('styles.source = "labels"', lambda c: c.styles.source == "labels", ("styles.count",)),
    ('audit.record = "none"', lambda c: c.audit.record == ("none",), ("audit.record_limit_mb",)),
    ("audit.canaries = 0", lambda c: c.audit.canaries == 0, ("audit.canary_kind",)),
)
"""What makes settings idle, whether it holds, and which they are."""


def idle(config: Config) -> Iterator[str]:
    """A sentence for each setting that is not at its default and has no effect."""
    usual, given = Config().to_flat(), config.to_flat()
    told = set()
    for why, holds, keys in _RULES:
        for key in keys if holds(config) else ():
            if given[key] != usual[key] and key not in told:
                told.add(key)
                yield f"{key} = {given[key]} has no effect: {why}"

"""Which release happens in which round, and with which noise: solved once from the settings.

Every artist solves the plan itself from the settings of its run; nothing in a message of the platform can
lower its noise.
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fedstyle_secure import __version__
from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.privacy.accounting import calibrate
from fedstyle_secure.privacy.mechanisms import DpSgd, Event, GaussianSum


@dataclass(frozen=True)
class Schedule:
    """What an artist is asked for, round by round; round 0 opens the run, before any training.

    Attributes:
        updates: Rounds with local training.
        cards: Rounds with a card release.
        prototypes: Rounds with a prototype-sum release.
        rounds: Number of rounds, the opening and a closing one included.
    """

    updates: frozenset[int]
    cards: frozenset[int]
    prototypes: frozenset[int]
    rounds: int

    @classmethod
    def of(cls, config: Config) -> Schedule:
        """The schedule of a run. Several releases of one kind are spread evenly, the last at the end."""
        training = config.run.rounds if config.training.local_steps else 0
        last = training + 1
        cards = _spread(config.cards.releases if config.cards.consent != ("none",) else 0, last)
        prototypes = _spread(config.prototypes.releases, last)
        rounds = max({training, *cards, *prototypes}) + 1
        return cls(frozenset(range(1, training + 1)), cards, prototypes, rounds)


def _spread(releases: int, last: int) -> frozenset[int]:
    if releases == 0:
        return frozenset()
    if releases > last + 1:
        raise ConfigError(
            f"{releases} releases do not fit into {last + 1} rounds; lower releases or raise run.rounds"
        )
    return frozenset(round(i * last / max(1, releases - 1)) for i in range(releases))


@dataclass(frozen=True)
class Plan:
    """Schedule and mechanisms of a run.

    Attributes:
        scale: Noise scale that the mechanisms' noise follows from.
        schedule: What is released when.
        sgd: Mechanism of one round's update.
        card: Mechanism of one card.
        prototypes: Mechanism of one prototype sum.
    """

    scale: float
    schedule: Schedule
    sgd: DpSgd
    card: GaussianSum
    prototypes: GaussianSum

    def events(self) -> tuple[Event, ...]:
        """Everything that an artist who takes part in every round, with a card, releases."""
        return (
            self.sgd.events() * len(self.schedule.updates)
            + self.card.events() * len(self.schedule.cards)
            + self.prototypes.events() * len(self.schedule.prototypes)
        )


def solve(config: Config, row_norm: float, kept: Path | None = None) -> Plan:
    """The plan of a run: noise such that all releases together spend `privacy.target_epsilon`.

    A kind of release that happens m times at sampling rate q gets the noise multiplier
    s * q * sqrt(m / share), so that shares are shares of the sum of (q / noise multiplier)^2; the
    scale s is solved for. An explicit `privacy.noise_multiplier` fixes s instead.

    Args:
        config: The settings.
        row_norm: L2 norm of a picture's row in a prototype sum.
        kept: A file of one's own that keeps the solved scale, for processes that start anew each round.

    Raises:
        ConfigError: The settings contradict each other.
        PrivacyError: No noise reaches the target.
    """
    schedule = Schedule.of(config)
    privacy, training = config.privacy, config.training
    if privacy.dp == "off":
        return _plan(config, schedule, 0.0, math.inf, math.inf)
    if privacy.noise_multiplier == "auto":
        scale = _calibrated(config, schedule, row_norm, kept)
    elif schedule.updates:
        steps = len(schedule.updates) * training.local_steps
        scale = privacy.noise_multiplier / (training.sampling_rate * math.sqrt(steps / config.share.sgd))
    else:
        raise ConfigError('privacy.noise_multiplier scales DP-SGD; without local steps use "auto"')
    return _plan(config, schedule, scale, privacy.clip_norm, row_norm)


def _calibrated(config: Config, schedule: Schedule, row_norm: float, kept: Path | None) -> float:
    # Another version may account otherwise, so what it solved does not count.
    text = f"{__version__}\n{metadata.version('opacus')}\n{config.to_flat()}\n{row_norm}"
    key = hashlib.sha256(text.encode()).hexdigest()
    if kept and kept.exists():
        with suppress(ValueError, KeyError, TypeError):
            found = json.loads(kept.read_text(encoding="utf-8"))
            if found["settings"] == key:
                return float(found["scale"])
    scale = calibrate(
        lambda s: _plan(config, schedule, s, config.privacy.clip_norm, row_norm).events(),
        config.privacy.target_epsilon,
        config.privacy.delta,
    )
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = kept.with_name(kept.name + ".partial")
        partial.write_text(json.dumps({"settings": key, "scale": scale}), encoding="utf-8")
        partial.replace(kept)
    return scale


def _plan(config: Config, schedule: Schedule, scale: float, clip_norm: float, row_norm: float) -> Plan:
    training, share = config.training, config.share
    steps = max(1, training.local_steps)
    total = max(1, len(schedule.updates) * training.local_steps)
    row = math.inf if math.isinf(clip_norm) else 1.0
    return Plan(
        scale=scale,
        schedule=schedule,
        sgd=DpSgd(
            clip_norm=clip_norm,
            noise_multiplier=scale * training.sampling_rate * math.sqrt(total / share.sgd),
            sampling_rate=training.sampling_rate,
            steps=steps,
            expected_batch_size=training.sampling_rate * training.expected_pictures,
        ),
        card=GaussianSum(row, scale * math.sqrt(max(1, len(schedule.cards)) / share.cards)),
        prototypes=GaussianSum(
            row_norm, scale * math.sqrt(max(1, len(schedule.prototypes)) / share.prototypes)
        ),
    )

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

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, PrivacyError
from fedstyle_secure.files import PRIVATE, private_folder, write_text
from fedstyle_secure.privacy.accounting import calibrate, rdp_epsilon
from fedstyle_secure.privacy.distributed import DistributedSum
from fedstyle_secure.privacy.events import DistributedNoise, Event
from fedstyle_secure.privacy.mechanisms import ArtistSum, DpSgd, GaussianSum, NoisyCounts
from fedstyle_secure.version import __version__

METRICS = ("pictures", "found")
"""The counts of a metrics release."""

_UNITS = 1024
"""Integers that the clip norm is scaled to before rounding; enough for rounding to cost nothing at up to some
1e5 values (Kairouz, Liu and Steinke 2021), and more is taken for longer sums."""

_NOMINAL_SIZE = 1 << 17
"""Length of a sum for which noise is solved; the length enters the cost through terms next to zero."""

PLAUSIBLE = 1e6
"""No honest value of a release comes near this; larger ones would overflow what they are added to."""

_FARTHEST_DEVIATIONS = 12
"""Noise lies farther out with a probability of 4e-33 a value."""


@dataclass(frozen=True)
class Schedule:
    """What an artist is asked for, round by round; round 0 opens the run, before any training.

    Attributes:
        updates: Rounds with local training.
        cards: Rounds with a card release.
        prototypes: Rounds with a prototype-sum release.
        metrics: Rounds with a release of noisy counts.
        rounds: Number of rounds, the opening and a closing one included.
    """

    updates: frozenset[int]
    cards: frozenset[int]
    prototypes: frozenset[int]
    metrics: frozenset[int]
    rounds: int

    @classmethod
    def of(cls, config: Config) -> Schedule:
        """The schedule of a run. Several releases of one kind are spread evenly, the last at the end."""
        training = config.run.rounds if config.training.local_steps else 0
        last = training + 1
        # No guarantee for a whole portfolio can cover what names its artist, or what leaves unsummed.
        named = config.privacy.unit == "artwork"
        cards = _spread(config.cards.releases if named and config.cards.consent != ("none",) else 0, last)
        prototypes = _spread(config.prototypes.releases, last)
        # Nobody is found before cards are out, so not in the opening round.
        metrics = frozenset(last - n for n in _spread(config.metrics.releases if named else 0, last - 1))
        rounds = max({training, *cards, *prototypes, *metrics}) + 1
        return cls(frozenset(range(1, training + 1)), cards, prototypes, metrics, rounds)

    @property
    def sums(self) -> frozenset[int]:
        """Rounds with a release that is summed over artists, where the unit is the artist."""
        return self.updates | self.prototypes


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
        sgd: Mechanism of one round's update; without clip and noise where the unit is the artist.
        card: Mechanism of one card.
        prototypes: Mechanism of one prototype sum.
        metrics: Mechanism of one release of counts.
        shared: How artists share the noise of a sum where the unit is the artist, for a sum of a nominal
            length; None where the unit is the artwork.
    """

    scale: float
    schedule: Schedule
    sgd: DpSgd
    card: GaussianSum
    prototypes: GaussianSum
    metrics: NoisyCounts
    shared: ArtistSum | None

    def events(self) -> tuple[Event, ...]:
        """What an artist who takes part in every round, with a card, releases, in the run's unit."""
        if self.shared is not None:
            return (DistributedNoise(self.shared.noise, 1, self.shared.artists),) * len(self.schedule.sums)
        releases = (
            (self.sgd, self.schedule.updates),
            (self.card, self.schedule.cards),
            (self.prototypes, self.schedule.prototypes),
            (self.metrics, self.schedule.metrics),
        )
        return tuple(
            event
            for mechanism, rounds in releases
            for event in [mechanism.event("artwork")] * len(rounds)
            if event is not None
        )

    def shared_for(self, size: int) -> ArtistSum:
        """The mechanism of a sum of `size` values, where the unit is the artist."""
        if self.shared is None:
            raise ConfigError("sums with shared noise belong to privacy.unit = 'artist'")
        return self.shared.resized(size, _units(size))


def solve(
    config: Config, row_norm: float, artists: int, kept: Path | None = None, scale: float | None = None
) -> Plan:
    """The plan of a run: noise such that all releases together spend `privacy.target_epsilon`.

    Unit artwork: a kind of release that happens m times at sampling rate q gets the noise multiplier
    s * q * sqrt(m / share), so that shares are shares of the sum of (q / noise multiplier)^2, and counts
    get as much noise as would cost the same; the scale s is solved for. Unit artist: each of m sums gets
    the noise multiplier s * sqrt(m). An explicit `privacy.noise_multiplier` fixes s instead.

    Args:
        config: The settings.
        row_norm: L2 norm of a picture's row in a prototype sum.
        artists: Length of the roster.
        kept: A file of one's own that keeps the solved scale, for processes that start anew each round.
        scale: What was solved before, instead of solving for `privacy.target_epsilon` again; whoever passes
            it looks at what the plan's events cost.

    Raises:
        ConfigError: The settings contradict each other.
        PrivacyError: No noise reaches the target.
    """
    schedule = Schedule.of(config)
    privacy = config.privacy
    if privacy.unit == "artist" and not schedule.sums:
        raise ConfigError(
            'privacy.unit = "artist": nothing to release; raise training.local_steps or prototypes.releases'
        )
    if privacy.dp == "off":
        return _plan(config, schedule, 0.0, math.inf, math.inf, artists)
    if scale is None or privacy.noise_multiplier != "auto":
        scale = _scale(config, schedule, row_norm, artists, kept)
    try:
        plan = _plan(config, schedule, scale, privacy.clip_norm, row_norm, artists)
    except PrivacyError as error:
        raise ConfigError(f"privacy.noise_multiplier = {privacy.noise_multiplier}: {error}") from None
    _require_sense(config, plan)
    return plan


def _scale(config: Config, schedule: Schedule, row_norm: float, artists: int, kept: Path | None) -> float:
    privacy, training = config.privacy, config.training
    if privacy.noise_multiplier == "auto":
        return _calibrated(config, schedule, row_norm, artists, kept)
    if privacy.unit == "artist":
        return privacy.noise_multiplier / math.sqrt(len(schedule.sums))
    if schedule.updates:
        steps = len(schedule.updates) * training.local_steps
        return privacy.noise_multiplier / (training.sampling_rate * math.sqrt(steps / config.share.sgd))
    raise ConfigError('privacy.noise_multiplier scales DP-SGD; without local steps use "auto"')


def _require_sense(config: Config, plan: Plan) -> None:
    """Check that the noise gives a guarantee, if there is any, and that what it drowns can still be sent.

    Raises:
        ConfigError: Artists would be charged for releases that nobody can use; names the setting.
    """
    privacy = config.privacy
    asked = privacy.noise_multiplier
    if asked not in ("auto", 0) and not math.isfinite(rdp_epsilon(plan.events(), privacy.delta)):
        raise ConfigError(
            f"privacy.noise_multiplier = {asked:g} is too little noise for any guarantee at privacy.delta = "
            f'{privacy.delta:g}; take more, "auto", or 0 for none'
        )
    for kind, deviation in _deviations(config, plan).items():
        if deviation * _FARTHEST_DEVIATIONS > PLAUSIBLE:
            raise ConfigError(
                f"the noise of {kind} would have a deviation of {deviation:.3g}, and no value above "
                f"{PLAUSIBLE:g} is sent: lower privacy.clip_norm = {privacy.clip_norm:g} or "
                f"privacy.noise_multiplier = {asked}, or raise its share"
            )


def _deviations(config: Config, plan: Plan) -> dict[str, float]:
    """Deviation of the noise in a value of each kind that is released, as it is sent or decoded."""
    schedule, sgd = plan.schedule, plan.sgd
    if plan.shared is not None:
        return {"a sum": config.privacy.clip_norm * plan.shared.noise.noise_multiplier}
    found = {
        "an update (share.sgd)": (schedule.updates, sgd.update_deviation(config.training.learning_rate)),
        "a card (share.cards)": (schedule.cards, plan.card.deviation),
        "prototypes (share.prototypes)": (schedule.prototypes, plan.prototypes.deviation),
        "a count (share.metrics)": (schedule.metrics, math.sqrt(2) / plan.metrics.parameter),
    }
    return {kind: deviation for kind, (rounds, deviation) in found.items() if rounds}


def cohort(config: Config, artists: int) -> int:
    """How many artists a sum needs where the unit is the artist.

    Raises:
        ConfigError: The roster is too short for it, or colluders leave nobody.
    """
    asked = config.privacy.min_cohort
    needed = max(2, math.floor(0.9 * artists)) if asked == "auto" else asked
    if needed > artists:
        raise ConfigError(f"privacy.min_cohort = {needed}, but there are {artists} artists")
    if needed <= config.privacy.colluders:
        raise ConfigError(
            f"privacy.colluders = {config.privacy.colluders} leaves nobody honest in a cohort of {needed}"
        )
    return needed


def _calibrated(
    config: Config, schedule: Schedule, row_norm: float, artists: int, kept: Path | None
) -> float:
    # Another version may account otherwise, so what it solved does not count.
    text = f"{__version__}\n{metadata.version('opacus')}\n{config.to_flat()}\n{row_norm}\n{artists}"
    key = hashlib.sha256(text.encode()).hexdigest()
    if kept and kept.exists():
        with suppress(ValueError, KeyError, TypeError):
            found = json.loads(kept.read_text(encoding="utf-8"))
            if found["settings"] == key:
                return float(found["scale"])
    scale = calibrate(
        lambda s: _plan(config, schedule, s, config.privacy.clip_norm, row_norm, artists).events(),
        config.privacy.target_epsilon,
        config.privacy.delta,
    )
    if kept:
        private_folder(kept.parent)
        write_text(kept, json.dumps({"settings": key, "scale": scale}), synced=False, mode=PRIVATE)
    return scale


def _plan(
    config: Config, schedule: Schedule, scale: float, clip_norm: float, row_norm: float, artists: int
) -> Plan:
    training, share = config.training, config.share
    steps = max(1, training.local_steps)
    total = max(1, len(schedule.updates) * training.local_steps)
    row = math.inf if math.isinf(clip_norm) else 1.0
    by_artist = config.privacy.unit == "artist"
    counts = math.sqrt(share.metrics / (len(METRICS) * max(1, len(schedule.metrics))))
    return Plan(
        scale=scale,
        schedule=schedule,
        sgd=DpSgd(
            clip_norm=math.inf if by_artist else clip_norm,
            noise_multiplier=0.0
            if by_artist
            else scale * training.sampling_rate * math.sqrt(total / share.sgd),
            sampling_rate=training.sampling_rate,
            steps=steps,
            expected_batch_size=training.sampling_rate * training.expected_pictures,
        ),
        card=GaussianSum(row, scale * math.sqrt(max(1, len(schedule.cards)) / share.cards)),
        prototypes=GaussianSum(
            row_norm, scale * math.sqrt(max(1, len(schedule.prototypes)) / share.prototypes)
        ),
        metrics=NoisyCounts(counts / scale if scale else math.inf, len(METRICS)),
        shared=_shared(config, scale * math.sqrt(max(1, len(schedule.sums))), artists) if by_artist else None,
    )


def _shared(config: Config, noise_multiplier: float, artists: int) -> ArtistSum:
    needed = cohort(config, artists)
    # Public, and another one a run; it only spreads a vector over its coordinates.
    rotation = hashlib.sha256(f"rotation\n{config.run.seed}".encode()).hexdigest()
    noise = DistributedSum(
        size=_NOMINAL_SIZE,
        clip_norm=1.0,
        scale=float(_units(_NOMINAL_SIZE)),
        noise_multiplier=noise_multiplier,
        honest=needed - config.privacy.colluders,
        sampler=config.privacy.shares,
        rotation=rotation,
    )
    return ArtistSum(noise, artists, needed, sealed=config.secure_sum.enabled)


def _units(size: int) -> int:
    # A rounded vector is longer than its clip norm by sqrt(size) / 2 at most: keep that below an eighth.
    return max(_UNITS, 4 * math.isqrt(size))

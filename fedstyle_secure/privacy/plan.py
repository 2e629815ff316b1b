"""With which noise each kind of release leaves: solved once from the settings.

Every artist solves the plan itself from the settings of its run; nothing in a message of the platform can
lower its noise.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, PrivacyError
from fedstyle_secure.files import PRIVATE, private_folder, write_text
from fedstyle_secure.privacy.accounting import calibrate, rdp_epsilon
from fedstyle_secure.privacy.distributed import DistributedSum
from fedstyle_secure.privacy.events import DistributedNoise, Event
from fedstyle_secure.privacy.kinds import UPDATE, Kind, rounds_of
from fedstyle_secure.privacy.mechanisms import ArtistSum, DpSgd, NoisyCounts
from fedstyle_secure.privacy.shared_noise import SharedNoise
from fedstyle_secure.version import __version__

_UNITS = 1024
"""Integers that the clip norm is scaled to before rounding; enough for rounding to cost nothing at up to some
1e5 values (Kairouz, Liu and Steinke 2021), and more is taken for longer sums."""

_NOMINAL_SIZE = 1 << 17
"""Length of a sum for which noise is solved; the length enters the cost through terms next to zero."""

PLAUSIBLE = 1e6
"""No honest value of a release comes near this; larger ones would overflow what they are added to."""

PORTFOLIOS = 4
"""An artist's sum has room for so many portfolios of the expected size."""

_FARTHEST_DEVIATIONS = 12
"""Noise lies farther out with a probability of 4e-33 a value."""


@dataclass(frozen=True)
class Plan:
    """Kinds of release with their noise.

    Attributes:
        scale: Noise scale that the mechanisms' noise follows from.
        kinds: What is released, by name. Where the unit is the artist they have no noise of their own: they
            leave in one vector a round, the kind `sum`.
        rounds: Number of rounds.
        learning_rate: Of an artist's steps.
        shared: How artists share the noise of a sum where the unit is the artist, for a sum of a nominal
            length; None where the unit is the artwork.
    """

    scale: float
    kinds: Mapping[str, Kind]
    rounds: int
    learning_rate: float
    shared: ArtistSum | None

    def of_round(self, number: int) -> list[Kind]:
        """What is released in a round, in the order in which kinds are listed."""
        return [kind for kind in self.kinds.values() if number in kind.rounds]

    def rounds_of(self, name: str) -> frozenset[int]:
        """Rounds with a release of a kind; none of a kind that is not in the plan."""
        return self.kinds[name].rounds if name in self.kinds else frozenset()

    @property
    def sums(self) -> frozenset[int]:
        """Rounds with a release at all, each of them summed over artists where the unit is the artist."""
        return frozenset[int]().union(*(kind.rounds for kind in self.kinds.values()))

    @property
    def sgd(self) -> DpSgd:
        """The mechanism of one round's update; without clip and noise where the unit is the artist.

        Raises:
            PrivacyError: The plan has no updates.
        """
        mechanism = self.kinds[UPDATE].mechanism if UPDATE in self.kinds else None
        if not isinstance(mechanism, DpSgd):
            raise PrivacyError("nothing trains privately by this plan")
        return mechanism

    def events(self) -> tuple[Event, ...]:
        """What an artist who takes part in every round, in every kind, releases, in the run's unit."""
        if self.shared is not None:
            return (DistributedNoise(self.shared.noise, 1, self.shared.artists),) * len(self.sums)
        return tuple(
            event
            for kind in self.kinds.values()
            for event in [kind.mechanism.event("artwork")] * len(kind.rounds)
            if event is not None
        )

    def deviation(self, name: str) -> float:
        """Deviation of the noise in each value of one artist's release of a kind, as it is sent: its share of
        it, where noise is shared."""
        mechanism = self.kinds[name].mechanism
        if isinstance(mechanism, DpSgd):
            return mechanism.update_deviation(self.learning_rate)
        return mechanism.deviation

    def shared_for(self, size: int) -> ArtistSum:
        """The mechanism of a sum of `size` values, where the unit is the artist."""
        if self.shared is None:
            raise ConfigError("sums with shared noise belong to privacy.unit = 'artist'")
        return self.shared.resized(size, _units(size))


def solve(
    config: Config,
    kinds: Sequence[Kind],
    artists: int,
    kept: Path | None = None,
    scale: float | None = None,
) -> Plan:
    """The plan of a run: noise such that all releases together spend `privacy.target_epsilon`.

    Unit artwork: a kind of release that happens m times at sampling rate q gets the noise multiplier
    s * q * sqrt(m / share), so that shares are shares of the sum of (q / noise multiplier)^2, and counts
    get as much noise as would cost the same; the scale s is solved for. Unit artist: each of m sums gets
    the noise multiplier s * sqrt(m). An explicit `privacy.noise_multiplier` fixes s instead.

    Args:
        config: The settings.
        kinds: What the system releases, whatever noise they come with.
        artists: Length of the roster.
        kept: A file of one's own that keeps the solved scale, for processes that start anew each round.
        scale: What was solved before, instead of solving for `privacy.target_epsilon` again; whoever passes
            it looks at what the plan's events cost.

    Raises:
        ConfigError: The settings contradict each other.
        PrivacyError: No noise reaches the target.
    """
    privacy = config.privacy
    _require_shareable(config, kinds)
    if privacy.unit == "artist" and not any(kind.rounds for kind in kinds):
        raise ConfigError('privacy.unit = "artist": nothing to release; raise training.local_steps')
    if privacy.dp == "off":
        return _plan(config, kinds, 0.0, artists)
    if scale is None or privacy.noise_multiplier != "auto":
        scale = _scale(config, kinds, artists, kept)
    try:
        plan = _plan(config, kinds, scale, artists)
    except PrivacyError as error:
        raise ConfigError(f"privacy.noise_multiplier = {privacy.noise_multiplier}: {error}") from None
    _require_sense(config, plan)
    return plan


def _scale(config: Config, kinds: Sequence[Kind], artists: int, kept: Path | None) -> float:
    privacy = config.privacy
    if privacy.noise_multiplier == "auto":
        return _calibrated(config, kinds, artists, kept)
    if privacy.unit == "artist":
        return privacy.noise_multiplier / math.sqrt(len(_plan(config, kinds, 0.0, artists).sums))
    for kind in kinds:
        mechanism = kind.scaled(1.0).mechanism
        if isinstance(mechanism, DpSgd) and kind.rounds:
            return privacy.noise_multiplier / mechanism.noise_multiplier
    raise ConfigError('privacy.noise_multiplier scales DP-SGD; without local steps use "auto"')


def _require_shareable(config: Config, kinds: Sequence[Kind]) -> None:
    """Raise ConfigError where noise is to be shared and cannot be."""
    if config.privacy.noise == "shared" and config.privacy.dp == "on" and not config.secure_sum.enabled:
        raise ConfigError(
            'privacy.noise = "shared" needs secure_sum.enabled = true: a share that is seen by itself '
            'protects nobody; set that, or privacy.noise = "own"'
        )
    training = config.training
    for kind in kinds if config.shares_noise else ():
        alone = training.local_steps == 1 and training.sampling_rate == 1
        if kind.name == UPDATE and kind.leaves == "summed" and kind.rounds and not alone:
            raise ConfigError(
                f"training.local_steps = {training.local_steps} at training.sampling_rate = "
                f"{training.sampling_rate:g}: updates with shared noise take one step of all records; set "
                'both to 1, or privacy.noise = "own"'
            )


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
    for what, deviation in _deviations(config, plan):
        if deviation * _FARTHEST_DEVIATIONS > PLAUSIBLE:
            raise ConfigError(
                f"the noise of {what} would have a deviation of {deviation:.3g}, and no value above "
                f"{PLAUSIBLE:g} is sent: lower privacy.clip_norm = {privacy.clip_norm:g} or "
                f"privacy.noise_multiplier = {asked}, or raise its share"
            )


def _deviations(config: Config, plan: Plan) -> list[tuple[str, float]]:
    """Deviation of the noise in a value of each kind that is released, as it is sent or decoded."""
    if plan.shared is not None:
        return [("a sum", config.privacy.clip_norm * plan.shared.noise.noise_multiplier)]
    return [
        (f"{kind.name!r} ({kind.setting})", plan.deviation(kind.name))
        for kind in plan.kinds.values()
        if kind.rounds
    ]


def cohort(config: Config, artists: int) -> int:
    """How many artists a sum with shared noise needs.

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


def _calibrated(config: Config, kinds: Sequence[Kind], artists: int, kept: Path | None) -> float:
    # Another version may account otherwise, so what it solved does not count.
    told = [(k.name, sorted(k.rounds), k.mechanism, k.share) for k in kinds]
    text = f"{__version__}\n{metadata.version('opacus')}\n{config.to_flat()}\n{told}\n{artists}"
    key = hashlib.sha256(text.encode()).hexdigest()
    if kept and kept.exists():
        with suppress(ValueError, KeyError, TypeError):
            found = json.loads(kept.read_text(encoding="utf-8"))
            if found["settings"] == key:
                return float(found["scale"])
    scale = calibrate(
        lambda s: _plan(config, kinds, s, artists).events(),
        config.privacy.target_epsilon,
        config.privacy.delta,
    )
    if kept:
        private_folder(kept.parent)
        write_text(kept, json.dumps({"settings": key, "scale": scale}), synced=False, mode=PRIVATE)
    return scale


def _plan(config: Config, kinds: Sequence[Kind], scale: float, artists: int) -> Plan:
    by_artist = config.privacy.unit == "artist"
    noised = {kind.name: kind.scaled(0.0 if by_artist else scale) for kind in kinds}
    if config.shares_noise and scale > 0:
        noised = {name: _sharing(config, kind, artists) for name, kind in noised.items()}
    plan = Plan(scale, noised, rounds_of(kinds), config.learning_rate, None)
    if not by_artist:
        return plan
    return replace(plan, shared=_shared(config, scale * math.sqrt(max(1, len(plan.sums))), artists))


def _sharing(config: Config, kind: Kind, artists: int) -> Kind:
    """A kind whose sum holds one noise, where it leaves inside an encrypted sum."""
    if kind.leaves != "summed" or not kind.rounds or isinstance(kind.mechanism, NoisyCounts):
        return kind
    needed = cohort(config, artists)
    shared = SharedNoise(
        honest=needed - config.privacy.colluders,
        cohort=needed,
        artists=artists,
        records=PORTFOLIOS * config.training.expected_pictures,
    )
    return replace(kind, mechanism=replace(kind.mechanism, shared=shared))


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

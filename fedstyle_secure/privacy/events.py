"""What a release costs, as data: the noise it had, how often, and for which accountants.

An event belongs to one unit of privacy (an artwork or an artist, added or removed) and says nothing of
what was released. Accounting reads events only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.distributed import DistributedSum
from fedstyle_secure.privacy.integers import MOST_DRAWS
from fedstyle_secure.privacy.units import Adjacency

_LEAST_NOISE = 1e-6
"""Less is as good as none: no release with it costs less than 5e11, and squares of it vanish."""

_MOST_NOISE = 1e4
_LEAST_RATE = 1e-12
"""What more noise, or a lower rate, is charged as: it costs next to nothing, and squares overflow."""

_SAMPLER = MOST_DRAWS * 4e-33
"""Total variation distance of a release's integer noise from what it stands for: at most
`integers.sampling_distance` a draw, below 2e-33, and as much for what is cut where a share has a range."""

_MOST_SLACK = 30.0
"""Epsilon from which on a sampler's distance is no longer weighed by more: nobody relies on such a figure."""

_SMOOTH_NOISE = 30.0
"""Beyond it, series for fractional orders take long, and small losses have their best order elsewhere."""


class Event(Protocol):
    """`steps` equal mechanisms, composed."""

    @property
    def steps(self) -> int:
        """How many, >= 1."""

    @property
    def noiseless(self) -> bool:
        """Whether there is no noise at all, and so no guarantee."""

    def slack(self, epsilon: float) -> float:
        """What its sampler's and its range's imperfection adds to delta, all steps together, where everything
        composed costs no more than `epsilon`."""

    def rdp(self, orders: Sequence[float]) -> np.ndarray:
        """Rényi divergence at each order (> 1), float64, all steps together."""

    def dp_event(self) -> Any | None:
        """The same as an event of dp-accounting, for its PLD; None where that knows no such event."""


@dataclass(frozen=True)
class SampledGaussian:
    """Poisson-subsampled Gaussian mechanisms.

    Attributes:
        noise_multiplier: Noise deviation over sensitivity (add-remove). Zero: no guarantee.
        sampling_rate: Probability that a picture takes part in a step, in (0, 1]; 1 takes all.
        steps: How many times, >= 1.

    Example:
        >>> SampledGaussian(noise_multiplier=1.0, sampling_rate=0.1, steps=100).rdp([2.0]).round(3).tolist()
        [1.704]
    """

    noise_multiplier: float
    sampling_rate: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        if not (self.noise_multiplier >= 0 and math.isfinite(self.noise_multiplier)):
            raise PrivacyError(f"noise multiplier must be finite and >= 0, not {self.noise_multiplier}")
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyError(f"sampling rate must lie in (0, 1], not {self.sampling_rate}")
        _check_steps(self.steps)

    @property
    def noiseless(self) -> bool:
        """Whether the noise is zero, or as good as that."""
        return self.noise_multiplier < _LEAST_NOISE

    @property
    def charged(self) -> SampledGaussian:
        """An event that costs at least as much, within what floating point can square."""
        noise = min(self.noise_multiplier, _MOST_NOISE)
        return replace(self, noise_multiplier=noise, sampling_rate=max(self.sampling_rate, _LEAST_RATE))

    def slack(self, epsilon: float) -> float:
        """Noise is integers, and post-processing of the Gaussian's (`integers.drawn_deviation`) but for the
        sampler's distance."""
        return self.steps * (1 + math.exp(min(epsilon, _MOST_SLACK))) * _SAMPLER

    def rdp(self, orders: Sequence[float]) -> np.ndarray:
        """By Opacus (Mironov, Talwar and Zhang 2019); infinite where there is no noise to speak of."""
        from opacus.accountants.analysis.rdp import compute_rdp

        alphas, one = np.asarray(orders, dtype=np.float64), self.charged
        if self.noiseless:
            return np.full(alphas.shape, math.inf)
        if one.sampling_rate < 1 and one.noise_multiplier > _SMOOTH_NOISE:
            alphas = np.ceil(alphas)  # The divergence grows with its order.
        with np.errstate(all="ignore"):
            found = compute_rdp(
                q=one.sampling_rate,
                noise_multiplier=one.noise_multiplier,
                steps=one.steps,
                orders=alphas.tolist(),
            )
        curve: np.ndarray = np.nan_to_num(np.atleast_1d(found), nan=math.inf, posinf=math.inf)
        return curve

    def dp_event(self) -> Any:
        """Poisson-sampled Gaussian."""
        from dp_accounting import dp_event as events

        one = self.charged
        gaussian = events.GaussianDpEvent(one.noise_multiplier)
        sampled = events.PoissonSampledDpEvent(one.sampling_rate, gaussian)
        return events.SelfComposedDpEvent(sampled, self.steps)


@dataclass(frozen=True)
class DiscreteLaplace:
    """Integer counts that one unit moves by at most 1, plus discrete Laplace noise.

    Attributes:
        parameter: a > 0; the noise is k with a probability proportional to exp(-a |k|). Infinite: no noise.
        steps: How many counts, >= 1.

    Example:
        >>> DiscreteLaplace(0.5, 2).rdp([1e6]).round(3).tolist()  # Near the pure epsilon, twice 0.5.
        [1.0]
    """

    parameter: float
    steps: int = 1

    def __post_init__(self) -> None:
        if not self.parameter > 0:
            raise PrivacyError(f"discrete Laplace parameter must be > 0, not {self.parameter}")
        _check_steps(self.steps)

    @property
    def noiseless(self) -> bool:
        """Whether there is no noise."""
        return math.isinf(self.parameter)

    def slack(self, epsilon: float) -> float:
        """None: the sampler is exact."""
        return 0.0

    def rdp(self, orders: Sequence[float]) -> np.ndarray:
        """Closed form: the loss is +a with probability 1 / (1 + exp(-a)) and -a else, as for randomised
        response (Mironov 2017, proposition 5)."""
        a, alphas = self.parameter, np.asarray(orders, dtype=np.float64)
        likely = -math.log1p(math.exp(-a))
        with np.errstate(over="ignore"):
            terms = np.logaddexp(likely + a * (alphas - 1), likely - a - a * (alphas - 1))
            return self.steps * terms / (alphas - 1)

    def dp_event(self) -> Any:
        """Discrete Laplace of sensitivity 1."""
        from dp_accounting import dp_event as events

        return events.SelfComposedDpEvent(events.DiscreteLaplaceDpEvent(self.parameter, 1), self.steps)


@dataclass(frozen=True)
class DistributedNoise:
    """Sums over artists whose noise comes in shares.

    Attributes:
        mechanism: The share that every artist adds.
        hops: 1 where a whole portfolio is added or removed; 2 where an artist stays and its portfolio
            changes, which is a removal and an addition. One artwork is such a change.
        artists: The most artists whose shares a sum holds; bounds the tail.
        steps: How many sums, >= 1.
    """

    mechanism: DistributedSum
    hops: int
    artists: int
    steps: int = 1

    def __post_init__(self) -> None:
        if self.hops not in (1, 2):
            raise PrivacyError(f"a change is 1 or 2 hops, not {self.hops}")
        _check_steps(self.steps)

    @property
    def noiseless(self) -> bool:
        """Whether the noise is zero."""
        return self.mechanism.noise_multiplier == 0

    def slack(self, epsilon: float) -> float:
        """Statistical distance of the sampler and probability of the cut tail."""
        return self.steps * self.mechanism.delta_slack(self.artists, epsilon)

    def rdp(self, orders: Sequence[float]) -> np.ndarray:
        """With the correction terms for sums of discrete shares (see `DistributedSum.rdp`)."""
        adjacency: Adjacency = "add-remove" if self.hops == 1 else "replace"
        return self.steps * self.mechanism.rdp(orders, adjacency)

    def dp_event(self) -> None:
        """None: dp-accounting knows no sums of discrete shares."""
        return None


_TYPES: dict[str, type[SampledGaussian] | type[DiscreteLaplace] | type[DistributedNoise]] = {
    cls.__name__: cls for cls in (SampledGaussian, DiscreteLaplace, DistributedNoise)
}


def event_to_dict(event: Event) -> dict[str, Any]:
    """An event as JSON values; infinity as the text "inf".

    Example:
        >>> event_to_dict(SampledGaussian(2.0, 1.0, 1))
        {'type': 'SampledGaussian', 'noise_multiplier': 2.0, 'sampling_rate': 1.0, 'steps': 1}
    """
    values: dict[str, Any] = {"type": type(event).__name__} | asdict(event)  # type: ignore[call-overload]
    return {key: "inf" if value == math.inf else value for key, value in values.items()}


def event_from_dict(values: Mapping[str, Any]) -> Event:
    """The event of `event_to_dict`.

    Raises:
        PrivacyError: Not an event, or one that cannot be.

    Example:
        >>> event = DiscreteLaplace(0.5, 2)
        >>> event_from_dict(event_to_dict(event)) == event
        True
    """
    try:
        fields = dict(values)
        cls = _TYPES[str(fields.pop("type"))]
        if cls is DistributedNoise:
            fields["mechanism"] = DistributedSum(**fields["mechanism"])
        if fields.get("parameter") == "inf":
            fields["parameter"] = math.inf
        return cls(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise PrivacyError(f"no event of this version: {error}") from None


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise PrivacyError(f"an event takes at least one step, not {steps}")

"""What a released prototype or style card gives away: a picture, a new artwork, or who made it.

A prototype is p = mean_j f(x_j) + noise. For one picture it is that picture's embedding. For several it
tells of no single one, unless two releases differ by one picture: n p_t - (n-1) p_{t-1} is its embedding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.errors import AttackError
from attacks.observation import Capability, Observation
from attacks.ranges import real, unit_pictures, whole
from attacks.results import Budget, Evidence, Progress, generator

_CHUNK = 64
_SHRINKAGE = 0.1


@dataclass(frozen=True)
class PrototypeInversion:
    """A picture whose embedding is the prototype, by gradient descent through the encoder.

    All restarts are one batch. Where the prototype is the mean of several pictures, the result is one
    picture that has that mean as embedding, and is none of them.

    The objective is |f(x) - p|^2 / |p|^2 + smoothness * TV(x), TV as in Geiping et al. 2020.

    Attributes:
        target: Name of the prototype.
        release: Which release, -1 for the last.
        smoothness: Weight of the total variation, >= 0.
        rate: Largest step of Adam on pictures in [0, 1], > 0; falls to zero along a cosine.
        progress: Told of steps done, steps in all and seconds left; or None.
    """

    target: str
    release: int = -1
    smoothness: float = 0.02
    rate: float = 0.05
    progress: Progress | None = None

    def __post_init__(self) -> None:
        real("smoothness", self.smoothness, "[0, inf)")
        real("rate", self.rate, "(0, inf)")

    @property
    def name(self) -> str:
        return "prototype inversion"

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.SEES_PROTOTYPE})

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Descend from grey with a little noise; the best restart by the objective is the answer.

        Raises:
            AttackError: There is no such prototype, or its encoder is not differentiable.
        """
        started, clock = time.perf_counter(), time.thread_time()
        vector = _release(observation, self.target, self.release)
        embed = _encoder(observation)
        draws = generator(seed)
        # One draw a restart, so that more restarts begin with the same ones.
        starts = [torch.randn(observation.picture_shape, generator=draws) for _ in range(budget.restarts)]
        noise = 0.1 * torch.stack(starts).to(observation.dtype)
        x = (0.5 + noise).clamp(0, 1).requires_grad_(True)
        optimizer = torch.optim.Adam([x], lr=self.rate)
        history: list[float] = []
        with torch.no_grad():
            width = embed(x[:1]).shape[1:]
        if width != vector.shape:
            raise AttackError(
                f"prototypes {self.target!r}: {len(vector)} wide, and pictures embed to {tuple(width)}"
            )
        for step in range(budget.steps):
            optimizer.param_groups[0]["lr"] = self.rate * (1 + math.cos(math.pi * step / budget.steps)) / 2
            losses = self._objective(embed(x), x, vector)
            if not losses.requires_grad:
                raise AttackError(f"{self.name}: the encoder passes no gradient; use CandidateMatch")
            (x.grad,) = torch.autograd.grad(losses.sum(), x)
            optimizer.step()
            with torch.no_grad():
                x.clamp_(0, 1)
            history.append(float(losses.detach().min()))
            spent = time.thread_time() - clock
            if self.progress is not None:
                self.progress(step + 1, budget.steps, spent / (step + 1) * (budget.steps - step - 1))
            if budget.seconds is not None and spent > budget.seconds:
                break
        with torch.no_grad():
            losses = self._objective(embed(x), x, vector)
            best = losses.argsort()
            reached = embed(x[best])
        notes = self._notes(observation)
        return Evidence(
            self.name, float(losses.min()), converged=_at_rest(history),
            pictures=x.detach()[best].float(), features=reached, history=tuple(history),
            seconds=time.perf_counter() - started, notes=notes,
        )  # fmt: skip

    def _objective(self, embeddings: Tensor, x: Tensor, vector: Tensor) -> Tensor:
        distance = (embeddings - vector).square().sum(1) / vector.square().sum().clamp(min=1e-12)
        if x.ndim != 4 or self.smoothness == 0:
            return distance
        across = x.diff(dim=3).abs().flatten(1).mean(1) + x.diff(dim=2).abs().flatten(1).mean(1)
        return distance + self.smoothness * across

    def _notes(self, observation: Observation) -> tuple[str, ...]:
        if observation.counts is None:
            return ("how many pictures the prototype is the mean of is not known",)
        n = int(observation.counts[self.target][self.release])
        return () if n == 1 else (f"the prototype is the mean of {n} pictures: this is none of them",)


@dataclass(frozen=True, eq=False)
class CandidateMatch:
    """Which candidate is in the prototype: the likelihood ratio of being one of its n pictures or none.

    Needs no gradient of the encoder. Embeddings are taken as Gaussian with the mean and covariance of the
    public pictures, or of the candidates where there are none; the noise's deviation is the observation's.
    For one picture and no noise that is the nearest candidate.

    Scores (k,) are log likelihood ratios. The objective is minus the gap between the best two. There are no
    pictures in the evidence: a candidate is not reconstructed, it was there before.

    Attributes:
        target: Name of the prototype.
        candidates: Pictures (k, *picture_shape) in [0, 1], k >= 2.
        release: Which release, -1 for the last.
        common: Share of the embeddings' covariance that pictures of one portfolio have in common, in
            [0, 1): a style. 0 for pictures drawn from everyone's.
    """

    target: str
    candidates: Tensor
    release: int = -1
    common: float = 0.3

    def __post_init__(self) -> None:
        unit_pictures("candidates", self.candidates, 2)
        real("common", self.common, "[0, 1)")

    @property
    def name(self) -> str:
        return "candidate match"

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.SEES_PROTOTYPE, Capability.KNOWS_COUNTS, Capability.HAS_CANDIDATES})

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Score the candidates; needs neither budget nor seed."""
        started = time.perf_counter()
        vector = _release(observation, self.target, self.release).double()
        n = _count(observation, self.target, self.release)
        scores = candidate_scores(
            vector,
            embeddings(observation, self.candidates),
            n,
            observation.prototype_noise,
            None
            if observation.public_pictures is None
            else embeddings(observation, observation.public_pictures),
            self.common,
        )
        best = scores.sort(descending=True).values
        return Evidence(
            self.name, float(best[1] - best[0]), converged=True, scores=scores,
            seconds=time.perf_counter() - started,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Differencing:
    """The embedding of what was added between the last two releases, and which candidate that is.

    With n' - n = 1 the features (1, d) are the new artwork's embedding, exactly where there is no noise;
    with more they are the mean of the new ones. Noise grows by sqrt(n'^2 + n^2) / (n' - n).

    Scores are those of `CandidateMatch` for the difference, where candidates are given.

    Attributes:
        target: Name of the prototype.
        candidates: Pictures (k, *picture_shape) in [0, 1], or None.
    """

    target: str
    candidates: Tensor | None = None

    def __post_init__(self) -> None:
        if self.candidates is not None:
            unit_pictures("candidates", self.candidates)

    @property
    def name(self) -> str:
        return "differencing of releases"

    @property
    def requires(self) -> frozenset[Capability]:
        needed = {Capability.SEES_PROTOTYPE, Capability.KNOWS_COUNTS}
        return frozenset(needed if self.candidates is None else needed | {Capability.HAS_CANDIDATES})

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Subtract; needs neither budget nor seed.

        Raises:
            AttackError: There are not two releases with a growing count.
        """
        started = time.perf_counter()
        if len(_releases(observation, self.target)) < 2:
            raise AttackError(f"prototypes {self.target!r}: differencing needs two releases")
        before, after = (_count(observation, self.target, release) for release in (-2, -1))
        if after <= before:
            raise AttackError(f"counts {self.target!r}: nothing was added between {before} and {after}")
        new, old = (_release(observation, self.target, release).double() for release in (-1, -2))
        added = after - before
        vector = (after * new - before * old) / added
        noise = observation.prototype_noise * math.hypot(after, before) / added
        notes = [f"{added} added; the noise on each coordinate of the difference is {noise:.3g}"]
        scores = None
        if self.candidates is not None:
            scores = candidate_scores(vector, embeddings(observation, self.candidates), added, noise, None)
        return Evidence(
            self.name, noise, converged=True, features=vector[None].float(), scores=scores,
            seconds=time.perf_counter() - started, notes=tuple(notes),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ArtistLinkage:
    """Whose prototype is it: the likelihood under each artist's known works.

    Embeddings of an artist are taken as Gaussian around the mean of its known works, with one covariance
    within artists. A prototype of n pictures then scatters by that over n, that over the number of known
    works, and the noise. Scores (a,) are log likelihoods; the objective is minus the gap of the best two.

    Attributes:
        target: Name of the prototype.
        known: Known works of each artist, pictures (m, *picture_shape) in [0, 1]; at least two artists.
        release: Which release, -1 for the last.
    """

    target: str
    known: Sequence[Tensor]
    release: int = -1

    def __post_init__(self) -> None:
        if len(self.known) < 2:
            raise AttackError("linkage needs known works of at least two artists")
        for number_of, works in enumerate(self.known):
            unit_pictures(f"known works of artist {number_of}", works)

    @property
    def name(self) -> str:
        return "artist linkage"

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.SEES_PROTOTYPE, Capability.KNOWS_COUNTS, Capability.HAS_CANDIDATES})

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Score the artists; needs neither budget nor seed."""
        started = time.perf_counter()
        vector = _release(observation, self.target, self.release).double()
        n = _count(observation, self.target, self.release)
        works = [embeddings(observation, pictures) for pictures in self.known]
        scores = linkage_scores(vector, works, n, observation.prototype_noise)
        best = scores.sort(descending=True).values
        return Evidence(
            self.name, float(best[1] - best[0]), converged=True, scores=scores,
            seconds=time.perf_counter() - started,
        )  # fmt: skip


def candidate_scores(
    prototype: Tensor,
    candidates: Tensor,
    n: int,
    noise: float,
    population: Tensor | None,
    common: float = 0.0,
) -> Tensor:
    """Log likelihood ratios float64 (k,) that each candidate is one of the prototype's n pictures.

    Embeddings are N(mu, S), and any two of one portfolio have the covariance c S in common. Then for a
    picture f of the prototype p, with b = c + (1 - c) / n,
        p | f ~ N(mu + b (f - mu), (b - b^2) S + noise^2 I).
    The term without f is the same for all candidates and left out, and the covariance of a prototype
    without f is taken as that with it.

    Args:
        prototype: (d,), the mean of n embeddings and noise.
        candidates: Embeddings (k, d), k >= 2.
        n: Pictures in the prototype, >= 1.
        noise: Deviation of the noise on each coordinate, >= 0.
        population: Embeddings (m, d) that give mu and S; None for the candidates.
        common: c, in [0, 1).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> works = torch.randn(8, 16)
        >>> scores = candidate_scores(works[:2].mean(0), works, n=2, noise=0.0, population=None)
        >>> sorted(scores.topk(2).indices.tolist())
        [0, 1]
    """
    if len(candidates) < 2 or candidates.shape[1:] != prototype.shape:
        raise AttackError(
            f"candidates {tuple(candidates.shape)} do not fit a prototype {tuple(prototype.shape)}"
        )
    whole("pictures n", n, 1)
    real("noise", noise, "[0, inf)")
    real("common", common, "[0, 1)")
    population = candidates if population is None else population
    mean = population.mean(0)
    pull = common + (1 - common) / n
    whiten = _whitening(_covariance(population - mean) * (pull - pull**2), noise)
    lifted = pull * (candidates - mean) @ whiten
    return lifted @ ((prototype - mean) @ whiten) - 0.5 * lifted.square().sum(1)


def linkage_scores(prototype: Tensor, works: Sequence[Tensor], n: int, noise: float) -> Tensor:
    """Log likelihoods float64 (a,) of a prototype of n pictures under each artist's known works.

    Args:
        prototype: (d,).
        works: Embeddings (m, d) of each artist, at least two artists.
        n: Pictures in the prototype, >= 1.
        noise: Deviation of the noise on each coordinate, >= 0.
    """
    if len(works) < 2 or min(map(len, works)) < 1:
        raise AttackError("linkage needs known works of at least two artists")
    whole("pictures n", n, 1)
    real("noise", noise, "[0, inf)")
    centres = torch.stack([rows.mean(0) for rows in works])
    within = _covariance(torch.cat([rows - rows.mean(0) for rows in works]))
    scores = []
    for centre, rows in zip(centres, works, strict=True):
        whiten = _whitening(within * (1 / n + 1 / len(rows)), noise)
        away = (prototype - centre) @ whiten
        scores.append(-0.5 * away.square().sum() + whiten.slogdet().logabsdet)
    return torch.stack(scores)


def embeddings(observation: Observation, pictures: Tensor) -> Tensor:
    """Embeddings float64 (n, d) of pictures (n, *picture_shape) in [0, 1], in chunks, without gradients."""
    embed = _encoder(observation)
    if tuple(pictures.shape[1:]) != observation.picture_shape or not len(pictures):
        raise AttackError(f"pictures {tuple(pictures.shape)} do not fit {observation.picture_shape}")
    if not pictures.isfinite().all():
        raise AttackError("pictures to embed: a value is not finite")
    with torch.no_grad():
        return torch.cat([embed(part.to(observation.dtype)) for part in pictures.split(_CHUNK)]).double()


def _covariance(centred: Tensor) -> Tensor:
    """Covariance (d, d) of centred rows, a tenth of it shrunk toward its mean variance."""
    found = centred.T @ centred / max(len(centred) - 1, 1)
    return (1 - _SHRINKAGE) * found + _SHRINKAGE * found.trace() / len(found) * torch.eye(
        len(found), dtype=found.dtype
    )


def _whitening(covariance: Tensor, noise: float) -> Tensor:
    """The symmetric root of the inverse of covariance + noise^2 I, (d, d); finite where both are zero."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * (values.clamp(min=0) + noise**2 + 1e-9).rsqrt() @ vectors.T
    return root


def _at_rest(history: Sequence[float]) -> bool:
    """Whether the last two fifths of at least 20 steps brought less than 5 % or 0.001.

    The rate is still a third of its largest there, so that standing still is not merely its falling.
    """
    if len(history) < 20:
        return False
    before = history[len(history) * 3 // 5]
    return before - history[-1] <= max(0.05 * before, 1e-3)


def _releases(observation: Observation, target: str) -> Tensor:
    if observation.prototypes is None or target not in observation.prototypes:
        there = ", ".join(map(repr, observation.prototypes or ())) or "none"
        raise AttackError(f"no prototype {target!r} was observed; there are {there}")
    return observation.prototypes[target]


def _release(observation: Observation, target: str, release: int) -> Tensor:
    releases = _releases(observation, target)
    if not -len(releases) <= release < len(releases):
        raise AttackError(f"prototypes {target!r}: no release {release} among {len(releases)}")
    return releases[release]


def _count(observation: Observation, target: str, release: int) -> int:
    if observation.counts is None or target not in observation.counts:
        raise AttackError(f"counts {target!r}: how many pictures the prototype stands for is not known")
    return int(observation.counts[target][release])


def _encoder(observation: Observation) -> Callable[[Tensor], Tensor]:
    if observation.embed is None:
        raise AttackError("the observation has no `embed`, the map from pictures to what prototypes average")
    return observation.embed

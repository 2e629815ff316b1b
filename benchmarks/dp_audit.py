"""The auditor against our own differential privacy: as it is, and with one of seven kinds of bug put into it.

Every release here is made by the code that a run uses (`DPTrainer`, `GaussianSum`), leaves through a `Gate`,
and is claimed to cost what the gate's ledger says. A bug is a patch of that code. The auditors see what the
platform would see: the weights after each round, or the released sums.

A bug counts as found where a bound at confidence 0.999 lies above what the ledger claims, or where the
sensitivity probe moves a clipped sum beyond its bound. The probe sees what an auditor of few canaries cannot:
one picture's worst case. An auditor sees what the probe cannot: the noise, the sampling and the ledger.

Prints JSON lines: bounds over 20 seeds beside the ledger's epsilon; a line a bug; how little noise each
auditor needs to be missing before it finds out. One torch thread.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import numpy as np
import torch
from opacus_hooks import hooked_rows
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.canaries import DiracCanaries, fair_coins
from attacks.epsilon import (
    Bonferroni,
    Bound,
    ExplicitRank,
    Terms,
    clopper_pearson_epsilon,
    gaussian_epsilon,
    one_run_epsilon,
    one_run_gaussian_epsilon,
)
from attacks.sensitivity import SensitivityReport, probe_sensitivity
from fedstyle_secure.privacy import dp_sgd
from fedstyle_secure.privacy.accounting import epsilon
from fedstyle_secure.privacy.budget import Budget
from fedstyle_secure.privacy.clipping import GRID, ClippedSum
from fedstyle_secure.privacy.dp_sgd import DPTrainer, clipped_gradient_sum
from fedstyle_secure.privacy.events import Event
from fedstyle_secure.privacy.gate import Gate, Release
from fedstyle_secure.privacy.integers import integer_gaussian
from fedstyle_secure.privacy.ledger import Entry, Ledger, costs
from fedstyle_secure.privacy.mechanisms import DpSgd, GaussianSum
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.picture_loss import PictureLoss
from fedstyle_secure.systems.style.losses import InBatchContrast, PrototypeContrast
from fedstyle_secure.systems.style.prototypes import ROW_NORM, picture_rows

Line = dict[str, Any]

DELTA = 1e-5
CLIP = 4.0
LONGER = 5.0
"""Every second canary is this many clip norms long and must be clipped."""

HONEST = 16
"""Pictures of the artist's own beside the canaries."""

STRICT = Terms(delta=DELTA, adjacency="add-remove", unit="artwork", confidence=0.999)
USUAL = replace(STRICT, confidence=0.95)


class Auditor(Protocol):
    """A bound from scores that were in and scores that were out."""

    def __call__(self, scores_in: np.ndarray, scores_out: np.ndarray, terms: Terms) -> Bound:
        """The bound."""


AUDITORS: dict[str, Auditor] = {
    "gaussian": partial(gaussian_epsilon, strategy=Bonferroni(25)),
    "clopper_pearson": partial(clopper_pearson_epsilon, strategy=Bonferroni(25)),
    "one_run": partial(one_run_epsilon, strategy=Bonferroni(25), guesses="both"),
    "one_run_f_dp": partial(one_run_gaussian_epsilon, strategy=Bonferroni(25), guesses="both"),
}
"""Thresholds are 25 ranks fixed beforehand, the error divided among them."""


@dataclass(frozen=True, eq=False)
class Audited:
    """What an auditor has after a run, and what the ledger claims of it.

    Attributes:
        scores: float64 (m,), larger is more likely in.
        inside: bool (m,), the coins.
        claimed: Epsilon per artwork at DELTA of all entries of the ledger.
    """

    scores: np.ndarray
    inside: np.ndarray
    claimed: float

    def bounds(self, terms: Terms = STRICT) -> dict[str, float]:
        """Each auditor's bound."""
        pair = self.scores[self.inside], self.scores[~self.inside]
        return {name: auditor(*pair, terms=terms).epsilon for name, auditor in AUDITORS.items()}

    def one_run_at_a_tenth(self, terms: Terms) -> float:
        """The one-run bound of the theorem itself: a tenth guessed in, a tenth out, fixed beforehand."""
        pair = self.scores[self.inside], self.scores[~self.inside]
        return one_run_epsilon(*pair, terms, ExplicitRank(len(self.scores) // 10), "both").epsilon


@lru_cache
def _composed(events: tuple[Event, ...]) -> float:
    return epsilon(events, DELTA)


def ledger_epsilon(home: Path) -> float:
    """What the ledger in an artist's folder claims, per artwork."""
    events = costs(Ledger(home / "ledger.jsonl").entries, "artwork")
    return math.inf if events is None else _composed(events)


def open_gate(home: Path) -> Gate:
    """A gate that counts and never declines."""
    return Gate(home, "audit", Budget(math.inf, DELTA, "artwork"))


class FirstOutput(PictureLoss):
    """The first output as the loss: the gradient of a linear layer is then the picture itself."""

    name = "first output"

    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """(b, 1) to (b,)."""
        return embeddings[:, 0]


class AlwaysDrawn(np.random.Generator):
    """A sampler that draws every picture every round, whatever the rate."""

    def random(self, size: int) -> np.ndarray:  # type: ignore[override]
        """Zeros, which are below every rate."""
        return np.zeros(size)


def trained(
    seed: int,
    m: int,
    plan: DpSgd,
    rounds: int,
    told: DpSgd | None = None,
    sampler: Callable[[np.random.BitGenerator], np.random.Generator] = np.random.Generator,
) -> Audited:
    """DP-SGD on one portfolio with m Dirac canaries, the weights seen after each round.

    Args:
        seed: Of canaries, coins, batches and noise.
        m: Canaries that have a coin.
        plan: One round.
        rounds: How many.
        told: What the ledger is told a round was; None for the truth.
        sampler: Draws the batches.
    """
    rng = np.random.default_rng(seed)
    canaries = DiracCanaries.draw(m, m, plan.clip_norm, rng)
    inside = fair_coins(m, rng.bytes)
    planted = canaries.gradients()[inside]
    planted[::2] *= LONGER
    honest = plan.clip_norm * rng.standard_normal((HONEST, m)) / np.sqrt(m)
    rows = torch.from_numpy(np.concatenate([honest, planted])).float()[:, None]
    module = nn.Linear(m, 1, bias=False)
    nn.init.zeros_(module.weight)
    # At this learning rate an update is the noisy sum itself, turned round.
    trainer = DPTrainer(module, FirstOutput(), plan, plan.expected_batch_size, rng.bytes)
    batches, sums = sampler(np.random.PCG64([seed, 1])), []

    def update() -> list[Release]:
        before = module.weight.detach().clone()
        trainer.fit(rows, torch.zeros(len(rows), dtype=torch.int64), batches)
        change = (module.weight.detach() - before)[0].numpy()
        return [Release("update", {"weight": change}, told or plan)]

    with tempfile.TemporaryDirectory() as folder:
        gate = open_gate(Path(folder))
        for number in range(rounds):
            sums.append(-gate.send(f"{number:064x}", number, update).arrays["update"]["weight"])
        return Audited(canaries.scores(np.stack(sums)), inside, ledger_epsilon(Path(folder)))


def prototyped(seed: int, m: int, mechanism: GaussianSum) -> Audited:
    """A sum of prototypes, asked for twice with one request; every canary is the one picture of its style.

    A sound gate answers the second time with the bytes of the first.
    """
    rng = np.random.default_rng(seed)
    inside = fair_coins(m, rng.bytes)
    rows = picture_rows(np.ones((m, 1)), np.arange(m), m)
    mine = rows[inside]

    def sums() -> list[Release]:
        return [Release("prototypes", {"sums": mechanism.apply(mine, rng.bytes)}, mechanism)]

    with tempfile.TemporaryDirectory() as folder:
        gate = open_gate(Path(folder))
        seen = [gate.send("0" * 64, 0, sums).arrays["prototypes"]["sums"] for _ in range(2)]
        return Audited(rows @ np.mean(seen, axis=0), inside, ledger_epsilon(Path(folder)))


class UnitLinear(nn.Module):
    """Six values to a unit vector of eight."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 8, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(_normal(0, 8, 6))

    def forward(self, x: Tensor) -> Tensor:
        """(b, 6) to (b, 8)."""
        return F.normalize(self.head(x), dim=1)


class ClassContrast(InBatchContrast):
    """In-batch contrast over the first column of the targets."""

    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """(b, 8) to (b,)."""
        return super().__call__(embeddings, targets[:, 0])


def sound_loss() -> PictureLoss:
    """What a run trains with."""
    anchors = F.normalize(_normal(1, 2, 8), dim=1)
    return PrototypeContrast(lambda: anchors, temperature=0.1, alignment=0.1)


def in_batch_loss() -> PictureLoss:
    """Pictures contrasted with each other."""
    return ClassContrast(0.1)


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _inputs(batch: np.ndarray) -> tuple[Tensor, Tensor]:
    """Pictures (b, 1, 6) and targets (b, 2) of rows of six values and a class."""
    targets = torch.full((len(batch), 2), -1, dtype=torch.int64)
    targets[:, 0] = torch.from_numpy(np.abs(batch[:, 6]).astype(np.int64) % 2)
    return torch.from_numpy(batch[:, None, :6].astype(np.float32)), targets


def _pool(rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.normal(size=(60, 6)), rng.integers(0, 2, (60, 1))], axis=1)


def probe(loss: PictureLoss, module: nn.Module) -> SensitivityReport:
    """Does one picture move the sum that DP-SGD adds noise to by more than 1, its clip norm? 300 trials."""
    rng = np.random.default_rng(0)

    def clipped_sum(batch: np.ndarray) -> np.ndarray:
        return clipped_gradient_sum(module, loss, *_inputs(batch), 1.0).numpy()

    return probe_sensitivity(clipped_sum, _pool(rng), 1.0, "add-remove", rng)


def probe_linear() -> SensitivityReport:
    """The same where a picture's gradient is the picture itself."""
    return probe(FirstOutput(), nn.Linear(6, 1, bias=False))


def contrasted(seed: int, m: int, plan: DpSgd, loss: PictureLoss) -> Audited:
    """One batch, one picture of it in by a coin, trained anew m times: a canary a run.

    The batch is the one of 100 whose clipped sum the picture moves most; the score is the update's
    component in that direction.
    """
    rng = np.random.default_rng(seed)
    pool, module = _pool(rng), UnitLinear()
    start, zero = module.head.weight.detach().clone(), torch.zeros(8 * 6, dtype=torch.float64)
    batch, direction = pool[:1], zero
    for _ in range(100):
        tried = pool[rng.choice(len(pool), 33, replace=False)]
        with_it, without = (
            clipped_gradient_sum(module, loss, *_inputs(rows), plan.clip_norm) for rows in (tried, tried[1:])
        )
        if (with_it - without).norm() > direction.norm():
            batch, direction = tried, with_it - without
    inside, scores = fair_coins(m, rng.bytes), []
    for coin in inside:
        with torch.no_grad():
            module.head.weight.copy_(start)
        inputs, targets = _inputs(batch if coin else batch[1:])
        DPTrainer(module, loss, plan, plan.expected_batch_size, rng.bytes).fit(inputs, targets, rng)
        scores.append(float((start - module.head.weight.detach()).double().flatten() @ direction))
    event = plan.event("artwork")
    return Audited(np.array(scores), inside, math.inf if event is None else _composed((event,)))


class BatchClipped(ClippedSum):
    """The sum of the batch is clipped, and no picture's gradient."""

    def __init__(self, size: int, clip_norm: float) -> None:
        """Begin with no rows."""
        super().__init__(size, math.inf)
        self._norm, self._rows = clip_norm, 0

    def add(self, row: np.ndarray) -> None:
        """Add a row as it is."""
        super().add(row)
        self._rows += 1

    def released(self, noise_multiplier: float, read: ByteSource = os.urandom) -> np.ndarray:
        """Clipped now."""
        total, norm = super().released(0.0), self._norm * self.times()
        total *= min(1.0, norm / max(float(np.linalg.norm(total)), 1e-12))
        noise = integer_gaussian(total.shape, noise_multiplier * GRID, read)
        return np.asarray(total + noise * (self._norm / GRID))

    def times(self) -> int:
        """How many clip norms long the sum may be."""
        return 1


class MeanClipped(BatchClipped):
    """The mean gradient of the batch is clipped, and no picture's."""

    def times(self) -> int:
        """As many as there are rows."""
        return max(1, self._rows)


def summed_by(bug: type[ClippedSum]) -> AbstractContextManager[object]:
    """DP-SGD's rows are added up in another way."""
    return mock.patch.object(dp_sgd, "ClippedSum", bug)


def noise_times(factor: float) -> AbstractContextManager[object]:
    """DP-SGD's noise too small by a factor."""

    class Quieter(ClippedSum):
        def released(self, noise_multiplier: float, read: ByteSource = os.urandom) -> np.ndarray:
            return super().released(factor * noise_multiplier, read)

    return summed_by(Quieter)


@contextmanager
def a_batch_at_once() -> Iterator[None]:
    """Rows come from one batch by Opacus' hooks, and the trainer takes any loss."""
    with (
        mock.patch.object(dp_sgd, "record_rows", hooked_rows),
        mock.patch.object(dp_sgd, "refuse_mixing", return_value=None),
        mock.patch.object(dp_sgd, "require_own_rows", return_value=None),
        mock.patch.object(dp_sgd.DPTrainer, "_require_no_memory", return_value=None),
    ):
        yield


@contextmanager
def first_entry_lost() -> Iterator[None]:
    """The ledger forgets the first release, so that the gate makes another for the same request."""
    sound, calls = Ledger.append, []

    def append(ledger: Ledger, entries: list[Entry]) -> None:
        calls.append(entries)
        if len(calls) > 1:
            sound(ledger, entries)

    with mock.patch.object(Ledger, "append", append):
        yield


SGD = DpSgd(clip_norm=CLIP, noise_multiplier=2.0, sampling_rate=1.0, steps=1, expected_batch_size=500.0)
ROUNDS = 4
"""With SGD: mu = 1, epsilon 4.4 at DELTA."""

SAMPLED = replace(SGD, noise_multiplier=1.0, sampling_rate=0.2, steps=2)
"""Poisson sampling, and two steps before the weights are seen."""

PROTOTYPES = GaussianSum(ROW_NORM, 1.0)
ONE_STEP = DpSgd(clip_norm=1.0, noise_multiplier=1.0, sampling_rate=1.0, steps=1, expected_batch_size=32.0)

FULL = partial(trained, plan=SGD, rounds=ROUNDS)
SUBSAMPLED = partial(trained, plan=SAMPLED, rounds=ROUNDS)
TWICE = partial(prototyped, mechanism=PROTOTYPES)
CONTRASTED = partial(contrasted, plan=ONE_STEP)


class Run(Protocol):
    """A run of a seed and a number of canaries."""

    def __call__(self, seed: int, m: int) -> Audited:
        """The run."""


@dataclass(frozen=True)
class Bug:
    """One way to break our own DP, beside the same setting unbroken.

    Attributes:
        name: What is wrong.
        broken: A run of a seed and a number of canaries, with the bug.
        sound: The same without it.
        m: Canaries.
        patch: What breaks the code for the run and the probe.
        probed: The sensitivity probe on the broken code; None where no clipped gradient is summed.
    """

    name: str
    broken: Run
    sound: Run
    m: int = 1000
    patch: Callable[[], AbstractContextManager[object]] = nullcontext
    probed: Callable[[], SensitivityReport] | None = probe_linear

    def run(self, seed: int) -> Audited:
        """The broken run."""
        with self.patch():
            return self.broken(seed, self.m)

    def found_by_probe(self) -> bool:
        """Whether the probe finds the broken code."""
        with self.patch():
            return self.probed is not None and not self.probed().holds


BUGS = (
    Bug("noise off", FULL, FULL, patch=partial(noise_times, 0.0)),
    Bug("noise halved", FULL, FULL, patch=partial(noise_times, 0.5)),
    Bug("clip after averaging", FULL, FULL, patch=partial(summed_by, MeanClipped)),
    Bug("batch clipped as a whole", FULL, FULL, patch=partial(summed_by, BatchClipped)),
    Bug("noise not scaled by the clip norm", FULL, FULL, patch=partial(noise_times, 1 / CLIP)),
    Bug(
        "smaller sampling rate told",
        partial(SUBSAMPLED, plan=replace(SAMPLED, sampling_rate=0.8), told=SAMPLED),
        SUBSAMPLED,
    ),
    Bug("canaries in every batch", partial(SUBSAMPLED, sampler=AlwaysDrawn), SUBSAMPLED),
    Bug(
        "contrast within the batch",
        partial(CONTRASTED, loss=in_batch_loss()),
        partial(CONTRASTED, loss=sound_loss()),
        patch=a_batch_at_once,
        probed=lambda: probe(in_batch_loss(), UnitLinear()),
    ),
    Bug("prototypes released twice", TWICE, TWICE, 2000, patch=first_entry_lost, probed=None),
)
"""The seven kinds; the clip and the sampling rate in two forms each."""


def found_by(bounds: Mapping[str, float], claimed: float) -> set[str]:
    """Auditors whose bound lies above the claim."""
    return {name for name, bound in bounds.items() if bound > claimed}


def sound_runs() -> Iterator[Line]:
    """20 seeds of each setting: never above the ledger's epsilon, and how near."""
    settings = (
        ("full batches", FULL, (1000, 2000, 5000)),
        ("sampled at 0.2", SUBSAMPLED, (1000, 2000)),
        ("prototypes, asked twice", TWICE, (2000,)),
    )
    for name, run, sizes in settings:
        for m in sizes:
            runs = [run(seed, m) for seed in range(20)]
            claimed = runs[0].claimed
            strict, usual = ([each.bounds(terms) for each in runs] for terms in (STRICT, USUAL))
            yield {
                "check": "sound run",
                "setting": name,
                "canaries": m,
                "claimed": claimed,
                "seeds_above_claim": {a: sum(b[a] > claimed for b in strict) for a in AUDITORS},
                "share_at_0.999": _means(strict, claimed),
                "share_at_0.95": _means(usual, claimed),
                "one_run_a_tenth_share_at_0.999": float(
                    np.mean([each.one_run_at_a_tenth(STRICT) for each in runs]) / claimed
                ),
                "wanted": "none above; full batches at 1000 or more: gaussian >= 0.7, one_run >= 0.25",
            }


def _means(bounds: list[dict[str, float]], claimed: float) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in bounds]) / claimed) for name in AUDITORS}


def injected_bugs() -> Iterator[Line]:
    """Each bug over 5 seeds, and the unbroken code in the same setting."""
    for bug in BUGS:
        broken, sound = ([run(seed) for seed in range(5)] for run in (bug.run, partial(bug.sound, m=bug.m)))
        bounds = [each.bounds() for each in broken]
        caught = [found_by(b, each.claimed) for b, each in zip(bounds, broken, strict=True)]
        alarms = [found_by(each.bounds(), each.claimed) for each in sound]
        always = [name for name in AUDITORS if all(name in names for names in caught)]
        yield {
            "check": "injected bug",
            "bug": bug.name,
            "canaries": bug.m,
            "claimed": broken[0].claimed,
            "median_bound": {name: float(np.median([b[name] for b in bounds])) for name in AUDITORS},
            "flagged_by": always + ["probe"] * bug.found_by_probe(),
            "false_alarms_without_it": sum(map(bool, alarms)),
        }


def sound_probes() -> Iterator[Line]:
    """The probe on the unbroken code."""
    for name, report in (
        ("Dirac canaries", probe_linear()),
        ("prototype contrast", probe(sound_loss(), UnitLinear())),
    ):
        yield {
            "check": "probe of sound code",
            "loss": name,
            "worst": report.worst,
            "bound": report.bound,
            "holds": report.holds,
        }


def detectable_noise() -> Iterator[Line]:
    """The most noise, as a share of what is claimed, at which each auditor finds out in 19 of 20 seeds.

    An update is the sum plus noise, so scores at another noise lie on a line through those with it and those
    without it.
    """
    for m in (1000, 2000, 5000):
        pairs = []
        for seed in range(20):
            one = replace(SGD, noise_multiplier=1.0)
            noisy = trained(seed, m, one, 1)
            with noise_times(0.0):
                pairs.append((noisy, trained(seed, m, one, 1).scores))
        for multiplier in (1.0, 4.0):
            event = replace(SGD, noise_multiplier=multiplier).event("artwork")
            claimed = math.inf if event is None else _composed((event,))
            yield {
                "check": "detectable noise",
                "canaries": m,
                "claimed": claimed,
                "noise_multiplier": multiplier,
                "share_of_noise": {
                    name: _detectable(auditor, pairs, multiplier, claimed)
                    for name, auditor in AUDITORS.items()
                },
            }


def _detectable(
    auditor: Auditor, pairs: list[tuple[Audited, np.ndarray]], multiplier: float, claimed: float
) -> float | None:
    """Largest share in steps of 0.05, by bisection; None where even no noise goes unnoticed."""

    def finds(steps: int) -> bool:
        caught = 0
        for noisy, exact in pairs:
            scores = exact + 0.05 * steps * multiplier * (noisy.scores - exact)
            pair = scores[noisy.inside], scores[~noisy.inside]
            caught += auditor(*pair, terms=STRICT).epsilon > claimed
        return caught >= 19

    if not finds(0):
        return None
    low, high = 0, 20
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if finds(middle) else (low, middle)
    return round(0.05 * low, 2)


def main() -> None:
    """Print every check."""
    torch.set_num_threads(1)
    for check in (sound_runs, injected_bugs, sound_probes, detectable_noise):
        for line in check():
            print(json.dumps(line, default=float), flush=True)


if __name__ == "__main__":
    main()

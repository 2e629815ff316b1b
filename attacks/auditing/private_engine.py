"""Opacus' PrivacyEngine with canaries in it: trains as before, and bounds its own epsilon from below."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.stats import chi2, norm
from torch import Tensor, nn

from attacks.auditing.audit import Audit, summed_up
from attacks.auditing.data import Records
from attacks.auditing.findings import Check, Claim
from attacks.auditing.measures import CONFIDENCE
from attacks.auditing.private import Drawn, audit_private, unwrapped
from attacks.canaries import fair_coins
from attacks.errors import AttackError, one_line
from attacks.observation import Loss, cross_entropy
from attacks.ranges import real, whole

_DEVIATIONS = 6.0
"""Of what noise may do by chance."""

_FALSE_ALARM = 1e-9

_BELOW = 0.998
"""Of a sum of squares: what rounding may take."""

_ROUNDING = 0.01
"""Of a clipped sum; half precision rounds to less."""

_LOOKED, _BLOCK = 256, 512
"""Numbers of each step's noise that are kept, and steps that are compared at once."""

_POOL = 32


class AuditedEngine:
    """A PrivacyEngine whose runs hold canaries, records of zero gradient but for one coordinate of their own.

    Each is in by its own fair coin, is sampled in every step as a record is, and moves the clipped sum by the
    whole clip (Nasr et al. 2023); what the noise leaves of it, beside everything else that is known, is its
    score (Steinke, Nasr and Jagielski 2023). Coins and sampling come from the operating system. The model
    that is trained holds the canaries: as many numbers of it as there are canaries are pushed.

    Example:
        >>> import warnings
        >>> from opacus import PrivacyEngine
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> warnings.simplefilter("ignore")  # Opacus tells that its generator is not a secure one.
        >>> _ = torch.manual_seed(0)
        >>> x, y, net = torch.randn(64, 20), torch.randint(0, 2, (64,)), nn.Linear(20, 2)
        >>> engine = AuditedEngine(PrivacyEngine(), canaries=30)
        >>> net, optimizer, loader = engine.make_private(
        ...     module=net, optimizer=torch.optim.SGD(net.parameters(), 0.1), noise_multiplier=1.0,
        ...     data_loader=DataLoader(TensorDataset(x, y), 16), max_grad_norm=1.0)
        >>> for inputs, targets in loader:
        ...     optimizer.zero_grad()
        ...     nn.functional.cross_entropy(net(inputs), targets).backward()
        ...     _ = optimizer.step()
        >>> engine.audit(delta=1e-5).row("canaries").alarm
        False
    """

    def __init__(self, engine: Any, canaries: int = 1000) -> None:
        """Wrap an engine.

        Args:
            engine: An `opacus.PrivacyEngine`, which is called as it is.
            canaries: How many, >= 2; as many as the model has numbers at most.
        """
        whole("canaries", canaries, 2)
        self._engine, self._asked = engine, canaries
        self._watch: _Watch | None = None
        self._model: nn.Module | None = None
        self._loader: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def make_private(self, **given: Any) -> tuple[Any, ...]:
        """As the engine's own, with the canaries planted.

        Raises:
            AttackError: The clip is not one for the whole gradient.
        """
        return self._planted(self._engine.make_private(**given), given)

    def make_private_with_epsilon(self, **given: Any) -> tuple[Any, ...]:
        """As the engine's own, with the canaries planted."""
        return self._planted(self._engine.make_private_with_epsilon(**given), given)

    def audit(
        self,
        delta: float,
        records: Any = None,
        loss: Loss = cross_entropy,
        confidence: float = CONFIDENCE,
    ) -> Audit:
        """What the training's guarantee stands on, and a lower bound beside the epsilon that Opacus claims.

        Args:
            delta: Of both, in (0, 1).
            records: For the checks of rows and sensitivity; None for the data set's first ones.
            loss: Losses (b,), one a record.
            confidence: Of the bound, in (0, 1).

        Raises:
            AttackError: Nothing was trained yet.
        """
        watch, model = self._watch, self._model
        if watch is None or model is None or not watch.steps:
            raise AttackError("nothing was trained: call make_private, train, and then audit")
        real("delta", delta, "(0, 1)")
        try:
            epsilon = max(0.0, float(self._engine.get_epsilon(delta)))
        except (ArithmeticError, RuntimeError, ValueError) as error:
            raise AttackError(f"the engine tells no epsilon at delta {delta:g}: {one_line(error)}") from None
        claim = Claim(epsilon, delta)
        data = self._loader.dataset
        if records is None:
            records = Records.of([data[k] for k in range(min(_POOL, len(data)))], "the data set")
        drawn = Drawn(watch.sizes, len(data), watch.rate) if watch.sees_records else None
        found = audit_private(
            model, records, clip=watch.clip(), loss=loss, drawn=drawn, scores=watch.scores(),
            coins=watch.inside, claim=claim, confidence=confidence,
        )  # fmt: skip
        about = {
            "canaries": len(watch.inside), "steps": watch.steps, "sample_rate": watch.rate,
            "noise_multiplier": float(watch.optimizer.noise_multiplier),
            "notes": ["the trained model holds the canaries"],
        }  # fmt: skip
        checks = (
            watch.clipped(), watch.accounted(self._engine.accountant.history), watch.noise(), watch.fresh(),
            _small(delta, len(data)),
        )  # fmt: skip
        return summed_up((found, Audit("private training", (), checks, claim, about)), "private training")

    def _planted(self, made: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, ...]:
        optimizer = next(part for part in made if hasattr(part, "add_noise"))
        self._model, self._loader = made[0], made[-1]
        if hasattr(optimizer, "max_grad_norms"):
            raise AttackError("canaries need one clip for the whole gradient: clipping='flat'")
        rate = 1 / len(given["data_loader"])
        names = {id(p): name for name, p in unwrapped(made[0]).named_parameters()}
        self._watch = _Watch(optimizer, rate, self._asked, names)
        return made


def _small(delta: float, records: int) -> Check:
    """Whether delta is below one in the number of records: from there on it lets one out as it is."""
    says = f"{delta:g} is {'' if delta * records < 1 else 'not '}below one in {records} records"
    return Check("delta", delta * records < 1, says)


class _Watch:
    """Puts canaries into a DP optimiser's sums, and keeps what comes out."""

    def __init__(self, optimizer: Any, rate: float, asked: int, names: Mapping[int, str]) -> None:
        self.optimizer, self.rate = optimizer, rate
        self._names = [names.get(id(p), f"parameter {k}") for k, p in enumerate(optimizer.params)]
        dimension = sum(p.numel() for p in optimizer.params)
        self.inside = fair_coins(min(asked, dimension))
        self._draws = np.random.default_rng()
        self._places = np.sort(self._draws.permutation(dimension)[: len(self.inside)])
        self._total = np.zeros(len(self.inside))
        self._clips: list[float] = []
        self.sizes: list[int] = []
        self._ratios: list[float] = []
        self._numbers = dimension
        self._last: Tensor | None = None
        self._cosines: list[float] = []
        self._told: Counter[tuple[float, float]] = Counter()
        self._squares = np.zeros(len(self._names))
        self._looked = np.sort(self._draws.permutation(dimension)[:_LOOKED])
        self._kept: list[np.ndarray] = []
        self._off: list[float] = []
        self._size = 0
        self._clip_and_accumulate, self._add_noise = optimizer.clip_and_accumulate, optimizer.add_noise
        optimizer.clip_and_accumulate = self._counted
        optimizer.add_noise = self._noised

    @property
    def steps(self) -> int:
        return len(self.sizes)

    @property
    def sees_records(self) -> bool:
        """Whether the optimiser gets a gradient a record; ghost clipping makes none."""
        return not hasattr(self.optimizer, "accumulate")

    def clip(self) -> float:
        return self._clips[-1]

    def scores(self) -> np.ndarray:
        """Of each canary, (m,): what the noisy sums hold of it."""
        return self._total

    def _counted(self) -> None:
        """A physical batch; several make a step where memory is managed."""
        if not self.sees_records:
            self._clip_and_accumulate()
            return
        samples = self.optimizer.grad_samples
        self._size += len(samples[0]) if samples else 0
        before = [
            None if p.summed_grad is None else p.summed_grad.detach().clone() for p in self.optimizer.params
        ]
        expected, room = self._clipped_sum(samples)
        self._clip_and_accumulate()
        after = [p.summed_grad for p in self.optimizer.params]
        wrong = 0.0
        for old, new, one in zip(before, after, expected, strict=True):
            moved = new.detach().reshape(one.shape) - (0 if old is None else old.reshape(one.shape))
            wrong += float((moved - one).double().square().sum())
        self._off.append(math.sqrt(wrong) / max(room, 1e-12))

    def _clipped_sum(self, samples: list[Tensor]) -> tuple[list[Tensor], float]:
        """The sum of clipped gradients by parameter, and the sum of their lengths."""
        clip = float(self.optimizer.max_grad_norm)
        flat = [s.detach().flatten(1) for s in samples]
        lengths = torch.stack([f.norm(dim=1) for f in flat]).norm(dim=0)
        factors = (clip / (lengths + 1e-6)).clamp(max=1)
        sums = [
            (factors.to(f)[:, None] * f).sum(0).reshape(s.shape[1:])
            for f, s in zip(flat, samples, strict=True)
        ]
        return sums, float((lengths * factors).sum())

    def _noised(self) -> None:
        clip = float(self.optimizer.max_grad_norm)
        sums = [p.summed_grad for p in self.optimizer.params]
        before = torch.cat([s.detach().flatten() for s in sums]).clone()
        sampled = self.inside & (self._draws.random(len(self.inside)) < self.rate)
        self._put(sums, self._places[sampled], clip)
        self._add_noise()
        after = torch.cat([p.grad.detach().flatten() for p in self.optimizer.params])
        left = (after - before).double().cpu()
        self._total += left[torch.from_numpy(self._places)].numpy() / clip
        left[torch.from_numpy(self._places[sampled])] -= clip
        self._told[round(float(self.optimizer.noise_multiplier), 9), round(self.rate, 9)] += 1
        self._keep(left, clip)

    @staticmethod
    def _put(sums: list[Tensor], places: np.ndarray, clip: float) -> None:
        start = 0
        for one in sums:
            own = places[(places >= start) & (places < start + one.numel())] - start
            if len(own):
                one.view(-1)[torch.from_numpy(own).to(one.device)] += clip
            start += one.numel()

    def _keep(self, noise: Tensor, clip: float) -> None:
        """What is left once sums and canaries are taken out is the noise."""
        self.sizes.append(self._size)
        self._size = 0
        self._clips.append(clip)
        stated = float(self.optimizer.noise_multiplier) * clip
        self._ratios.append(float(noise.square().mean().sqrt()) / stated if stated else math.inf)
        if stated:
            parts = torch.split(noise, [p.numel() for p in self.optimizer.params])
            self._squares += [float(part.square().sum()) / stated**2 for part in parts]
        self._kept.append(noise[torch.from_numpy(self._looked)].float().numpy())
        if self._last is not None:
            lengths = float(noise.norm() * self._last.norm())
            self._cosines.append(float(noise @ self._last) / lengths if lengths else 1.0)
        self._last = noise

    def noise(self) -> Check:
        """Whether the noise is as large as stated, in each step and, over all steps, in each parameter.

        A right one is called wrong once in a billion steps.
        """
        room = _DEVIATIONS / math.sqrt(2 * self._numbers) + 1e-3
        worst = max(self._ratios, key=lambda ratio: abs(ratio - 1))
        says = f"its deviation is {worst:.4g} times what is stated, where it is furthest from it"
        if abs(worst - 1) > room:
            return Check("size of the noise", False, says)
        if self.fresh().holds is False:
            # Noise that comes again says no more in all steps than in one.
            return Check("size of the noise", True, says)
        for name, parameter, total in zip(self._names, self.optimizer.params, self._squares, strict=True):
            freedom, error = parameter.numel() * self.steps, _FALSE_ALARM / (2 * len(self._names))
            low, high = chi2.ppf(error, freedom) * _BELOW, chi2.isf(error, freedom) / _BELOW
            if not low <= total <= high:
                says = f"its deviation is {math.sqrt(total / freedom):.4g} times what is stated in {name!r}"
                return Check("size of the noise", False, says)
        return Check("size of the noise", True, says)

    def clipped(self) -> Check:
        """Whether every sum was one of gradients that were each clipped by themselves."""
        if not self._off:
            return Check(
                "clipping", None, "the optimiser gets no gradient a record, so that none can be clipped anew"
            )
        worst = max(self._off, key=lambda off: off if math.isfinite(off) else math.inf)
        says = f"sums differ by {worst:.2g} of what clipping each record's gradient gives"
        return Check("clipping", worst <= _ROUNDING, says)

    def fresh(self) -> Check:
        """Whether each step's noise is its own: noise that comes again can be subtracted."""
        if not self._cosines:
            return Check("fresh noise", None, "a single step has nothing to compare")
        worst = max(self._cosines, key=abs)
        holds = abs(worst) <= _DEVIATIONS / math.sqrt(self._numbers)
        if holds:
            # Two steps apart, on a few numbers of each: every pair of steps, so that none comes back later.
            further, pairs = self._alike()
            limit = min(norm.isf(_FALSE_ALARM / pairs) / math.sqrt(len(self._looked)), 1 - 1e-6)
            holds = bool(abs(further) <= limit)
            worst = worst if holds else further
        return Check("fresh noise", holds, f"cosine of two steps' noise is {worst:.3g} at most")

    def _alike(self) -> tuple[float, int]:
        """The cosine furthest from zero of any two steps' noise, and how many pairs there are."""
        kept = np.stack(self._kept)
        unit = kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-30)
        worst = 0.0
        for start in range(0, len(unit), _BLOCK):
            block = np.tril(unit[start : start + _BLOCK] @ unit.T, start - 1)
            worst = max(worst, float(block.flat[np.abs(block).argmax()]), key=abs)
        return worst, max(1, len(unit) * (len(unit) - 1) // 2)

    def accounted(self, history: list[tuple[float, float, int]]) -> Check:
        """Whether the accountant counted the steps that were made, at their rate and noise."""
        counted = sum(steps for _, _, steps in history)
        told: Counter[tuple[float, float]] = Counter()
        for noise, rate, steps in history:
            told[round(float(noise), 9), round(float(rate), 9)] += steps
        holds = told == self._told
        says = f"{counted} steps are accounted for, and {self.steps} were made"
        if not holds and counted == self.steps:
            says += "; noise or sampling rate is accounted for as another than it is"
        return Check("accounting", holds, says)

"""Opacus' PrivacyEngine with canaries in it: trains as before, and bounds its own epsilon from below."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.auditing.audit import Audit, summed_up
from attacks.auditing.data import Records
from attacks.auditing.findings import Check, Claim
from attacks.auditing.measures import CONFIDENCE
from attacks.auditing.private import Drawn, audit_private
from attacks.canaries import fair_coins
from attacks.errors import AttackError
from attacks.observation import Loss, cross_entropy
from attacks.ranges import whole

_DEVIATIONS = 6.0
"""Of what noise may do by chance."""

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
        claim = Claim(float(self._engine.get_epsilon(delta)), delta)
        data = self._loader.dataset
        if records is None:
            records = Records.of([data[k] for k in range(min(_POOL, len(data)))], "the data set")
        drawn = Drawn(watch.sizes, len(data), watch.rate)
        found = audit_private(
            model, records, clip=watch.clip(), loss=loss, drawn=drawn, scores=watch.scores(),
            coins=watch.inside, claim=claim, confidence=confidence,
        )  # fmt: skip
        about = {
            "canaries": len(watch.inside), "steps": watch.steps, "sample_rate": watch.rate,
            "noise_multiplier": float(watch.optimizer.noise_multiplier),
            "notes": ["the trained model holds the canaries"],
        }  # fmt: skip
        checks = (watch.accounted(self._engine.accountant.history), watch.noise(), watch.fresh())
        return summed_up((found, Audit("private training", (), checks, claim, about)), "private training")

    def _planted(self, made: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, ...]:
        optimizer = next(part for part in made if hasattr(part, "add_noise"))
        self._model, self._loader = made[0], made[-1]
        if hasattr(optimizer, "max_grad_norms"):
            raise AttackError("canaries need one clip for the whole gradient: clipping='flat'")
        rate = 1 / len(given["data_loader"])
        self._watch = _Watch(optimizer, rate, self._asked)
        return made


class _Watch:
    """Puts canaries into a DP optimiser's sums, and keeps what comes out."""

    def __init__(self, optimizer: Any, rate: float, asked: int) -> None:
        self.optimizer, self.rate = optimizer, rate
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
        self._size = 0
        self._clip_and_accumulate, self._add_noise = optimizer.clip_and_accumulate, optimizer.add_noise
        optimizer.clip_and_accumulate = self._counted
        optimizer.add_noise = self._noised

    @property
    def steps(self) -> int:
        return len(self.sizes)

    def clip(self) -> float:
        return self._clips[-1]

    def scores(self) -> np.ndarray:
        """Of each canary, (m,): what the noisy sums hold of it."""
        return self._total

    def _counted(self) -> None:
        """A physical batch; several make a step where memory is managed."""
        samples = self.optimizer.grad_samples
        self._size += len(samples[0]) if samples else 0
        self._clip_and_accumulate()

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
        if self._last is not None:
            lengths = float(noise.norm() * self._last.norm())
            self._cosines.append(float(noise @ self._last) / lengths if lengths else 1.0)
        self._last = noise

    def noise(self) -> Check:
        """Whether the noise is as large as stated; a right one is called wrong once in a billion steps."""
        room = _DEVIATIONS / math.sqrt(2 * self._numbers) + 1e-3
        worst = max(self._ratios, key=lambda ratio: abs(ratio - 1))
        says = f"its deviation is {worst:.4g} times what is stated, where it is furthest from it"
        return Check("size of the noise", abs(worst - 1) <= room, says)

    def fresh(self) -> Check:
        """Whether each step's noise is its own: noise that comes again can be subtracted."""
        if not self._cosines:
            return Check("fresh noise", None, "a single step has nothing to compare")
        worst = max(self._cosines, key=abs)
        holds = abs(worst) <= _DEVIATIONS / math.sqrt(self._numbers)
        return Check("fresh noise", holds, f"cosine of two steps' noise is {worst:.3g} at most")

    def accounted(self, history: list[tuple[float, float, int]]) -> Check:
        """Whether the accountant counted the steps that were made, at their rate and noise."""
        counted = sum(steps for _, _, steps in history)
        told = {(round(float(noise), 9), round(float(rate), 9)) for noise, rate, _ in history}
        mine = {(round(float(self.optimizer.noise_multiplier), 9), round(self.rate, 9))}
        holds = counted == self.steps and told == mine
        says = f"{counted} steps are accounted for, and {self.steps} were made"
        if told != mine:
            says += "; noise or sampling rate is accounted for as another than it is"
        return Check("accounting", holds, says)

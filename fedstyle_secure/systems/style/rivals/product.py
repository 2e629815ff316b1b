"""The product itself, played in memory beside its rivals: the same releases and sums as in a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.federation.simulation import play
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.system import system_bound
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.rehearsal import rehearsed
from fedstyle_secure.systems.style.retrieval import own_ranks
from fedstyle_secure.systems.style.rivals.task import Found, likeness
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.systems.style.system import StyleSystem


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What the encoder's fixed part makes of the pictures: the same in every draw that has the same one."""

    fixed: str
    inputs: Mapping[str, Tensor]
    queries: Tensor
    means: np.ndarray


class Product:
    """FedStyle under the settings of a run, once a draw. Nothing is charged to anybody's ledger."""

    def __init__(
        self, config: StyleConfig, portfolios: Sequence[Portfolio], public: Sequence[Portfolio]
    ) -> None:
        """
        Args:
            config: The settings; a plan that they leave to a rehearsal is chosen here. Canaries are left out.
            portfolios: The private artists', in the gallery's order.
            public: The platform's own.
        """
        if config.run.plan == "auto":
            log = logging.getLogger("fedstyle_secure")
            config = config.override(rehearsed(config, len(portfolios), log.info))
        config = config.override(["audit.canaries=0"])
        if not config.shares_noise:
            config = config.override(["secure_sum.enabled=false", "privacy.noise=own"])
        self._config, self._portfolios, self._public = config, portfolios, public
        system = StyleSystem(config)
        self._plan = solve(config, system.kinds(), len(portfolios))
        self._prepared: _Prepared | None = None

    def found(self, draw: int) -> Found:
        """Whose card is nearest to each held-out picture after a run.

        Args:
            draw: Added to the run's seed. Noise is new in every draw anyway.
        """
        config = self._config.override([f"run.seed={self._config.run.seed + draw}"])
        system = StyleSystem(config)
        start = system.learn(self._public)
        seen = self._prepared
        if seen is None or seen.fixed != start.fixed_digest or config.style.views > 1:
            seen = self._prepared = self._prepare(system, system.model(start), start.fixed_digest)
        playing = system_bound(config)
        state = play(playing, self._plan, start, self._portfolios, seen.inputs, self._public)
        encoder, cards = system.model(state), system.cards(state)
        rows = np.stack([cards[p.artist] for p in self._portfolios])
        owners = np.repeat(np.arange(len(rows)), [int(p.test.sum()) for p in self._portfolios])
        ranks = own_ranks(encoder.embed(seen.queries) @ encoder.place(rows).numpy().T, owners)
        return Found(ranks, likeness(torch.from_numpy(rows), torch.from_numpy(seen.means)))

    def _prepare(self, system: StyleSystem, model: StyleEncoder, fixed: str) -> _Prepared:
        inputs = {p.artist: system.inputs(model, p) for p in self._portfolios}
        return _Prepared(
            fixed,
            inputs,
            torch.cat([model.prepare(p.test_pictures) for p in self._portfolios]),
            np.stack([model.released(one[:, 0]).sum(axis=0) for one in inputs.values()]),
        )

"""A run played in memory: every release made and taken as in a run, and nothing sent, encrypted or kept.

For pictures that are nobody's secret: no ledger is written. Sums come out the same to the bit with and
without encryption, so what is played is what a run would reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from fedstyle_secure.federation.local_training import releases
from fedstyle_secure.federation.protocol import Reply
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.summing import Opened
from fedstyle_secure.federation.taking import take
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.privacy.gate import as_sent
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.system import AnySystem, State


def play(
    system: AnySystem,
    plan: Plan,
    start: State,
    artists: Sequence[Portfolio],
    inputs: Mapping[str, Tensor],
    public: Sequence[Portfolio],
) -> State:
    """The state after all rounds of a plan.

    Args:
        system: What is learned. Encrypted sums are played only where they hold one noise; else have
            `secure_sum.enabled` off, which changes nothing but who reads what.
        plan: What is released.
        start: From `System.learn`.
        artists: Whose pictures are released: procedural or public ones.
        inputs: What `System.inputs` gave for each, by artist.
        public: The platform's own portfolios.
    """
    layouts = Layouts(system.config, plan, system.forms(start), len(artists))
    state = start
    for number in range(plan.rounds):
        summed, inside = layouts.summed(number), layouts.summed_kinds(number)
        replies, total = [], None
        for portfolio in artists:
            model = system.model(state)
            records = system.records(model, state, portfolio.artist, inputs[portfolio.artist], portfolio)
            made = releases(system, layouts, model, state, portfolio.artist, records)
            arrays = {r.kind: {name: as_sent(a) for name, a in r.arrays.items()} for r in made}
            if summed is not None:
                encoded = summed.encode(arrays)
                total = encoded if total is None else total + encoded
            clear = {kind: named for kind, named in arrays.items() if kind not in inside}
            replies.append(Reply(portfolio.artist, clear))
        opened = None if total is None else Opened(total, np.zeros(0, bool), len(artists))
        state = take(system, layouts, state, replies, opened, public).state
    return state

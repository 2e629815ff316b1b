"""The platform's part of a run: from public pictures through the rounds to the last state."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from fedstyle_secure.federation.checkpoint import load_opened, load_state, save_opened, save_state
from fedstyle_secure.federation.record import Recorder
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.strategy import Rounds
from fedstyle_secure.federation.summing import Counter
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import AnySystem, Figures, State, Summed

Opening = Callable[[State, Layouts], Recorder | None]
"""Looks at the public state before anything is released, refuses what cannot be, and gives the rounds'
recorder, if there is one."""

Look = Callable[[State, State, Mapping[str, Summed]], Figures]
"""Figures about a round for the run's metrics, from the states before and after it and what was summed: the
experimenter's, no part of the protocol."""


def run_rounds(
    grid: Grid,
    system: AnySystem,
    run: RunFolder,
    plan: Plan,
    roster: Sequence[str],
    public: Sequence[Portfolio],
    look: Look,
    opening: Opening,
    counter_of: Callable[[Grid], Counter] | None,
    on_round: Callable[[dict[str, Any]], None],
    speaks: Callable[[int], str | None],
) -> State:
    """Begin or go on with a run and take it to its last round.

    Args:
        grid: Reaches the artists.
        system: What is learned.
        run: Where checkpoints and metrics go; a checkpoint that is there is gone on from.
        plan: What is released in which round.
        roster: The private artists.
        public: The platform's own pictures.
        look: Adds figures to a round's line of metrics.
        opening: Called before the first round.
        counter_of: Makes the platform's side of encrypted sums; None where nothing is summed so.
        on_round: Called with each line.
        speaks: Whom a node is known to speak for; None: nobody knows.

    Raises:
        FederationError: Too few artists answered.
        ConfigError: From `opening`.
    """
    began = time.perf_counter()
    if run.checkpoint_file.exists():
        state = load_state(run)
    else:
        state = system.learn(public)
        save_state(run, state)
    run.keep_metrics(state.round)
    earlier = max((line["elapsed_s"] for line in run.metrics()), default=0.0)
    layouts = Layouts(system.config, plan, system.forms(state), len(roster))
    recorder = opening(state, layouts)
    _forecast(system, layouts, state, public)

    def after_round(before: State, now: State, sums: Mapping[str, Summed], report: Figures) -> None:
        line = report | look(before, now, sums) | {"elapsed_s": earlier + time.perf_counter() - began}
        # The line first: a checkpoint without its line would lose it, a line without is written again.
        run.append_metrics(line)
        save_state(run, now)
        on_round(line)

    rounds = Rounds(
        system=system,
        layouts=layouts,
        state=state,
        public=public,
        roster=roster,
        after_round=after_round,
        counter_of=counter_of,
        opened=(partial(load_opened, run), partial(save_opened, run)),
        recorder=recorder,
        speaks=speaks,
    )
    if rounds.remaining:
        # The strategy carries its own state; Flower's loop only wants something to hand round.
        rounds.start(grid, ArrayRecord({}), rounds.remaining, system.config.run.timeout)
        rounds.end()
    return rounds.state


def _forecast(system: AnySystem, layouts: Layouts, state: State, public: Sequence[Portfolio]) -> None:
    if layouts.plan.shared is None:
        return
    number = min(layouts.plan.sums)
    layout = layouts.vector(number)
    deviation = layouts.shared(number).noise.deviation(layouts.artists)
    parts = {part.kind: deviation * layout.scale(part.kind) for part in layout.parts}
    system.forecast(state, parts, layouts.artists, public)

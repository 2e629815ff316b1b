"""The platform's part of a run: from public pictures through the rounds to the last state."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import Grid

from fedstyle_secure.config import Config
from fedstyle_secure.federation.forecast import announce, forecast
from fedstyle_secure.federation.record import Recorder
from fedstyle_secure.federation.state import PlatformState, load_opened, save_opened
from fedstyle_secure.federation.strategy import FedStyle
from fedstyle_secure.federation.summing import Counter
from fedstyle_secure.federation.vectors import layout_of
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.style.encoder import StyleEncoder
from fedstyle_secure.style.encoders import encoder_from_arrays, learned, realign
from fedstyle_secure.style.prototypes import Styles, picture_rows, styles_from_labels, styles_from_vocabulary

Opening = Callable[[PlatformState, StyleEncoder], Recorder | None]
"""Looks at the public state before anything is released, refuses what cannot be, and gives the rounds'
recorder, if there is one."""

Look = Callable[[PlatformState, PlatformState, np.ndarray | None], dict[str, Any]]
"""Figures about a round for the run's metrics, from the states before and after it and its decoded style
sums: the experimenter's, no part of the protocol."""


def run_rounds(
    grid: Grid,
    config: Config,
    run: RunFolder,
    plan: Plan,
    roster: Sequence[str],
    public: Sequence[Portfolio],
    look: Look,
    opening: Opening,
    counter_of: Callable[[Grid], Counter] | None,
    on_round: Callable[[dict[str, Any]], None],
) -> PlatformState:
    """Begin or go on with a run and take it to its last round.

    Args:
        grid: Reaches the artists.
        config: The settings.
        run: Where checkpoints and metrics go; a checkpoint that is there is gone on from.
        plan: What is released in which round.
        roster: The private artists.
        public: The platform's own pictures.
        look: Adds figures to a round's line of metrics.
        opening: Called before the first round.
        counter_of: Makes the platform's side of encrypted sums; None where nothing is summed so.
        on_round: Called with each line.

    Raises:
        FederationError: Too few artists answered.
        ConfigError: From `opening`.
    """
    began = time.perf_counter()
    if run.checkpoint_file.exists():
        state = PlatformState.load(run)
    else:
        state = _learn_public(config, public)
        state.save(run)
    run.keep_metrics(state.round)
    earlier = max((line["elapsed_s"] for line in run.metrics()), default=0.0)
    encoder = encoder_from_arrays(config.style, state.encoder)
    recorder = opening(state, encoder)
    if plan.shared is not None and plan.schedule.prototypes:
        announce(_forecast(config, plan, state, encoder, len(roster), public), len(roster))

    def after_round(
        before: PlatformState, now: PlatformState, sums: np.ndarray | None, report: dict[str, Any]
    ) -> None:
        line = report | look(before, now, sums) | {"elapsed_s": earlier + time.perf_counter() - began}
        # The line first: a checkpoint without its line would lose it, a line without is written again.
        run.append_metrics(line)
        now.save(run)
        on_round(line)

    strategy = FedStyle(
        config=config,
        plan=plan,
        state=state,
        trained=list(encoder.trainable_arrays()),
        roster=roster,
        realign=_realigner(config, encoder, public),
        after_round=after_round,
        counter_of=counter_of,
        opened=(partial(load_opened, run), partial(save_opened, run)),
        recorder=recorder,
    )
    if strategy.remaining:
        # The strategy carries its own state; Flower's loop only wants something to hand round.
        strategy.start(grid, ArrayRecord({}), strategy.remaining, config.run.timeout)
        strategy.end()
    return strategy.state


def _forecast(
    config: Config,
    plan: Plan,
    state: PlatformState,
    encoder: StyleEncoder,
    artists: int,
    public: Sequence[Portfolio],
) -> float:
    styles, dim = state.styles.prototypes.shape
    # The first release of prototypes comes before training, in a round of its own.
    layout = layout_of({}, styles * (dim + 1), config.privacy.clip_norm, 1, 1)
    noise = plan.shared_for(layout.size).noise.deviation(artists) * layout.scales()[1]
    rows = []
    for portfolio in public:
        vectors = encoder.released(encoder.prepare(portfolio.train_pictures))
        assigned = state.styles.assign(vectors, portfolio.train_styles)
        rows.append(picture_rows(vectors, assigned, styles).mean(axis=0))
    return forecast(artists, noise, rows, styles)


def _learn_public(config: Config, public: Sequence[Portfolio]) -> PlatformState:
    encoder, prepared = learned(config.style, public, config.run.seed)
    return PlatformState(0, encoder.arrays(), _styles(config, encoder.released(prepared), public), {})


def _styles(config: Config, vectors: np.ndarray, public: Sequence[Portfolio]) -> Styles:
    if config.styles.source == "labels":
        return styles_from_labels(vectors, tuple(s for p in public for s in p.styles))
    return styles_from_vocabulary(vectors, config.styles.count, config.run.seed)


def _realigner(
    config: Config, encoder: StyleEncoder, public: Sequence[Portfolio]
) -> Callable[[PlatformState], PlatformState]:
    steps, rate = config.training.realign_steps, config.training.realign_rate
    if steps == 0:
        return lambda state: state
    prepared = encoder.prepare(np.concatenate([p.pictures for p in public]))
    labels = np.repeat(np.arange(len(public)), [len(p.pictures) for p in public])

    def apply(state: PlatformState) -> PlatformState:
        encoder.load(state.encoder)
        realign(encoder, prepared, labels, steps, rate, config.style.temperature)
        return PlatformState(state.round, encoder.arrays(), state.styles, state.cards)

    return apply

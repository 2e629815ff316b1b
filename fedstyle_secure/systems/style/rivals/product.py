"""The product itself, trained for real, beside its rivals."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.system import State
from fedstyle_secure.systems.style.retrieval import own_ranks
from fedstyle_secure.systems.style.rivals.task import Found, likeness
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.systems.style.system import StyleSystem
from fedstyle_secure.training import train


def fedstyle(config: StyleConfig, portfolios: Sequence[Portfolio], draw: int) -> Found:
    """Train the run that the settings describe, as `fedstyle train` does, and find held-out pictures.

    The run and the artists' ledgers lie in a folder of their own that is deleted: it is an experiment, and
    charges nobody's real ledger. Sums are encrypted if the settings say so.

    Args:
        config: The settings; canaries and records are left out.
        portfolios: The private artists', in the gallery's order.
        draw: Added to the run's seed. Noise is new in every draw anyway.
    """
    with tempfile.TemporaryDirectory(prefix="fedstyle-rivals-") as folder:
        here = StyleConfig.from_flat(
            {
                **config.to_flat(),
                "run.seed": config.run.seed + draw,
                "run.studios": str(Path(folder) / "studios"),
                "audit.canaries": 0,
                "audit.record": "none",
            }
        )
        with _quiet():
            run = train(here, Path(folder) / "run")
        state = State.load(run.folder.product_file)
        system = StyleSystem(here)
        encoder, cards = system.model(state), system.cards(state)
        rows = np.stack([cards[p.artist] for p in portfolios])
        queries = np.concatenate([encoder.embed_pictures(p.test_pictures) for p in portfolios])
        owners = np.repeat(np.arange(len(portfolios)), [int(p.test.sum()) for p in portfolios])
        ranks = own_ranks(queries @ encoder.place(rows).numpy().T, owners)
        means = [encoder.released(encoder.prepare(p.train_pictures)).sum(axis=0) for p in portfolios]
    return Found(ranks, likeness(torch.from_numpy(rows), torch.from_numpy(np.stack(means))))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notices of a run: those of every draw are the same, and of a folder that is deleted."""
    logger = logging.getLogger("fedstyle_secure")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)

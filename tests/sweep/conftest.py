"""Small grids, and rows as a sweep would have them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fedstyle_secure.sweep.grid import Grid
from fedstyle_secure.sweep.tuning import TuningCost


@pytest.fixture
def grid_of():
    """Builds a grid from its sections."""

    def build(grid=None, sweep=None, base=None) -> Grid:
        values = {"sweep": sweep or {}, "base": base or {}, "grid": grid or {}}
        return Grid.from_dict(values, Path("some") / "grid.toml")

    return build


@pytest.fixture
def full():
    """The axes of a whole trade-off."""
    encryption = [
        {"name": "on", "secure_sum.enabled": True, "secure_sum.updates": True},
        {"name": "off", "secure_sum.enabled": False},
    ]
    return {"epsilons": [0.5, 1, 2, 4, 8, "none"], "encryption": encryption, "seeds": [0, 1, 2]}


@pytest.fixture
def cost():
    """What its cells cost together, made up."""
    return TuningCost(
        1e-5,
        36,
        {"artwork": None, "artist": None},
        {"artwork": 30, "artist": 0},
        {"artwork": 34.2, "artist": None},
        procedural=True,
    )


@pytest.fixture
def rows_of():
    """Makes up rows: utility grows with epsilon, leakage too; updates that are sealed are not inverted."""
    return _rows_of


def _rows_of(grid: Grid, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    rows = []
    for cell in grid.cells():
        config = cell.config
        private = config.privacy.dp == "on"
        sealed = config.secure_sum.enabled and config.secure_sum.updates
        epsilon = config.privacy.target_epsilon if private else math.inf
        rate = None if sealed else (float(rng.choice([0.0, 0.05])) if private else 1.0)
        area = 0.53 + 0.006 * epsilon + rng.normal(0, 0.015) if private else 0.85
        top1 = 0.95 - 0.5 * math.exp(-epsilon) + rng.normal(0, 0.012)
        rows.append(
            {
                "cell": cell.name,
                "state": "finished",
                "privacy.dp": config.privacy.dp,
                "privacy.unit": "artwork",
                "privacy.delta": 1e-5,
                "secure_sum.enabled": config.secure_sum.enabled,
                "privacy.epsilon_artwork_max": epsilon * 0.997 if private else None,
                "utility.artist_top1": float(top1),
                "utility.baseline_top1": float(top1) - 0.01,
                "utility.candidates": 16,
                "platform.identification_rate": rate,
                "platform.identification_rate_low": None if sealed else max(rate - 0.05, 0.0),
                "platform.identification_rate_high": None if sealed else min(rate + 0.25, 1.0),
                "platform.identification_rate_not_run": "updates are sealed" if sealed else None,
                "platform.membership_auc_low": float(area) - 0.14,
                "platform.membership_auc_high": min(float(area) + 0.14, 1.0),
                "platform.membership_auc_attacks": 4 if sealed else 7,
                "platform.identification_rate_baseline": None if sealed else 0.01,
                "platform.identification_rate_bound": 0.01 + 0.08 * epsilon
                if private and not sealed
                else None,
                "platform.membership_auc": float(area),
                "platform.membership_auc_baseline": 0.533,
                "platform.membership_auc_bound": min(0.5 + 0.08 * epsilon, 1.0) if private else None,
            }
            | {f"axis.{axis}": point for axis, point in cell.points.items()}
        )
    return rows

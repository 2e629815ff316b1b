"""Pictures of a run as style search sees them, for its attacks."""

from __future__ import annotations

from typing import cast

import numpy as np

from fedstyle_secure.audit.scene import Scene, Works
from fedstyle_secure.system import State
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.system import StyleRecords, StyleSystem


def style_of(scene: Scene) -> StyleSystem:
    """The system of a run of style search."""
    return cast(StyleSystem, scene.system)


def encoder_of(scene: Scene, state: State) -> StyleEncoder:
    """The encoder of a state."""
    return style_of(scene).model(state)


def records_of(scene: Scene, works: Works, state: State) -> StyleRecords:
    """What their artist makes of pictures under a state: what it releases of them, and their styles."""
    return cast(StyleRecords, scene.records(state, works))


def public_spread(scene: Scene, state: State) -> tuple[np.ndarray, float]:
    """How pictures differ within an artist, seen on public ones under a state's encoder.

    Returns:
        Each picture less its artist's mean, (m, r), and the median length of the means.
    """
    vectors = encoder_of(scene, state).released(scene.public.prepared)
    parts = np.split(vectors, np.cumsum(scene.public_sizes)[:-1])
    means = [part.mean(axis=0) for part in parts]
    within = np.concatenate([part - mean for part, mean in zip(parts, means, strict=True)])
    return within, float(np.median(np.linalg.norm(means, axis=1)))

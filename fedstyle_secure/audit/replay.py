"""Whether what a run recorded is what its pictures give: training done again, and compared.

An attack on an update that the auditor misunderstands finds nothing, and would be taken for a defence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.errors import AuditError
from fedstyle_secure.system import State, tensors

_SAME = 0.05
"""Share of an update that another machine's order of summation may change."""

_SIGMAS = 6.0


def recorded_update(scene: Scene, sent: State, artist: str) -> dict[str, Tensor] | None:
    """An artist's update as it came; None where it is not what would come without what is assumed missing."""
    if {"noise", "clip"} & set(scene.settings.without):
        return None
    here = (
        r.replies[artist].arrays for r in scene.rounds if r.sent.round == sent.round and artist in r.replies
    )
    arrays = next(here, {}).get("update")
    return None if arrays is None else {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}


def took_part(scene: Scene) -> dict[int, frozenset[str]]:
    """By round: whose update it holds, by the run's metrics, without canary artists."""
    real = frozenset(scene.gallery.artists)
    return {line["round"]: real & frozenset(line["released_by"]) for line in scene.run.metrics()}


def require_remade(scene: Scene, sent: State, artist: str) -> str:
    """Check that a recorded update is what the artist's pictures give, as far as noise lets anybody see.

    An attack on an update that the auditor misunderstands finds nothing, and would be taken for a defence.

    Returns:
        How far it is.

    Raises:
        AuditError: It is not.
    """
    update = recorded_update(scene, sent, artist)
    if update is None:
        return "updates were made anew, as they would come without what is assumed to be missing"
    made, pictures = flat(scene, scene.remade(sent, artist)), len(scene.works(artist, "train"))
    fits = Fit.of(scene, flat(scene, update), made, pictures, 1, _rounding(scene, sent))
    if not fits.good:
        raise AuditError(
            f"the update of artist {artist!r} in round {sent.round} is not what its pictures give when its "
            f"training is done again ({fits.reason}), so that an attack on it would show nothing"
        )
    return "remade from the truth, each as exactly as its noise allows" if fits.noisy else "remade exactly"


def require_one_remade(scene: Scene, sent: State) -> None:
    """The same for one update of a round, where one was recorded: updates made anew are like it."""
    artist = next((a for a in scene.artists if recorded_update(scene, sent, a) is not None), None)
    if artist is not None:
        require_remade(scene, sent, artist)


def require_mean_remade(scene: Scene, sent: State, change: Mapping[str, Tensor]) -> str:
    """The same for the mean update that the encoder's change in a round tells of."""
    if scene.plan.shared is not None or scene.config.training.realign_steps:
        return "not remade: more than artists' updates moved the encoder"
    line = next(line for line in scene.run.metrics() if line["round"] == sent.round)
    took, kept = sorted(took_part(scene)[sent.round]), line["update_kept"] or 1.0
    made = flat(scene, mean_update([scene.remade(sent, artist) for artist in took]))
    pictures = sum(len(scene.works(artist, "train")) for artist in took)
    rounding = _rounding(scene, sent) / kept
    fits = Fit.of(scene, flat(scene, change), made, pictures, len(took), rounding)
    if not fits.good:
        raise AuditError(
            f"the encoder's change in round {sent.round} is not what artists' pictures give when their "
            f"training is done again ({fits.reason}), so that an attack on it would show nothing"
        )
    return "the first change was remade from the truth" + (
        " as exactly as its noise allows" if fits.noisy else ""
    )


@dataclass(frozen=True)
class Fit:
    """How well what was recorded fits what was remade.

    Attributes:
        good: Whether it does.
        noisy: Whether noise hides part of it.
        reason: In figures.
    """

    good: bool
    noisy: bool
    reason: str

    @classmethod
    def of(
        cls, scene: Scene, found: np.ndarray, made: np.ndarray, pictures: int, artists: int, rounding: float
    ) -> Self:
        """Compare a mean of updates.

        Without noise they differ by rounding only. With noise, the difference must have the noise's length,
        and what is found must reach as far along what was made, each within six deviations: of the noise, of
        the sampling, and of how far gradients can turn over several steps. False alarms: under 1e-8 each.

        Args:
            scene: The run.
            found: Recorded (p,).
            made: Remade (p,), without noise.
            pictures: That went into it.
            artists: How many updates it is the mean of.
            rounding: Length that is lost to rounding.
        """
        plan = scene.plan.sgd
        length = float(np.linalg.norm(made))
        apart = float(np.linalg.norm(found - made))
        if plan.noise_multiplier == 0:
            share = apart / max(length, 1e-30)
            return cls(
                apart <= _SAME * length + rounding, False, f"{share:.0%} of its length is something else"
            )
        rate = scene.config.learning_rate
        one = rate / plan.expected_batch_size * plan.clip_norm / artists
        noise = plan.update_deviation(rate) / math.sqrt(artists)
        q, pictures = plan.sampling_rate, pictures + scene.config.audit.canaries
        sampled = one * math.sqrt(plan.steps * q * (1 - q) * pictures)
        turned = 2 * one * q * pictures * (plan.steps - 1) + rounding
        spread = _SIGMAS * math.sqrt(2 / len(made))
        low = noise * math.sqrt(len(made) * max(0.0, 1 - spread)) - _SIGMAS * sampled - turned
        high = noise * math.sqrt(len(made) * (1 + spread)) + _SIGMAS * sampled + turned
        along = float(found @ made) / max(length, 1e-30)
        reach = _SIGMAS * math.hypot(noise, sampled) + turned
        good = low <= apart <= high and abs(along - length) <= reach
        reason = (
            f"they lie {apart:.3g} apart, where noise allows {max(low, 0.0):.3g} to {high:.3g}, and it "
            f"reaches {along:.3g} along what was made, which should be {length:.3g} up to {reach:.3g}"
        )
        return cls(good, True, reason)


def _rounding(scene: Scene, sent: State) -> float:
    """Length that a difference of an encoder's float32 weights loses to rounding, at most."""
    weights = flat(scene, tensors(sent.trained))
    return float(2 * np.finfo(np.float32).eps * np.linalg.norm(weights))


def flat(scene: Scene, update: Mapping[str, Tensor]) -> np.ndarray:
    """Trained tensors in the model's order, float64 (p,)."""
    return torch.cat([update[name].flatten() for name in scene.trained]).double().numpy()


def mean_update(updates: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([u[name] for u in updates]).mean(dim=0) for name in updates[0]}

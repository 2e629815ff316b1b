"""Membership from what an artist sends in each round: does its update point where this picture would push?

Per round the candidates' gradients are compared with the update (Nasr, Shokri and Houmansadr 2019; Zari,
Xu and Neglia 2021), calibrated on pictures that surely took no part, and summed over the rounds in which the
artist took part. The same works on aggregated updates, where other artists are noise.
"""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from attacks.errors import AttackError
from attacks.membership.scores import MembershipScores
from attacks.membership.tracing import traced
from attacks.observation import LocalTraining, Observation, State
from attacks.ranges import real, whole

Statistic = Literal["cosine", "product", "residual", "traced"]
"""How a gradient g is compared with an update D (after minus before).

`cosine`: -<g, D> / (|g| |D|). `product`: -<g, D>. `residual`: |D|^2 - |D + s g|^2 with s the step that the
picture had, how much less is left when its push is taken away; under Gaussian noise and all else equal it is
the log likelihood ratio up to a factor. `traced`: whether g is one of those whose mean the update is, by the
covariance of gradients from elsewhere (`tracing.traced`); by far the strongest where pictures push alike.
"""


def alignment(
    gradients: Tensor,
    update: Tensor,
    statistic: Literal["cosine", "product", "residual"],
    step: float = 1.0,
) -> Tensor:
    """Compare gradients with one update, larger for what the update looks trained on.

    Args:
        gradients: float (n, p), of each candidate's loss at the weights before the update.
        update: float (p,), after minus before. Zero gives exactly zero, but for `residual`.
        statistic: How.
        step: Learning rate times the candidate's weight in the mean, > 0; used by `residual` alone.

    Returns:
        float (n,).

    Example:
        >>> gradients, update = torch.eye(2), torch.tensor([-0.3, 0.4])
        >>> alignment(gradients, update, "cosine")  # The update went against the first.
        tensor([ 0.6000, -0.8000])
    """
    if gradients.ndim != 2 or update.shape != gradients.shape[1:]:
        raise AttackError(
            f"gradients must be (n, p) and the update (p,), "
            f"not {tuple(gradients.shape)} and {tuple(update.shape)}"
        )
    if statistic not in ("cosine", "product", "residual"):
        raise AttackError(f"statistic must be 'cosine', 'product' or 'residual', not {statistic!r}")
    real("step", step, "(0, inf)")
    if not (gradients.isfinite().all() and update.isfinite().all()):
        raise AttackError("gradients and update must be finite")
    product = -(gradients @ update)
    if statistic == "product":
        return product
    squares = gradients.square().sum(1)
    if statistic == "residual":
        return 2 * step * product - step**2 * squares
    lengths = squares.sqrt() * update.norm()
    return torch.where(lengths > 0, product / lengths.clamp(min=torch.finfo(lengths.dtype).tiny), 0.0)


def round_alignments(
    observation: Observation,
    pictures: Tensor,
    targets: Tensor,
    statistic: Statistic,
    background: tuple[Tensor, Tensor] | None = None,
    chunk: int = 64,
) -> np.ndarray:
    """Compare candidates with every observed update, float64 (t, n).

    Gradients are taken one picture at a time in evaluation mode and clipped as the client clips. Where a
    client took several steps, they are those at the first one's weights.

    Args:
        observation: With updates.
        pictures: Candidates (n, *picture_shape), in [0, 1] where they are pictures.
        targets: Their targets (n, ...).
        statistic: How.
        background: Pictures (m, *picture_shape), m >= 2, and targets (m, ...), not trained on: `traced`
            learns from them how gradients vary. Calibrate on others.
        chunk: Candidates whose gradients are held at once, >= 1.
    """
    training = _training(observation)
    whole("chunk", chunk, 1)
    if (statistic == "traced") != (background is not None):
        raise AttackError("statistic 'traced' needs a background, and no other takes one")
    divisor = training.batch_size if training.reduction == "mean" else 1
    # How far the mean gradient pushes in all steps, with momentum's echo of earlier ones.
    echoes = sum(1 - training.momentum**k for k in range(1, training.steps + 1)) / (1 - training.momentum)
    push = training.learning_rate * echoes * training.batch_size / divisor
    noise = training.pictures * (training.noise_std * divisor / training.batch_size) ** 2 / training.steps
    found = []
    for t, update in enumerate(observation.updates):
        flat = torch.cat([update[name].reshape(-1) for name in observation.trainable])

        def gradients_of(x: Tensor, y: Tensor, t: int = t) -> Tensor:
            return _clipped(
                picture_gradients(observation, observation.weights_of(t), x, y), training.clip_norm
            )

        around = None if background is None else gradients_of(*background).numpy()
        parts = []
        for start in range(0, len(pictures), chunk):
            gradients = gradients_of(pictures[start : start + chunk], targets[start : start + chunk])
            if around is not None:
                mean = (-flat / push).numpy()
                parts.append(traced(gradients.numpy(), mean, around, noise_variance=noise))
            elif statistic != "traced":
                step = training.learning_rate * training.epochs / divisor
                parts.append(alignment(gradients, flat, statistic, step).numpy())
        found.append(np.concatenate(parts))
    return np.stack(found).astype(np.float64)


def gradient_norm_score(observation: Observation, pictures: Tensor, targets: Tensor) -> MembershipScores:
    """Minus the length of each candidate's gradient at the last weights known (Nasr et al. 2019)."""
    _training(observation)
    last = observation.weights_of(len(observation.updates) - 1)
    after = {
        name: tensor + observation.updates[-1][name] if name in observation.updates[-1] else tensor
        for name, tensor in last.items()
    }
    lengths = picture_gradients(observation, after, pictures, targets).norm(dim=1)
    return MembershipScores.of("gradient norm", -lengths.double().numpy())


def picture_gradients(observation: Observation, weights: State, pictures: Tensor, targets: Tensor) -> Tensor:
    """Gradients (n, p) of each picture's own loss, trained tensors flattened in the model's order.

    Args:
        observation: Its model, loss and normalisation.
        weights: The weights to take them at.
        pictures: (n, *picture_shape).
        targets: (n, ...).
    """
    if observation.loss is None:
        raise AttackError("gradients need the loss that the client trained on")
    if len(pictures) != len(targets) or tuple(pictures.shape[1:]) != observation.picture_shape:
        raise AttackError(
            f"candidates must be (n, {', '.join(map(str, observation.picture_shape))}) with n targets, "
            f"not {tuple(pictures.shape)} with {len(targets)} targets"
        )
    model, loss, names = copy.deepcopy(observation.model).eval(), observation.loss, observation.trainable
    fixed = {name: tensor for name, tensor in weights.items() if name not in names}

    def of_one(trained: State, picture: Tensor, target: Tensor) -> Tensor:
        outputs = functional_call(model, {**fixed, **trained}, (picture[None],))
        losses = loss(outputs, target[None])
        if losses.shape != (1,):
            raise AttackError(
                f"the loss must give one value a picture, (b,), as with reduction='none', "
                f"not {tuple(losses.shape)} for one picture"
            )
        return losses[0]

    trained = {name: weights[name].detach() for name in names}
    each = vmap(grad(of_one), in_dims=(None, 0, 0))(trained, observation.inputs(pictures), targets)
    return torch.cat([each[name].reshape(len(pictures), -1) for name in names], dim=1).detach()


def clipped_gradients(observation: Observation, pictures: Tensor, targets: Tensor) -> Tensor:
    """Candidates' gradients (n, p) at the first round's weights, clipped as the client clips."""
    clip = _training(observation).clip_norm
    return _clipped(picture_gradients(observation, observation.weights, pictures, targets), clip)


def combined_rounds(alignments: np.ndarray, elsewhere: np.ndarray, took_part: np.ndarray) -> MembershipScores:
    """Calibrate each round on pictures that took no part, and add up the rounds in which the artist did.

    A round's score is (a - mean) / deviation over the pictures from elsewhere; the sum over r rounds is
    divided by sqrt(r), so that artists of few and many rounds compare. A round in which no picture from
    elsewhere differs from another, such as one with a zero update, contributes nothing and is not counted.

    Args:
        alignments: Of the candidates, float (t, n).
        elsewhere: Of pictures that surely took no part, float (t, m), m >= 2.
        took_part: bool (t,) or (t, n): whether the candidate's artist was in the round.

    Returns:
        Scores; candidates whose artist took part in no usable round are dropped and counted.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rounds, elsewhere = rng.normal(size=(5, 3)) + np.array([4.0, 0, 0]), rng.normal(size=(5, 50))
        >>> int(combined_rounds(rounds, elsewhere, np.ones(5, bool)).values.argmax())
        0
    """
    alignments, elsewhere = np.asarray(alignments, np.float64), np.asarray(elsewhere, np.float64)
    took_part = np.asarray(took_part)
    if alignments.ndim != 2 or elsewhere.ndim != 2 or len(alignments) != len(elsewhere):
        raise AttackError(
            f"alignments must be (rounds, n) and (rounds, m), not {alignments.shape}, {elsewhere.shape}"
        )
    if elsewhere.shape[1] < 2:
        raise AttackError("calibration needs at least 2 pictures from elsewhere")
    if not np.isfinite(alignments).all() or not np.isfinite(elsewhere).all():
        raise AttackError("an alignment is not finite")
    if took_part.ndim == 1:
        took_part = took_part[:, None]
    if took_part.dtype != bool or took_part.shape not in (alignments.shape, (len(alignments), 1)):
        raise AttackError(f"took_part must be bool (t,) or (t, n), not {took_part.dtype} {took_part.shape}")
    middle = elsewhere.mean(1, keepdims=True)
    spread = elsewhere.std(1, ddof=1, keepdims=True)
    usable = spread > 1e-12 * np.maximum(1e-300, np.abs(elsewhere).max(1, keepdims=True))
    counted = np.broadcast_to(took_part & usable, alignments.shape)
    scores = np.where(counted, (alignments - middle) / np.where(usable, spread, 1.0), 0.0)
    rounds = counted.sum(0)
    scored = rounds > 0
    values = np.where(scored, scores.sum(0) / np.sqrt(np.maximum(rounds, 1)), np.nan)
    notes = [f"{int(usable.sum())} of {len(usable)} rounds say anything"]
    if dropped := int((~scored).sum()):
        notes.append(f"{dropped} of {len(scored)} candidates took part in none of them")
    return MembershipScores("alignment over rounds", values, scored, tuple(notes))


def _clipped(gradients: Tensor, norm: float | None) -> Tensor:
    if norm is None:
        return gradients
    clipped: Tensor = gradients * (norm / gradients.norm(dim=1, keepdim=True).clamp(min=norm))
    return clipped


def _training(observation: Observation) -> LocalTraining:
    if not observation.updates or observation.training is None:
        raise AttackError("membership over rounds needs an observation with updates")
    return observation.training

"""Shadow models whose whole network trains, each alone in a process: stacked convolutions are slower.

As in `shadows`, a shadow model is told apart from the victim by nothing but which candidates it trained on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from attacks.errors import AttackError
from attacks.membership.jobs import (
    Job,
    Progress,
    State,
    cores,
    digest,
    importable_name,
    initial_digest,
    made,
    path_of,
)
from attacks.membership.shadows import Factory, Recipe, checked_sets, order_of
from attacks.observation import Loss
from attacks.ranges import whole

Trainer = Callable[[nn.Module, Loss, Tensor, Tensor, Recipe, int], None]
"""Trains a model in place: model, loss, its own set's inputs and targets, the recipe and the model's column.

Its randomness comes from `recipe.seed` plus the column, or from torch's global generator, which is seeded
with that.
"""


def sgd(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor, recipe: Recipe, column: int) -> None:
    """Train by `torch.optim.SGD` on the mean loss of each step, as `shadows` does where heads train."""
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    for batch in order_of(np.ones(len(inputs), bool), recipe, column):
        optimizer.zero_grad()
        loss(model(inputs[batch]), targets[batch]).mean().backward()
        optimizer.step()


def train_farm(
    factory: Factory,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    trained_on: np.ndarray,
    recipe: Recipe,
    cache: Path | str,
    trainer: Trainer = sgd,
    processes: int | None = None,
    progress: Progress = lambda done, of: None,
) -> State:
    """Train one model a column, or read those that are on disk already.

    Every model is written when it is done, so that an interrupted call goes on where it stopped and ends
    with the same models. They do not depend on the number of processes, to the bit. A process is sent the
    model's own set alone.

    Args:
        factory: Makes the untrained models. It, the loss and the trainer must be functions at the top of a
            module, or a `functools.partial` of one with plain values, arrays and tensors; change
            `recipe.name` when the code of one changes.
        loss: Losses (b,) of outputs and targets.
        inputs: What the models see, float32 (n, ...).
        targets: (n, ...).
        trained_on: bool (n, k), `recipe.set_size` a column.
        recipe: The victim's.
        cache: Folder; a file a model.
        trainer: Trains one model; the victim's own training code where there is one.
        processes: That train at once, with one torch thread each, >= 1; None for as many as processors.
        progress: Called with models done and models in all.

    Returns:
        Every parameter and buffer of the models, stacked: (k, ...).

    Raises:
        AttackError: A column has another size than the victim's set, a function cannot be imported
            elsewhere, the factory's models differ in more than their values, a file of the cache is
            damaged, or a process ended early.
    """
    models = checked_sets(inputs, targets, trained_on, recipe)
    named = [
        importable_name(what, given)
        for what, given in (("the factory", factory), ("the loss", loss), ("the trainer", trainer))
    ]
    data = digest(inputs.numpy(), targets.numpy())
    shapes = _shapes(factory(recipe.seed))
    jobs = []
    for k in range(models):
        untrained = factory(recipe.seed + k)
        if _shapes(untrained) != shapes:
            raise AttackError(
                f"the factory's model of seed {recipe.seed + k} has other tensors than the first"
            )
        initial = initial_digest(untrained)
        depends_on = {
            "recipe": asdict(recipe),
            "data": data,
            "named": named,
            "column": k,
            "set": digest(np.packbits(trained_on[:, k])),
            "initial": initial,
        }

        def arguments(k: int = k, initial: str = initial) -> tuple[object, ...]:
            own = torch.from_numpy(np.flatnonzero(trained_on[:, k]))
            return factory, loss, trainer, inputs[own].numpy(), targets[own].numpy(), recipe, k, initial

        jobs.append(Job(path_of(cache, recipe.name, depends_on), 1, arguments))
    states = made(_train_one, jobs, cores() if processes is None else processes, progress)
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def farm_outputs(model: nn.Module, state: State, inputs: Tensor, chunk: int = 256) -> Tensor:
    """What each of k trained models says of all candidates, (k, n, ...), in evaluation mode.

    Args:
        model: Of the architecture; left as it is.
        state: As `train_farm` returns it.
        inputs: (n, ...).
        chunk: Candidates at once, >= 1.
    """
    whole("chunk", chunk, 1)
    base, models = copy.deepcopy(model).eval(), len(next(iter(state.values())))
    with torch.no_grad():
        return torch.stack(
            [
                torch.cat([functional_call(base, one, (part,)) for part in inputs.split(chunk)])
                for one in ({name: tensor[k] for name, tensor in state.items()} for k in range(models))
            ]
        )


def _train_one(
    factory: Factory,
    loss: Loss,
    trainer: Trainer,
    inputs: np.ndarray,
    targets: np.ndarray,
    recipe: Recipe,
    column: int,
    initial: str,
) -> State:
    """One job."""
    seed = recipe.seed + column
    model = factory(seed)
    if initial_digest(model) != initial:
        raise AttackError(f"the factory gives another model each time for seed {seed}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trainer(model.train(), loss, torch.from_numpy(inputs), torch.from_numpy(targets), recipe, column)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def _shapes(model: nn.Module) -> dict[str, tuple[object, ...]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}

"""Shadow models at speed: many heads over shared features, trained in one stack, kept on disk.

Everything frozen below the head is computed once, by the caller. A shadow model is told apart from the
victim by nothing but which candidates it trained on: same size, same recipe.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from attacks.errors import AttackError
from attacks.membership.jobs import (
    Job,
    Progress,
    State,
    digest,
    importable_name,
    initial_digest,
    made,
    path_of,
)
from attacks.observation import Loss
from attacks.ranges import real, whole

Factory = Callable[[int], nn.Module]
"""Makes the model before training from a seed, the same from the same seed."""


@dataclass(frozen=True)
class Recipe:
    """How the victim was trained, and so how its shadows are. SGD as in `torch.optim.SGD`.

    Attributes:
        name: Names head and loss; change it when the code of either changes, so that no old model is reused.
        set_size: Pictures in the victim's training set, >= 1.
        epochs: Passes over it, >= 1.
        batch_size: Pictures of a step, >= 1; the last of an epoch may be smaller.
        learning_rate: > 0.
        momentum: In [0, 1).
        weight_decay: >= 0.
        seed: Of the first model's initial weights and order of pictures; the k-th has seed + k.
    """

    name: str
    set_size: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("set_size", "epochs", "batch_size"):
            whole(f"recipe: {name}", getattr(self, name), 1)
        whole("recipe: seed", self.seed, 0)
        real("recipe: learning_rate", self.learning_rate, "(0, inf)")
        real("recipe: momentum", self.momentum, "[0, 1)")
        real("recipe: weight_decay", self.weight_decay, "[0, inf)")


def balanced_sets(n: int, models: int, set_size: int, rng: np.random.Generator) -> np.ndarray:
    """Who trains on what, bool (n, models): `set_size` candidates a model, candidates as often as each other.

    The counts of models that trained on a candidate differ by one at most. So no column may be the victim:
    its members would be those that the other columns lack. Draw the victim's set by itself.

    Args:
        n: Candidates, > set_size.
        models: >= 2.
        set_size: The victim's, >= 1.
        rng: Draws them.

    Raises:
        AttackError: Some candidate would have no model without it, or none with it.

    Example:
        >>> sets = balanced_sets(n=6, models=4, set_size=3, rng=np.random.default_rng(0))
        >>> sets.sum(0).tolist(), sets.sum(1).tolist()
        ([3, 3, 3, 3], [2, 2, 2, 2, 2, 2])
    """
    whole("candidates n", n, 2)
    whole("models", models, 2)
    whole("set_size", set_size, 1, n - 1)
    if not n <= models * set_size <= n * (models - 1):
        raise AttackError(
            f"{models} models of {set_size} of {n} candidates leave some candidate without a model "
            "that trained on it, or without one that did not: train more"
        )
    found, used = np.zeros((n, models), bool), np.zeros(n)
    for k in range(models):
        chosen = np.lexsort((rng.random(n), used))[:set_size]
        found[chosen, k] = True
        used[chosen] += 1
    return found


def train_shadows(
    factory: Factory,
    loss: Loss,
    features: Tensor,
    targets: Tensor,
    trained_on: np.ndarray,
    recipe: Recipe,
    cache: Path | str,
    group: int = 64,
    processes: int = 1,
    progress: Progress = lambda done, of: None,
) -> State:
    """Train one head a column, `group` of them stacked, or read those that are on disk already.

    A group is written when it is done, so that an interrupted call goes on where it stopped and ends with
    the same models.

    Args:
        factory: Makes the untrained heads, without dropout or buffers.
        loss: Losses (b,) of outputs and targets.
        features: What the heads see, float32 (n, ...).
        targets: (n, ...).
        trained_on: bool (n, k), `recipe.set_size` a column.
        recipe: The victim's.
        cache: Folder.
        group: Models of one stack, >= 1. For several processes at most k divided by them.
        processes: That train groups at once, >= 1; above 1 the factory and the loss must be importable.
            Worth their start of some seconds where heads train for longer.
        progress: Called with models done and models in all.

    Returns:
        Every parameter of the heads, stacked: (k, ...).

    Raises:
        AttackError: A column has another size than the victim's set, the head cannot be stacked, or a file
            of the cache is damaged.
    """
    models = checked_sets(features, targets, trained_on, recipe)
    whole("group", group, 1)
    if processes > 1:
        importable_name("the factory", factory)
        importable_name("the loss", loss)
    arrays = features.numpy(), targets.numpy()
    data = digest(*arrays)
    jobs = []
    for start in range(0, models, group):
        columns = range(start, min(start + group, models))
        sets = trained_on[:, columns.start : columns.stop]
        depends_on = {
            "recipe": asdict(recipe),
            "data": data,
            "columns": [columns.start, columns.stop],
            "sets": digest(np.packbits(sets)),
            "initial": [initial_digest(factory(recipe.seed + k)) for k in columns],
        }
        arguments = (factory, loss, *arrays, sets, columns, recipe)
        jobs.append(
            Job(path_of(cache, recipe.name, depends_on), len(columns), lambda arguments=arguments: arguments)  # type: ignore[misc]
        )
    parts = made(_train_group, jobs, processes, progress)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def train_stacked(
    heads: list[nn.Module],
    loss: Loss,
    features: Tensor,
    targets: Tensor,
    orders: list[list[Tensor]],
    recipe: Recipe,
) -> State:
    """Train heads of one architecture together; each ends as it would have alone, up to rounding.

    Args:
        heads: Untrained, k of them; left as they are.
        loss: Losses (b,) of outputs and targets.
        features: (n, ...).
        targets: (n, ...).
        orders: For each head the indices (b,) of its steps, as many and as large as every other's.
        recipe: Learning rate, momentum and weight decay.

    Returns:
        Parameters, stacked: (k, ...).
    """
    if any(True for head in heads for _ in head.buffers()):
        raise AttackError("a head with buffers (such as BatchNorm) cannot be stacked, nor trained privately")
    parameters, _ = stack_module_state(heads)
    state = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    base = copy.deepcopy(heads[0]).train()

    def of_one(weights: State, x: Tensor, y: Tensor) -> Tensor:
        return loss(functional_call(base, weights, (x,)), y).mean()

    gradients_of = vmap(grad(of_one))
    velocity = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    with torch.no_grad():
        for steps in zip(*orders, strict=True):
            batch = torch.stack(steps)
            for name, gradient in gradients_of(state, features[batch], targets[batch]).items():
                if recipe.weight_decay:
                    gradient = gradient + recipe.weight_decay * state[name]
                velocity[name].mul_(recipe.momentum).add_(gradient)
                state[name].sub_(velocity[name], alpha=recipe.learning_rate)
    return state


def stacked_outputs(head: nn.Module, state: State, features: Tensor) -> Tensor:
    """What each of k trained heads says of all candidates, (k, n, ...)."""
    base = copy.deepcopy(head).eval()
    with torch.no_grad():
        outputs: Tensor = vmap(lambda weights: functional_call(base, weights, (features,)))(state)
        return outputs


def stacked_losses(
    head: nn.Module, state: State, features: Tensor, targets: Tensor, loss: Loss
) -> np.ndarray:
    """Losses of all candidates under each of k trained heads, float64 (n, k) as `References` takes signals.

    Args:
        head: Of the heads' architecture.
        state: Parameters, stacked: (k, ...).
        features: What the heads see, (n, ...).
        targets: (n, ...).
        loss: Losses (b,) of outputs and targets.

    Example:
        >>> from attacks.observation import cross_entropy
        >>> state = {"weight": torch.zeros(3, 4, 2), "bias": torch.zeros(3, 4)}  # Three that know nothing.
        >>> x, y = torch.ones(5, 2), torch.zeros(5).long()
        >>> stacked_losses(nn.Linear(2, 4), state, x, y, cross_entropy).shape
        (5, 3)
    """
    with torch.no_grad():
        outputs = stacked_outputs(head, state, features)
        return torch.stack([loss(one, targets) for one in outputs], dim=1).double().numpy()


def order_of(members: np.ndarray, recipe: Recipe, model: int) -> list[Tensor]:
    """The steps of one model: its own set in an order of its own, anew each epoch.

    Args:
        members: bool (n,).
        recipe: Epochs, batch size and seed.
        model: The model's column, >= 0.

    Returns:
        For each step the indices (b,) of its pictures.
    """
    whole("model", model, 0)
    draws = torch.Generator().manual_seed(recipe.seed + model)
    own = torch.from_numpy(np.flatnonzero(members))
    return [
        batch
        for _ in range(recipe.epochs)
        for batch in own[torch.randperm(len(own), generator=draws)].split(recipe.batch_size)
    ]


def checked_sets(data: Tensor, targets: Tensor, trained_on: np.ndarray, recipe: Recipe) -> int:
    """How many models there are to train.

    Raises:
        AttackError: Shapes differ, or a model's set has another size than the victim's.
    """
    if trained_on.ndim != 2 or trained_on.dtype != bool or not trained_on.shape[1]:
        raise AttackError(
            f"trained_on must be bool (candidates, models), not {trained_on.dtype} {trained_on.shape}"
        )
    n, models = trained_on.shape
    if len(data) != n or len(targets) != n:
        raise AttackError(f"{n} candidates, but {len(data)} rows of data and {len(targets)} targets")
    sizes = trained_on.sum(0)
    if (sizes != recipe.set_size).any():
        wrong = int(np.argmax(sizes != recipe.set_size))
        raise AttackError(
            f"shadow model {wrong} would train on {sizes[wrong]} candidates, the victim on "
            f"{recipe.set_size}: they must be the same"
        )
    return int(models)


def _train_group(
    factory: Factory,
    loss: Loss,
    features: np.ndarray,
    targets: np.ndarray,
    trained_on: np.ndarray,
    columns: range,
    recipe: Recipe,
) -> State:
    """One job: the heads of some columns, whose sets are `trained_on` (n, len(columns))."""
    heads = [factory(recipe.seed + k) for k in columns]
    orders = [order_of(members, recipe, k) for members, k in zip(trained_on.T, columns, strict=True)]
    return train_stacked(heads, loss, torch.from_numpy(features), torch.from_numpy(targets), orders, recipe)

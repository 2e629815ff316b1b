"""What one gets without looking: guesses that know nothing of the victim, and attacks run blind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from attacks.errors import AttackError
from attacks.inversion.prototypes import embeddings
from attacks.observation import Observation, cross_entropy
from attacks.replay import simulate
from attacks.results import Attack, Budget, Evidence, generator


def blind_guesses(observation: Observation, n: int) -> dict[str, Tensor]:
    """Pictures that an adversary can name without an update: each (n, c, h, w) in [0, 1].

    `grey` is 0.5; with a public set, `mean colour` and `mean picture` are the public set's.

    Args:
        observation: Picture shape and public set.
        n: How many copies.
    """
    if len(observation.picture_shape) != 3:
        raise AttackError("blind guesses are pictures, and what trained here sees features")
    guesses = {"grey": torch.full(observation.picture_shape, 0.5)}
    if observation.public_pictures is not None:
        mean = observation.public_pictures.mean(0)
        guesses["mean colour"] = mean.mean((1, 2), keepdim=True).expand_as(mean)
        guesses["mean picture"] = mean
    return {name: guess.expand(n, *guess.shape).clone() for name, guess in guesses.items()}


def nearest_public(truths: Tensor, public: Tensor) -> Tensor:
    """For every truth (n, ...) the public picture (n, ...) with the least squared difference.

    Chosen by looking at the truth, so this is the most that the public set alone could explain, and a
    baseline that is hard to beat rather than a blind one. For evaluators only.

    Example:
        >>> public = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> nearest_public(torch.tensor([[0.9, 0.8]]), public)
        tensor([[1., 1.]])
    """
    return public[torch.cdist(truths.flatten(1), public.flatten(1)).argmin(1)]


def constant_colour(truths: Tensor) -> Tensor:
    """Every truth's own mean colour (n, c, h, w): the best constant, again chosen by looking.

    Example:
        >>> constant_colour(torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])).flatten().tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    return truths.mean((2, 3), keepdim=True).expand_as(truths).clone()


def prior_only(attack: Attack, observation: Observation, budget: Budget, seed: int) -> Evidence:
    """The same attack where the update and the prototypes say nothing of the victim.

    Where that can be made, it sees what other people's pictures would have sent (`swapped`), which keeps the
    attack's prior in its own waters; else random directions (`without_signal`), which may drive it to worse
    pictures than its prior alone would name. The notes say which. See `all_blind` for a fair baseline.
    """
    foreign = swapped(observation, seed)
    note = "blind: an observation of public pictures"
    if foreign is None:
        foreign, note = without_signal(observation, seed), "blind: an observation of random directions"
    evidence = attack.run(foreign, budget, seed)
    return replace(evidence, notes=(*evidence.notes, note))


def all_blind(attack: Attack, observation: Observation, budget: Budget, seed: int) -> dict[str, Tensor]:
    """Everything that can be shown without looking: `prior only` and the blind guesses, pictures by name.

    The best of these is what an attack must beat; `attacks.evaluation.reconstruction` takes them.

    Args:
        attack: As it was run.
        observation: As the attack saw it.
        budget: As the attack had.
        seed: Of the blind run.
    """
    n = 1 if observation.training is None else observation.training.pictures
    found = blind_guesses(observation, n)
    foreign = prior_only(attack, observation, budget, seed).pictures
    return found if foreign is None else {"prior only": foreign, **found}


def swapped(observation: Observation, seed: int) -> Observation | None:
    """What would have been seen if public pictures had been the victim's, with the same training and noise.

    Known targets stay; unknown ones are drawn evenly for a softmax head with `cross_entropy`. A prototype is
    the mean of as many public embeddings as the count says, or of one.

    Args:
        observation: Not changed.
        seed: Of the choice, the targets and the noise.

    Returns:
        None where it cannot be made: no public set, no way to know targets, or no map to embeddings.
    """
    public, draws = observation.public_pictures, generator(seed)
    if public is None or (observation.prototypes is not None and observation.embed is None):
        return None

    def picked(n: int) -> Tensor:
        order = torch.randperm(len(public), generator=draws)
        return public[order[torch.arange(n) % len(order)]]

    updates = _updates_of(observation, picked, draws)
    if updates is None:
        return None
    prototypes = observation.prototypes
    if prototypes is not None:
        counts = observation.counts or {n: torch.ones(len(v)) for n, v in prototypes.items()}
        prototypes = {
            name: torch.stack([
                _mean_embedding(observation, picked(int(count)), draws).to(vectors.dtype)
                for count in counts[name]
            ])
            for name, vectors in prototypes.items()
        }  # fmt: skip
        if any(prototypes[n].shape != v.shape for n, v in (observation.prototypes or {}).items()):
            return None
    return replace(observation, updates=updates, prototypes=prototypes)


def without_signal(observation: Observation, seed: int) -> Observation:
    """The observation with random directions in place of every floating tensor of updates and prototypes.

    Sizes tell of pictures too, so they are not the observed ones: each tensor is as long as in an update of
    noise pictures where targets are known or can be drawn, else as its number of values; a released vector
    is as long as a noise picture's embedding, else one. Whole numbers, such as counts of batches, stay.

    Args:
        observation: Not changed.
        seed: Of the directions and the noise pictures.
    """
    draws = generator(seed)

    def noise_pictures(n: int) -> Tensor:
        return torch.rand(n, *observation.picture_shape, generator=draws)

    def directed(like: Tensor, length: float) -> Tensor:
        if not like.is_floating_point() or not like.numel():
            return like
        noise = torch.randn(like.shape, generator=draws, dtype=like.dtype)
        drawn: Tensor = noise * length / noise.norm()
        return drawn

    made = _updates_of(observation, noise_pictures, draws)
    updates = []
    for number, update in enumerate(observation.updates):
        sizes = {n: t.numel() ** 0.5 for n, t in update.items()}
        if made is not None:
            sizes = {n: float(made[number][n].double().norm()) for n in update}
        updates.append({name: directed(tensor, sizes[name]) for name, tensor in update.items()})
    prototypes = observation.prototypes
    if prototypes is not None:
        length = 1.0
        if observation.embed is not None:
            length = float(_mean_embedding(observation, noise_pictures(1), draws).norm())
        prototypes = {
            name: torch.stack([directed(row, length) for row in vectors])
            for name, vectors in prototypes.items()
        }
    return replace(observation, updates=tuple(updates), prototypes=prototypes)


def _updates_of(
    observation: Observation, pictures: Callable[[int], Tensor], draws: torch.Generator
) -> tuple[dict[str, Tensor], ...] | None:
    """An update of given pictures for every observed one, with the stated noise; None without targets."""
    training, found = observation.training, []
    for number in range(len(observation.updates)):
        assert training is not None
        x = pictures(training.pictures)
        targets = _targets(observation, x, draws)
        if targets is None:
            return None
        update = simulate(observation, x, targets, number=number)
        for name in observation.trainable:
            noise = torch.randn(update[name].shape, generator=draws, dtype=update[name].dtype)
            update[name] = update[name] + training.update_noise * noise
        found.append(update)
    return tuple(found)


def _targets(observation: Observation, pictures: Tensor, draws: torch.Generator) -> Tensor | None:
    """The known targets, or classes drawn evenly where it is clear what the classes are."""
    if observation.targets is not None:
        return observation.targets
    if observation.loss is not cross_entropy:
        return None
    weights = {name: tensor.clone() for name, tensor in observation.weights.items()}
    with torch.no_grad():
        logits = functional_call(observation.model, weights, (observation.inputs(pictures),))
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        return None
    return torch.randint(logits.shape[1], (len(pictures),), generator=draws)


def _mean_embedding(observation: Observation, pictures: Tensor, draws: torch.Generator) -> Tensor:
    """The mean embedding (d,) of pictures, with the known noise of releases."""
    mean = embeddings(observation, pictures).mean(0)
    noise = torch.randn(mean.shape, generator=draws, dtype=mean.dtype)
    return mean + observation.prototype_noise * noise

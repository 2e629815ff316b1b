"""Membership attacks on models that were really trained, with and without DP, and shadow models at speed.

Prints JSON lines, each with what was measured beside what was asked (`wanted`).

    python benchmarks/membership_runs.py [--gallery FOLDER] [--plots FOLDER] [--only heads conv real]

The gallery is the embedded one, or a folder with a folder of pictures for each artist.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import AttackError
from attacks.membership.encoder import prototype_similarity, view_agreement
from attacks.membership.farm import farm_outputs, train_farm
from attacks.membership.federated import gradient_norm_score
from attacks.membership.lira import lira
from attacks.membership.participation import BlindBaseline, blind_baseline
from attacks.membership.quantile import fit_quantile
from attacks.membership.rmia import rmia, tune_offline_a
from attacks.membership.scores import MembershipScores, References, evaluate_membership
from attacks.membership.shadows import Recipe, balanced_sets, order_of, stacked_outputs, train_shadows
from attacks.membership.threshold import (
    confidence_score,
    entropy_score,
    logit_score,
    loss_score,
    modified_entropy_score,
)
from attacks.observation import LocalTraining, Observation
from attacks.plots import AttackScores, Limits, above_limit, roc_figure, write_figure
from attacks.results import Result
from attacks.roc import auc
from attacks.tradeoff import gaussian_limit
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.folder import FolderGallery
from fedstyle_secure.privacy.accounting import calibrate, epsilon
from fedstyle_secure.privacy.mechanisms import DpSgd
from fedstyle_secure.systems.style.augment import augment
from fedstyle_secure.systems.style.cnn import CnnEncoder, image_tensor
from fedstyle_secure.systems.style.losses import PrototypeContrast
from fedstyle_secure.systems.style.practice import practice_features
from fedstyle_secure.systems.style.texture_encoder import TextureEncoder
from fedstyle_secure.systems.style.whitening import fit_whitening
from fedstyle_secure.textures.statistics import group_widths

Line = dict[str, object]

EPSILON, DELTA = 1.0, 1e-5
TEMPERATURE, ALIGNMENT = 0.1, 0.1
SMALLEST = 1e-300


# --- Models and losses, importable by the processes that train shadows ---


class Head(nn.Module):
    """What trains of the project's encoders where the head trains: from unit vectors to unit vectors."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.head.weight)

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.head(features), dim=1)


def style_head(seed: int, dim: int) -> nn.Module:
    """A run's heads all begin as the identity, whatever the seed."""
    return Head(dim)


def cnn_encoder(seed: int, dim: int) -> nn.Module:
    """The project's convolutional encoder, with all of it to be trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CnnEncoder(dim, "all")


def contrast(embeddings: Tensor, artists: Tensor, anchors: Tensor) -> Tensor:
    """`PrototypeContrast` (b,) against anchors (a, d) that stay where they are, in operations that stack."""
    cosines = embeddings @ anchors.T
    own = cosines.gather(1, artists[:, None])[:, 0]
    return F.cross_entropy(cosines / TEMPERATURE, artists, reduction="none") + ALIGNMENT * (1 - own)


def dp_train(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    recipe: Recipe,
    column: int,
    anchors: Tensor,
    clip_norm: float,
    multiplier: float,
) -> None:
    """The project's own training and loss, full batches; a shadow's noise comes from its seed."""
    read = np.random.default_rng([recipe.seed, column]).bytes
    fit_privately(model, inputs, targets, recipe, anchors, clip_norm, multiplier, read)


def fit_privately(
    model: nn.Module,
    inputs: Tensor,
    artists: Tensor,
    recipe: Recipe,
    anchors: Tensor,
    clip_norm: float,
    multiplier: float,
    read: Callable[[int], bytes],
) -> None:
    """`DPTrainer` with full batches; without noise and clip it is plain gradient descent."""
    # Opacus takes seconds to load, which a process that trains other shadows need not wait for.
    from fedstyle_secure.privacy.dp_sgd import DPTrainer

    plan = DpSgd(clip_norm, multiplier, 1.0, recipe.epochs, float(recipe.set_size))
    loss = PrototypeContrast(lambda: anchors, TEMPERATURE, ALIGNMENT)
    targets = torch.stack([artists, torch.full_like(artists, -1)], dim=1)
    DPTrainer(model, loss, plan, recipe.learning_rate, read).fit(
        inputs[:, None], targets, np.random.default_rng(0)
    )


# --- 64 shadow models against 64 trained one by one ---


def one_by_one(
    factory: Callable[[int], nn.Module],
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    sets: np.ndarray,
    recipe: Recipe,
    columns: range,
) -> list[nn.Module]:
    """The peer: torch's own optimiser, one model after the other in this process."""
    found = []
    for k in columns:
        model = factory(recipe.seed + k).train()
        optimiser = torch.optim.SGD(model.parameters(), recipe.learning_rate, recipe.momentum)
        for batch in order_of(sets[:, k], recipe, k):
            optimiser.zero_grad()
            loss(model(inputs[batch]), targets[batch]).mean().backward()
            optimiser.step()
        found.append(model.eval())
    return found


def head_shadows(epochs: int = 120, repeats: int = 3) -> Iterator[Line]:
    """Heads of 128 dimensions: one by one, in one stack, and in two processes with half of them each."""
    draws = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 50, (1000,), generator=draws)
    anchors = F.normalize(torch.randn(50, 128, generator=draws), dim=1)
    features = F.normalize(anchors[targets] + 0.25 * torch.randn(1000, 128, generator=draws), dim=1)
    loss, factory = partial(contrast, anchors=anchors), partial(style_head, dim=128)
    recipe = Recipe("head", 500, epochs, batch_size=32, learning_rate=0.5, momentum=0.9)
    rng = np.random.default_rng(0)
    is_member, sets = _victim(1000, 500, rng), balanced_sets(1000, 64, 500, rng)
    call = factory, loss, features, targets, sets, recipe
    seconds: dict[str, list[float]] = {"single": [], "stacked": [], "processes": []}
    cpu: dict[str, list[float]] = {name: [] for name in seconds}
    for _ in range(repeats):
        start, spent = time.perf_counter(), _cpu()
        singles = one_by_one(*call, range(64))
        seconds["single"].append(time.perf_counter() - start)
        cpu["single"].append(_cpu() - spent)
        for name, group, processes in (("stacked", 64, 1), ("processes", 32, 2)):
            with tempfile.TemporaryDirectory() as cache:
                start, spent = time.perf_counter(), _cpu()
                state = train_shadows(*call, cache, group, processes)
                seconds[name].append(time.perf_counter() - start)
                cpu[name].append(_cpu() - spent)
    (victim,) = one_by_one(factory, loss, features, targets, is_member[:, None], recipe, range(1))
    with torch.no_grad():
        one = torch.stack([single(features) for single in singles])
        own = victim(features)
    stack = stacked_outputs(factory(0), state, features)
    areas = [_lira_auc(own, outputs, anchors, targets, sets, is_member) for outputs in (stack, one)]
    ratios = {
        name: np.array(seconds["single"]) / np.array(seconds[name]) for name in ("stacked", "processes")
    }
    yield {
        "check": "64 shadow heads",
        "seconds_one_by_one": float(np.median(seconds["single"])),
        "seconds_stacked": float(np.median(seconds["stacked"])),
        "seconds_stacked_two_processes": float(np.median(seconds["processes"])),
        "cpu_seconds_one_by_one": float(np.median(cpu["single"])),
        "cpu_seconds_stacked": float(np.median(cpu["stacked"])),
        "cpu_seconds_stacked_two_processes": float(np.median(cpu["processes"])),
        "ratio_stacked": float(np.median(ratios["stacked"])),
        "ratio_two_processes": float(np.median(ratios["processes"])),
        "largest_difference": float((stack - one).abs().max()),
        "lira_auc": areas[0],
        "lira_auc_one_by_one": areas[1],
        "wanted": "the better ratio >= 3, difference of AUC < 0.005",
    }


def conv_shadows(epochs: int = 20) -> Iterator[Line]:
    """The convolutional encoder on 32 x 32 pictures: half one by one, all in processes, the other half."""
    gallery = Atelier(artists=20, pictures=20, public=0, size=32)
    inputs = image_tensor(np.concatenate([gallery.portfolio(name).pictures for name in gallery.artists]))
    targets = torch.arange(20).repeat_interleave(20)
    anchors = F.normalize(torch.randn(20, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    loss, factory = partial(contrast, anchors=anchors), partial(cnn_encoder, dim=64)
    recipe = Recipe("cnn", 200, epochs, batch_size=25, learning_rate=0.05, momentum=0.9)
    rng = np.random.default_rng(0)
    is_member, sets = _victim(400, 200, rng), balanced_sets(400, 64, 200, rng)
    call = factory, loss, inputs, targets, sets, recipe
    single_seconds, single_cpu, singles = 0.0, 0.0, []
    for half in (range(32), range(32, 64)):
        start, cpu = time.perf_counter(), _cpu()
        singles += one_by_one(*call, half)
        single_seconds += time.perf_counter() - start
        single_cpu += _cpu() - cpu
        if half.start == 0:
            with tempfile.TemporaryDirectory() as cache:
                start, cpu = time.perf_counter(), _cpu()
                state = train_farm(*call, cache, processes=2)
                farm_seconds, farm_cpu = time.perf_counter() - start, _cpu() - cpu
    (victim,) = one_by_one(factory, loss, inputs, targets, is_member[:, None], recipe, range(1))
    one = torch.stack([_outputs(single, inputs) for single in singles])
    farmed, own = farm_outputs(factory(0), state, inputs), _outputs(victim, inputs)
    areas = [_lira_auc(own, outputs, anchors, targets, sets, is_member) for outputs in (farmed, one)]
    losses = contrast(own, targets, anchors).numpy()
    yield {
        "check": "64 shadow encoders",
        "seconds_one_by_one": single_seconds,
        "seconds_two_processes": farm_seconds,
        "cpu_seconds_one_by_one": single_cpu,
        "cpu_seconds_two_processes": farm_cpu,
        "ratio": single_seconds / farm_seconds,
        "largest_difference": float((farmed - one).abs().max()),
        "loss_auc": auc(-losses[is_member], -losses[~is_member]),
        "lira_auc": areas[0],
        "lira_auc_one_by_one": areas[1],
        "wanted": "ratio >= 1.7, difference of AUC < 0.005",
    }


def _victim(candidates: int, members: int, rng: np.random.Generator) -> np.ndarray:
    """The victim's set, drawn apart from the shadows': balanced with theirs, theirs would tell it."""
    found = np.zeros(candidates, bool)
    found[rng.permutation(candidates)[:members]] = True
    return found


def _lira_auc(
    own: Tensor, shadows: Tensor, anchors: Tensor, targets: Tensor, sets: np.ndarray, is_member: np.ndarray
) -> float:
    labels = targets.numpy()
    signals = np.stack([logit_score(_logits(outputs, anchors), labels) for outputs in shadows], 1)
    scores = lira(logit_score(_logits(own, anchors), labels), References(signals, sets), "online").values
    return auc(scores[is_member], scores[~is_member])


def _logits(embeddings: Tensor, anchors: Tensor) -> np.ndarray:
    return (embeddings @ anchors.T / TEMPERATURE).numpy().astype(np.float64)


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(part) for part in inputs.split(256)])


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


# --- A head that was trained to fit, with and without DP ---


@dataclass(frozen=True, eq=False)
class World:
    """Pictures of one gallery, parted at random within each artist.

    Attributes:
        anchors: Where the artists' public pictures lie, float32 (a, d), unit vectors.
        features: Of the candidates under the public encoder, float32 (n, d).
        artists: int64 (n,).
        views: Of two other scans of each candidate, float32 (n, 2, d).
        features_elsewhere: Of pictures that nobody trains on, float32 (m, d).
        artists_elsewhere: int64 (m,).
    """

    anchors: Tensor
    features: Tensor
    artists: Tensor
    views: Tensor
    features_elsewhere: Tensor
    artists_elsewhere: Tensor


@dataclass(frozen=True)
class Training:
    """The victim's recipe and mechanism.

    Attributes:
        recipe: Full batches.
        clip_norm: Of a picture's gradient; infinite for none.
        multiplier: Of the noise; 0 for none.
    """

    recipe: Recipe
    clip_norm: float
    multiplier: float

    def trainer(self, anchors: Tensor) -> Callable[..., None]:
        """For the shadows: what the victim is trained by."""
        return partial(dp_train, anchors=anchors, clip_norm=self.clip_norm, multiplier=self.multiplier)

    def epsilon(self) -> float:
        """What it costs; infinite without noise."""
        event = self.mechanism().event("artwork")
        assert event is not None
        return epsilon([event], DELTA)

    def mechanism(self) -> DpSgd:
        """Full-batch DP-SGD."""
        return DpSgd(self.clip_norm, self.multiplier, 1.0, self.recipe.epochs, float(self.recipe.set_size))

    def mu(self) -> float:
        """Of the Gaussian mechanism that full batches compose to."""
        return math.sqrt(self.recipe.epochs) / self.multiplier


def make_world(portfolios: Sequence[Portfolio], encoder: TextureEncoder, seed: int = 0) -> World:
    """A fifth of each artist's pictures is public, three fifths are candidates, a fifth lies elsewhere."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"public": [], "candidates": [], "elsewhere": []}
    for portfolio in portfolios:
        pictures = portfolio.pictures[rng.permutation(len(portfolio.pictures))]
        fifth = len(pictures) // 5
        if not fifth:
            raise SystemExit(f"artist {portfolio.artist!r} has {len(pictures)} pictures; 5 are needed")
        parts["public"].append(pictures[:fifth])
        parts["elsewhere"].append(pictures[fifth : 2 * fifth])
        parts["candidates"].append(pictures[2 * fifth :])
    owners = {name: torch.arange(len(of)).repeat_interleave(_lengths(of)) for name, of in parts.items()}
    candidates = np.concatenate(parts["candidates"])
    return World(
        anchors=F.normalize(torch.stack([encoder.prepare(own).mean(0) for own in parts["public"]]), dim=1),
        features=encoder.prepare(candidates),
        artists=owners["candidates"],
        views=torch.stack([encoder.prepare(augment(candidates, rng)) for _ in range(2)], 1),
        features_elsewhere=encoder.prepare(np.concatenate(parts["elsewhere"])),
        artists_elsewhere=owners["elsewhere"],
    )


def private_training(recipe: Recipe, clip_norm: float) -> Training:
    """The same recipe at epsilon 1, delta 1e-5, for adding or removing a picture."""

    def at(multiplier: float) -> Training:
        return Training(recipe, clip_norm, multiplier)

    def events(multiplier: float) -> list:
        return [at(multiplier).mechanism().event("artwork")]

    return at(calibrate(events, EPSILON, DELTA))


def train_victim(
    world: World,
    training: Training,
    is_member: np.ndarray,
    read: Callable[[int], bytes] = os.urandom,
) -> nn.Module:
    """With noise from the operating system, as the project trains, where no other source is given."""
    model = Head(world.features.shape[1])
    own = torch.from_numpy(np.flatnonzero(is_member))
    fit_privately(
        model,
        world.features[own],
        world.artists[own],
        training.recipe,
        world.anchors,
        training.clip_norm,
        training.multiplier,
        read,
    )
    return model.eval()


def shadow_outputs(
    world: World, training: Training, sets: np.ndarray, cache: Path | str, processes: int | None
) -> tuple[Tensor, Tensor]:
    """Embeddings of candidates (k, n, d) and of pictures elsewhere (k, m, d) under the shadow models."""
    dim = world.features.shape[1]
    loss, factory = partial(contrast, anchors=world.anchors), partial(style_head, dim=dim)
    call = factory, loss, world.features, world.artists, sets, training.recipe, cache
    if training.multiplier == 0 and math.isinf(training.clip_norm):
        state = train_shadows(*call)
    else:
        state = train_farm(*call, training.trainer(world.anchors), processes)
    return stacked_outputs(Head(dim), state, world.features), stacked_outputs(
        Head(dim), state, world.features_elsewhere
    )


def membership_scores(
    world: World, victim: nn.Module, training: Training, shadows: tuple[Tensor, Tensor], sets: np.ndarray
) -> dict[str, MembershipScores]:
    """Every attack that applies to a model that is published once. The truth is not in here."""
    labels, labels_z = world.artists.numpy(), world.artists_elsewhere.numpy()
    own, own_z = _outputs(victim, world.features), _outputs(victim, world.features_elsewhere)
    logits, logits_z = _logits(own, world.anchors), _logits(own_z, world.anchors)
    models = [_logits(outputs, world.anchors) for outputs in shadows[0]]
    models_z = [_logits(outputs, world.anchors) for outputs in shadows[1]]
    outside = np.zeros((len(labels_z), len(models_z)), bool)
    references = References(np.stack([logit_score(found, labels) for found in models], 1), sets)
    as_p = References(np.stack([_probability(found, labels) for found in models], 1), sets)
    as_p_z = References(np.stack([_probability(found, labels_z) for found in models_z], 1), outside)
    signals = logit_score(logits, labels)
    relative = partial(rmia, _probability(logits, labels), as_p, _probability(logits_z, labels_z), as_p_z)
    before = _logits(world.features, world.anchors), _logits(world.features_elsewhere, world.anchors)
    hardness = [
        np.column_stack([logit_score(found, of), entropy_score(found)])
        for found, of in zip(before, (labels, labels_z), strict=True)
    ]
    quantile = fit_quantile(logit_score(logits_z, labels_z), hardness[1], 0.05, np.random.default_rng(0))
    n, v, d = world.views.shape
    views = _outputs(victim, world.views.reshape(n * v, d)).reshape(n, v, d)
    losses = contrast(own, world.artists, world.anchors).numpy()
    found = {
        "loss": MembershipScores.of("loss", loss_score(losses)),
        "entropy": MembershipScores.of("entropy", entropy_score(logits)),
        "modified entropy": MembershipScores.of("modified entropy", modified_entropy_score(logits, labels)),
        "confidence": MembershipScores.of("confidence", confidence_score(logits, labels)),
        "logit": MembershipScores.of("logit", signals),
        "LiRA online": lira(signals, references, "online"),
        "LiRA offline": lira(signals, references, "offline"),
        "RMIA online": relative("online"),
        "RMIA offline": relative("offline", offline_a=tune_offline_a(as_p, as_p_z)),
        "quantile regression": quantile.score(signals, hardness[0]),
        "gradient norm": gradient_norm_score(
            _released(world, victim, training), world.features, world.artists
        ),
        "agreement of views": view_agreement(views.numpy()),
        "similarity to the own prototype": prototype_similarity(own.numpy(), world.anchors.numpy(), labels),
    }
    return found


def real_lines(
    name: str, scores: dict[str, MembershipScores], is_member: np.ndarray, blind: BlindBaseline
) -> Iterator[Line]:
    """A line an attack: where scores meet the truth."""
    for attack, found in scores.items():
        line: Line = {"check": "real run", "victim": name, "attack": attack}
        (area,) = evaluate_membership(found, is_member, rates=(), blind=blind.auc)
        line |= {"auc": area.value, "low": area.low, "high": area.high, "blind": blind.auc}
        for rate in (0.01, 0.001):
            try:
                point = evaluate_membership(found, is_member, rates=(rate,), blind=blind.auc)[1]
            except AttackError as error:
                line[f"tpr_at_{rate:g}"] = f"refused: {error}"
            else:
                line[f"tpr_at_{rate:g}"] = _rate(point)
        check = above_limit(_split(found, is_member), EPSILON, DELTA)
        line |= {"above_limit_of_epsilon_1": check.broken, "excess_over_limit": check.excess}
        if found.notes:
            line["notes"] = list(found.notes)
        yield line


def real_runs(
    portfolios: Sequence[Portfolio],
    plots: Path | None,
    members: int = 500,
    steps: int = 60,
    shadows: int = 64,
    private_shadows: int = 32,
) -> Iterator[Line]:
    """The texture encoder's head, fitted to 500 pictures by the project's own trainer; then at epsilon 1.

    A member differs from a non-member by a replacement where sets have a fixed size, for which the limit is
    that of 2 epsilon; the check takes the stricter one of adding or removing a picture.
    """
    world = make_world(
        portfolios, TextureEncoder(fit_whitening(*practice_features(28), dims=128, widths=group_widths()))
    )
    n = len(world.features)
    rng = np.random.default_rng(0)
    size = min(members, n // 2)
    is_member = _victim(n, size, rng)
    blind = blind_baseline(world.features.numpy(), is_member, rng, shuffles=99)
    yield {
        "check": "blind baseline",
        "auc": blind.auc,
        "p_value": blind.p_value,
        "artists": len(portfolios),
        "candidates": n,
        "members": size,
        "pictures_elsewhere": len(world.features_elsewhere),
    }
    recipe = Recipe("real", size, steps, batch_size=size, learning_rate=10.0)
    for name, training, number in (
        ("without DP", Training(recipe, math.inf, 0.0), shadows),
        ("with DP at epsilon 1", private_training(recipe, 0.025), private_shadows),
    ):
        start = time.perf_counter()
        victim = train_victim(world, training, is_member)
        sets = balanced_sets(n, number, size, rng)
        with tempfile.TemporaryDirectory() as cache:
            outputs = shadow_outputs(world, training, sets, cache, None)
        scores = membership_scores(world, victim, training, outputs, sets)
        yield {
            "check": "victim",
            "victim": name,
            "shadows": number,
            "epsilon": training.epsilon() if training.multiplier else None,
            "noise_multiplier": training.multiplier,
            "accuracy_members": _accuracy(world, victim, is_member),
            "accuracy_others": _accuracy(world, victim, ~is_member),
            "accuracy_untrained": _accuracy(world, Head(world.features.shape[1]), ~is_member),
            "seconds": time.perf_counter() - start,
        }
        yield from real_lines(name, scores, is_member, blind)
        yield verdict(name, scores, is_member)
        if plots is not None:
            exact = partial(gaussian_limit, mu=training.mu()) if training.multiplier else None
            split = {attack: _split(found, is_member) for attack, found in scores.items()}
            figure = roc_figure(
                split, Limits(EPSILON, DELTA, exact), f"Was this artwork trained on? Training {name}"
            )
            yield {
                "check": "plots",
                "victim": name,
                "files": [str(path) for path in write_figure(figure, plots / name.replace(" ", "-"))],
            }


def verdict(name: str, scores: dict[str, MembershipScores], is_member: np.ndarray) -> Line:
    """The bars."""
    split = {attack: _split(found, is_member) for attack, found in scores.items()}
    areas = {attack: auc(found.members, found.non_members) for attack, found in split.items()}
    if name == "without DP":
        point = evaluate_membership(scores["LiRA online"], is_member, rates=(0.01,))[1]
        return {
            "check": "bars",
            "victim": name,
            "loss_auc": areas["loss"],
            "lira_online_auc": areas["LiRA online"],
            "lira_online_tpr_at_0.01": point.value,
            "wanted": "loss AUC > 0.7, LiRA >= loss, TPR at 1 % FPR > 5 %",
        }
    return {
        "check": "bars",
        "victim": name,
        "largest_auc": max(areas.values()),
        "attacks_above_limit": [
            attack for attack, found in split.items() if above_limit(found, EPSILON, DELTA).broken
        ],
        "wanted": "AUC < 0.6, no attack above the limit",
    }


def _released(world: World, victim: nn.Module, training: Training) -> Observation:
    """What whoever got the head before and after knows of the training."""
    before = Head(world.features.shape[1])
    after = dict(victim.named_parameters())
    recipe = training.recipe
    return Observation(
        model=before,
        weights=before.state_dict(),
        updates=({name: (after[name] - p).detach() for name, p in before.named_parameters()},),
        training=LocalTraining(recipe.learning_rate, recipe.epochs, recipe.set_size, recipe.epochs),
        loss=partial(contrast, anchors=world.anchors),
        picture_shape=tuple(world.features.shape[1:]),
    )


def _split(found: MembershipScores, is_member: np.ndarray) -> AttackScores:
    return AttackScores(found.values[found.scored & is_member], found.values[found.scored & ~is_member])


def _probability(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.maximum(softmax(logits, axis=1)[np.arange(len(labels)), labels], SMALLEST)


def _accuracy(world: World, model: nn.Module, chosen: np.ndarray) -> float:
    nearest = _logits(_outputs(model, world.features), world.anchors).argmax(1)
    return float((nearest == world.artists.numpy())[chosen].mean())


def _rate(point: Result) -> dict[str, object]:
    return {
        "value": point.value,
        "low": point.low,
        "high": point.high,
        "fpr_high": point.details["fpr_high"],
        "reliable": bool(point.details["reliable"]),
    }


def _lengths(parts: Sequence[np.ndarray]) -> Tensor:
    return torch.tensor([len(part) for part in parts])


def _gallery(folder: Path | None) -> list[Portfolio]:
    gallery = (
        Atelier(artists=50, pictures=50, public=0, size=64) if folder is None else FolderGallery(folder, 64)
    )
    return [gallery.portfolio(name) for name in gallery.artists]


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return value


def main() -> None:
    """The checks that were asked for, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gallery", type=Path, help="a folder with a folder of pictures for each artist")
    parser.add_argument("--plots", type=Path, help="folder for the ROC figures")
    parser.add_argument(
        "--only", nargs="+", choices=("heads", "conv", "real"), default=("heads", "conv", "real")
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    checks = {
        "heads": head_shadows,
        "conv": conv_shadows,
        "real": lambda: real_runs(_gallery(given.gallery), given.plots),
    }
    for name in given.only:
        for line in checks[name]():
            print(json.dumps(_rounded(line)), flush=True)


if __name__ == "__main__":
    main()

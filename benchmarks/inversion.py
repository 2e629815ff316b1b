"""Pictures out of updates by optimisation, on real pictures: the must-show figures of the inversion attacks.

Usage: python benchmarks/inversion.py FOLDER [--part a|b|batches|restarts|defended]...
All parts run where none is named. FOLDER has a split.csv. Prints JSON lines. The closed-form parts are in
inversion_parts.py.

The ten targets are the first held-out picture of each private artist; the settings were chosen on other
pictures. `seconds` are CPU seconds on one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from attacks.baselines import blind_guesses, constant_colour, nearest_public, prior_only
from attacks.identification import advantage, identification_rate, rank_by_distance
from attacks.intervals import median_interval
from attacks.inversion.optimisation import (
    adaptive_inversion,
    bottleneck_inversion,
    inverting_gradients,
)
from attacks.inversion.race import strong_inversion
from attacks.inversion.restarts import Method
from attacks.matching import arranged
from attacks.metrics import mean_square, psnr, psnr_affine, ssim
from attacks.observation import (
    LocalTraining,
    Loss,
    Normalisation,
    Observation,
    cross_entropy,
)
from attacks.replay import simulate
from attacks.results import Attack, Budget, Evidence, generator
from fedstyle_secure import Config
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.folder import FolderGallery
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.system import system_bound
from fedstyle_secure.systems.style.cnn import CnnEncoder, pretrain
from fedstyle_secure.systems.style.losses import PrototypeContrast

CONFIG = Path(__file__).parents[1] / "configs" / "illustrators.toml"
PUBLIC = ("john_tenniel", "rembrandt", "sutton_palmer")
SIDE, CANDIDATES, RATE = 64, 100, 0.6
CENTRED = Normalisation((0.5,) * 3, (0.5,) * 3)
Line = dict[str, object]


class Data:
    """Targets, candidates and the public set, all (n, 3, 64, 64) in [0, 1]."""

    def __init__(self, folder: str) -> None:
        gallery = FolderGallery(Path(folder), size=SIDE, public=PUBLIC)
        self.private = [gallery.portfolio(name) for name in gallery.artists]
        self.public_artists = [gallery.portfolio(name) for name in gallery.public_artists]
        self.public = torch.cat([tensor(p.pictures) for p in self.public_artists])
        self.targets = torch.cat([tensor(p.test_pictures[:1]) for p in self.private])
        others = torch.cat([tensor(p.test_pictures[1:]) for p in self.private])
        chosen = torch.randperm(len(others), generator=generator(0))[: CANDIDATES - len(self.targets)]
        self.candidates = torch.cat([self.targets, others[chosen]])


@dataclass(frozen=True, eq=False)
class Victim:
    """What trains: the model, its per-picture loss, and the targets of the ten pictures."""

    model: nn.Module
    loss: Loss
    targets: Tensor

    def observed(self, data: Data, number: int, **training: object) -> Observation:
        """What the platform sees of one target's step, before noise."""
        one = slice(number, number + 1)
        return self.described(data, data.targets[one], self.targets[one], **training)

    def described(self, data: Data, pictures: Tensor, targets: Tensor, **training: object) -> Observation:
        """What the platform sees of given pictures, before noise."""
        described = LocalTraining(RATE, mode="eval", **training)  # type: ignore[arg-type]
        blank = {n: torch.ones_like(p) for n, p in self.model.named_parameters() if p.requires_grad}
        seen = Observation(
            model=self.model, weights=self.model.state_dict(), picture_shape=(3, SIDE, SIDE),
            updates=(blank,), training=described, loss=self.loss, normalisation=CENTRED, targets=targets,
            public_pictures=data.public,
        )  # fmt: skip
        return replace(seen, updates=(simulate(seen, pictures, targets),))


def tensor(pictures: np.ndarray) -> Tensor:
    """uint8 (n, s, s, 3) to float32 (n, 3, s, s) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255


def plain_net() -> Victim:
    """Four convolutions with GELU, no norms, flattened into a head of ten classes."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inside, stride in ((3, 1), (32, 2), (32, 2), (32, 1)):
        layers += [nn.Conv2d(inside, 32, 3, stride=stride, padding=1), nn.GELU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, 10))
    return Victim(model.eval(), cross_entropy, torch.arange(10))


def encoder(data: Data, learned: bool) -> Victim:
    """The project's encoder, all of it training, with its loss against the artists' cards."""
    torch.manual_seed(0)
    model = CnnEncoder(128, "all")
    if learned:
        pretrain(model, [p.pictures for p in data.public_artists], 300, 0.1, 0)
    model.eval()
    cards = torch.stack([card(model, p) for p in data.private])
    own = torch.arange(len(cards))
    loss = PrototypeContrast(lambda: cards, 0.1, 0.1)
    return Victim(model, loss, torch.stack([own, torch.full_like(own, -1)], dim=1))


def card(model: CnnEncoder, portfolio: Portfolio) -> Tensor:
    """The artist's mean embedding, of unit length (d,)."""
    return nn.functional.normalize(
        torch.from_numpy(model.embed_pictures(portfolio.train_pictures)).mean(0), dim=0
    )


def part_a(data: Data) -> Iterator[Line]:
    """A plain conv net: the strong attack, and Inverting Gradients beside it."""
    victim = plain_net()
    attacks: dict[str, tuple[Attack, int]] = {
        "strong": (strong_inversion(), 300),
        "inverting gradients": (inverting_gradients(), 600),
    }
    for name, (attack, steps) in attacks.items():
        yield from ten(f"a, {name}", attack, Budget(steps), data, victim, blind_steps=0)


def part_b(data: Data) -> Iterator[Line]:
    """The project's encoder, after public pretraining as in a run, and with random weights."""
    budget, strong, fresh = Budget(1350, 2), strong_inversion(), encoder(data, False)
    yield from ten("b, pretrained", strong, budget, data, encoder(data, True), blind_steps=200)
    yield from ten("b, random weights", strong, budget, data, fresh, blind_steps=0, some=3)
    rival = inverting_gradients()
    yield from ten("b, random weights, inverting gradients", rival, Budget(1500), data, fresh, 0, some=1)


def ten(
    part: str,
    attack: Attack,
    budget: Budget,
    data: Data,
    victim: Victim,
    blind_steps: int,
    some: int = 10,
) -> Iterator[Line]:
    """A line a target, then medians, identification and gain over the best blind baseline.

    `blind` is, for each picture, the best of grey, the public mean colour and mean picture, and the same
    attack on a foreign update (`blind_steps` steps; 0 leaves it out). `constant` and `nearest public` are
    chosen by looking at the truth.
    """
    rows: list[dict[str, float]] = []
    for number, truth in enumerate(data.targets[:some].split(1)):
        seen = victim.observed(data, number)
        started = time.process_time()
        evidence = attack.run(seen, budget, number)
        seconds = time.process_time() - started
        assert evidence.pictures is not None
        guesses = blind_guesses(seen, 1)
        if blind_steps:
            foreign = prior_only(attack, seen, Budget(blind_steps), number).pictures
            assert foreign is not None
            guesses["prior only"] = foreign
        blind = {name: psnr(x, truth).item() for name, x in guesses.items()}
        row = {
            "psnr": psnr(evidence.pictures, truth).item(),
            "psnr_affine": psnr_affine(evidence.pictures, truth).item(),
            "ssim": ssim(evidence.pictures, truth).item(),
            "blind": max(blind.values()),
            "constant": psnr(constant_colour(truth), truth).item(),
            "nearest_public": psnr(nearest_public(truth, data.public), truth).item(),
            "rank": rank_by_distance(evidence.pictures[0], data.candidates, number, mean_square),
            "seconds": seconds,
        }
        if blind_steps:
            row["prior_only"] = blind["prior only"]
            row["rank_prior_only"] = rank_by_distance(
                guesses["prior only"][0], data.candidates, number, mean_square
            )
        rows.append(row)
        yield {
            "part": part, "target": number, **rounded(row), "objective": evidence.objective,
            "converged": evidence.converged, "steps": len(evidence.history),
        }  # fmt: skip
    ranks = np.array([int(row["rank"]) for row in rows])
    found = identification_rate(part, ranks, CANDIDATES)
    line: Line = {"part": part, "n": len(rows)}
    line |= rounded({f"median_{k}": median(row[k] for row in rows) for k in rows[0] if "rank" not in k})
    line["median_psnr_interval"] = interval([row["psnr"] for row in rows])
    for rival in ("blind", "constant", "nearest_public"):
        line[f"median_gain_over_{rival}"] = round(median(row["psnr"] - row[rival] for row in rows), 2)
    line["median_affine_gain_over_constant"] = round(
        median(row["psnr_affine"] - row["constant"] for row in rows), 2
    )
    line |= {"identified": int((ranks == 1).sum()), "among": CANDIDATES, "low": found.low, "high": found.high}
    if blind_steps:
        prior_ranks = np.array([int(row["rank_prior_only"]) for row in rows])
        ahead = advantage(part, ranks, prior_ranks)
        line |= {"advantage": ahead.value, "advantage_low": ahead.low, "advantage_high": ahead.high}
    yield line


def part_batches(data: Data) -> Iterator[Line]:
    """The plain net on batches of 1 to 32 pictures, on two local steps, and without the labels."""
    cases: list[tuple[str, int, dict[str, int], bool]] = [
        (f"batch of {n}", n, {}, True) for n in (1, 2, 4, 8, 16, 32)
    ]
    cases += [
        ("4 pictures in 2 steps", 4, {"steps": 2, "batch_size": 2}, True),
        ("4 pictures, 3 epochs", 4, {"steps": 3, "epochs": 3}, True),
        ("batch of 4, labels inferred", 4, {}, False),
    ]
    net = plain_net()
    for name, n, training, labels in cases:
        truths = data.candidates[10 : 10 + n]
        targets = torch.arange(n) % 10
        seen = net.described(data, truths, targets, **({"batch_size": n} | training))
        started = time.process_time()
        attack = strong_inversion()
        found = attack.run(seen if labels else replace(seen, targets=None), Budget(150), 0)
        assert found.pictures is not None
        values = psnr(arranged(found.pictures, truths, mean_square), truths)
        gains = values - psnr(constant_colour(truths), truths)
        yield {
            "part": "batches", "case": name, "median_psnr": round(values.median().item(), 2),
            "worst_psnr": round(values.min().item(), 2),
            "median_gain_over_constant": round(gains.median().item(), 2),
            "converged": found.converged, "seconds": round(time.process_time() - started, 1),
        }  # fmt: skip


def part_restarts(data: Data) -> Iterator[Line]:
    """Eight and sixteen restarts as one tensor against one after the other, on the project's encoder."""
    seen = encoder(data, True).observed(data, 0)
    methods: tuple[Method, ...] = ("lbfgs", "signed-adam")
    steps = 30
    for method in methods:
        base = replace(bottleneck_inversion(), anneal=(1.0,), survivors=None)
        attack = replace(base, descent=replace(base.descent, method=method, rate=0.05))
        for restarts in (8, 16):
            draws = generator(0)
            starts = [attack.canvas.start((1, 3, SIDE, SIDE), draws) for _ in range(restarts)]
            ratios, gaps = [], []
            for _ in range(2 if restarts == 8 else 1):
                together, batched = timed(partial(attack.run, seen, Budget(steps, restarts), 0))
                alone = [
                    timed(partial(replace(attack, canvas=Given(x)).run, seen, Budget(steps), 0))
                    for x in starts
                ]
                ratios.append(sum(seconds for _, seconds in alone) / batched)
                gaps.append(abs(together.objective - min(e.objective for e, _ in alone)))
            yield {
                "part": "restarts", "method": method, "restarts": restarts, "steps": steps,
                "ratio": round(median(ratios), 2), "best_objective_differs_by": max(gaps),
            }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Given:
    """A canvas of pixels that begins at a given point."""

    point: Tensor

    def start(self, shape: tuple[int, ...], draws: torch.Generator) -> Tensor:
        return self.point.clone()

    def pictures(self, point: Tensor, shape: tuple[int, ...]) -> Tensor:
        return point.view(shape)


def timed(run: Callable[[], Evidence]) -> tuple[Evidence, float]:
    """A result with the wall seconds it took; both sides of a ratio run here, one after the other."""
    started = time.perf_counter()
    found = run()
    return found, time.perf_counter() - started


def part_defended(data: Data) -> Iterator[Line]:
    """Clip 1 and more and more noise on the plain net; then the run's own DP-SGD on both victims.

    A batch of one picture, which is the easiest that can happen to an artist. Both attacks know the clip
    and the noise.
    """
    net = plain_net()
    attacks: dict[str, Attack] = {"strong": strong_inversion(), "adaptive": adaptive_inversion()}
    for noise in (0.0, 1e-4, 1e-3, 1e-2, 1e-1):
        for name, attack in attacks.items():
            if noise or name == "strong":
                yield against(f"defended, plain net, {name}", attack, Budget(120), data, net, noise)
    run_noise = solve(
        Config.load(CONFIG, ["gallery.path=unused"]),
        system_bound(Config.load(CONFIG, ["gallery.path=unused"])).kinds(),
        len(data.private),
    ).sgd
    deviation = run_noise.noise_multiplier * run_noise.clip_norm
    for name, victim in (("plain net", net), ("encoder", encoder(data, True))):
        yield against(
            f"epsilon 8, {name}, adaptive", adaptive_inversion(), Budget(60), data, victim, deviation
        )


def against(part: str, attack: Attack, budget: Budget, data: Data, victim: Victim, noise: float) -> Line:
    """One line for ten pictures: quality and identification, beside the same attack on a foreign update.

    `gain` is over the better of that and the blind guesses.
    """
    values: dict[str, list[float]] = {"psnr": [], "prior_only": [], "blind": [], "gain": []}
    ranks: list[int] = []
    prior_ranks: list[int] = []
    converged = 0
    started = time.process_time()
    for number, truth in enumerate(data.targets.split(1)):
        seen = noisy(victim.observed(data, number, clip_norm=1.0, noise_std=noise), number)
        evidence, foreign = attack.run(seen, budget, number), prior_only(attack, seen, budget, number)
        assert evidence.pictures is not None
        assert foreign.pictures is not None
        values["psnr"].append(psnr(evidence.pictures, truth).item())
        values["prior_only"].append(psnr(foreign.pictures, truth).item())
        values["blind"].append(max(psnr(x, truth).item() for x in blind_guesses(seen, 1).values()))
        values["gain"].append(values["psnr"][-1] - max(values["prior_only"][-1], values["blind"][-1]))
        for found, kept in ((evidence, ranks), (foreign, prior_ranks)):
            assert found.pictures is not None
            kept.append(rank_by_distance(found.pictures[0], data.candidates, number, mean_square))
        converged += evidence.converged
    named = identification_rate(part, np.array(ranks), CANDIDATES)
    ahead = advantage(part, np.array(ranks), np.array(prior_ranks))
    return {
        "part": part, "noise": noise, "n": len(ranks),
        **{f"median_{k}": round(median(v), 2) for k, v in values.items()},
        "gain_interval": interval(values["gain"]),
        "psnr_interval": interval(values["psnr"]),
        "identified": named.value, "low": named.low, "high": named.high,
        "identified_prior_only": float(np.mean(np.array(prior_ranks) == 1)),
        "advantage_low": ahead.low, "advantage_high": ahead.high, "p_value": ahead.details["p_value"],
        "converged": converged, "seconds": round(time.process_time() - started, 1),
    }  # fmt: skip


def noisy(seen: Observation, seed: int) -> Observation:
    """The same with the described noise on the one step's gradient."""
    assert seen.training is not None
    size, draws = seen.training.learning_rate * seen.training.noise_std, generator(seed)
    if size == 0:
        return seen
    update = {n: t + size * torch.randn(t.shape, generator=draws) for n, t in seen.updates[0].items()}
    return replace(seen, updates=(update,))


PARTS: Mapping[str, Callable[[Data], Iterator[Line]]] = {
    "a": part_a,
    "b": part_b,
    "batches": part_batches,
    "restarts": part_restarts,
    "defended": part_defended,
}


def interval(values: list[float]) -> list[float] | None:
    """95 % interval of the median, or None where there are too few values for one."""
    low, high = median_interval(np.array(values))
    return [round(low, 2), round(high, 2)] if np.isfinite([low, high]).all() else None


def rounded(row: Mapping[str, float]) -> dict[str, float]:
    """To three digits after the point."""
    return {name: round(value, 3) for name, value in row.items()}


def main() -> None:
    """Run the parts that are named, or all."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder of pictures with a split.csv")
    parser.add_argument("--part", choices=PARTS, action="append", help="may be given several times")
    given = parser.parse_args()
    if given.folder is None:
        print(json.dumps({"benchmark": "inversion", "skipped": "no folder of pictures was given"}))
        return
    data = Data(given.folder)
    for part in given.part or PARTS:
        for line in PARTS[part](data):
            print(json.dumps({"benchmark": "inversion"} | line), flush=True)


if __name__ == "__main__":
    main()

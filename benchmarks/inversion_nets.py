"""Inversion of one picture on nets of five kinds: the race beside each attack alone and an independent one.

Usage: python benchmarks/inversion_nets.py FOLDER [--net NAME]... [--side N]... [--seconds S] [--pictures N]
           [--seeds N]
FOLDER has a split.csv. Prints JSON lines: PSNR in dB and CPU seconds of one thread for every attack, all of
which have the same CPU seconds. `reference` is Inverting Gradients (Geiping et al. 2020) with a total
variation of 0.01, written apart from `attacks` with torch's own optimiser on normalised pixels. All rates
fall by the seconds that are spent. `wanted` says what the race must reach.

The pictures are the first held-out ones of private artists. The race's settings were chosen on these and
on two pictures of other artists.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from attacks.baselines import constant_colour
from attacks.inversion.optimisation import bottleneck_inversion, inverting_gradients
from attacks.inversion.race import InversionRace, strong_inversion
from attacks.metrics import psnr
from attacks.observation import LocalTraining, Normalisation, Observation, cross_entropy
from attacks.replay import simulate
from attacks.results import Attack, Budget, generator
from fedstyle_secure.galleries.folder import FolderGallery

PUBLIC = ("john_tenniel", "rembrandt", "sutton_palmer")
NETS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "groupnorm": nn.ReLU,
}  # fmt: skip
RATE, ENDLESS = 0.1, 10**6
Line = dict[str, object]


def net(kind: str, side: int) -> nn.Module:
    """Four convolutions flattened into a head of ten classes; `groupnorm` has a norm before each ReLU."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inside, stride in ((3, 1), (32, 2), (32, 2), (32, 1)):
        layers.append(nn.Conv2d(inside, 32, 3, stride=stride, padding=1))
        if kind == "groupnorm":
            layers.append(nn.GroupNorm(8, 32))
        layers.append(NETS[kind]())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * (side // 4) ** 2, 10)).eval()


def observed(model: nn.Module, picture: Tensor, target: Tensor) -> Observation:
    """What the platform sees of one plain step on a picture (1, 3, s, s)."""
    blank = {name: torch.ones_like(p) for name, p in model.named_parameters()}
    seen = Observation(
        model=model, weights=model.state_dict(), picture_shape=tuple(picture.shape[1:]), updates=(blank,),
        training=LocalTraining(RATE, mode="eval"), loss=cross_entropy, targets=target,
        normalisation=Normalisation((0.5,) * 3, (0.5,) * 3),
    )  # fmt: skip
    return replace(seen, updates=(simulate(seen, picture, target),))


def reference(model: nn.Module, seen: Observation, target: Tensor, seconds: float, seed: int) -> Tensor:
    """Cosine and total variation 0.01 by signed Adam at 0.1, a tenth after each 3/8, 5/8 and 7/8."""
    started, weights = time.thread_time(), list(model.parameters())
    wanted = [seen.updates[0][name] / -RATE for name, _ in model.named_parameters()]
    size = sum(g.square().sum() for g in wanted) ** 0.5
    x = torch.randn((1, *seen.picture_shape), generator=generator(seed)).requires_grad_(True)

    def objective() -> Tensor:
        loss = nn.functional.cross_entropy(model(x), target)
        found = torch.autograd.grad(loss, weights, create_graph=True)
        inner = sum((a * b).sum() for a, b in zip(found, wanted, strict=True))
        length = sum(g.square().sum() for g in found) ** 0.5
        rough = x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean()
        result: Tensor = 1 - inner / (length * size) + 0.01 * rough
        return result

    optimiser = torch.optim.Adam([x], lr=0.1)
    best, kept = float("inf"), x.detach().clone()
    while (spent := (time.thread_time() - started) / seconds) < 1:
        optimiser.param_groups[0]["lr"] = 0.1 * 0.1 ** sum(spent >= k / 8 for k in (3, 5, 7))
        value = objective()
        if value.item() < best:
            best, kept = value.item(), x.detach().clone()
        x.grad = torch.autograd.grad(value, x)[0].sign()
        optimiser.step()
        with torch.no_grad():
            x.clamp_(-1, 1)
    return (kept + 1) / 2


def alone(attack: Attack, seen: Observation, seconds: float, seed: int) -> tuple[Tensor, str]:
    """An attack's pictures, with its first note."""
    found = attack.run(seen, Budget(ENDLESS, seconds=seconds), seed)
    assert found.pictures is not None
    return found.pictures, found.notes[0]


def lines(
    folder: str, kinds: list[str], sides: list[int], seconds: float, number: int, seeds: int
) -> Iterator[Line]:
    """A line a net, size, picture and seed of the starts."""
    race = strong_inversion(public=False)
    alones = {"bottleneck": bottleneck_inversion(public=False), "inverting_gradients": inverting_gradients()}
    alones |= {"signed": race.contenders[1]}
    for side in sides:
        gallery = FolderGallery(Path(folder), size=side, public=PUBLIC)
        held = [gallery.portfolio(name).test_pictures[:1] for name in gallery.artists[:number]]
        for kind in kinds:
            model = net(kind, side)
            for k, pixels in enumerate(held):
                truth = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 255
                for seed in range(seeds):
                    yield one(model, truth, torch.tensor([k]), seconds, race, alones, seed) | {
                        "net": kind, "side": side, "picture": k, "seed": seed,
                    }  # fmt: skip


def one(
    model: nn.Module, truth: Tensor, target: Tensor, seconds: float, race: InversionRace,
    alones: dict[str, Attack], seed: int,
) -> Line:  # fmt: skip
    """All attacks on one picture."""
    seen = observed(model, truth, target)
    line: Line = {"benchmark": "inversion nets", "own_mean_colour": _psnr(constant_colour(truth), truth)}
    started = time.thread_time()
    line["reference"] = _psnr(reference(model, seen, target, seconds, seed), truth)
    line["reference_s"] = round(time.thread_time() - started, 1)
    for name, attack in alones.items():
        line[name] = _psnr(alone(attack, seen, seconds, seed)[0], truth)
    started = time.thread_time()
    pictures, note = alone(race, seen, seconds, seed)
    line["race_s"] = round(time.thread_time() - started, 1)
    line["race"] = _psnr(pictures, truth)
    rivals = [float(str(line[name])) for name in alones]
    reached = float(str(line["race"]))
    line["wanted"] = "within 1 dB of the best alone, and not below the reference"
    line["met"] = reached >= max(rivals) - 1 and reached >= float(str(line["reference"]))
    return line | {"note": note}


def _psnr(pictures: Tensor, truth: Tensor) -> float:
    return round(psnr(pictures, truth).item(), 2)


def main() -> None:
    """Every net that is named, or all."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder of pictures with a split.csv")
    parser.add_argument("--net", choices=NETS, action="append")
    parser.add_argument("--side", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=12.0, help="CPU seconds of each attack")
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1, help="starts of each attack, drawn anew")
    given = parser.parse_args()
    if given.folder is None:
        print(json.dumps({"benchmark": "inversion nets", "skipped": "no folder of pictures was given"}))
        return
    kinds, sides = given.net or list(NETS), given.side or [32, 64]
    for line in lines(given.folder, kinds, sides, given.seconds, given.pictures, given.seeds):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

"""Closed-form inversion, imprint and prototype attacks on real pictures and on the project's own encoders.

Usage: python benchmarks/inversion_parts.py FOLDER [analytic] [imprint] [prototypes] [cards]
FOLDER has a split.csv with a split column. Prints a JSON line a measurement; all parts where none is named.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from attacks.baselines import blind_guesses, prior_only
from attacks.identification import identification_rate, rank_by_distance, rank_of_target
from attacks.intervals import median_interval
from attacks.inversion.analytic import AnalyticInversion, SpanMatch
from attacks.inversion.imprint import Imprinted, ImprintRecovery, bin_occupancy, quantile_thresholds
from attacks.inversion.prototypes import ArtistLinkage, CandidateMatch, Differencing, PrototypeInversion
from attacks.matching import match
from attacks.metrics import mean_square, psnr
from attacks.observation import LocalTraining, Observation, cross_entropy
from attacks.replay import simulate
from attacks.results import Budget
from attacks.vetting import vet_weights
from fedstyle_secure import Config
from fedstyle_secure.galleries.folder import FolderGallery
from fedstyle_secure.privacy.dp_sgd import DPTrainer
from fedstyle_secure.privacy.mechanisms import DpSgd
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.system import system_bound
from fedstyle_secure.systems.style.encoders import fit_encoder
from fedstyle_secure.systems.style.losses import PrototypeContrast

PUBLIC = ("john_tenniel", "rembrandt", "sutton_palmer")
CONFIG = Path(__file__).parents[1] / "configs" / "illustrators.toml"
SIDE = 64
Lines = Iterator[dict[str, object]]


class Pictures:
    """The folder's pictures: those of private artists that train, those held out, and the public set."""

    def __init__(self, folder: str) -> None:
        gallery = FolderGallery(Path(folder), size=SIDE, public=PUBLIC)
        self.private = [gallery.portfolio(name) for name in gallery.artists]
        self.public = [gallery.portfolio(name) for name in gallery.public_artists]
        self.public_tensor = torch.cat([tensor(p.pictures) for p in self.public])

    def targets(self, n: int) -> Tensor:
        """The i-th training picture of artist after artist, (n, 3, s, s) in [0, 1]."""
        each = -(-n // len(self.private))
        return torch.cat([tensor(p.train_pictures[i : i + 1]) for i in range(each) for p in self.private])[:n]


def tensor(pictures: np.ndarray) -> Tensor:
    """uint8 (n, s, s, 3) to float32 (n, 3, s, s) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255


def analytic(data: Pictures) -> Lines:
    """One picture through an MLP, over noise; and features through the texture encoder's head."""
    targets = data.targets(30)
    for noise in (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        found, blind, without = [], [], []
        for k, picture in enumerate(targets.split(1)):
            torch.manual_seed(k)
            mlp = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 256), nn.ReLU(), nn.Linear(256, 10))
            training = LocalTraining(0.1, clip_norm=1.0, noise_std=noise)
            seen = noisy(observed(mlp, picture, torch.tensor([k % 10]), training, data), k)
            guess = AnalyticInversion().run(seen, Budget(), 0).pictures
            prior = prior_only(AnalyticInversion(), seen, Budget(), 0).pictures
            assert guess is not None
            assert prior is not None
            found.append(float(psnr(guess, picture)))
            without.append(float(psnr(prior, picture)))
            blind.append(max(float(psnr(b, picture)) for b in blind_guesses(seen, 1).values()))
        low, high = median_interval(np.array(found))
        yield {
            "part": "analytic mlp", "clip": 1, "noise": noise, "n": len(found),
            "psnr_median": np.median(found), "psnr_min": min(found), "low": low, "high": high,
            "blind_median": np.median(blind), "prior_only_median": np.median(without),
        }  # fmt: skip
    yield from texture_head(data)


def texture_head(data: Pictures) -> Lines:
    """Updates of the project's own trainer and loss: one picture, then a batch of eight."""
    encoder = fit_encoder(Config().style, data.public, 0)
    public = encoder.prepare(np.concatenate([p.pictures for p in data.public]))
    anchors = public[torch.randperm(len(public), generator=torch.Generator().manual_seed(0))[:13]]
    loss = PrototypeContrast(lambda: encoder.place(anchors.numpy()), 0.1, 0.1)
    prepared = [encoder.prepare(p.train_pictures) for p in data.private]
    before = {name: t.clone() for name, t in encoder.state_dict().items()}

    def seen(rows: Tensor, targets: Tensor, known: bool) -> Observation:
        encoder.load_state_dict(before)
        plan = DpSgd(1.0, 0.0, 1.0, 1, float(len(rows)))
        DPTrainer(encoder, loss, plan, 0.6).fit(rows[:, None], targets, np.random.default_rng(0))
        update = {"head.weight": encoder.head.weight.detach() - before["head.weight"]}
        encoder.load_state_dict(before)
        return Observation(
            encoder, before, (rows.shape[1],), (update,),
            LocalTraining(0.6, batch_size=len(rows), clip_norm=1.0), loss,
            targets=targets if known else None,
        )  # fmt: skip

    cosines = []
    for k in range(100):
        rows = prepared[k % len(prepared)][k // len(prepared)][None]
        evidence = AnalyticInversion().run(seen(rows, torch.tensor([[k % 13, -1]]), True), Budget(), 0)
        assert evidence.features is not None
        cosines.append(float(torch.cosine_similarity(evidence.features, rows)))
    yield {
        "part": "texture head, one picture", "n": 100, "cosine_min": min(cosines),
        "cosine_median": np.median(cosines),
    }  # fmt: skip
    ranks = []
    for trial in range(30):
        mine, others = prepared[trial % len(prepared)][:8], prepared[(trial + 1) % len(prepared)]
        targets = torch.stack([torch.arange(8) % 13, torch.full((8,), -1)], dim=1)
        candidates = torch.cat([mine[:1], others, prepared[(trial + 2) % len(prepared)]])[:100]
        evidence = SpanMatch(candidates).run(seen(mine, targets, False), Budget(), 0)
        assert evidence.scores is not None
        ranks.append(rank_of_target(evidence.scores, 0))
    yield rate_line("texture head, batch of 8, row-space match", ranks, len(candidates))


def imprint(data: Pictures) -> Lines:
    """A model with 128 bins in front of a conv net; batches of 16; vetting refuses it."""
    n, bins, hits, alone, values, total = 16, 128, 0, 0, [], 0
    pool = torch.cat([tensor(p.train_pictures) for p in data.private])
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    conv = nn.Sequential(
        nn.Conv2d(3, 16, 5, 4, 2), nn.GELU(), nn.Conv2d(16, 16, 5, 4, 2), nn.GELU(), nn.Flatten(),
        nn.Linear(256, 10),
    )  # fmt: skip
    bare = Observation(conv, conv.state_dict(), (3, SIDE, SIDE), public_pictures=data.public_tensor)
    model = Imprinted(conv, quantile_thresholds(bare, bins), 3 * SIDE**2)
    started = time.perf_counter()
    for batch in order[: len(order) // n * n].split(n):
        pictures = pool[batch]
        seen = observed(model, pictures, torch.arange(n) % 10, LocalTraining(0.1, batch_size=n), data)
        evidence = ImprintRecovery().run(seen, Budget(), 0)
        alone += int((bin_occupancy(seen, pictures)[1:] == 1).sum())
        total += n
        if evidence.pictures is None:
            continue
        for truth, guess in enumerate(match(evidence.pictures, pictures, mean_square)):
            if guess is not None:
                value = float(psnr(evidence.pictures[guess][None], pictures[truth][None]))
                values.append(value)
                hits += value > 40
    yield {
        "part": "imprint", "batch": n, "bins": bins, "pictures": total, "hits_above_40_db": hits,
        "alone_in_their_bin": alone, "share": hits / total,
        "share_if_bins_were_even": (1 - 1 / bins) ** (n - 1),
        "psnr_median_of_found": np.median(values), "seconds": time.perf_counter() - started,
        "vetting": [o.reason for o in vet_weights(model.state_dict())],
    }  # fmt: skip


def prototypes(data: Pictures) -> Lines:
    """Cards of the texture encoder: identification, differencing and linkage, with and without noise."""
    encoder = fit_encoder(Config().style, data.public, 0)
    train, held, public = (
        [torch.from_numpy(encoder.released(encoder.prepare(of(p)))) for p in group]
        for group, of in (
            (data.private, lambda p: p.train_pictures),
            (data.private, lambda p: p.test_pictures),
            (data.public, lambda p: p.pictures),
        )
    )
    plan = solve(
        Config.load(CONFIG, ["gallery.path=unused"]),
        system_bound(Config.load(CONFIG, ["gallery.path=unused"])).kinds(),
        len(data.private),
    )
    deviation = plan.card.noise_multiplier * plan.card.clip_norm
    draws = torch.Generator().manual_seed(0)
    common = {"noise_of_a_sum": deviation, "dim": train[0].shape[1]}

    def card(rows: list[Tensor], noise: float) -> Observation:
        """Releases, each the mean of `rows` with the noise of a sum on it."""
        dim = rows[0].shape[1]
        means = [(r.sum(0) + noise * torch.randn(dim, generator=draws)) / len(r) for r in rows]
        return Observation(
            encoder, encoder.state_dict(), (dim,), prototypes={"card": torch.stack(means)},
            counts={"card": torch.tensor([len(r) for r in rows])}, prototype_noise=noise / len(rows[-1]),
            embed=lambda x: x, public_pictures=torch.cat(public),
        )  # fmt: skip

    others = torch.cat(train)
    for n, noise in ((1, 0.0), (1, deviation), (4, 0.0), (45, 0.0), (45, deviation)):
        far, near, size = [], [], []
        for trial in range(100):
            a = trial % len(train)
            chosen = train[a][torch.randperm(len(train[a]), generator=draws)[:n]]
            seen = card([chosen], noise)
            foreign = torch.cat([t for b, t in enumerate(train) if b != a])
            picked = foreign[torch.randperm(len(foreign), generator=draws)[:99]]
            far.append(matched(seen, torch.cat([chosen[:1], picked])))
            near.append(matched(seen, torch.cat([chosen[:1], held[a]])))
            size.append(1 + len(held[a]))
        line = rate_line(f"card of {n}, target among 100, others of other artists", far, 100)
        yield line | common | {"noise": noise}
        line = rate_line(f"card of {n}, target among held-out works of its artist", near, max(size))
        yield line | common | {"noise": noise, "chance": float(np.mean(1 / np.array(size)))}
    for noise in (0.0, deviation):
        cosines, ranks = [], []
        for trial in range(100):
            rows = train[trial % len(train)]
            n = min(44, len(rows) - 1)
            rows = rows[torch.randperm(len(rows), generator=draws)]
            picked = others[torch.randperm(len(others), generator=draws)]
            picked = picked[(picked - rows[n]).abs().amax(1) > 0][:99]
            evidence = Differencing("card", torch.cat([rows[n : n + 1], picked])).run(
                card([rows[:n], rows[: n + 1]], noise), Budget(), 0
            )
            assert evidence.features is not None
            assert evidence.scores is not None
            cosines.append(float(torch.cosine_similarity(evidence.features, rows[n : n + 1])))
            ranks.append(rank_of_target(evidence.scores, 0))
        line = rate_line("differencing of two cards", ranks, 100) | common
        yield line | {"noise": noise, "cosine_min": min(cosines), "cosine_median": np.median(cosines)}
    for noise in (0.0, deviation):
        ranks = [
            rank_of_target(linked(card([rows], noise), held), a)
            for _ in range(3)
            for a, rows in enumerate(train)
        ]
        yield rate_line("linkage of a card to its artist", ranks, len(train)) | common | {"noise": noise}


def cards(data: Pictures) -> Lines:
    """Pictures from a card of one picture through the cnn encoder, among 100 by pixels."""
    config = Config().override(["style.encoder=cnn", "style.train=all"])
    encoder = fit_encoder(config.style, data.public, 0).eval().requires_grad_(False)
    candidates, budget = data.targets(100), Budget(steps=400, restarts=2)

    def embed(pictures: Tensor) -> Tensor:
        found: Tensor = encoder(2 * pictures - 1)
        return found

    by_pixels, by_embedding, blind_ranks, values, blind, cosines, seconds = [], [], [], [], [], [], []
    table = embed(candidates)
    for k in range(10):
        seen = Observation(
            encoder, encoder.state_dict(), (3, SIDE, SIDE), prototypes={"card": table[k : k + 1]},
            counts={"card": torch.tensor([1])}, embed=embed,
        )  # fmt: skip
        evidence = PrototypeInversion("card").run(seen, budget, 0)
        foreign = prior_only(PrototypeInversion("card"), seen, budget, 0)
        assert evidence.pictures is not None
        assert foreign.pictures is not None
        best = evidence.pictures[:1]
        again = embed(best)
        cosines.append(float(torch.cosine_similarity(again, table[k : k + 1])))
        by_pixels.append(rank_by_distance(best[0], candidates, k, mean_square))
        by_embedding.append(rank_of_target(-(table - again).square().sum(1), k))
        blind_ranks.append(rank_by_distance(foreign.pictures[0], candidates, k, mean_square))
        values.append(float(psnr(best, candidates[k : k + 1])))
        blind.append(float(psnr(foreign.pictures[:1], candidates[k : k + 1])))
        seconds.append(evidence.seconds)
    shared = {
        "psnr_median": np.median(values), "prior_only_psnr_median": np.median(blind),
        "cosine_min": min(cosines), "seconds_each": np.median(seconds),
    }  # fmt: skip
    yield rate_line("inversion of a cnn card of one, by pixels", by_pixels, 100) | shared
    yield rate_line("inversion of a cnn card of one, by embedding", by_embedding, 100)
    yield rate_line("the same without the card, by pixels", blind_ranks, 100)


def observed(
    model: nn.Module, pictures: Tensor, targets: Tensor, training: LocalTraining, data: Pictures
) -> Observation:
    """What the platform sees of one client's noiseless training with softmax cross-entropy."""
    blank = Observation(
        model, model.state_dict(), tuple(pictures.shape[1:]), (), training, cross_entropy,
        public_pictures=data.public_tensor,
    )  # fmt: skip
    update = simulate(blank, pictures, targets)
    return Observation(
        model, model.state_dict(), tuple(pictures.shape[1:]), (update,), training, cross_entropy,
        public_pictures=data.public_tensor,
    )  # fmt: skip


def noisy(seen: Observation, seed: int) -> Observation:
    """The same with the described noise on the one step's gradient."""
    training = seen.training
    assert training is not None
    if training.noise_std == 0:
        return seen
    draws = torch.Generator().manual_seed(seed)
    size = training.learning_rate * training.noise_std
    update = {n: t + size * torch.randn(t.shape, generator=draws) for n, t in seen.updates[0].items()}
    return replace(seen, updates=(update,))


def matched(seen: Observation, candidates: Tensor) -> int:
    """Rank of the first candidate."""
    scores = CandidateMatch("card", candidates).run(seen, Budget(), 0).scores
    assert scores is not None
    return rank_of_target(scores, 0)


def linked(seen: Observation, known: list[Tensor]) -> Tensor:
    """Scores of the artists."""
    scores = ArtistLinkage("card", known).run(seen, Budget(), 0).scores
    assert scores is not None
    return scores


def rate_line(part: str, ranks: list[int], candidates: int) -> dict[str, object]:
    """The identification rate with its interval."""
    found = identification_rate(part, np.array(ranks), candidates)
    return {
        "part": part, "n": found.n, "first": found.value, "low": found.low, "high": found.high,
        "chance": found.baseline, "median_rank": found.details["median rank"],
    }  # fmt: skip


PARTS: dict[str, Callable[[Pictures], Lines]] = {
    "analytic": analytic,
    "imprint": imprint,
    "prototypes": prototypes,
    "cards": cards,
}


def main() -> None:
    """Run the parts that are named, or all."""
    if len(sys.argv) < 2:
        print(json.dumps({"benchmark": "inversion_parts", "skipped": "no folder of pictures was given"}))
        return
    torch.set_num_threads(1)
    data = Pictures(sys.argv[1])
    for name in sys.argv[2:] or PARTS:
        for line in PARTS[name](data):
            rounded = {k: round(float(v), 5) if isinstance(v, float) else v for k, v in line.items()}
            print(json.dumps({"benchmark": "inversion_parts"} | rounded), flush=True)


if __name__ == "__main__":
    main()

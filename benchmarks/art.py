"""Private AI art: what learning together and adapters are worth, what privacy costs, what leaks.

    python benchmarks/art.py learn 0             configs/art.toml: an adapter an artist, drawn and judged
    python benchmarks/art.py private 8 16 32 64  configs/art_dp.toml with so many artists
    python benchmarks/art.py attacks 0           adapters and gradients, with controls

JSON lines. A judge names artists and schools: it learned from the artists' training works and from public
artists of the backbone's schools, and no model had a part in it; held-out real works are its ceiling.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import fedstyle_secure
from attacks.diffusion.copies import extraction
from attacks.diffusion.draws import Draws
from attacks.diffusion.membership import error_scores
from attacks.diffusion.model import Denoiser as Seen
from attacks.diffusion.schedule import Schedule
from attacks.diffusion.signals import denoising_losses, proximal_errors, step_errors
from attacks.identification import rank_of_target
from attacks.intervals import clopper_pearson
from attacks.roc import auc, auc_interval
from fedstyle_secure.config import Config
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.systems.art import measure
from fedstyle_secure.systems.art.adapters import adapted, learned
from fedstyle_secure.systems.art.backbone.folder import shipped
from fedstyle_secure.systems.art.backbone.network import as_tensor
from fedstyle_secure.systems.art.backbone.sampling import drawn
from fedstyle_secure.systems.art.drawing import how, in_manner
from fedstyle_secure.systems.art.measures.judge import Judge
from fedstyle_secure.systems.art.measures.schools import school_pictures
from fedstyle_secure.systems.art.system import ArtSystem, finished

CONFIGS = Path(__file__).parents[1] / "configs"
DRAWN = 16


def say(**told: object) -> None:
    print(json.dumps(told, default=float), flush=True)


def paired(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Mean difference over works, its error and z."""
    apart = (one - other).mean(axis=1) if one.ndim > 1 else one - other
    error = float(apart.std(ddof=1) / np.sqrt(len(apart)))
    return {
        "difference": float(apart.mean()),
        "error": error,
        "z": float(apart.mean()) / error,
        "n": len(apart),
    }


def trained(config: str, settings: list[str], folder: str) -> RunFolder:
    loaded = Config.load(CONFIGS / config, [*settings, f"run.studios={folder}/studios"])
    return fedstyle_secure.train(loaded, f"{folder}/run").folder


def learn(seed: int) -> None:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = trained("art.toml", [f"gallery.seed={seed}", f"run.seed={seed}"], folder)
        system, shared = finished(run)
        summary = run.summary()
    say(what="run", seed=seed, **summary["utility"] | {"fairness": None}, wall_s=time.perf_counter() - began)
    art, gallery = system.config.art, open_gallery(system.config.gallery)
    portfolios = [gallery.portfolio(artist) for artist in gallery.artists]
    public = shipped().build().requires_grad_(False).eval()
    began = time.perf_counter()
    ours = [learned(shared, p.train_pictures, shared.nothing, art, seed) for p in portfolios]
    say(what="adapters", seed=seed, artists=len(ours), wall_s=time.perf_counter() - began)
    theirs = [learned(public, p.train_pictures, public.nothing, art, seed) for p in portfolios]

    def held_out(models: list) -> np.ndarray:
        rows = []
        for model, p in zip(models, portfolios, strict=True):
            rows.append(measure.losses(model, p.test_pictures, np.full(p.test.sum(), shared.nothing)))
        return np.concatenate(rows)

    many = len(portfolios)
    before, after = held_out([public] * many), held_out([shared] * many)
    say(
        what="start of adapters, shared less public: loss of held-out works",
        seed=seed,
        **paired(after, before),
    )
    own = [adapted(shared, a) for a in ours]
    alone = held_out([adapted(public, a) for a in theirs])
    say(what="end of adapters, the same", seed=seed, **paired(held_out(own), alone))
    say(what="adapter from public less public", seed=seed, **paired(alone, before))

    judge = judged_by(portfolios, shared.size)
    drawing = how(art)
    plain = drawn(shared, [shared.nothing] * DRAWN * many, drawing, seed)
    rows: dict[str, list] = {"adapters": [], "backbone": [], "real": []}
    for i, (p, model) in enumerate(zip(portfolios, own, strict=True)):
        made = in_manner(shared, model, shared.nothing, DRAWN, drawing, seed + i)
        for which, some in (
            ("adapters", made), ("backbone", plain[i * DRAWN : (i + 1) * DRAWN]), ("real", p.test_pictures),
        ):  # fmt: skip
            named = judge.named(some)
            school = p.artist.rpartition("-")[0]
            rows[which] += [(name == p.artist, name.rpartition("-")[0] == school) for name in named.tolist()]
    for which, hits in rows.items():
        found = np.array(hits)
        for column, what in enumerate(("artist", "school")):
            hit, n = int(found[:, column].sum()), len(found)
            low, high = clopper_pearson(hit, n, 0.95)
            say(what=f"{what} named as asked, {which}", seed=seed, share=hit / n, low=low, high=high, n=n)


def judged_by(portfolios: list, size: int) -> Judge:
    """A judge of the private artists by name, and of the backbone's schools."""
    pictures, names = school_pictures(size, hands=4, pictures=10)
    parts = [pictures, *(p.train_pictures for p in portfolios)]
    labels = [f"{name}-0" for name in names]
    labels += [p.artist for p in portfolios for _ in range(len(p.train_pictures))]
    return Judge.fit(np.concatenate(parts), labels)


def private(artists: list[int]) -> None:
    for number in artists:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            run = trained("art_dp.toml", [f"gallery.artists={number}"], folder)
            system, shared = finished(run)
            summary = run.summary()
        public = shipped().build().requires_grad_(False).eval()
        gallery, rows = open_gallery(system.config.gallery), []
        for artist in gallery.artists:
            works = gallery.portfolio(artist).test_pictures
            asked = np.full(len(works), shared.nothing)
            rows.append([measure.losses(model, works, asked).mean(axis=1) for model in (shared, public)])
        after, before = (np.concatenate([row[i] for row in rows]) for i in (0, 1))
        say(
            what="epsilon 8, loss of held-out works less that of the public start", artists=number,
            epsilon=summary["privacy"]["epsilon_artwork_max"], **paired(after, before),
            relative=float(after.mean() / before.mean() - 1),
            upload_bytes=summary["secure_sum"]["upload_bytes"], wall_s=time.perf_counter() - began,
        )  # fmt: skip


def seen(model: torch.nn.Module) -> Seen:
    schedule = Schedule(model.scheduler.alphas_cumprod, model.scheduler.config.prediction_type)
    return Seen(lambda noisy, at: model(noisy, at, torch.full((len(noisy),), model.nothing)), schedule)


def attacks(seed: int) -> None:
    """Of adapters as if they were published, and of one undefended gradient."""
    config = Config.load(CONFIGS / "art.toml", [f"gallery.seed={seed}", f"run.seed={seed}"])
    system = ArtSystem(config)
    gallery, public = open_gallery(config.gallery), shipped().build().requires_grad_(False).eval()
    schedule = seen(public).schedule
    signals = {
        "loss": partial(denoising_losses, draws=Draws.make(schedule, (3, 32, 32), count=24, seed=1)),
        "PIA": proximal_errors,
        "SecMI": step_errors,
    }
    overfitted = config.art.model_copy(update={"adapter_steps": 600, "adapter_rank": 16, "adapter_batch": 5})
    for what, art, count in (("5 works by heart", overfitted, 5), ("45 works", config.art, None)):
        found: dict[str, list] = {name: [] for name in signals}
        copies = []
        for artist in gallery.artists[:4]:
            p = gallery.portfolio(artist)
            works, others = p.train_pictures[:count], p.test_pictures
            model = adapted(public, learned(public, works, public.nothing, art, seed))
            for name, signal in signals.items():
                inside, outside = (
                    error_scores(
                        name, signal(seen(model), as_tensor(x)), signal(seen(public), as_tensor(x))
                    ).values
                    for x in (works, others)
                )
                raw = [error_scores(name, signal(seen(model), as_tensor(x))).values for x in (works, others)]
                found[name].append((inside, outside, *raw))
            made = in_manner(public, model, public.nothing, 64, replace(how(art), guidance=1.0), seed)
            half = [(as_tensor(x) + 1) / 2 for x in (made, works, others)]
            null = "drawings" if count else "works"
            copied = extraction("copies", *half, 0.07, null, neighbours=min(5, len(works)))
            copies.append((int(copied.is_copy.sum()), len(made), copied.rate.baseline, len(copied.copied)))
        for name, rows in found.items():
            # Scores of artists are pooled about each one's middle.
            inside, outside = (
                np.concatenate([row[i] - np.median(np.r_[row[0], row[1]]) for row in rows]) for i in (0, 1)
            )
            raw = [np.concatenate([row[i] for row in rows]) for i in (2, 3)]
            low, high = auc_interval(inside, outside, 0.95)
            say(
                what=f"membership, adapter of {what}", attack=name, auc=auc(inside, outside), low=low,
                high=high, raw_auc=auc(*raw), members=len(inside), others=len(outside),
            )  # fmt: skip
        say(what=f"near copies, adapter of {what}", copies_of_drawn_baseline_works=copies)
    gradients(system, gallery, seed)


def gradients(system: ArtSystem, gallery, seed: int) -> None:
    """The picture of one undefended gradient among a hundred, times and noises known."""
    from fedstyle_secure.privacy.dp_sgd import record_rows

    state = system.learn([])
    model, rows = system.model(state), []
    loss, every = system.loss(model, state), []
    for artist in gallery.artists:
        every.append(system.inputs(model, gallery.portfolio(artist)))
    inputs = torch.cat(every)[:: max(1, sum(map(len, every)) // 100)][:100]
    for row in record_rows(model, loss, inputs, torch.zeros(len(inputs), dtype=torch.int64)):
        rows.append(row.astype(np.float64))
    made = np.stack(rows)
    unit = made / np.linalg.norm(made, axis=1, keepdims=True)
    rng, clip = np.random.default_rng(seed), float(system.config.privacy.clip_norm)
    for noise in (0.0, 1.0, 5.0):
        ranks = []
        for target in range(0, 100, 10):
            sent = made[target] * min(1.0, clip / np.linalg.norm(made[target]))
            sent = sent + noise * clip * rng.standard_normal(sent.shape)
            scores = torch.from_numpy(unit @ (sent / np.linalg.norm(sent)))
            ranks.append(rank_of_target(scores, target))
        say(what="one gradient among 100", noise_multiplier=noise, first=sum(r == 1 for r in ranks), of=10)


def main() -> None:
    torch.set_num_threads(1)
    what, numbers = sys.argv[1], [int(x) for x in sys.argv[2:]]
    if what == "private":
        private(numbers or [8, 16, 32, 64])
        return
    for seed in numbers or [0]:
        {"learn": learn, "attacks": attacks}[what](seed)


if __name__ == "__main__":
    main()

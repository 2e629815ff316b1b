"""Makes the backbone that comes with the package, and draws a sheet of it beside real pictures.

    python benchmarks/art_start.py                       in its place; CPU minutes: see the figure printed
    python benchmarks/art_start.py --out FOLDER --size 64 another one, for art.backbone
    python benchmarks/art_start.py --sheet docs/art.png  only the sheet and its figures

Whoever changes what it follows from runs this again: a test compares the recipe. JSON lines: seconds, and the
share of drawn pictures whose school a judge names as asked, beside real pictures of artists that neither
judge nor backbone saw.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fedstyle_secure.galleries.atelier import SCHOOL_NAMES
from fedstyle_secure.systems.art.backbone import folder, learning
from fedstyle_secure.systems.art.backbone.network import Shape
from fedstyle_secure.systems.art.backbone.sampling import Drawing, drawn
from fedstyle_secure.systems.art.measures.diversity import beside
from fedstyle_secure.systems.art.measures.frechet import distance
from fedstyle_secure.systems.art.measures.schools import school_judge, school_pictures

EACH, SHOWN, ZOOM = 16, 8, 2
UNSEEN = 2**62 + 2
"""Seed of real pictures of artists that neither backbone nor judge saw."""


def made(out: Path, size: int) -> None:
    recipe = learning.Recipe(shape=Shape(size))
    began = time.process_time()

    def told(step: int, loss: float, model: object) -> None:
        if step % 500 == 0:
            seconds = round(time.process_time() - began)
            print(json.dumps({"step": step, "loss": round(loss, 4), "cpu_s": seconds}), flush=True)

    model = learning.learned(recipe, told)
    folder.save(model, out, {"recipe": learning.recipe_text(recipe)})
    print(json.dumps({"made": out.name, "cpu_s": round(time.process_time() - began)}), flush=True)


def judged(where: str, sheet: Path | None) -> None:
    found = folder.backbone(where)
    model = found.build()
    began = time.process_time()
    asked = [name for name in SCHOOL_NAMES for _ in range(EACH)]
    pictures = drawn(model, model.asked_by(asked).tolist(), Drawing(), seed=0)
    seconds = (time.process_time() - began) / len(pictures)
    judge = school_judge(model.size)
    real, schools = school_pictures(model.size, hands=4, pictures=2 * EACH // 4, seed=UNSEEN)
    share, ceiling = judge.shares(pictures, asked), judge.shares(real, schools)
    named = judge.named(pictures)
    places, others = judge.features(pictures), judge.features(real)
    half, two = others[::2], others[1::2]
    print(
        json.dumps(
            {
                "school_share": vars(share),
                "real": vars(ceiling),
                "by_school": {
                    name: round(float((named[i * EACH : (i + 1) * EACH] == name).mean()), 2)
                    for i, name in enumerate(SCHOOL_NAMES)
                },
                "frechet": vars(distance(half, places, len(half))),
                "frechet_real": vars(distance(half, two, len(half))),
                "diversity": {k: vars(v) for k, v in vars(beside(places, others)).items()},
                "s_a_picture": round(seconds, 3),
                "sha256": found.digest,
            },
            default=float,
        ),
        flush=True,
    )
    if sheet is not None:
        drawn_sheet(pictures, real, schools, sheet)


def drawn_sheet(pictures: np.ndarray, real: np.ndarray, schools: list[str], path: Path) -> None:
    side, left = pictures.shape[1] * ZOOM, 110
    image = Image.new("RGB", (left + 2 * SHOWN * (side + 2) + 20, 26 + 14 * (side + 4)), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    pen.text((left, 5), "drawn by the backbone", fill="black", font=font)
    pen.text((left + SHOWN * (side + 2) + 20, 5), "of artists that it never saw", fill="black", font=font)
    for row, school in enumerate(SCHOOL_NAMES):
        top = 26 + row * (side + 4)
        pen.text((4, top + side // 2 - 8), school, fill="black", font=font)
        theirs = real[[i for i, name in enumerate(schools) if name == school][: 2 * SHOWN : 2]]
        for part, some in enumerate((pictures[row * EACH : row * EACH + SHOWN], theirs)):
            for k, picture in enumerate(some):
                one = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
                image.paste(one, (left + part * (SHOWN * (side + 2) + 20) + k * (side + 2), top))
    image.save(path)


def main() -> None:
    torch.set_num_threads(1)
    wanted = argparse.ArgumentParser()
    wanted.add_argument("--out", type=Path, default=Path(folder.__file__).with_name(folder.SHIPPED))
    wanted.add_argument("--size", type=int, default=32)
    wanted.add_argument("--sheet", type=Path)
    given = wanted.parse_args()
    if given.sheet is None:
        made(given.out, given.size)
    judged(str(given.out), given.sheet)


if __name__ == "__main__":
    main()

"""What the walks share: commands that are timed, a line of JSON each, and small galleries to walk over."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = (
    "gallery.artists=5", "gallery.public_artists=3", "gallery.pictures=16", "gallery.size=32", "style.dim=32",
    "style.practice_artists=0", "styles.count=3", "run.rounds=2", "training.expected_pictures=12",
)  # fmt: skip
"""So that a walk takes a minute of one core: figures in it say how a thing is done, not how good it is."""

AUDIT = "targets = 4\ncandidates = 10\nrounds = 1\nartists = 2\ntried = 20\nprocesses = 1\n"
"""An audit of the same kind, for a file."""


def settings(given: Sequence[str]) -> list[str]:
    """As options of a command."""
    return [word for one in given for word in ("-s", one)]


def draw(hand: int, number: int, side: int = 32) -> Image.Image:
    """Stripes in a hand's own colours and direction."""
    rng = np.random.default_rng([hand, number])
    y, x = np.mgrid[:side, :side] / side
    turn = hand * 0.6 + rng.normal(0, 0.1)
    stripes = np.sin(6 * (3 + hand) * (x * np.cos(turn) + y * np.sin(turn)) + rng.uniform(0, 6))
    colours = np.random.default_rng(hand).uniform(40, 215, (2, 3))
    painted = np.where(stripes[..., None] > 0, *colours) + rng.normal(0, 20, (side, side, 3))
    return Image.fromarray(painted.clip(0, 255).astype(np.uint8))


class Walk:
    """Runs commands in a folder of its own, prints what each took, and ends at the first that fails.

    Args:
        name: Of the walk.
        program: What `fedstyle` is called by.
        environment: Of the commands; None: this process's.
    """

    def __init__(
        self,
        name: str,
        program: Sequence[str] = (sys.executable, "-m", "fedstyle_secure"),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name, self.program = name, tuple(program)
        self.environment = dict(os.environ) if environment is None else environment
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self._began = time.perf_counter()

    def fedstyle(self, *words: str, code: int = 0) -> str:
        """Run a command that is to end with `code`; what it printed."""
        return self.run(*self.program, *words, code=code, called=f"fedstyle {words[0]}")

    def run(self, *words: str | Path, code: int = 0, called: str = "") -> str:
        """Run any program that is to end with `code`; what it printed."""
        began = time.perf_counter()
        done = subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        wall = round(time.perf_counter() - began, 2)
        print(json.dumps({"walk": self.name, "step": called or str(words[0]), "wall_s": wall}), flush=True)
        if done.returncode != code:
            raise SystemExit(
                f"{called} ended with {done.returncode} and not {code}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def arrived(self, *files: str) -> None:
        """End the walk: these files are there; prints what it took in all."""
        missing = [file for file in files if not (self.folder / file).exists()]
        if missing:
            raise SystemExit(f"missing in {self.folder}: {', '.join(missing)}")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = {
            "walk": self.name,
            "wall_s": round(time.perf_counter() - self._began, 2),
            "cpu_s": round(used.ru_utime + used.ru_stime, 2),
            "folder": str(self.folder),
        }
        print(json.dumps(told), flush=True)

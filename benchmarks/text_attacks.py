"""What updates and products of text recognition give away: letters, a word among 60, planted words.

    python benchmarks/text_attacks.py updates          without noise, hashed and not, and at epsilon 8
    python benchmarks/text_attacks.py exposure 0 1 2   planted words by epsilon; seeds

Four artists of 120 words. A JSON line a run; the attacks are those of `fedstyle audit`.
"""

import json
import sys
import tempfile

import torch

import fedstyle_secure
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.config import Config
from fedstyle_secure.systems.text.attacks import letters, model, named

BASE = {
    "run": {"system": "text", "rounds": 1},
    "gallery": {"artists": 4, "public_artists": 3, "pictures": 120},
    "training": {"expected_pictures": 90},
    "text": {"compare_epochs": 0, "public_epochs": 0},
    "audit": {"record": "all"},
}
CLEAR = ["secure_sum.enabled=false"]
CELLS = {
    "untrained start, whole": [*CLEAR, "privacy.dp=off", "text.practice_epochs=0", "hashing.ratio=1"],
    "untrained start, hashed 1/8": [*CLEAR, "privacy.dp=off", "text.practice_epochs=0"],
    "untrained start, hashed 1/64": [
        *CLEAR, "privacy.dp=off", "text.practice_epochs=0", "hashing.ratio=0.015625",
    ],
    "shipped start, whole": [*CLEAR, "privacy.dp=off", "hashing.ratio=1"],
    "shipped start, hashed 1/8": [*CLEAR, "privacy.dp=off"],
    "shipped start, hashed 1/8, epsilon 8 of own noise": CLEAR,
}  # fmt: skip
EPSILONS = ("2", "8", "32", "128", "none")


def updates() -> None:
    chosen = AuditSettings(targets=24, candidates=60, rounds=0, processes=1)
    for name, settings in CELLS.items():
        with tempfile.TemporaryDirectory() as folder:
            config = Config.from_dict(BASE).override([*settings, f"run.studios={folder}/studios"])
            scene = Scene(fedstyle_secure.train(config, f"{folder}/run").folder, chosen)
            (shown,) = letters.letters_of_one(scene).findings
            (word, *_) = named.word_named(scene).findings
        told = {
            "cell": name, "words": shown.n, "letters_share": shown.value,
            "median_precision": shown.details.get("median precision"),
            "median_recall": shown.details.get("median recall"),
            "letters_interval": [shown.low, shown.high], "letters_verdict": shown.verdict,
            "named": word.value, "named_interval": [word.low, word.high], "named_chance": word.baseline,
            "named_bound": word.bound, "named_verdict": word.verdict, "control": word.control,
        }  # fmt: skip
        print(json.dumps(told), flush=True)


def exposure(seeds: list[int]) -> None:
    chosen = AuditSettings(rounds=0, processes=1)
    # Many planted crops and many rounds: what is planted is to be learned, if anything lets it.
    many = ["audit.canaries=160", "audit.canary_kind=foreign", "run.rounds=12", *CLEAR]
    for seed in seeds:
        for epsilon in EPSILONS:
            own = ["privacy.dp=off"] if epsilon == "none" else [f"privacy.target_epsilon={epsilon}"]
            with tempfile.TemporaryDirectory() as folder:
                config = Config.from_dict(BASE).override(
                    [*many, *own, f"run.seed={seed}", f"gallery.seed={seed}", f"run.studios={folder}/studios"]
                )
                scene = Scene(fedstyle_secure.train(config, f"{folder}/run").folder, chosen)
                (found,) = model.exposure(scene).findings
            told = {
                "epsilon": epsilon, "seed": seed, "bits": found.details["mean exposure in bits"],
                "bits_without_a_leak": found.details["mean without a leak in bits"],
                "proved": found.value, "ledger": found.bound, "verdict": found.verdict,
                "below": found.bound is None or found.value <= found.bound,
            }  # fmt: skip
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "updates":
        updates()
    else:
        exposure([int(seed) for seed in sys.argv[2:]] or [0])

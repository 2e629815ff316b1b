"""What a run leaves behind: the manifest when it begins, the results when it ends."""

from __future__ import annotations

import math
import platform
import resource
import sys
from dataclasses import asdict
from importlib import metadata
from statistics import median
from typing import Any

import numpy as np

from fedstyle_secure.config import Config
from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.federation.state import PlatformState
from fedstyle_secure.galleries.checks import GallerySurvey
from fedstyle_secure.privacy.accounting import epsilon, merge
from fedstyle_secure.privacy.ledger import Entry, Ledger
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.runs import RunFolder, file_sha256, write_arrays, write_json
from fedstyle_secure.style.retrieval import Utility

_PACKAGES = (
    "fedstyle-secure",
    "torch",
    "opacus",
    "flwr",
    "tenseal",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
)


def write_manifest(run: RunFolder, config: Config, survey: GallerySurvey) -> None:
    """Write versions, seeds, hashes, and everything that was left out of the gallery."""
    write_json(
        run.manifest_file,
        {
            "python": platform.python_version(),
            "packages": {name: metadata.version(name) for name in _PACKAGES},
            "seed": config.run.seed,
            "config_sha256": file_sha256(run.config_file),
            "gallery": survey.to_dict(),
        },
    )


def write_results(
    run: RunFolder,
    config: Config,
    plan: Plan,
    artists: tuple[str, ...],
    state: PlatformState,
    found: Utility | None,
) -> dict[str, Any]:
    """Write encoder, prototypes, cards, ledger and, last, the summary that marks the run as finished.

    Args:
        run: Where.
        config: The settings.
        plan: What was to be released.
        artists: The private artists.
        state: The last state.
        found: Its utility.

    Returns:
        The summary.
    """
    names, cards = state.card_matrix()
    write_arrays(run.encoder_file, state.encoder, {"encoder": config.style.encoder})
    partial = run.prototypes_file.with_name("prototypes.partial.npz")
    np.savez(
        partial,
        styles=np.array(state.styles.names),
        prototypes=state.styles.prototypes,
        artists=np.array(names, dtype=np.str_),
        cards=cards,
    )
    partial.replace(run.prototypes_file)
    entries = {artist: _entries(run, artist) for artist in artists}
    exported = {a: None if found is None else [asdict(e) for e in found] for a, found in entries.items()}
    write_json(run.ledger_file, exported)
    summary = {
        "utility": _utility(run, found),
        "privacy": _privacy(config, plan, entries),
        "time": _time(run),
        "encoder_sha256": file_sha256(run.encoder_file),
    }
    write_json(run.summary_file, summary)
    return summary


def _utility(run: RunFolder, found: Utility | None) -> dict[str, Any]:
    # The opening round releases cards under the public encoder: that is the run before any training.
    first = next((line["artist_top1"] for line in run.metrics() if line.get("artist_top1") is not None), None)
    values = asdict(found) if found else dict.fromkeys(Utility.__dataclass_fields__)
    return values | {"baseline_top1": first}


def _entries(run: RunFolder, artist: str) -> tuple[Entry, ...] | None:
    """An artist's ledger; None where no figure can stand on it: it cannot be read, or it lacks a round in
    which the platform did get a release."""
    try:
        entries = Ledger(run.artist_home(artist) / "ledger.jsonl").entries
    except PrivacyError:
        return None
    seen = {line["round"] for line in run.metrics() if artist in line["released_by"]}
    return entries if seen <= {entry.round for entry in entries} else None


def _privacy(config: Config, plan: Plan, spent: dict[str, tuple[Entry, ...] | None]) -> dict[str, Any]:
    delta = config.privacy.delta
    histories = {
        artist: None if entries is None else merge(event for entry in entries for event in entry.events)
        for artist, entries in spent.items()
    }
    costs = {h: math.inf if h is None else epsilon(h, delta) for h in set(histories.values())}
    per_artist = [
        {"artist": artist, "epsilon_artwork": _finite(costs[history]), "epsilon_artist": None}
        for artist, history in histories.items()
    ]
    worst = max(costs.values(), default=0.0)
    return {
        "unit": config.privacy.unit,
        "adjacency": "add-remove",
        "sampling": "poisson",
        "delta": delta,
        "epsilon_artwork_max": _finite(worst),
        "epsilon_artist_max": None,
        "noise_multiplier": {
            "sgd": plan.sgd.noise_multiplier,
            "cards": plan.card.noise_multiplier,
            "prototypes": plan.prototypes.noise_multiplier,
        },
        "per_artist": per_artist,
    }


def _time(run: RunFolder) -> dict[str, float]:
    seconds = [line["seconds"] for line in run.metrics()]
    # ru_maxrss counts kilobytes on Linux and bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "wall_s": max((line["elapsed_s"] for line in run.metrics()), default=0.0),
        "per_round_s": median(seconds) if seconds else 0.0,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }


def _finite(value: float) -> float | None:
    """None where there is no guarantee, as JSON has no infinity."""
    return value if math.isfinite(value) else None

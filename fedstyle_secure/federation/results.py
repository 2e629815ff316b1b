"""What a run leaves behind: the manifest when it begins, the results when it ends."""

from __future__ import annotations

import math
import platform
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from statistics import median
from typing import Any

from fedstyle_secure.config import Config
from fedstyle_secure.fairness import fairness
from fedstyle_secure.federation.probe import Cost, probe
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.sums import RoundSum
from fedstyle_secure.files import file_sha256, write_json
from fedstyle_secure.galleries.canaries import CanaryNote
from fedstyle_secure.privacy.budget import Budget, budget_of
from fedstyle_secure.privacy.ledger import Entry
from fedstyle_secure.privacy.mechanisms import DpSgd, GaussianSum
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.privacy.statement import Accountant
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import AnySystem, State, system_bound

_PACKAGES = (
    "fedstyle-secure",
    "torch",
    "opacus",
    "flwr",
    "tenseal",
    "cryptography",
    "dp-accounting",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
)


def write_manifest(
    run: RunFolder, config: Config, plan: Plan, canaries: CanaryNote, around: Mapping[str, Any]
) -> None:
    """Write versions, seeds, hashes, the solved noise, and what stands around the run.

    Args:
        run: Where.
        config: The settings.
        plan: What is to be released.
        canaries: What may be known of them.
        around: Who takes part, and what is known of them before the first round, as JSON values.
    """
    write_json(
        run.manifest_file,
        {
            "python": platform.python_version(),
            "packages": {name: metadata.version(name) for name in _PACKAGES},
            "seed": config.run.seed,
            "config_sha256": file_sha256(run.config_file),
            "origins": dict(system_bound(config).origins()),
            "noise_scale": plan.scale,
            "audit": _audit(config, canaries),
            **around,
        },
    )


@dataclass(frozen=True)
class History:
    """What one artist released.

    Attributes:
        entries: Of its ledger; None where no figure can stand on it.
        withdrawn: Whether the artist has withdrawn.
    """

    entries: Sequence[Entry] | None
    withdrawn: bool


def write_results(
    run: RunFolder,
    system: AnySystem,
    layouts: Layouts,
    histories: Mapping[str, History],
    state: State,
    canaries: CanaryNote,
    opener: str | None,
) -> None:
    """Write the product, the ledgers and, last, stage the summary.

    Args:
        run: Where.
        system: What was learned.
        layouts: What was to be released.
        histories: By private artist, what it released.
        state: The last state.
        canaries: What may be known of them.
        opener: The opener's public key; None where there is none.
    """
    config, plan = system.config, layouts.plan
    gone = {artist for artist, history in histories.items() if history.withdrawn}
    told = {"system": system.name, "canaries": str(canaries.number)}
    system.forget(state, gone).save(run.product_file, told=told)
    entries = {artist: history.entries for artist, history in histories.items()}
    exported = {a: None if found is None else [e.to_dict() for e in found] for a, found in entries.items()}
    write_json(run.ledger_file, exported)
    withdrawn = {artist: history.withdrawn for artist, history in histories.items()}
    summary = statement(run, system, plan, entries, withdrawn, canaries)
    sums = (layouts.summed(number) for number in range(plan.rounds))
    wanted = next((found for found in sums if found is not None), None)
    summary["secure_sum"] |= _cost(config, summary["secure_sum"]["smallest_cohort"], wanted)
    summary["secure_sum"]["opener"] = opener
    summary["time"]["peak_rss_mb"] = _peak_rss_mb()
    run.stage(summary)


def statement(
    run: RunFolder,
    system: AnySystem,
    plan: Plan,
    histories: Mapping[str, Sequence[Entry] | None],
    withdrawn: Mapping[str, bool],
    canaries: CanaryNote,
) -> dict[str, Any]:
    """The part of a summary that follows from the run's other files, so that anybody can make it again.

    Args:
        run: All its rounds are done, and the product is written.
        system: What was learned.
        plan: What was to be released.
        histories: By private artist, everything it ever released; None where no figure can stand on it.
        withdrawn: Who has withdrawn.
        canaries: What may be known of them.
    """
    config = system.config
    return {
        "system": system.name,
        "utility": _utility(run, system),
        "privacy": _privacy(run, config, plan, histories, withdrawn),
        "secure_sum": _secure_sum(config, run),
        "time": _time(run),
        "audit": _audit(config, canaries),
        "product_sha256": file_sha256(run.product_file),
    }


def _utility(run: RunFolder, system: AnySystem) -> dict[str, Any]:
    """The system's figures, and the headline artist by artist where its meter says so."""
    lines = run.metrics()
    found = system.utility(lines)
    works = {row["artist"]: row["train"] for row in run.manifest()["gallery"]["artists"]}
    headline = system.words.headline(found)
    fair = fairness(lines, works, headline.key if headline else None)
    return found if fair is None else found | {"fairness": fair}


def _audit(config: Config, canaries: CanaryNote) -> dict[str, Any]:
    return {"record": list(config.audit.record), "canaries": canaries.to_dict()}


def _privacy(
    run: RunFolder,
    config: Config,
    plan: Plan,
    histories: Mapping[str, Sequence[Entry] | None],
    withdrawn: Mapping[str, bool],
) -> dict[str, Any]:
    accountant = Accountant(config.privacy.delta)
    budget = budget_of(config.privacy)
    rows = {
        artist: _spent(run, accountant, budget, entries) | {"withdrawn": withdrawn[artist]}
        for artist, entries in histories.items()
    }
    by_artist = plan.shared is not None
    return {
        "unit": config.privacy.unit,
        "adjacency": "add-remove",
        "sampling": "poisson",
        "delta": config.privacy.delta,
        "epsilon_artwork_max": _worst(row["epsilon_artwork"] for row in rows.values()),
        "epsilon_artist_max": _worst(row["epsilon_artist"] for row in rows.values()) if by_artist else None,
        "budget_epsilon": None if math.isinf(budget.epsilon) else budget.epsilon,
        "noise_multiplier": _noise(plan),
        "per_artist": [{"artist": artist} | row for artist, row in rows.items()],
    }


def _spent(
    run: RunFolder, accountant: Accountant, budget: Budget, entries: Sequence[Entry] | None
) -> dict[str, Any]:
    """An artist's figures: of this run, and over everything that it ever released."""
    if entries is None:
        keys = ("epsilon_artwork", "epsilon_artist", "lifetime_epsilon_artwork", "lifetime_epsilon_artist")
        return dict.fromkeys(keys) | {"budget_left": 0.0}
    ours = [entry for entry in entries if entry.run == run.identity]
    return {
        "epsilon_artwork": _finite(accountant.spent(ours, "artwork")),
        "epsilon_artist": _finite(accountant.spent(ours, "artist")),
        "lifetime_epsilon_artwork": _finite(accountant.spent(entries, "artwork")),
        "lifetime_epsilon_artist": _finite(accountant.spent(entries, "artist")),
        "budget_left": _finite(budget.left(accountant.spent(entries, budget.unit))),
    }


def _noise(plan: Plan) -> dict[str, float]:
    if plan.shared is not None:
        return {"sum": plan.shared.noise.noise_multiplier}
    # Counts have discrete Laplace noise; its parameter is in the ledger.
    return {
        kind.setting.removeprefix("share."): kind.mechanism.noise_multiplier
        for kind in plan.kinds.values()
        if isinstance(kind.mechanism, DpSgd | GaussianSum)
    }


def _worst(values: Iterable[float | None]) -> float | None:
    """The largest; None, as there is no guarantee for all, where one of them is None."""
    known = list(values)
    return None if None in known else max((v for v in known if v is not None), default=0.0)


def _secure_sum(config: Config, run: RunFolder) -> dict[str, Any]:
    sums = [line["sum"] for line in run.metrics() if line["sum"] and line["sum"]["artists"]]
    cohort = min((found["artists"] for found in sums), default=None)
    sent = [found["upload_bytes"] for found in sums]
    return {
        "enabled": config.secure_sum.enabled,
        "openings": len(sums),
        "smallest_cohort": cohort,
        "upload_bytes": max(sent, default=None),
        "run_bytes": sum(found["upload_bytes"] * found["artists"] for found in sums),
    }


def _cost(config: Config, cohort: int | None, wanted: RoundSum | None) -> dict[str, Any]:
    cost = probe(wanted.terms, cohort, config.run.seed) if wanted is not None and cohort else None
    return asdict(cost) if cost else dict.fromkeys(Cost.__dataclass_fields__)


def _time(run: RunFolder) -> dict[str, float]:
    seconds = [line["seconds"] for line in run.metrics()]
    return {
        "wall_s": max((line["elapsed_s"] for line in run.metrics()), default=0.0),
        "per_round_s": median(seconds) if seconds else 0.0,
    }


def _peak_rss_mb() -> float:
    # ru_maxrss counts kilobytes on Linux and bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _finite(value: float) -> float | None:
    """None where there is no guarantee, as JSON has no infinity."""
    return value if math.isfinite(value) else None

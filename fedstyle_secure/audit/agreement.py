"""Whether a run's files say what its settings make of them: plan, releases, signed sums, summary.

Everything here is made again from `config.toml` and what lies beside it, and compared. Files that were edited
together can agree with one another; what the opener signed cannot be edited.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError, FedStyleError
from fedstyle_secure.federation.record import read_rounds, record_file
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.files import arrays_digest, read_arrays
from fedstyle_secure.galleries.canaries import canary_artists
from fedstyle_secure.privacy.accounting import epsilon
from fedstyle_secure.privacy.gate import told
from fedstyle_secure.privacy.ledger import Entry
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.secure_sum.manifest import Manifest
from fedstyle_secure.system import State, plan_of, system_bound

_AGREES = 1e-3
"""How far an epsilon may lie from a stated one: accountants of other versions differ in their numerics."""

_SOLVED = 0.01
"""How far below its target a plan may cost: twice what solving for it allows."""


def private_artists(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The gallery's private artists, as a run's manifest lists them."""
    return tuple(row["artist"] for row in manifest["gallery"]["artists"] if not row["public"])


def stated_plan(run: RunFolder, config: Config, manifest: Mapping[str, Any]) -> Plan:
    """The plan that follows from the settings, at the noise scale that the manifest states.

    Raises:
        AuditError: The settings have no plan, or not this one.
    """
    scale = manifest["noise_scale"]
    if type(scale) not in (int, float) or not 0 <= scale < math.inf:
        raise AuditError(f"{run.manifest_file}: noise_scale {str(scale)[:40]} is none")
    artists = private_artists(manifest)
    solved = config.privacy.dp == "on" and config.privacy.noise_multiplier == "auto"
    target = spent = config.privacy.target_epsilon
    try:
        plan = plan_of(config, len(artists) + len(canary_artists(config, artists)), scale=scale)
        if solved:
            spent = epsilon(plan.events(), config.privacy.delta)
    except (FedStyleError, ArithmeticError, ValueError) as error:
        raise AuditError(f"{run.config_file}: has no plan: {error}") from None
    if plan.scale != scale or not (1 - _SOLVED) * target <= spent <= (1 + _AGREES) * target:
        raise AuditError(
            f"{run.manifest_file}: noise_scale {scale:.6g} is not that of config.toml: "
            + (f"all releases would cost epsilon {spent:.4g}" if solved else f"that is {plan.scale:.6g}")
        )
    return plan


def layouts_of(run: RunFolder, config: Config, plan: Plan, manifest: Mapping[str, Any]) -> Layouts:
    """What the rounds of a run look like.

    Raises:
        RunError: The product's file is damaged.
        AuditError: The product is not of the kind that the settings say.
    """
    state, system = State.load(run.product_file), system_bound(config)
    artists = private_artists(manifest)
    length = len(artists) + len(canary_artists(config, artists))
    try:
        system.admit(state, length)
        system.model(state)
        return Layouts(config, plan, system.forms(state), length)
    except (FedStyleError, KeyError, ValueError, RuntimeError) as error:
        raise AuditError(f"{run.product_file}: is no product of config.toml: {error}") from None


def require_planned(run: RunFolder, layouts: Layouts, artist: str, entries: Sequence[Entry]) -> None:
    """Check that an artist released for this run what the plan has for it, by the plan's mechanisms.

    Args:
        run: The run.
        layouts: Of the run.
        artist: Whose entries they are.
        entries: What its ledger holds, of other runs too.

    Raises:
        AuditError: A release is not the plan's, occurs twice, or lacks those that it was made with.
    """
    where = f"{run.ledger_file}: artist {artist!r}"
    system, plan = system_bound(layouts.config), layouts.plan
    rounds: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.run == run.identity:
            rounds[entry.round].append(entry)
    # Where the sum was not opened, or not of all who answered, nothing may have been offered to this artist.
    whole = {
        line["round"]
        for line in run.metrics()
        if line["sum"] and line["sum"]["artists"] == len(line["released_by"])
    }
    for number, released in rounds.items():
        planned = {
            name: mechanism
            for name, mechanism in layouts.mechanisms(number).items()
            if name not in plan.kinds
            or plan.kinds[name].leaves != "named"
            or system.publishes(plan.kinds[name], artist)
        }
        kinds = [entry.kind for entry in released]
        must = {name for name in planned if name not in plan.kinds or not plan.kinds[name].optional}
        if number not in whole:
            must -= layouts.summed_kinds(number)
        if len(kinds) != len(set(kinds)) or not must <= set(kinds) <= planned.keys():
            raise AuditError(
                f"{where}: round {number} has the releases {', '.join(map(str, kinds))}, and the plan has "
                f"{', '.join(planned) or 'none'}"
            )
        for entry in released:
            for name, value in told(planned[entry.kind]).items():
                if getattr(entry, name) != value:
                    raise AuditError(
                        f"{where}: round {number}, {entry.kind}: {name} is {_short(getattr(entry, name))}, "
                        f"and the settings' plan has {_short(value)}"
                    )


def require_terms(run: RunFolder, layouts: Layouts, manifests: Sequence[Manifest]) -> None:
    """Check that the opener signed the terms that follow from the settings.

    Raises:
        AuditError: It signed others; names the round and the term.
    """
    for manifest in manifests:
        where = f"{run.transcript_file}: round {manifest.round}"
        wanted = layouts.summed(manifest.round) if manifest.round < layouts.plan.rounds else None
        if wanted is None:
            raise AuditError(f"{where}: was opened, and by config.toml nothing is summed in it")
        found = first_difference(wanted.terms.to_json(), manifest.terms.to_json(), 0.0)
        if found is not None:
            key, made, signed = found
            raise AuditError(
                f"{where}: the opener signed {key} = {_short(signed)}, and config.toml makes it "
                f"{_short(made)}"
            )


def require_recorded(run: RunFolder, plan: Plan, histories: Mapping[str, Sequence[Entry] | None]) -> None:
    """Check that what never changes is the product's, that there is a line of metrics a round, and that each
    release that was recorded in clear is the one of which the artist's ledger has the digest.

    Raises:
        RunError: A file is damaged.
        AuditError: It is another one; names file, round and artist.
    """
    fixed, _ = read_arrays(run.fixed_file)
    if arrays_digest(fixed) != State.load(run.product_file).fixed_digest:
        raise AuditError(f"{run.fixed_file}: is not the fixed part of {run.product_file.name}")
    numbers = [line["round"] for line in run.metrics()]
    if numbers != list(range(plan.rounds)):
        raise AuditError(f"{run.metrics_file}: has lines of the rounds {_short(numbers)}, not one a round")
    if run.config().audit.record == ("none",):
        return
    for number, recorded in zip(numbers, read_rounds(run), strict=True):
        if recorded.sent.round != number:
            raise AuditError(f"{record_file(run.record_folder, number)}: holds another round's record")
        for artist, reply in recorded.replies.items():
            history = histories.get(artist)
            if history is None:
                continue
            stated = {e.kind: e.digest for e in history if (e.run, e.round) == (run.identity, number)}
            for kind, arrays in reply.arrays.items():
                if stated.get(kind) != arrays_digest(arrays):
                    raise AuditError(
                        f"{record_file(run.record_folder, number)}: artist {artist!r}: {kind} is not what "
                        "ledger.json has the digest of"
                    )


def require_summary(run: RunFolder, expected: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Check that a summary says what the run's other files make of it.

    Raises:
        AuditError: It says something else; names the key.
    """
    budget = expected["privacy"]["budget_epsilon"] or 0.0
    found = first_difference(expected, summary, budget)
    if found is not None:
        key, made, stated = found
        raise AuditError(
            f"{run.summary_file}: {key} is {_short(stated)}, and the run's other files make it {_short(made)}"
        )


def first_difference(expected: Any, stated: Any, budget: float, key: str = "") -> tuple[str, Any, Any] | None:
    """The first key, and what was expected and stated there; None where all that is expected is stated.

    Epsilons may differ as accountants do, and what is left of a `budget` by as much as its epsilon may; all
    else must be equal. What is stated beside it is not looked at.
    """
    if isinstance(expected, Mapping) and isinstance(stated, Mapping):
        pairs = [(name, value, stated.get(name)) for name, value in expected.items()]
    elif isinstance(expected, list) and isinstance(stated, list) and len(expected) == len(stated):
        pairs = [(str(i), *pair) for i, pair in enumerate(zip(expected, stated, strict=True))]
    else:
        name = key.rpartition(".")[2]
        numbers = type(expected) is float and type(stated) in (int, float)
        spread = _AGREES * budget if name == "budget_left" else 0.0
        near = numbers and math.isclose(
            expected, stated, rel_tol=_AGREES if "epsilon" in name else 0.0, abs_tol=spread
        )
        same = type(expected) is type(stated) and expected == stated
        return None if near or same else (key, expected, stated)
    found = (first_difference(a, b, budget, f"{key}.{name}".lstrip(".")) for name, a, b in pairs)
    return next((difference for difference in found if difference is not None), None)


def _short(value: object) -> str:
    return str(value)[:200]

"""Where an artist's policy and a run's settings meet: the run is taken as it is, or declined.

What all sides must share (noise, clip, cohort, the settings' digest) cannot be changed by one of them, so a
run that goes too far there is declined. What an artist does by itself (counting epsilon, publishing a card)
is tightened, by `privacy.limits` at the artist's gate. Nothing of a policy is ever loosened by a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedstyle_secure.config import Config
from fedstyle_secure.consent.uses import Purpose
from fedstyle_secure.errors import PolicyDeclined
from fedstyle_secure.federation.sums import is_summed
from fedstyle_secure.names import EVERYONE, NOBODY
from fedstyle_secure.privacy.budget import Budget, budget_of
from fedstyle_secure.privacy.kinds import SUM, Kind
from fedstyle_secure.privacy.ledger import Ledger, costs
from fedstyle_secure.privacy.limits import Limits, Reason
from fedstyle_secure.privacy.mechanisms import ArtistSum, DpSgd, GaussianSum, Mechanism, NoisyCounts
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.registry import settings_named, system_named
from fedstyle_secure.sites.policy import Policy


@dataclass(frozen=True)
class Declined:
    """One thing that a policy forbids a run.

    Attributes:
        reason: Its number.
        key: Of the policy.
        text: What the run asks for, and what would be allowed.
    """

    reason: Reason
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


@dataclass(frozen=True)
class Meeting:
    """What an artist does in a run.

    Attributes:
        config: The run's settings, without places: none on the artist's disk follows from a run.
        limits: What the artist's gate holds to besides.
        tightened: Keys of the policy by which the artist gives less than the run asks for.
    """

    config: Config
    limits: Limits
    tightened: tuple[str, ...]


def meet(policy: Policy, config: Config, plan: Plan) -> Meeting:
    """What an artist with this policy does in a run.

    Args:
        policy: The artist's.
        config: The run's settings, as they came.
        plan: Solved from them by the artist itself.

    Raises:
        PolicyDeclined: The policy forbids the run; says the first thing of `declined`.
    """
    for one in declined(policy, config, plan):
        raise PolicyDeclined(one.reason, str(one))
    flat = config.to_flat() | dict.fromkeys(config.places, "")
    limits = _limits(policy, config, plan)
    return Meeting(Config.from_flat(flat), limits, tuple(_tightened(policy, config, plan, limits)))


@dataclass(frozen=True)
class Foreseen:
    """What would become of a run.

    Attributes:
        declined: What the policy forbids it; empty: nothing.
        tightened: As of `Meeting`.
    """

    declined: tuple[Declined, ...]
    tightened: tuple[str, ...]


def foresee(policy: Policy, config: Config, plan: Plan, ledger: Path | None = None) -> Foreseen:
    """What would become of a run, before it begins.

    Args:
        policy, config, plan: As of `meet`.
        ledger: The artist's, to count what was released before; None: nothing is known of it.

    Raises:
        PrivacyError: The ledger is damaged.
    """
    found, limits = declined(policy, config, plan), _limits(policy, config, plan)
    before = () if ledger is None else Ledger(ledger).entries
    spent = costs(before, config.privacy.unit)
    left = limits.lifetime.covers(None if spent is None else [*spent, *plan.events()])
    if not left and all(one.reason != Reason.EPSILON_LIFETIME for one in found):
        text = (
            "with what was released before, the run would cost more than epsilon "
            f"{limits.lifetime.epsilon:g} at delta {limits.lifetime.delta:g}: the rounds beyond that"
        )
        found += (Declined(Reason.EPSILON_LIFETIME, "privacy.max_epsilon_lifetime", text),)
    return Foreseen(found, tuple(_tightened(policy, config, plan, limits)))


def declined(policy: Policy, config: Config, plan: Plan) -> tuple[Declined, ...]:
    """Everything that a policy forbids a run, worst first. Arguments as of `meet`."""
    private = guaranteed(config, plan)
    found = [*_use(policy, config), *_leaving(policy, config, plan), *_recorded(policy, config)]
    if private:
        found += _cost(policy, config, plan)
    elif policy.privacy.dp == "required":
        found.append(
            Declined(
                Reason.NO_GUARANTEE,
                "privacy.dp",
                f"the run gives no guarantee (privacy.dp = {config.privacy.dp!r}, privacy.noise_multiplier = "
                f"{config.privacy.noise_multiplier!r}), and one is required",
            )
        )
    return tuple(sorted(found, key=lambda one: one.reason))


def guaranteed(config: Config, plan: Plan) -> bool:
    """Whether everything that leaves an artist has a cost: it is clipped, and there is noise."""
    events = [mechanism.event(config.privacy.unit) for mechanism in _mechanisms(plan).values()]
    clipped = all(math.isfinite(m.sensitivity("add-remove")) for m in _mechanisms(plan).values())
    return clipped and all(event is not None and not event.noiseless for event in events)


def _use(policy: Policy, config: Config) -> Iterator[Declined]:
    """What the works are used for."""
    allow, system = policy.allow, config.run.system
    if system not in allow.systems:
        yield Declined(
            Reason.SYSTEM,
            "allow.systems",
            f"the run is of the system {system!r}, not of {_any(allow.systems)}",
        )
    purpose: Purpose = system_named(system).purpose
    if purpose not in allow.purposes:
        yield Declined(
            Reason.PURPOSE,
            "allow.purposes",
            f"the system {system!r} is for {purpose}, not for {_any(allow.purposes)}",
        )


def _cost(policy: Policy, config: Config, plan: Plan) -> Iterator[Declined]:
    """What may be found out, of a run with a guarantee."""
    allow = policy.privacy
    if config.privacy.unit not in allow.units:
        yield Declined(
            Reason.UNIT,
            "privacy.units",
            f"the guarantee is for one {config.privacy.unit}, not for one {_any(allow.units)}",
        )
    for name, mechanism in _mechanisms(plan).items():
        noise = noise_multiplier(mechanism)
        if noise < allow.min_noise_multiplier:
            yield Declined(
                Reason.NOISE,
                "privacy.min_noise_multiplier",
                f"{name!r} has noise of {noise:.3g}, and {allow.min_noise_multiplier:g} is the least",
            )
    for reason, key, budget in (
        (Reason.EPSILON_RUN, "privacy.max_epsilon_run", _budget(policy, config, allow.max_epsilon_run)),
        (
            Reason.EPSILON_LIFETIME,
            "privacy.max_epsilon_lifetime",
            _budget(policy, config, allow.max_epsilon_lifetime),
        ),
    ):
        if not budget.covers(plan.events()):
            yield Declined(
                reason,
                key,
                f"all releases of the run together cost more than epsilon {budget.epsilon:g} at delta "
                f"{budget.delta:g} per {budget.unit}",
            )
    if clip_norm(config, plan) > allow.max_clip_norm:
        yield Declined(
            Reason.CLIP,
            "privacy.max_clip_norm",
            f"privacy.clip_norm = {config.privacy.clip_norm:g}, and {allow.max_clip_norm:g} is the most",
        )


def _leaving(policy: Policy, config: Config, plan: Plan) -> Iterator[Declined]:
    """How often something leaves, and how it does."""
    if len(plan.sums) > policy.privacy.max_rounds:
        yield Declined(
            Reason.ROUNDS,
            "privacy.max_rounds",
            f"something leaves in {len(plan.sums)} rounds, and {policy.privacy.max_rounds} are the most",
        )
    for name in _kinds_of_nothing(policy, plan):
        yield Declined(
            Reason.CLEAR,
            "sum.required",
            f"{name!r} is no kind of release of {_any(policy.allow.systems)}, so what was meant might leave "
            "in clear",
        )
    kinds = [kind for kind in plan.kinds.values() if kind.rounds]
    for kind in kinds:
        named = kind.leaves == "named" and plan.shared is None
        if policy.sum.covers(kind.name) and not named and not is_summed(config, plan, kind):
            yield Declined(
                Reason.CLEAR, "sum.required", f"{kind.name!r} would leave without an encrypted sum"
            )
        if kind.count and kind.least < policy.sum.min_contributors:
            yield Declined(
                Reason.CONTRIBUTORS,
                "sum.min_contributors",
                f"{kind.name!r} is used from {kind.least} artists on, and {policy.sum.min_contributors} are "
                "the fewest",
            )
    fewest = smallest_cohort(config, plan)
    if fewest is not None and fewest < policy.sum.min_cohort:
        yield Declined(
            Reason.COHORT,
            "sum.min_cohort",
            f"a sum may have {fewest} artists, and {policy.sum.min_cohort} are the fewest",
        )
    known = colluders(plan)
    if known is not None and known < policy.sum.min_colluders:
        yield Declined(
            Reason.COLLUDERS,
            "sum.min_colluders",
            f"the run reckons with {known} artists who tell their noise, and {policy.sum.min_colluders} are "
            "the fewest",
        )


def _kinds_of_nothing(policy: Policy, plan: Plan) -> list[str]:
    """Names that the policy wants summed and that no system has that it allows, such as misspelt ones."""
    if {EVERYONE, NOBODY} & set(policy.sum.required):
        return []
    missing = sorted(set(policy.sum.required) - set(plan.kinds))
    if not missing:  # The others need not be loaded, which takes seconds.
        return []
    known = {k.name for s in policy.allow.systems for k in system_named(s)(settings_named(s)()).kinds()}
    return [name for name in missing if name not in known]


def _recorded(policy: Policy, config: Config) -> Iterator[Declined]:
    """What is kept or planted for auditors."""
    if config.audit.canaries and not policy.record.canaries:
        yield Declined(
            Reason.CANARIES,
            "record.canaries",
            f"audit.canaries = {config.audit.canaries} records are planted",
        )
    if config.audit.record != (NOBODY,) and not policy.record.messages:
        yield Declined(
            Reason.RECORD,
            "record.messages",
            f"audit.record = {config.audit.record.to_text()}: the platform keeps messages",
        )


def clip_norm(config: Config, plan: Plan) -> float:
    """What a gradient of an artwork, or an update of an artist, is cut to."""
    updates = [
        k.mechanism.clip_norm for k in plan.kinds.values() if isinstance(k.mechanism, DpSgd) and k.rounds
    ]
    # Where the unit is the artist, kinds are cut together, and have no clip of their own.
    return config.privacy.clip_norm if plan.shared is not None else max(updates, default=0.0)


def noise_multiplier(mechanism: Mechanism) -> float:
    """Deviation of the noise of a release (of the whole sum, where artists share it) over what one unit moves
    in it."""
    if isinstance(mechanism, ArtistSum):
        return mechanism.noise.noise_multiplier
    if isinstance(mechanism, DpSgd | GaussianSum):
        return mechanism.noise_multiplier
    if isinstance(mechanism, NoisyCounts):
        return mechanism.deviation / mechanism.sensitivity("add-remove")
    return 0.0


def smallest_cohort(config: Config, plan: Plan) -> int | None:
    """Fewest artists that any encrypted sum of a run may have; None where there is none."""
    rounds = [
        [kind for kind in plan.of_round(number) if is_summed(config, plan, kind)] for number in plan.sums
    ]
    return min((max(_cohort(plan, kind) for kind in kinds) for kinds in rounds if kinds), default=None)


def _cohort(plan: Plan, kind: Kind) -> int:
    if plan.shared is not None:
        return plan.shared.cohort
    return max(kind.least, kind.shared.cohort if kind.shared is not None else 2)


def colluders(plan: Plan) -> int | None:
    """Artists whose noise others may know while that of every sum is enough; None where none is shared."""
    if plan.shared is not None:
        return plan.shared.cohort - plan.shared.noise.honest
    shares = [kind.shared for kind in plan.kinds.values() if kind.rounds and kind.shared is not None]
    return min((shared.cohort - shared.honest for shared in shares), default=None)


def _mechanisms(plan: Plan) -> dict[str, Mechanism]:
    """The mechanism of everything that leaves, by kind."""
    if plan.shared is not None:
        return {SUM: plan.shared}
    return {kind.name: kind.mechanism for kind in plan.kinds.values() if kind.rounds}


def _budget(policy: Policy, config: Config, most: float) -> Budget:
    return Budget(most, policy.privacy.max_delta, config.privacy.unit)


def _limits(policy: Policy, config: Config, plan: Plan) -> Limits:
    rounds = {name: len(plan.sums if name == SUM else plan.rounds_of(name)) for name in _mechanisms(plan)}
    named = frozenset(name for name in rounds if name != SUM and plan.kinds[name].leaves == "named")
    most = policy.card.max_releases if policy.card.publish else 0
    private = guaranteed(config, plan)
    return Limits(
        policy=policy.digest(),
        run=_budget(policy, config, policy.privacy.max_epsilon_run if private else math.inf),
        lifetime=_budget(policy, config, policy.privacy.max_epsilon_lifetime if private else math.inf),
        releases_a_day=policy.privacy.max_releases_a_day,
        kinds={name: min(often, most) if name in named else often for name, often in rounds.items()},
        named=named,
    )


def _tightened(policy: Policy, config: Config, plan: Plan, limits: Limits) -> Iterator[str]:
    own = budget_of(config.privacy)
    if limits.lifetime.epsilon < own.epsilon:
        yield "privacy.max_epsilon_lifetime"
    if limits.lifetime.delta < own.delta:
        yield "privacy.max_delta"
    if any(limits.kinds[name] < len(plan.rounds_of(name)) for name in limits.named):
        yield "card.max_releases" if policy.card.publish else "card.publish"


def _any(names: tuple[str, ...]) -> str:
    return " or ".join(map(repr, names)) or "anything"

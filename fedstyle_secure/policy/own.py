"""A policy held against an audit of somebody's own model, and the way from a folder to its gate."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import cast

from fedstyle_secure.audit.own import is_own_audit
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.hints import did_you_mean
from fedstyle_secure.policy.checks import (
    AttackLimits,
    EpsilonLimits,
    Evidence,
    Gate,
    Policy,
    checks,
    key_lines,
    load_policy,
)
from fedstyle_secure.privacy.figures import epsilon_told
from fedstyle_secure.report.held import Check, Held
from fedstyle_secure.report.own.facts import OwnFacts, read_own_facts
from fedstyle_secure.report.run.facts import Facts

_NO_RUN = "this is an audit of somebody's own model, which has none"


def hold(
    path: Path | str, policy: Path | str, opener: str | None = None, studios: Path | None = None
) -> Held:
    """Hold a run, or an own audit, against a policy, for its report. Args and raises as `all_checks`."""
    _, asked = load_policy(Path(policy))
    pinned = asked.evidence.opener if asked.evidence else None
    return Held(Path(policy), all_checks(path, policy, opener, studios), pinned)


def all_checks(
    path: Path | str, policy: Path | str, opener: str | None = None, studios: Path | None = None
) -> list[Check]:
    """Everything that a policy asks of a run, or of an own audit, met or not.

    Args:
        path: The folder of a run, or one that an `attacks` audit wrote.
        policy: The policy's file.
        opener: Of a run: the opener's public key.
        studios: Of a run: where the artists' own ledgers lie.

    Raises:
        ConfigError: The policy cannot be read, or asks for nothing.
        RunError, AuditError: The folder is none, or was edited.
    """
    folder = Path(path)
    if not is_own_audit(folder):
        return checks(path, policy, opener, studios)
    if opener or studios:
        raise ConfigError(f"{folder}: an own audit has no opener and no studios; name none")
    text, asked = load_policy(Path(policy))
    return list(_OwnGate(read_own_facts(folder), Path(policy), text).all(asked))


class _OwnGate(Gate):
    """Asks one own audit what one policy asks."""

    def __init__(self, facts: OwnFacts, policy: Path, text: str) -> None:
        # What a policy asks of attacks stands in findings, which both have.
        super().__init__(cast(Facts, facts), policy, key_lines(text))
        self._own = facts

    def all(self, policy: Policy) -> Iterable[Check]:
        yield from super().all(policy)
        for check in self._own.checks:
            lax = policy.attacks is not None and policy.attacks.allow_inconclusive
            problem = check["says"] if check["holds"] is False or (check["holds"] is None and not lax) else ""
            yield self._check("attacks", subject=check["name"], problem=problem)

    @property
    def _system(self) -> str:
        return ""

    def _elsewhere(self, attack: str, known: Collection[str]) -> str:
        return f"the audit knows no such attack{did_you_mean(attack, sorted(known))}"

    def _evidence(self, asked: Evidence) -> Iterable[Check]:
        for key in ("own_ledgers", "signed", "opener"):
            if getattr(asked, key):
                yield self._check("evidence", key, subject="audit", problem=_NO_RUN)

    def _consent(self) -> Iterable[Check]:
        yield self._check(
            "consent", "allow_withdrawn", subject="audit", problem="nobody can tell: " + _NO_RUN
        )

    def _epsilon(self, limits: EpsilonLimits) -> Iterable[Check]:
        claim = self._own.claim
        epsilon = None if claim is None else claim["epsilon"]
        for key in ("artwork", "artist", "lifetime_artwork", "lifetime_artist"):
            limit = getattr(limits, key)
            if limit is None:
                continue
            problem = "an own audit knows the claim for one record in one training only"
            if key == "artwork":
                problem = "nothing is claimed" if epsilon is None else ""
                if epsilon is not None and epsilon > limit:
                    problem = f"{epsilon_told(epsilon)} is claimed, above {limit:g}"
            yield self._check("epsilon", key, subject="claim", problem=problem)
        delta = None if claim is None else claim["delta"]
        if delta is not None:
            problem = f"{delta:g} is above {limits.delta:g}" if delta > limits.delta else ""
            yield self._check("epsilon", "delta", subject="claim", problem=problem)

    def _reach(self, limits: AttackLimits) -> Iterable[Check]:
        ran = [finding for finding in self._own.findings if finding.value is not None]
        yield self._check("attacks", subject="audit", problem="" if ran else "ran no attack")
        # A figure of one picture has no interval; an interval of no stated confidence is worth nothing.
        bounded = [finding for finding in ran if finding.low is not None or finding.high is not None]
        low = min((finding.confidence or 0.0 for finding in bounded), default=1.0)
        problem = f"has intervals of confidence {low:g}" if low < limits.min_confidence else ""
        yield self._check("attacks", "min_confidence", subject="audit", problem=problem)

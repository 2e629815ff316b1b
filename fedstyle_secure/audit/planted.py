"""What the run's canaries prove about epsilon, as a finding."""

from __future__ import annotations

import math
import time

from attacks.bounds import Bound
from attacks.references import Cited
from fedstyle_secure.audit.canaries import audit_canaries
from fedstyle_secure.audit.findings import PROVEN, Finding, Verdict
from fedstyle_secure.audit.measures import AttackCard, Outcome
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.errors import AuditError

CANARIES = AttackCard(
    "canaries", "Lower bound on epsilon from canaries",
    "Looks for records that an auditor planted by fair coins, and proves what is given away at least.",
    "membership inference", "L1", "artwork", PROVEN,
    (
        Cited("steinke2023", "many canaries in one run, each by its own coin", "theorem 5.2"),
        Cited("nasr2023", "canaries of the worst kind, and the bound for Gaussian noise"),
    ),
)  # fmt: skip


def canaries(scene: Scene) -> Outcome:
    """A row a bound. It leaks where something is proved to be given away, be it within the guarantee.

    A bound far below the ledger's epsilon shows nothing about safety: planted records are few.
    """
    if not scene.config.audit.canaries:
        raise AuditError("the run holds no canaries (audit.canaries)")
    started = time.perf_counter()
    found = audit_canaries(scene.run, scene.settings.confidence)
    if not found.bounds:
        raise AuditError("all coins fell alike, so there is nothing to tell apart")
    allowed = found.accounted if math.isfinite(found.accounted) else None

    def verdict(epsilon: float) -> Verdict:
        return "leaks" if epsilon > 0 else "not broken by this attack"

    def told(bound: Bound) -> str:
        proved = "proved of planted records, which are easier to tell than pictures, and holds if "
        return "; ".join((proved + bound.assumption, *found.notes))

    return Outcome(
        tuple(
            Finding(
                view="", attack=CANARIES.name, target="all", unit=found.unit, metric=PROVEN,
                value=bound.epsilon, low=bound.epsilon, high=None, confidence=bound.confidence,
                n=len(found.scores), baseline=0.0, bound=allowed, verdict=verdict(bound.epsilon),
                seconds=time.perf_counter() - started, seed=scene.settings.seed, level=CANARIES.level,
                category=CANARIES.category, reason=told(bound),
                method=f"{bound.method}, delta {bound.delta:g}, {bound.adjacency} neighbours",
                budget=f"{len(found.scores)} {found.kind} canaries", details={"delta": bound.delta},
            )
            for bound in found.bounds
        )
    )  # fmt: skip

"""Attacks and probes for anyone's torch model. Knows nothing of fedstyle_secure.

One call each, which gives an `Audit` that prints in three lines and writes a report:
    audit_model       a torch module, with what it was trained on and what not
    audit_update      what a federated client sent, under any optimiser that its framework has
    audit_private     a DP training that is not ours: its rows, its bound, its sampling, its canaries
    audit_scores      scores of anything, in arrays or a file
    plant             canaries for a training of one's own
    AuditedEngine     Opacus' PrivacyEngine with canaries in it
    capture_mod, keep_updates, captured   what goes over a Flower app's wire

The attacks themselves: `lira`, `rmia`, `fit_quantile` and thresholds on arrays; `strong_inversion` on an
update; `one_run_epsilon` and `clopper_pearson_epsilon` on canaries. Whether a figure counts: `replay_update`,
`probe_sensitivity`, `probe_rows`, `auc`, `tpr_at_fpr`. Importing the package loads nothing but this.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attacks.auditing.audit import Audit
    from attacks.auditing.findings import Claim
    from attacks.auditing.flower import capture_mod, captured, keep_updates
    from attacks.auditing.model import audit_model
    from attacks.auditing.planted import Planted, plant
    from attacks.auditing.private import Drawn, audit_private
    from attacks.auditing.private_engine import AuditedEngine
    from attacks.auditing.scores import audit_scores
    from attacks.auditing.update import audit_update
    from attacks.errors import AttackError
    from attacks.inversion.race import strong_inversion
    from attacks.membership.lira import lira
    from attacks.membership.quantile import fit_quantile
    from attacks.membership.rmia import rmia
    from attacks.membership.scores import References, evaluate_membership
    from attacks.observation import LocalTraining, Observation, difference
    from attacks.one_run import one_run_epsilon
    from attacks.preflight import replay as replay_update
    from attacks.roc import auc, tpr_at_fpr
    from attacks.rows import probe_rows
    from attacks.sensitivity import probe_sensitivity
    from attacks.two_worlds import clopper_pearson_epsilon

_INDEX = {
    "AttackError": "attacks.errors",
    "Audit": "attacks.auditing.audit",
    "AuditedEngine": "attacks.auditing.private_engine",
    "Claim": "attacks.auditing.findings",
    "Drawn": "attacks.auditing.private",
    "LocalTraining": "attacks.observation",
    "Observation": "attacks.observation",
    "Planted": "attacks.auditing.planted",
    "References": "attacks.membership.scores",
    "auc": "attacks.roc",
    "audit_model": "attacks.auditing.model",
    "audit_private": "attacks.auditing.private",
    "audit_scores": "attacks.auditing.scores",
    "audit_update": "attacks.auditing.update",
    "capture_mod": "attacks.auditing.flower",
    "captured": "attacks.auditing.flower",
    "clopper_pearson_epsilon": "attacks.two_worlds",
    "difference": "attacks.observation",
    "evaluate_membership": "attacks.membership.scores",
    "fit_quantile": "attacks.membership.quantile",
    "keep_updates": "attacks.auditing.flower",
    "lira": "attacks.membership.lira",
    "one_run_epsilon": "attacks.one_run",
    "plant": "attacks.auditing.planted",
    "probe_rows": "attacks.rows",
    "probe_sensitivity": "attacks.sensitivity",
    "replay_update": "attacks.preflight:replay",
    "rmia": "attacks.membership.rmia",
    "strong_inversion": "attacks.inversion.race",
    "tpr_at_fpr": "attacks.roc",
}
"""Where each name lies; after a colon what it is called there, if not the same."""

__all__ = [
    "AttackError",
    "Audit",
    "AuditedEngine",
    "Claim",
    "Drawn",
    "LocalTraining",
    "Observation",
    "Planted",
    "References",
    "auc",
    "audit_model",
    "audit_private",
    "audit_scores",
    "audit_update",
    "capture_mod",
    "captured",
    "clopper_pearson_epsilon",
    "difference",
    "evaluate_membership",
    "fit_quantile",
    "keep_updates",
    "lira",
    "one_run_epsilon",
    "plant",
    "probe_rows",
    "probe_sensitivity",
    "replay_update",
    "rmia",
    "strong_inversion",
    "tpr_at_fpr",
]


def __getattr__(name: str) -> Any:
    if name not in _INDEX:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, called = _INDEX[name].partition(":")
    return getattr(import_module(module), called or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""What one artist's update says of the style of its pictures."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from attacks.intervals import clopper_pearson
from attacks.inversion.analytic import AnalyticInversion
from attacks.references import Cited
from attacks.results import Budget
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, guessing
from fedstyle_secure.audit.replay import require_one_remade
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.targets import Target, batches_of_one, control_targets, cost_of_one, targets_of
from fedstyle_secure.errors import AuditError
from fedstyle_secure.system import State
from fedstyle_secure.systems.style.attacks.works import encoder_of, records_of

STYLE = AttackCard(
    "update_style", "Style of a picture from its update",
    "Guesses which shared style the one picture of a batch belongs to, from updates made anew as for the "
    "inversion.",
    "attribute inference", "L3", "artwork", "style named rightly",
    (Cited("phong2017", "a linear layer's input from the update of its weight and bias"),),
)  # fmt: skip


def style_of_one(scene: Scene) -> Outcome:
    """The style of a batch's one picture, from the features that the update gives away."""
    scene.require_own_noise()
    if not scene.sees_features:
        raise AuditError("reads the features that a whole linear head gives away; another part trains here")
    started, sent, settings = time.perf_counter(), scene.first, scene.settings
    require_one_remade(scene, sent)
    targets = targets_of(scene, settings.targets)
    k = len(sent.texts["styles"])

    truths = np.concatenate([records_of(scene, t.works.only(t.index), sent).assigned for t in targets])

    def right(defended: bool) -> np.ndarray:
        hits: np.ndarray = np.array([_guessed_style(scene, sent, t, t, defended) for t in targets]) == truths
        return hits

    hits = right(True)
    control = right(False) if scene.noise or scene.clip else hits
    # Without looking: the style that is most common in public, or the same attack on other people's updates.
    public = np.bincount(records_of(scene, scene.public, sent).assigned, minlength=k)
    commonest = float(np.mean(truths == public.argmax()))
    blind = _guessed_blindly(scene, sent, targets) == truths
    baseline = max(commonest, 1 / k)
    if np.mean(blind) > baseline:
        # Its share is an estimate, too, and must not be too low.
        baseline = clopper_pearson(int(blind.sum()), len(blind), settings.confidence)[1]
    seconds, note = time.perf_counter() - started, batches_of_one(scene)
    how = Setting(STYLE, settings.seed, settings.confidence, seconds, "closed form", note)
    limit = Limit(cost_of_one(scene, sent)).success(baseline)
    finding = guessing(how, hits, baseline, limit, control)
    details = {"commonest style": commonest, "prior only": float(np.mean(blind))}
    return Outcome((replace(finding, details={**finding.details, **details}),))


def _guessed_style(scene: Scene, sent: State, target: Target, shown: Target, defended: bool) -> int:
    """The style whose prototype lies nearest to the features that an update of the artist gives away.

    Their sign follows from where the update pushes them: toward the artist's own card.

    Args:
        scene: The run.
        sent: What the artist was sent.
        target: Whose artist answers.
        shown: What the update is made of: the target, or another picture for a guess without looking.
        defended: With the run's clip and noise, or without either.
    """
    artist, encoder = target.works.artist, encoder_of(scene, sent)
    purpose = f"style {artist} {target.index} {defended} {shown is target}"
    update = scene.update_of_one(sent, artist, shown.works, shown.index, purpose, defended=defended)
    seen = scene.observation(sent, (update,), scene.training(1, defended=defended), None)
    features = AnalyticInversion().run(seen, Budget(), scene.settings.seed).features
    assert features is not None
    if artist in sent.texts["cards"]:
        toward = encoder.place(sent.public["cards"])[sent.texts["cards"].index(artist)]
        features = features * (1.0 if float(toward @ update["head.weight"] @ features[0]) >= 0 else -1.0)
    return int((torch.from_numpy(sent.public["prototypes"]) @ features[0]).argmax())


def _guessed_blindly(scene: Scene, sent: State, targets: Sequence[Target]) -> np.ndarray:
    """Styles of targets, int64 (n,), by the same attack on what public pictures would have sent instead.

    It still sees cards, so that it shows what the attack makes of them alone.
    """
    others = itertools.cycle(control_targets(scene, len(targets)))
    return np.array([_guessed_style(scene, sent, t, next(others), True) for t in targets])

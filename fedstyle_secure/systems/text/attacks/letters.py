"""Which letters a word has, from the gradient of the last layer's bias in one artist's update."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from attacks.intervals import clopper_pearson
from attacks.inversion.letters import (
    letter_agreement,
    letters_most_shown,
    letters_of,
    letters_shown,
    set_scores,
)
from attacks.references import Cited
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, guessing
from fedstyle_secure.audit.replay import require_one_remade
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.targets import batches_of_one, cost_of_one, noise_of_one
from fedstyle_secure.errors import AuditError
from fedstyle_secure.system import State
from fedstyle_secure.systems.text.attacks.words import (
    Sought,
    part_of,
    private_words,
    public_words,
    seen_gradient,
    told,
    undefended,
    words_in,
)

LETTERS = AttackCard(
    "letters", "Letters of a word from its update",
    "Reads the letters of the one word of a batch off the last layer's bias, whose gradient is below zero at "
    "no others.",
    "attribute inference", "L3", "artwork", "letters named rightly",
    (
        Cited("graves2006", "the gradient of a CTC loss by the logits", "eq. 16"),
        Cited("dang2021", "labels read off the signs of the last layer's gradient"),
    ),
)  # fmt: skip

_NAMED = 0.5
"""F1 from which a word's letters count as named."""


def letters_of_one(scene: Scene) -> Outcome:
    """Share of words whose letters are named with an F1 of one half or more, from batches of one.

    Without noise those letters are named whose entries say so. With noise as many as words usually have, the
    lowest entries first, as silence would only hide what is left. Blind: the letters that are commonest in
    public, on all words of the audited artists; chance is no more than that.
    """
    scene.require_own_noise()
    started, sent, settings = time.perf_counter(), scene.first, scene.settings
    require_one_remade(scene, sent)
    name, classes = _bias(scene, sent)
    public = letters_of(words_in(scene, sent, scene.public), classes)
    usual = int(public.sum(dim=1).median())
    sought = private_words(scene, sent, settings.targets)

    def named(words: Sequence[Sought], defended: bool) -> np.ndarray:
        noisy = defended and scene.noise
        found = []
        for word in words:
            entries = part_of(scene, seen_gradient(scene, sent, word, defended=defended), name)
            found.append(letters_most_shown(entries, usual) if noisy else letters_shown(entries))
        return torch.stack(found).numpy()

    truth, said = _truth(sought, classes), named(sought, True)
    control, control_truth = said, truth
    if not undefended(scene):
        known = public_words(scene, sent, settings.targets)
        control, control_truth = named(known, False), _truth(known, classes)
    guess = letters_most_shown(torch.cat([torch.zeros(1), -public.double().mean(dim=0)]), usual).numpy()
    everyone = torch.cat(
        [words_in(scene, sent, scene.works(a, which)) for a in scene.artists for which in ("train", "test")]
    )
    baseline = _blind(guess, letters_of(everyone, classes).numpy(), settings.confidence)
    note = f"{batches_of_one(scene)}; letters count as named from an F1 of {_NAMED:g}"
    if scene.noise:
        deviation = noise_of_one(scene)
        note += f"; the {usual} lowest entries are named, as the noise has a deviation of {deviation:.3g}"
    how = Setting(
        LETTERS, settings.seed, settings.confidence, time.perf_counter() - started, "closed form", note
    )
    limit = Limit(cost_of_one(scene, sent)).success(baseline)
    finding = guessing(how, _right(said, truth), baseline, limit, _right(control, control_truth))
    details = dict(finding.details) | told(sought) | {"letters of the alphabet": float(classes - 1)}
    for result in letter_agreement(LETTERS.name, said, truth, np.tile(guess, (len(said), 1))):
        assert result.low is not None
        assert result.high is not None
        details |= {result.metric: result.value, f"{result.metric}, blind": result.baseline or 0.0}
        details |= {f"{result.metric} low": result.low, f"{result.metric} high": result.high}
    return Outcome((replace(finding, details=details),))


def _bias(scene: Scene, sent: State) -> tuple[str, int]:
    """Name and length of the last layer's bias: the last tensor that trains with one value a class."""
    with torch.no_grad():
        classes = scene.model(sent)(scene.public.prepared[:1]).shape[-1]
    named = [name for name in scene.trained if sent.trained[name].shape == (classes,)]
    if not named:
        raise AuditError(
            f"reads a last layer's bias, one value for each of {classes} classes; none trains here"
        )
    return named[-1], classes


def _truth(words: Sequence[Sought], classes: int) -> np.ndarray:
    truth: np.ndarray = letters_of(torch.stack([word.word for word in words]), classes).numpy()
    return truth


def _right(named: np.ndarray, truth: np.ndarray) -> np.ndarray:
    right: np.ndarray = set_scores(named, truth)[:, 2] >= _NAMED
    return right


def _blind(guess: np.ndarray, truth: np.ndarray, confidence: float) -> float:
    """The share of words whose letters one guess names: no lower than it is but for its error."""
    right = _right(np.tile(guess, (len(truth), 1)), truth)
    return clopper_pearson(int(right.sum()), len(right), confidence)[1]

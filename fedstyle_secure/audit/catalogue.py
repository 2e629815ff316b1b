"""Every attack that an audit knows, what a view must hold for it, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from attacks.references import Cited
from fedstyle_secure.audit import model, planted, updates
from fedstyle_secure.audit.measures import AttackCard, Outcome
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.views import Item, View
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.registry import load, system_named, systems
from fedstyle_secure.system import AnySystem

Run = Callable[[Scene], Outcome]


@dataclass(frozen=True)
class Known:
    """An attack.

    Attributes:
        card: What it is.
        needs: What a view must hold: any one of these, the most telling first; the last is what is missing
            where none is held.
        run: Runs it on one of them; None where this project has no such attack, or nothing it could work on.
        absent: Why there is none, where `run` is None.
        recorded: Whether it reads messages that the run recorded (`audit.record`).
        purpose: What is published for just what the attack does, in a sentence; "": nothing is. Success is
            `by design` then, as long as those who published it agree (`findings.intended`).
    """

    card: AttackCard
    needs: tuple[Item, ...]
    run: Callable[[Scene, Item], Outcome] | None
    absent: str = ""
    recorded: bool = False
    purpose: str = ""

    def item(self, view: View) -> Item | None:
        """What the attack would work on in a view; None where the view holds none of it."""
        return next((item for item in self.needs if item in view.holds), None)

    def refusal(self, view: View) -> str:
        """Why not, in a view that holds none of what is needed."""
        return view.lacks[self.needs[-1]]


IMPRINT = AttackCard(
    "imprint", "Imprinted weights",
    "Sends weights that copy single pictures into the update (Robbing the Fed).",
    "reconstruction", "L5", "artwork", "near copies",
    (Cited("fowl2022", "the imprinted layer", "section 4"),),
)  # fmt: skip
PARTICIPATION = AttackCard(
    "participation", "Participation of an artist",
    "Asks from fresh works whether an artist took part at all.",
    "membership inference", "L0", "artist", "participation AUC",
)  # fmt: skip
REGURGITATION = AttackCard(
    "regurgitation", "Regurgitation",
    "Asks the model for its training pictures.",
    "regurgitation", "L5", "artwork", "near copies",
    (Cited("carlini2023", "what counts as a copy, and the largest distance over tiles", "section 5.1"),),
)  # fmt: skip


def of_scene(run: Run) -> Callable[[Scene, Item], Outcome]:
    return lambda scene, _: run(scene)


def of_updates(run: Run) -> Callable[[Scene, Item], Outcome]:
    """An attack on updates that have all of their noise; one with a share of it is no longer an update."""

    def checked(scene: Scene, _: Item) -> Outcome:
        scene.require_own_noise()
        return run(scene)

    return checked


def catalogue(system: AnySystem) -> Sequence[Known]:
    """All attacks on a run of a system, in the order of tables: those on any system, then its own. One of its
    own with the key of one on any system takes that one's place."""
    mine = {known.card.key: known for known in _own(system)}
    rest = {key: known for key, known in mine.items() if key not in {k.card.key for k in (*_FIRST, *_LAST)}}
    first, last = ([mine.get(known.card.key, known) for known in house] for house in (_FIRST, _LAST))
    return (*first, *rest.values(), *last)


def told(known: Known, views: Sequence[View] = ()) -> dict[str, Any]:
    """An attack for people and for JSON.

    Args:
        known: The attack.
        views: Those of one run; empty: of no run.

    Returns:
        Its card, what it needs, and with views the keys of those that it works on, or why there is none.
    """
    card = known.card
    about: dict[str, Any] = {
        "key": card.key,
        "name": card.name,
        "explains": card.explains,
        "source": card.source or None,
        "category": card.category,
        "level": card.level,
        "unit": card.unit,
        "metric": card.metric,
        "needs": [item.told for item in known.needs],
        "recorded": known.recorded,
        "absent": known.absent or None,
    }
    if not views:
        return about
    held = [] if known.run is None else [view for view in views if known.item(view) is not None]
    if held:
        return about | {"views": [view.key for view in held], "why_not": None}
    return about | {"views": [], "why_not": known.absent or known.refusal(views[0])}


def catalogues() -> dict[str, Sequence[Known]]:
    """The catalogue of every system that can be loaded, by its name: one may lack its extra."""
    found = {}
    for name in systems():
        with suppress(ConfigError):
            found[name] = catalogue(system_named(name))
    return found


_OWN_UPDATES = (Item.OWN_UPDATES,)

_FIRST = (
    Known(updates.ONE, _OWN_UPDATES, of_updates(updates.update_of_one)),
    Known(updates.BATCH, _OWN_UPDATES, of_updates(updates.batch_match), recorded=True),
    Known(updates.ROUNDS, _OWN_UPDATES, of_updates(updates.rounds_alignment), recorded=True),
    Known(updates.MEAN, (Item.MEAN_UPDATES,), of_scene(updates.mean_alignment), recorded=True),
    Known(model.GRADIENT, (Item.FINAL_MODEL,), of_scene(model.gradient_length)),
    Known(planted.CANARIES, (Item.CANARIES,), of_scene(planted.canaries), recorded=True),
)

_LAST = (
    Known(
        IMPRINT, (Item.CHOSEN_WEIGHTS,), None,
        "it takes a linear layer with bias that sees the picture, and the architecture, which artists "
        "build themselves, has none",
    ),
    Known(
        PARTICIPATION, (Item.FINAL_MODEL,), None,
        "it takes artists of the same kind who did not take part, and a run knows of none",
    ),
    Known(
        REGURGITATION, (Item.FINAL_MODEL,), None,
        "the model answers a picture with numbers and makes no pictures",
    ),
)  # fmt: skip


def _own(system: AnySystem) -> Sequence[Known]:
    found: Sequence[Known] = load(system.attacks)() if system.attacks else ()
    return found

"""Every attack that an audit knows, what a view must hold for it, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedstyle_secure.audit import model, planted, updates
from fedstyle_secure.audit.measures import AttackCard, Outcome
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.views import Item, View
from fedstyle_secure.registry import load
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
    """

    card: AttackCard
    needs: tuple[Item, ...]
    run: Callable[[Scene, Item], Outcome] | None
    absent: str = ""

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


_OWN_UPDATES = (Item.OWN_UPDATES,)

_FIRST = (
    Known(updates.ONE, _OWN_UPDATES, of_updates(updates.update_of_one)),
    Known(updates.BATCH, _OWN_UPDATES, of_updates(updates.batch_match)),
    Known(updates.ROUNDS, _OWN_UPDATES, of_updates(updates.rounds_alignment)),
    Known(updates.MEAN, (Item.MEAN_UPDATES,), of_scene(updates.mean_alignment)),
    Known(model.GRADIENT, (Item.FINAL_MODEL,), of_scene(model.gradient_length)),
    Known(planted.CANARIES, (Item.CANARIES,), of_scene(planted.canaries)),
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

"""Every attack on private AI art, and what a view must hold for it."""

from __future__ import annotations

from collections.abc import Sequence

from fedstyle_secure.audit.catalogue import REGURGITATION, Known, of_scene, of_updates
from fedstyle_secure.audit.views import Item
from fedstyle_secure.systems.art.attacks import drawn, gain, named


def catalogue() -> Sequence[Known]:
    """All of them, in the order of tables; regurgitation stands where the house has none."""
    return (
        Known(named.NAMED, (Item.OWN_UPDATES,), of_updates(named.work_named)),
        Known(gain.GAIN, (Item.FINAL_MODEL,), of_scene(gain.work_gain)),
        Known(
            REGURGITATION, (Item.FINAL_MODEL,),
            of_scene(lambda scene: drawn.regurgitation(scene, REGURGITATION)),
        ),
    )  # fmt: skip

"""Every attack on text recognition, and what a view must hold for it."""

from __future__ import annotations

from collections.abc import Sequence

from fedstyle_secure.audit.catalogue import Known, of_scene, of_updates
from fedstyle_secure.audit.views import Item
from fedstyle_secure.systems.text.attacks import letters, model, named


def catalogue() -> Sequence[Known]:
    """All of them, in the order of tables."""
    return (
        Known(letters.LETTERS, (Item.OWN_UPDATES,), of_updates(letters.letters_of_one)),
        Known(named.NAMED, (Item.OWN_UPDATES,), of_updates(named.word_named)),
        Known(model.GAIN, (Item.FINAL_MODEL,), of_scene(model.crop_gain)),
        Known(model.EXPOSURE, (Item.FINAL_MODEL,), of_scene(model.exposure)),
    )

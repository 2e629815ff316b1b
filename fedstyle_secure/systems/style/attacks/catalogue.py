"""Every attack on style search, and what a view must hold for it."""

from __future__ import annotations

from collections.abc import Sequence

from fedstyle_secure.audit.catalogue import Known, of_scene, of_updates
from fedstyle_secure.audit.views import Item
from fedstyle_secure.systems.style.attacks import cards, model, updates


def catalogue() -> Sequence[Known]:
    """All of them, in the order of tables."""
    sums = (Item.OWN_SUMS, Item.OTHERS_SUMS, Item.TOTAL_SUMS)
    return (
        Known(updates.STYLE, (Item.OWN_UPDATES,), of_updates(updates.style_of_one)),
        Known(cards.CARD_MEMBERSHIP, (Item.NAMED,), of_scene(cards.card_membership)),
        Known(
            cards.CARD_LINKAGE, (Item.NAMED,), of_scene(cards.card_linkage),
            purpose="a style card is published under its artist's name, to be found by, with consent "
            "(cards.consent)",
        ),
        Known(model.INVERSION, (Item.NAMED,), of_scene(model.inversion)),
        Known(cards.SUM_MEMBERSHIP, (*sums, Item.MOVED), cards.sum_membership),
        Known(cards.SUM_STYLES, sums, cards.sum_styles),
        Known(cards.SINGLED_OUT, (Item.SUM_OF_ONE,), of_scene(cards.singled_out)),
        Known(cards.TAKEN_APART, (Item.TWO_OPENINGS,), of_scene(cards.taken_apart)),
        Known(model.SIMILARITY, (Item.FINAL_MODEL,), of_scene(model.similarity)),
    )  # fmt: skip

"""Works that an attack is surest of: ranked by how few held-out works score as high, named where allowed."""

from types import SimpleNamespace

import numpy as np
import pytest

from attacks.membership.scores import MembershipScores
from attacks.plots import AttackScores, roc_figure, score_figure
from fedstyle_secure.audit.exposed_works import exposed_file, histogram_file
from fedstyle_secure.audit.exposure import MOST, exposed
from fedstyle_secure.audit.measures import Scored


class Works:
    """So many works with names."""

    def __init__(self, names):
        self.portfolio = SimpleNamespace(names=names)

    def __len__(self):
        return len(self.portfolio.names)


def scene(show=True, withdrawn=()):
    works = {"ann": Works(("a0", "a1")), "bo": Works(("b0",))}
    return SimpleNamespace(
        settings=SimpleNamespace(show_pictures=show), withdrawn=withdrawn,
        works=lambda artist, which: works[artist], tried=lambda artist, which: works[artist],
    )  # fmt: skip


def scored():
    """Ann has two works that trained and two held out, Bo one of each."""
    values = np.array([0.9, 0.2, 0.3, 0.1, 0.3, 0.8])
    inside = np.array([True, True, False, False, True, False])
    artists = np.array(["ann"] * 4 + ["bo"] * 2)
    pair = AttackScores(values[inside], values[~inside])
    return Scored(MembershipScores.of("x", values), inside, artists, pair)


def test_a_work_is_as_exposed_as_few_held_out_ones_score_as_high():
    found = exposed(scene(), scored())
    assert (found["members"], found["held_out"]) == (3, 3)
    assert [(row["artist"], row["work"], row["place"], row["as_high"]) for row in found["works"]] == [
        # A held-out work with the same score counts as one that scores as high.
        ("ann", "a0", 1, 0), ("bo", "b0", 1, 2), ("ann", "a1", 2, 2),
    ]  # fmt: skip
    assert len(found["works"]) <= MOST


@pytest.mark.parametrize("kept", [{"show": False}, {"withdrawn": ("bo",)}])
def test_names_of_works_are_kept_back_with_their_pictures(kept):
    assert {row["work"] for row in exposed(scene(**kept), scored())["works"]} == {""}


def test_files_are_named_after_the_curve():
    assert exposed_file("roc_card_named.png") == "exposed_card_named.json"
    assert histogram_file("roc_card_named.png") == "scores_card_named.png"


def test_the_undefended_curve_is_held_against_no_limit_and_heaps_lie_in_panels_of_their_own():
    pair = scored().undefended
    figure = roc_figure({"x": pair}, undefended=AttackScores(np.ones(3), np.zeros(3)))
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels[-1] == "the same, undefended, AUC 1.000"
    assert [panel.get_title("left") for panel in score_figure(pair, pair).axes] == [
        "as it was run", "where nothing is defended",
    ]  # fmt: skip
    assert len(score_figure(pair).axes) == 1

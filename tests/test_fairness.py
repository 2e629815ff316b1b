"""Planted unfairness is told: who lost, small portfolios first, and how far apart looks are."""

from __future__ import annotations

import pytest

from fedstyle_secure.cli import _helped
from fedstyle_secure.fairness import by_artist, fairness, main_label, paired_gain

WORKS = {"ann": 40, "bea": 4, "cem": 20, "dua": 5, "eli": 30, "fox": 21, "gil": 22, "hal": 41}
SCHOOLS = dict.fromkeys(("ann", "hal", "eli", "gil"), "poster") | dict.fromkeys(("bea", "dua"), "mosaic")


def planted() -> list[dict]:
    """Everybody begins at one half; the large ones rise, and the two with few works fall."""
    begun = by_artist(dict.fromkeys(WORKS, 0.5), SCHOOLS)
    ended = by_artist({name: 0.25 if size < 10 else 0.75 for name, size in WORKS.items()}, SCHOOLS)
    return [{"round": 0}, begun, begun, ended]


def test_who_has_few_works_stands_first_and_is_seen_to_lose():
    found = fairness(planted(), WORKS, "top1")
    assert found is not None
    assert [row["artist"] for row in found["artists"]] == sorted(WORKS, key=WORKS.__getitem__)
    assert [row["works"] for row in found["artists"]] == sorted(WORKS.values())
    assert found["smallest"] == {"artists": 2, "before": 0.5, "after": 0.25, "gain": -0.25, "works": 5}
    assert found["largest"] == {"artists": 2, "before": 0.5, "after": 0.75, "gain": 0.25, "works": 40}
    assert (found["gap_before"], found["gap_after"]) == (0, 0.5)
    assert (found["lowest"]["artist"], found["hardest_hit"]["artist"]) == ("bea", "bea")
    assert found["hardest_hit"]["gain"] == -0.25
    assert found["fell"] == 2
    assert [one["label"] for one in found["labels"]] == ["mosaic", "poster"]
    assert (found["label_gap_before"], found["label_gap_after"]) == (0, 0.5)


def test_nothing_is_made_up_where_nothing_was_planted():
    """Portfolios of one size have no ends, one label has no gap, and nobody fell."""
    lines = [by_artist({"ann": 0.5, "bea": 0.5})] * 2
    found = fairness(lines, {"ann": 9, "bea": 9}, None)
    assert found is not None
    assert found["smallest"] is found["largest"] is found["gap_after"] is None
    assert found["labels"] == []
    assert found["label_gap_after"] is None
    assert found["fell"] == 0
    assert fairness([{"round": 0}], WORKS, "top1") is None


def test_all_portfolios_of_the_size_at_the_edge_count():
    sizes = dict(zip("abcdefgh", (1, 2, 2, 2, 3, 4, 5, 6), strict=True))
    found = fairness([by_artist(dict.fromkeys(sizes, 0.5))], sizes, "top1")
    assert found is not None
    assert (found["smallest"]["artists"], found["smallest"]["works"]) == (4, 2)
    assert (found["largest"]["artists"], found["largest"]["works"]) == (2, 5)


def test_a_share_before_that_the_line_itself_states_wins_and_one_that_is_missing_is_none():
    first = by_artist({"ann": 0.1, "bea": 0.2})
    last = by_artist({"ann": 0.4, "bea": 0.4}, before={"ann": 0.3, "bea": 0.3})
    found = fairness([first, last], {"ann": 1, "bea": 2}, "top1")
    assert found is not None
    assert [row["gain"] for row in found["artists"]] == pytest.approx([0.1, 0.1])
    late = fairness([first, by_artist({"ann": 0.4, "cem": 0.0})], {"ann": 1, "cem": 2}, "top1")
    assert late is not None
    assert [row["before"] for row in late["artists"]] == [0.1, None]
    assert late["lowest"]["artist"] == "cem"
    assert late["hardest_hit"]["artist"] == "ann"


def test_a_label_speaks_for_an_artist_where_most_works_bear_it():
    assert main_label(["a", "a", "b"]) == "a"
    assert main_label(["a", "b"]) == main_label([]) == main_label(["", "", "b"]) == ""


def test_training_helped_only_beyond_what_its_artists_vary_by():
    """One picture more of fourteen was told as help."""
    rows = [{"gain": gain} for gain in (0.0, 0.25, 0.0)]
    assert "no difference" in _helped(paired_gain({"artists": rows}))
    steady = [{"gain": gain} for gain in (0.06, 0.05, 0.07, 0.06)]
    assert _helped(paired_gain({"artists": steady})) == "Private training helped"
    assert _helped(paired_gain({"artists": [{"gain": -row["gain"]} for row in steady]})).endswith("harm")
    assert paired_gain({"artists": rows[:1]}) is None
    assert paired_gain(None) is None
    assert "no difference" in _helped(None)

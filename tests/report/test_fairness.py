"""A report shows whom private training serves: small portfolios first, and who lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fedstyle_secure.fairness import by_artist, fairness
from fedstyle_secure.report.page.pieces import Bullets, Figure, Para, Table
from fedstyle_secure.report.run.facts import Facts, read_facts
from fedstyle_secure.report.run.fairness import gap, whom_it_serves


def texts(line) -> str:
    return "".join(getattr(piece, "text", piece) for piece in line)


def with_artists(facts: Facts, works: Mapping[str, int]) -> Facts:
    """The same run, in which whoever has fewer than ten works falls from one half to a quarter."""
    begun = by_artist(dict.fromkeys(works, 0.5), dict.fromkeys(works, "poster"))
    ended = by_artist({name: 0.25 if size < 10 else 0.75 for name, size in works.items()})
    utility = {"fairness": fairness([begun, ended], works, "artist_top1")}
    summary = {**facts.summary, "utility": {**facts.summary["utility"], **utility}}
    return replace(facts, summary=summary, files={**facts.files, "summary.json": summary})


def test_a_runs_own_figures_stand_in_the_table_by_name(run):
    facts = read_facts(run.path)
    found = facts.summary["utility"]["fairness"]
    table = next(b for b in whom_it_serves(facts) if isinstance(b, Table) and b.key == "fairness")
    assert [texts(row[0]) for row in table.rows] == [row["artist"] for row in found["artists"]]
    assert "Training pictures" in [texts(cell) for cell in table.head]
    assert {row["works"] for row in found["artists"]} == {
        row["train"] for row in facts.manifest["gallery"]["artists"] if not row["public"]
    }
    mean = sum(row["after"] for row in found["artists"]) / len(found["artists"])
    assert abs(mean - facts.summary["utility"]["artist_top1"]) < 1e-9, "artists have as many test pictures"
    assert "hardly differ in size" in texts(gap(facts))


def test_planted_unfairness_is_said(run):
    facts = with_artists(read_facts(run.path), {"large": 40, "small": 4, "middle": 20, "little": 5})
    blocks = whom_it_serves(facts)
    said = " ".join(texts(line) for b in blocks if isinstance(b, Bullets) for line in b.items)
    assert "at most 4 pictures to train on, 1 in number: 0.250" in said
    assert "2 of 4 artists lost by private training. The least gain is that of small: -0.250" in said
    assert "have 0.500 more than those with small ones, where before" in said
    assert "any private training it was 0.000" in said
    table = next(b for b in blocks if isinstance(b, Table) and b.key == "fairness")
    assert [[texts(cell) for cell in row] for row in table.rows[:2]] == [
        ["small", "4", "", "0.500", "0.250", "-0.250"],
        ["little", "5", "", "0.500", "0.250", "-0.250"],
    ]
    assert all(isinstance(piece, Figure) for row in table.rows for piece in row[0])
    assert any(isinstance(b, Para) and "private test records" in texts(b.line) for b in blocks)


def test_of_many_artists_both_ends_are_shown_and_the_rest_is_named(run):
    facts = with_artists(read_facts(run.path), {f"a{size:02d}": size for size in range(1, 31)})
    table = next(b for b in whom_it_serves(facts) if isinstance(b, Table) and b.key == "fairness")
    assert [texts(row[1]) for row in table.rows] == [str(i) for i in (*range(1, 11), *range(21, 31))]
    assert "Of 30 artists" in texts(table.caption)
    assert "summary.json" in texts(table.caption)


def test_a_run_without_such_figures_says_so(run):
    facts = read_facts(run.path)
    bare = {k: v for k, v in facts.summary["utility"].items() if k != "fairness"}
    facts = replace(facts, summary={**facts.summary, "utility": bare})
    assert "Nothing was measured" in texts(whom_it_serves(facts)[0].line)
    assert gap(facts) == []

"""Sentences: what reads as text is text, what is a figure cites its place, and a slip is an error by name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.errors import AuditError
from fedstyle_secure.report.page.pieces import Break, Figure, Muted, Strong, Term, plain
from fedstyle_secure.report.page.say import Speaker, listed


class Told(Speaker):
    def __init__(self, **files):
        self.files = {name.replace("_", "."): values for name, values in files.items()}


FILES = {
    "run_json": {"value": 0.12345, "name": "Ada", "fpr": None, "why": "", "works": [3, 4], "n": {"a/b": 7}},
    "other_json": {"epsilon": 3.001, "none": None},
}


@pytest.fixture
def facts():
    return Told(**FILES)


def test_a_sentence_is_texts_and_cited_figures(facts):
    line = facts.say("{name} has {value:rate}, of {all:whole sum}.", at="run.json#", all="run.json#/works/*")
    assert line == [
        Figure("Ada", "run.json#/name", number=False),
        " has ",
        Figure("0.123", "run.json#/value", value="0.12345"),
        ", of ",
        Figure("7", "run.json#/works/*", "sum", "7"),
        ".",
    ]


def test_a_figure_has_a_source_of_its_own_or_lies_below_another(facts):
    assert facts.say("{other.json#/epsilon:epsilon}")[0].source == "other.json#/epsilon"
    assert facts.say("{n/a~1b:whole}", at="run.json#") == [Figure("7", "run.json#/n/a~1b", value="7")]
    assert facts.say("{value}", value="not of the file") == ["not of the file"]
    assert facts.say("{value:rate}", at="other.json#", value="run.json#/value")[0].source == "run.json#/value"


def test_null_has_words_and_is_cited_all_the_same(facts):
    assert facts.say("{none:epsilon|no guarantee}", at="other.json#") == [
        Figure("no guarantee", "other.json#/none", number=False)
    ]
    assert plain(facts.say("{none}", at="other.json#")) == "none"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("AUC< of {fpr}>.", "AUC."),
        ("AUC< of {fpr|any}>.", "AUC of any."),
        ("AUC< of {value:rate} and {fpr}>.", "AUC."),
        ("AUC< of {value:rate}><, as {why}>.", "AUC of 0.123."),
        ("AUC< for {whom}>.", "AUC."),
        ("AUC< for {whose}>.", "AUC for Ada and Bo."),
    ],
)
def test_what_is_not_there_is_left_out_with_what_belongs_to_it(facts, text, said):
    assert plain(facts.say(text, at="run.json#", whom=[], whose=["Ada", " and Bo"])) == said


def test_words_of_the_field_strong_words_and_new_lines(facts):
    line = facts.say("**No** [blind](baseline)\n{muted}[{value:rate}]", at="run.json#", muted=Muted("x"))
    assert line[:5] == [Strong("No"), " ", Term("blind", "baseline"), Break(), Muted("x")]
    assert plain(line).endswith("x[0.123]")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{value:rte}", r"\{value\}: 'rte' is no style; allowed: whole, rate"),
        ("{value:rate most}", r"\{value\}: 'most' is no rule; allowed: value, count"),
        ("{elsewhere}", r"\{elsewhere\}: is no source"),
        ("{piece:rate}", r"\{piece\}: is no source"),
        ("[word](nonsense)", r"\[word\]\(nonsense\): the glossary has no such word"),
        ("{value", "a '{' that belongs to no field"),
        ("value}", "a '}' that belongs to no field"),
        ("a < b", "a '<' that belongs to no field"),
        ("{}", "a '{' that belongs to no field"),
    ],
)
def test_a_slip_is_an_error_that_names_the_field(facts, text, named):
    with pytest.raises(ValueError, match=named):
        facts.say(text, value="run.json#/value", piece=Muted("x"))


def test_a_file_that_holds_nothing_there_is_named(facts):
    with pytest.raises(AuditError, match=r"run\.json: holds nothing at '/gone'"):
        facts.say("{gone:rate}", at="run.json#")
    with pytest.raises(AuditError, match="is no text"):
        facts.say("{value:text}", at="run.json#")


def test_a_row_is_cut_where_its_text_is_and_nowhere_else(facts):
    row = facts.row("Name | {name} is {who} | <{why}>", at="run.json#", who="a | b")
    assert [plain(cell) for cell in row] == ["Name", "Ada is a | b", ""]
    assert row[2] == []
    assert facts.cells("a | {x}", "b | c", x="1") == [[["a"], ["1"]], [["b"], ["c"]]]


def test_things_are_listed_with_something_between_them():
    assert listed([]) == []
    assert listed(["a"], last=" and ") == ["a"]
    assert listed(["a", ["b", Break()], "c"], last=" and ") == ["a", ", ", "b", Break(), " and ", "c"]
    assert listed(["a", "b"], Break()) == ["a", Break(), "b"]


NAMES = st.text(st.characters(codec="utf-8"), min_size=1)


@given(NAMES, NAMES)
def test_texts_of_files_are_never_notation(name, other):
    """Whatever an artist is called, it comes out as it is, cited, and as one piece."""
    facts = Told(run_json={"name": name})
    line = facts.say("<{name}> and {other}.", at="run.json#", other=other)
    assert line == [Figure(name, "run.json#/name", number=False), " and ", other, "."]


@given(st.text(st.characters(exclude_characters="{}<>[]*`\n", codec="utf-8")))
def test_a_text_without_notation_stays_as_it_is(text):
    assert Told().say(text) == ([text] if text else [])


@given(st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_every_digit_of_a_sentence_is_a_figures(low, high, known):
    facts = Told(run_json={"low": low, "high": high if known else None})
    line = facts.say("from {low:rate}< to {high:rate}>", at="run.json#")
    assert not re.search(r"\d", plain([piece for piece in line if isinstance(piece, str)]))
    assert [piece.source for piece in line if isinstance(piece, Figure)] == [
        "run.json#/low",
        "run.json#/high",
    ][: 1 + known]
    assert all(facts.sources.value(p.source) == float(p.value) for p in line if isinstance(p, Figure))

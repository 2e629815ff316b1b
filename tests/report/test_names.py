"""Names that break pages: every one of them is on every page, as itself, and moves nothing around it."""

import csv
import importlib.util
import json
import random
import re
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image

import fedstyle_secure
from fedstyle_secure import cli
from fedstyle_secure.config import Config
from fedstyle_secure.galleries import folder
from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page.html import to_html
from fedstyle_secure.report.page.output import csv_text
from fedstyle_secure.report.page.pdf import to_pdf
from fedstyle_secure.report.page.pieces import (
    Answers,
    Break,
    Definitions,
    Document,
    Entry,
    Figure,
    Muted,
    Para,
    Ref,
    Section,
    Strong,
    Table,
    plain,
)
from fedstyle_secure.visible import visible

_SPEC = importlib.util.spec_from_file_location("page_parts", Path(__file__).with_name("test_html.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_PAGE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_PAGE)

SHOWN = {
    "葛飾北斎": "葛飾北斎",
    "🎨": "🎨",
    "Ann\u202e": "Ann⟨U+202E⟩",
    "a\nb": "a⟨U+000A⟩b",
    "שלום": "שלום",
    "=cmd|' /C calc'!A0": "=cmd|' /C calc'!A0",
    "<script>": "<script>",
    "#*_$@": "#*_$@",
    "x" * 300: "x" * 300,
}
"""Names, as a page shows them."""

DRAWN = SHOWN | {"葛飾北斎": "⟨U+845B⟩⟨U+98FE⟩⟨U+5317⟩⟨U+658E⟩", "🎨": "⟨U+1F3A8⟩"}
"""The same as the paper shows them."""

HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def cited(text):
    return Figure(text, "summary.json#/name", number=False)


def small(*names):
    """A document with names in every place that a document has."""
    lines = [["A ", cited(name), " b ", Ref(name, "name"), " c"] for name in names]
    blocks = [
        *(Para(line) for line in lines),
        *(Para([Strong(name), Muted(name), Break(), cited(name)], "alarm") for name in names),
        Answers([(name, None, line) for name, line in zip(names, lines, strict=True)]),
        Definitions([("", [cited(name)], line) for name, line in zip(names, lines, strict=True)]),
        Table(
            "artists", lines[0], [["Artist"], ["b"], ["c"]], [[[cited(n)], [n], [cited(n)]] for n in names]
        ),
    ]
    entry = Entry(1, names[0], names[0], [Para(lines[0])])
    return Document(names[0], ["Run ", Ref(names[0], "name")], "2026-11-21", blocks[:1], [
        Section("one", names[0], blocks), Section("two", names[-1], [], annex=True),
        Section("three", names[-1], [entry], 3, annex=True),
    ])  # fmt: skip


def pages(data):
    return [page.get_textpage() for page in pypdfium2.PdfDocument(data)]


def words(data):
    """What is on paper, without the breaks of lines; text that runs to the left is read in its own order."""
    text = "".join(page.get_text_range() for page in pages(data))
    return re.sub(r"[\s\u200b\ufffe\u2068\u2069]+", "", text)


def overlap(one, other):
    """Whether two boxes (left, bottom, right, top) do."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def squeezed(text):
    return re.sub(r"\s+", "", text)


# --- Paper ---


@pytest.mark.parametrize("name", SHOWN)
def test_every_name_is_on_paper_in_every_place(name):
    data = to_pdf(small(name), "0" * 64)
    assert words(data).count(squeezed(DRAWN[name])) >= 15
    assert pypdfium2.PdfDocument(data).get_metadata_dict()["Title"].startswith(DRAWN[name])


def test_different_names_are_different_on_paper():
    names = [
        "Ann",
        "Ann\u202e",
        "Ann\u200b",
        "Ann\ufeff",
        "Ann\u00ad",
        "葛",
        "飾",
        "⟨U+845B⟩",
        "🎨",
        "🖼",
        "\ue000",
    ]
    drawn = [words(to_pdf(small(f"({name})"), "")) for name in names]
    assert len(set(drawn)) == len(names)
    assert "(⟨U+845B⟩)" in drawn[names.index("葛")]
    assert "(⟨U+27E8⟩U+845B⟩)" in drawn[names.index("⟨U+845B⟩")]


def test_no_text_keeps_the_paper_from_being_made():
    """Every character that the font for the rest has, alone and in a thousand random sequences with many
    combining and invisible ones, where the typesetter chooses fonts by clusters; and random others."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    held = sorted(FT2Font(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf").get_charmap())
    rng = random.Random(7)
    marks = [
        *range(0x300, 0x370),
        *range(0x591, 0x5C8),
        *map(ord, "\u200b\u200c\u200d\u2060\ufeff\ufffc\ufe0f"),
    ]
    anything = [*held, *marks * 20, *rng.sample(range(sys.maxunicode + 1), 2000)]
    mixed = ["".join(chr(c) for c in rng.choices(anything, k=rng.randint(1, 9))) for _ in range(1000)]
    texts = ["".join(f"a{chr(c)}" for c in held), "".join(map(chr, held)), "".join(mixed), *mixed]
    lines = [Para([cited(text), " ", Strong(text), Ref(text, "name")]) for text in texts]
    data = to_pdf(Document("t", ["Run ", Ref("r", "name")], "2026-11-21", lines), "")
    assert len(pages(data)) > 10


@pytest.mark.parametrize(
    ("name", "seen"), [("שלום", "R"), ("عالم", "R"), ("שלום (x)", "xR"), ("x שלום", "xR")]
)
def test_a_name_from_right_to_left_changes_places_with_no_figure(name, seen):
    """Characters by their places on paper, letters that run to the left as one R."""
    figures = [", ", Figure("0.990", "a#"), " ", Figure("0.5", "a#"), " "]
    line = ["In ", cited(name), *figures, Ref(name, "name")]
    (page,) = pages(to_pdf(Document("t", ["Run ", Ref("r", "name")], "2026-11-21", [Para(line)]), ""))
    chars = [(page.get_charbox(i), page.get_text_range(i, 1)) for i in range(page.count_chars())]
    height = next(box[1] for box, c in chars if c == "9")
    level = "".join(c for _, c in sorted((box[0], c) for box, c in chars if abs(box[1] - height) < 5))
    letters = [unicodedata.bidirectional(c) in ("R", "AL") for c in level]
    line = "".join("R" if rtl else c for c, rtl in zip(level, letters, strict=True))
    # Readers of papers turn brackets round by themselves.
    assert re.sub("R+", "R", re.sub(r"[\s()\u2068\u2069]", "", line)) == f"In{seen},0.9900.5{seen}"


def test_long_names_stay_within_their_columns_and_the_papers_margins():
    """No name over a figure, and none over the edge; `spending` and `artists` are the tables of artists."""
    names = ["x" * 300, "W" * 41, "W" * 39, "W" * 24, "葛飾北斎" * 9, "a_" * 60]
    figures = [[Figure("0.990", "a#")] for _ in range(5)]
    heads = [["Artist"], *[["What all runs released until this one ended"] for _ in range(5)]]
    rows = [[[cited(name)], *figures] for name in names]
    tables = [
        Table(key, ["For ", cited("W" * 200)], heads, rows, frozenset({1, 2, 3, 4}))
        for key in ("spending", "artists")
    ]
    data = to_pdf(
        Document("t", ["Run ", Ref("W" * 255, "name")], "2026-11-21", [Para([cited(names[0])]), *tables]), ""
    )
    for page in pypdfium2.PdfDocument(data):
        picture = page.render(scale=0.5, grayscale=True).to_numpy()
        margin = int(0.05 * picture.shape[1])
        assert (picture[:, -margin:] > 250).all()
        text = page.get_textpage()
        chars = [(text.get_charbox(i), text.get_text_range(i, 1)) for i in range(text.count_chars())]
        names_at = [box for box, c in chars if c in "Wxa_⟩"]
        figures_at = [box for box, c in chars if c == "9"]
        assert not any(overlap(one, other) for one in names_at for other in figures_at)


def test_two_papers_are_equal_byte_for_byte():
    assert to_pdf(small(*SHOWN), "0" * 64) == to_pdf(small(*SHOWN), "0" * 64)


# --- Page ---


def test_every_name_is_on_the_page_apart_from_what_surrounds_it():
    page, _ = to_html(small(*SHOWN))
    assert not HIDDEN.search(page)
    parsed = _PAGE.Page(page)
    for name, shown in SHOWN.items():
        stacks = [stack for data, stack in parsed.texts if data == shown]
        apart = [stack for stack in stacks if stack[-1][0] == "bdi"]
        assert len(apart) >= 9, name
        assert all("data-source" in stack[-1][1] or "data-kind" in stack[-1][1] for stack in apart)
    assert not any(tag == "script" for tag, _ in parsed.tags)


def test_attributes_and_titles_hold_nothing_hidden_either():
    page, _ = to_html(small("Ann\u202e\n"))
    assert not HIDDEN.search(page)
    title = re.search("<title>(.*)</title>", page)
    assert title is not None
    assert title[1] == "Ann⟨U+202E⟩⟨U+000A⟩: Ann⟨U+202E⟩⟨U+000A⟩"


def test_plain_lines_are_one_line_each():
    assert plain(["x ", cited("a\nb"), Ref("Ann\u202e", "name")]) == "x a⟨U+000A⟩bAnn⟨U+202E⟩"
    assert plain(["1\u00a0000"]) == "1 000"


# --- A run whose artists are called so ---


@pytest.fixture(scope="module")
def called_so(tmp_path_factory):
    """A run as one made without the gallery's own check of names would be."""
    root = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    with (root / "split.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "artist", "split"))
        for i, name in enumerate((*SHOWN, "public")):
            for k in range(6):
                path = f"{i}-{k}.png"
                Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(root / path)
                writer.writerow((path, name, "train" if k else "test"))
    settings = [
        "gallery.source=folder", f"gallery.path={root}", "gallery.public=public", "gallery.size=32",
        "style.encoder=cnn", "style.dim=8", "style.pretrain_steps=3", "style.practice_artists=0",
        "styles.count=2", "run.rounds=1", "training.expected_pictures=5", "privacy.noise_multiplier=2",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "check_name", lambda name, what: None)
        patch.setattr(folder, "check_artist", lambda name, what: None)
        return fedstyle_secure.train(Config().override(settings), root / "runs" / "small").folder


@pytest.fixture
def named(called_so, audited):
    audited(called_so)
    return called_so


def test_the_artists_are_called_so(named):
    assert {row["artist"] for row in named.summary()["privacy"]["per_artist"]} == set(SHOWN)


def test_its_page_shows_what_its_files_hold(named, tmp_path):
    report(named.path, out=tmp_path, date="2026-11-21")
    text = (tmp_path / "report.html").read_text()
    assert not HIDDEN.search(text)
    parsed = _PAGE.Page(text)
    values = json.loads((tmp_path / "report.json").read_text())
    assert set(SHOWN) <= {row["target"] for row in values["findings"]} | {"🎨"}, (
        "JSON has the names themselves"
    )
    found = set()
    files = {"summary.json": named.summary(), "findings.json": values["findings"]}
    for attrs, texts in parsed.marked:
        if attrs["data-source"].partition("#")[0] in files and "data-rule" not in attrs:
            (value,) = _PAGE.resolve(files, attrs["data-source"])
            if isinstance(value, str):
                assert "".join(texts) == visible(value)
                found.add(value)
    assert set(SHOWN) <= found


def test_its_paper_has_every_artist_in_every_table(named, tmp_path):
    report(named.path, ("pdf",), out=tmp_path, date="2026-11-21")
    text = words((tmp_path / "report.pdf").read_bytes())
    for drawn in DRAWN.values():
        assert text.count(squeezed(drawn)) >= 2, drawn
    assert "葛" not in text


def test_its_assessment_has_no_line_that_a_name_began(named, tmp_path):
    report(named.path, ("csv",), out=tmp_path, date="2026-11-21")
    lines = (tmp_path / "dpia.md").read_text().split("\n")
    assert not any(HIDDEN.search(line) for line in lines)
    assert not any(line.startswith("b") for line in lines)
    assert any("a⟨U+000A⟩b" in line for line in lines)


def test_its_csv_holds_no_formula(named, tmp_path):
    report(named.path, ("csv",), out=tmp_path, date="2026-11-21")
    with (tmp_path / "findings.csv").open(newline="") as file:
        targets = {row["target"] for row in csv.DictReader(file)}
    assert "'=cmd|' /C calc'!A0" in targets
    assert "=cmd|' /C calc'!A0" not in targets
    assert {"葛飾北斎", "Ann\u202e", "a\nb", "שלום"} <= targets, "cells have the names themselves"


def test_the_gate_prints_a_line_a_check(named, tmp_path, capsys, monkeypatch):
    """Nine artists, nine failures, one count: no name makes a line of its own."""
    (tmp_path / "policy.toml").write_text("[epsilon]\nartwork = 0.001\n")
    arguments = ["fedstyle", "check", str(named.path), "--policy", str(tmp_path / "policy.toml"), "--each"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    lines = capsys.readouterr().out.split("\n")
    assert ended.value.code == 9
    assert len(lines) == 9 + 1 + 1
    assert all("epsilon.artwork: artist " in line for line in lines[:9])
    assert any("artist a⟨U+000A⟩b: " in line for line in lines[:9])
    assert lines[9:] == ["1 of 10 checks met", ""]


def test_texts_that_utf_8_cannot_hold_do_not_end_a_report(run, audited, tmp_path):
    audited(run, lambda rows, make: [*rows, make(reason="x\ud800y", attack="x\ud800y", target="x\ud800y")])
    report(run.path, out=tmp_path, date="2026-11-21")
    assert "x⟨U+D800⟩y" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["findings"][-1]["target"] == "x\ud800y"


@pytest.mark.parametrize("text", ["=1", "\n=1", " \t+1", "＝1", "\x00＋1", "-1", "＠x"])  # noqa: RUF001
def test_cells_are_guarded_alone_and_joined(text):
    rows = list(
        csv.DictReader(csv_text(["a", "b", "c"], [{"a": text, "b": [text, "x"], "c": -1}]).splitlines(True))
    )
    assert rows == [{"a": f"'{text}", "b": f"'{text} x", "c": "-1"}]

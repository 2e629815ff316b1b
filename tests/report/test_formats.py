"""All formats: the same bytes from the same run, nothing half written, a page that can say its own hash."""

import csv
import json
import re

import pypdfium2
import pytest

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.errors import AuditError, ConfigError
from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page.selfhash import self_hash, verify_page

NAMES = ["report.html", "report.pdf", "report.json", "findings.csv", "dpia.md", "dpia.json"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pdf_texts(data):
    document = pypdfium2.PdfDocument(data)
    return [page.get_textpage().get_text_range() for page in document]


def test_two_builds_of_one_run_are_equal_byte_for_byte(run, tmp_path):
    paths = report(run.path, out=tmp_path / "a", date="2026-11-21")
    report(run.path, out=tmp_path / "b", date="2026-11-21")
    assert [path.name for path in paths] == NAMES
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_day_changes_one_line_of_each_file(run, tmp_path):
    report(run.path, out=tmp_path / "a", date="2026-11-21")
    report(run.path, out=tmp_path / "b", date="2027-01-02")
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    for name in NAMES:
        if name == "report.pdf":
            lines, others = ("\n".join(pdf_texts(some[name])).splitlines() for some in (first, second))
        else:
            lines, others = first[name].decode().splitlines(), second[name].decode().splitlines()
        changed = [(a, b) for a, b in zip(lines, others, strict=True) if a != b]
        # On paper the day stands on the first page, and at the foot of every page.
        many = 1 + len(pdf_texts(first[name])) if name == "report.pdf" else int(name != "findings.csv")
        assert len(changed) == many, name
        assert all(re.sub("2026-11-21", "2027-01-02", a) == b for a, b in changed)
    made = pypdfium2.PdfDocument(first["report.pdf"]).get_metadata_dict()["CreationDate"]
    assert made.startswith("D:20261121000000"), "not the clock's time, which would differ from build to build"


def test_a_page_says_its_own_hash_whatever_the_day(run, tmp_path):
    report(run.path, ("html", "json"), out=tmp_path / "a", date="2026-11-21")
    report(run.path, ("html",), out=tmp_path / "b", date="2027-01-02")
    digest = verify_page(tmp_path / "a" / "report.html")
    assert digest == verify_page(tmp_path / "b" / "report.html")
    assert digest in (tmp_path / "a" / "report.html").read_text()
    assert json.loads((tmp_path / "a" / "report.json").read_text())["self_hash"] == digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("not broken", "unbroken"),
        (">9.", ">8."),
        ("</footer>", " </footer>"),
        ('<p id="report-date">Made on', '<p id="report-date">Made and approved on'),
        ("</header>", '<p id="report-date">Made on <time>2026-11-21</time></p>\n</header>'),
        ("<code>", "<code >"),
    ],
)
def test_a_changed_page_is_found(run, tmp_path, old, new):
    report(run.path, ("html",), out=tmp_path, date="2026-11-21")
    page = tmp_path / "report.html"
    text = page.read_text()
    assert old in text
    page.write_text(text.replace(old, new, 1))
    with pytest.raises(AuditError, match=r"report\.html"):
        verify_page(page)


def test_a_file_that_is_no_report_has_no_hash(tmp_path):
    with pytest.raises(AuditError, match="exactly one date line"):
        self_hash("<p>no report</p>")
    (tmp_path / "x.html").write_bytes(b"\xff")
    with pytest.raises(AuditError, match=r"x\.html"):
        verify_page(tmp_path / "x.html")


def test_json_holds_answers_checklist_coverage_and_hashes(run):
    report(run.path, ("json",), date="2026-11-21")
    values = json.loads((run.path / "report" / "report.json").read_text())
    assert [row["verdict"] for row in values["answers"]] == [
        "not broken by this attack", "not broken by this attack", "leaks",
    ]  # fmt: skip
    assert [row["number"] for row in values["checklist"]] == list(range(1, 43))
    assert values["checklist"][0]["left_blank"] == ["Controller", "Processor", "Data protection officer"]
    verdicts = {row["class"]: row["verdict"] for row in values["coverage"]}
    assert verdicts == {
        "membership inference": "not broken by this attack", "attribute inference": "inconclusive",
        "exfiltration": "leaks", "regurgitation": "not run", "model inversion": "not run",
        "reconstruction": "not broken by this attack",
    }  # fmt: skip
    assert values["run"] == run.identity
    assert values["findings"] == [
        row | {"alarm": False} for row in json.loads((run.path / "audit" / "findings.json").read_text())
    ]


def test_csv_has_a_row_a_finding_and_no_formula(run, audited):
    audited(run, lambda rows, make: [*rows, make(target="=1+1", attack="@x")])
    report(run.path, ("csv",), date="2026-11-21")
    with (run.path / "report" / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = json.loads((run.path / "audit" / "findings.json").read_text())
    assert len(rows) == len(stored)
    assert set(rows[0]) == {*Finding.__dataclass_fields__, "alarm"}
    for row, finding in zip(rows, stored, strict=True):
        assert row["value"] == ("" if finding["value"] is None else str(finding["value"]))
        assert row["verdict"] == finding["verdict"]
    assert rows[-1]["target"] == "'=1+1"
    assert rows[-1]["attack"] == "'@x"


def test_only_what_is_asked_for_is_written(run, tmp_path):
    paths = report(run.path, ("csv",), out=tmp_path / "deep" / "er", date="2026-11-21")
    assert [path.name for path in paths] == ["findings.csv", "dpia.md", "dpia.json"]
    assert sorted(contents(tmp_path / "deep" / "er")) == ["dpia.json", "dpia.md", "findings.csv"]


def test_a_failure_leaves_the_last_report_as_it_was(run):
    report(run.path, date="2026-11-21")
    before = contents(run.path / "report")
    (run.path / "audit" / "notes.txt").touch()
    with pytest.raises(AuditError):
        report(run.path, date="2026-11-22")
    assert contents(run.path / "report") == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"formats": ("docx",)}, "docx"), ({"formats": ()}, "none"), ({"date": "21.11.26"}, "21")],
)
def test_bad_arguments_are_named(run, arguments, word):
    with pytest.raises(ConfigError, match=word):
        report(run.path, **arguments)


def test_the_paper_has_the_pages_words_numbered_pages_and_the_pages_hash(run):
    report(run.path, ("html", "pdf"), date="2026-11-21")
    data = (run.path / "report" / "report.pdf").read_bytes()
    texts = pdf_texts(data)
    squeezed = re.sub(r"[\s\u200b\ufffe\u00ad]+", "", "".join(texts))
    for words in ("What to do next", "Linking a style card", "no finding of anonymity"):
        assert re.sub(r"\s+", "", words) in squeezed
    assert verify_page(run.path / "report" / "report.html") in squeezed
    for number, text in enumerate(texts, start=1):
        assert f"page {number} of {len(texts)}" in text
        assert "Made on 2026-11-21" in text
        assert verify_page(run.path / "report" / "report.html") in text
        assert number == 1 or text.startswith(f"Privacy audit report {run.path.name}")
    headings = re.findall(
        r"<h[2345][^>]*>(?:<span[^>]*>\d+</span> )?([^<]+)</h", (run.path / "report/report.html").read_text()
    )
    places = [squeezed.find(re.sub(r"\s+", "", heading.replace("&#39;", "'"))) for heading in headings]
    assert -1 not in places, headings[places.index(-1)]


def test_every_page_of_the_paper_is_full_of_ink_within_its_margins(run):
    """As pictures: no page is empty, nothing runs over the right edge, the blank fields are drawn."""
    report(run.path, ("pdf",), date="2026-11-21")
    document = pypdfium2.PdfDocument((run.path / "report" / "report.pdf").read_bytes())
    for page in document:
        picture = page.render(scale=0.5, grayscale=True).to_numpy()
        margin = int(0.05 * picture.shape[1])
        assert (picture < 200).mean() > 0.002
        assert (picture[:, -margin:] > 250).all()
        assert (picture[:, :margin] > 250).all()


def test_texts_of_the_run_are_never_markup_on_paper(run, audited):
    hostile = '#panic("x") $x$ *bold* @ref <label> ```raw``` // c \\ #read("data.json")'
    audited(run, lambda rows, make: [*rows, make(attack=hostile, target=hostile, reason=hostile)])
    report(run.path, ("pdf",), date="2026-11-21")
    squeezed = re.sub(r"\s+", "", "".join(pdf_texts((run.path / "report" / "report.pdf").read_bytes())))
    assert '#panic("x")$x$*bold*@ref<label>' in squeezed


def test_the_assessment_has_the_templates_headings_and_blanks(run):
    report(run.path, ("csv",), date="2026-11-21")
    text = (run.path / "report" / "dpia.md").read_text()
    headings = re.findall("^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Overview of the processing",
        "Technical sheet",
        "Systematic description",
        "Means, assets and architecture",
        "Lawfulness, rights, protection by design and by default, security",
        "Necessity and proportionality",
        "Inherent risks",
        "Action plan",
        "Residual risks",
        "Advice of the data protection officer, views of data subjects",
        "Formal decision",
    ]
    decision = text[text.index("## Formal decision") :]
    assert decision.count("____") >= 2
    values = json.loads((run.path / "report" / "dpia.json").read_text())
    assert [section["title"] for section in values["sections"]] == headings
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert min(cells) >= 3


def test_hostile_text_stays_text_in_markdown(run, audited):
    audited(run, lambda rows, make: [*rows, make(attack="<script>x</script> | [a](http://b) *c*\n# d")])
    report(run.path, ("csv",), date="2026-11-21")
    text = (run.path / "report" / "dpia.md").read_text()
    assert "<script>" not in text
    assert "[a](http" not in text
    assert "\n# d" not in text

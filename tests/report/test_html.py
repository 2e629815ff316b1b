"""The page: every number is one of the run's, nothing leaves it, and what must be seen is seen."""

import json
import re
import tomllib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from statistics import median
from urllib.parse import unquote

import pytest

from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page import html
from fedstyle_secure.report.page.words import SHORT, SIGNS
from fedstyle_secure.report.run.document import document
from fedstyle_secure.report.run.facts import read_facts

VOID = {"meta", "link", "br", "img", "path", "rect", "circle"}
NUMBER = re.compile(r"-?[\d,]*\.?\d+(?:e-?\d+)?")


class Page(HTMLParser):
    """Text with the innermost mark above it, and everything else that tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.marked, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in VOID:
            self.open.append((tag, attrs))
            if "data-source" in attrs:
                self.marked.append((attrs, []))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        last, _ = self.open.pop()
        assert last == tag, f"</{tag}> closes <{last}>"

    def handle_data(self, data):
        for _, attrs in self.open:
            if "data-source" in attrs:
                self.marked[-1][1].append(data)
        self.texts.append((data, [(tag, attrs) for tag, attrs in self.open]))


def check_outline(page):
    """One first heading, no level left out, ids of their own, and links within the page lead somewhere."""
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.tags:
        for target in [attrs["href"][1:]] if tag == "a" else attrs.get("aria-labelledby", "").split():
            assert target in ids


def page_of(run, **kwargs):
    report(run.path, ("html", "json"), date="2026-11-21", **kwargs)
    return (run.path / "report" / "report.html").read_text()


def sources(run):
    """The files as they lie there, read without the report's own code."""
    lines = lambda name: [json.loads(line) for line in (run.path / name).read_text().splitlines()]  # noqa: E731
    load = lambda name: json.loads((run.path / name).read_text())  # noqa: E731
    found = {name: load(name) for name in ("manifest.json", "summary.json", "ledger.json")}
    found |= {"metrics.jsonl": lines("metrics.jsonl"), "report.json": load("report/report.json")}
    found["config.toml"] = tomllib.loads((run.path / "config.toml").read_text())
    if (run.path / "transcript.jsonl").exists():
        found["transcript.jsonl"] = lines("transcript.jsonl")
    if (run.path / "audit").exists():
        found |= {"findings.json": load("audit/findings.json"), "audit.json": load("audit/audit.json")}
        found |= {path.name: json.loads(path.read_text()) for path in (run.path / "audit").glob("exposed_*")}
    return found


def resolve(files, source):
    values = []
    for one in source.split(" "):
        name, _, pointer = one.partition("#")
        found = [files[name]]
        for token in pointer.split("/")[1:]:
            token = unquote(token).replace("~1", "/").replace("~0", "~")
            found = [json.loads(value) if isinstance(value, str) else value for value in found]
            if token == "*":
                found = [x for v in found for x in (v.values() if isinstance(v, dict) else v)]
            else:
                found = [value[int(token)] if isinstance(value, list) else value[token] for value in found]
        values += found
    return values


def combined(values, rule):
    if rule == "median":
        return median(values)
    rules = {"count": len, "sum": sum, "min": min, "max": max, "value": lambda v: v[0]}
    rules |= {"day": lambda v: max(v)[:10], "distinct": lambda v: len(set(v))}
    return rules[rule](values)


def check_numbers(run, text):
    """Every cited number or text is what its source holds, under the printed number's own rounding; every
    other digit stands in an element that says why."""
    files, page = sources(run), Page(text)
    numbers = 0
    for attrs, texts in page.marked:
        shown, value = (
            "".join(texts),
            combined(resolve(files, attrs["data-source"]), attrs.get("data-rule", "value")),
        )
        if value is None:
            assert not re.search(r"\d", shown), shown
        elif isinstance(value, bool):
            assert shown == ("yes" if value else "no")
        elif isinstance(value, str | list):
            assert shown == (value if isinstance(value, str) else ",".join(value))
        else:
            numbers += 1
            assert NUMBER.fullmatch(shown), shown
            assert float(attrs["value"]) == value
            mantissa, _, exponent = shown.replace(",", "").partition("e")
            unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
            assert abs(float(shown.replace(",", "")) - value) <= unit * (1 + 1e-9), (shown, value)
            if "epsilon" in attrs["data-source"]:
                assert float(shown) >= value, "a cost is never understated"
            elif float(shown.replace(",", "")) != value:
                assert abs(float(shown.replace(",", "")) - value) <= unit / 2 * (1 + 1e-9), (shown, value)
    for data, stack in page.texts:
        tags = [tag for tag, _ in stack]
        excused = any("data-source" in a or "data-kind" in a for _, a in stack) or "style" in tags
        excused |= "title" in tags or any(a.get("id") in ("report-date", "report-hash") for _, a in stack)
        assert excused or not re.search(r"\d", data), data
    kinds = {a["data-kind"] for _, a in page.tags if "data-kind" in a}
    assert kinds <= {"legal", "ordinal", "name"}
    return numbers


def test_every_number_is_found_in_a_file_of_the_run(run):
    assert check_numbers(run, page_of(run)) > 150


def test_every_number_of_a_run_without_an_audit_is_found_too(bare):
    text = page_of(bare)
    assert check_numbers(bare, text) > 40
    assert "No audit was run" in text


def test_the_check_of_numbers_finds_a_wrong_one(run):
    text = page_of(run)
    wrong = text.replace(">0.521</data>", ">0.531</data>", 1)
    assert wrong != text
    with pytest.raises(AssertionError):
        check_numbers(run, wrong)
    with pytest.raises(AssertionError):
        check_numbers(run, text.replace("Evidence against", "Evidence against 99 %"))


def test_nothing_is_asked_of_anybody(run):
    page = Page(page_of(run))
    for tag, attrs in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base", "video", "audio")
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
    style = "".join(text for text, stack in page.texts if stack and stack[-1][0] == "style")
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_the_order_is_that_of_the_issue(run):
    page = Page(page_of(run))
    keys = [attrs["id"] for tag, attrs in page.tags if tag == "h2"]
    assert keys == [
        "answer", "questions", "matrix", "findings", "exposed", "fairness", "ledger", "trust", "limits",
        "annex",
    ]  # fmt: skip
    chapters = [attrs["id"] for tag, attrs in page.tags if tag == "h3"]
    assert chapters == [
        "not-run", "method", "bibliography", "curves", "panels", "artists", "releases", "coverage",
        "checklist", "provenance", "glossary",
    ]  # fmt: skip


def test_headings_do_not_skip_and_ids_are_unique_and_links_lead_somewhere(run):
    check_outline(Page(page_of(run)))


def test_tables_have_captions_and_scopes_and_pictures_have_alternatives(run):
    page = Page(page_of(run))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") > 10
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in page.tags if tag == "th")
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert {"header", "main", "nav", "footer"} <= set(tags)
    for caption in re.findall(r"<caption[^>]*>(.*?)</caption>", page_of(run), re.DOTALL):
        assert caption.strip()


def test_an_alarm_stands_above_everything_else(run, audited):
    calm = page_of(run)
    assert '<aside class="alarms"' not in calm
    audited(run, lambda rows, make: [*rows, make(value=0.99, low=0.96, high=1.0, verdict="leaks")])
    text = page_of(run)
    check_numbers(run, text)
    alarm = text.index('<aside class="alarms"')
    assert alarm < text.index("<h1")
    assert "a bug in the defence or in the attack" in text[alarm : text.index("</aside>")]


def test_pictures_are_shown_only_where_the_auditor_allows_it(run, audited):
    assert "data:image/png" in page_of(run)
    audited(run, show_pictures=False)
    text = page_of(run)
    assert "data:image/png" not in text
    assert "does not allow pictures" in text
    assert "data:image/svg" in text, "curves show no picture of anybody"


def test_texts_of_the_run_are_never_markup(run, audited):
    hostile = "<img src=x onerror=alert(1)><script>alert(1)</script>\"'&{{7*7}}"
    audited(
        run, lambda rows, make: [*rows, make(attack=hostile, target=hostile, reason=hostile, budget=hostile)]
    )
    text = page_of(run)
    check_numbers(run, text)
    assert hostile not in text
    assert "&lt;script&gt;" in text
    assert not any(tag == "script" for tag, _ in Page(text).tags)


def test_a_picture_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.gif").touch()
    with pytest.raises(Exception, match=r"x\.gif: is no picture"):
        html.data_uri(tmp_path / "x.gif")


def test_no_claim_that_evidence_cannot_carry(run):
    text = " ".join(data for data, _ in Page(page_of(run)).texts).lower()
    for claim in (
        "is private",
        "are private",
        "is anonymous",
        "compliant",
        "100 % safe",
        "is safe",
        "is secure",
    ):
        assert claim not in text
    assert "no finding of anonymity" in text


def luminance(colour):
    if len(colour) == 4:
        colour = "#" + "".join(2 * c for c in colour[1:])
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_of_text_can_be_read_in_both_themes():
    """WCAG 2.2, 1.4.3: at least 4.5 to 1 for text, also on the two washes."""
    css = (Path(html.__file__).parent / "templates" / "report.css").read_text()
    blocks = re.findall(r":root \{([^}]*--paper[^}]*)\}", css)
    assert len(blocks) == 3
    for block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", block))
        pairs = [(name, "paper") for name in ("ink", "soft", "bad", "warn", "calm", "meant")]
        for front, back in [
            *pairs,
            ("paper", "bad"),
            ("paper", "calm"),
            ("bad", "bad-wash"),
            ("soft", "wash"),
            ("ink", "field"),
        ]:
            lighter, darker = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (front, back, block)


def test_verdicts_are_words_and_signs_never_colour_alone(run):
    text = page_of(run)
    badges = re.findall(r'<span class="badge [^"]*"><span aria-hidden="true">(.)</span> ([^<]+)</span>', text)
    assert len(badges) == text.count('class="badge')
    assert {words for _, words in badges} >= {"leaks", "not broken", "inconclusive", "not run"}
    assert len({sign for sign, _ in badges}) == len({words for _, words in badges})
    assert len(set(SIGNS.values())) == len(SIGNS) == len(set(SHORT.values()))


def test_prose_of_the_document_holds_no_digits(run):
    """The rule that makes the check of numbers whole: a digit outside a figure is an error of the program."""
    page = document(read_facts(run.path), "2026-11-21")

    def strings(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            for item in value:
                yield from strings(item)

    for section in page.sections:
        for block in section.blocks:
            for line in [getattr(block, "line", []), *getattr(block, "items", [])]:
                assert not any(re.search(r"\d", text) for text in strings(list(line)))

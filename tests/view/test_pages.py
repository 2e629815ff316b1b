"""What pages say is what the files say."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace

import pytest

from fedstyle_secure.accounts import accounts, withdraw
from fedstyle_secure.audit.curves import CurveFile
from fedstyle_secure.audit.findings import read_findings, write_findings
from fedstyle_secure.errors import AuditError
from fedstyle_secure.files import read_arrays, write_arrays
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.systems.style.search import search
from fedstyle_secure.view.pages import draw
from fedstyle_secure.view.pages.curve import plotted
from fedstyle_secure.view.pages.findings import Filter
from fedstyle_secure.view.shelf import whole

POST = {"sec-fetch-site": "same-origin"}


def words(text: str) -> str:
    """A page as it is read."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def row(text: str, name: str) -> str:
    """The row of a table that has this name, as it is read."""
    (found,) = [r for r in re.findall(r"<tr.*?</tr>", text, re.DOTALL) if name in html.unescape(r)]
    return words(found)


def test_the_first_page_has_every_run_with_its_figures(page, home):
    text, summary = page.get("/").text, json.loads((home / "run" / "summary.json").read_text())
    said = row(text, 'href="/runs/run"')
    assert f"{summary['utility']['artist_top1']:.3f}" in said
    assert f"{summary['utility']['baseline_top1']:.3f}" in said
    assert ("no guarantee" in said) == (
        None in (summary["privacy"][f"epsilon_{u}_max"] for u in ("artwork", "artist"))
    )
    assert "finished" in said
    assert "leaks" in said
    assert "interrupted after 3 rounds" in row(text, 'href="/runs/begun"')
    assert "holds" not in row(text, 'href="/runs/run"')
    assert "lacks what it should hold" in row(text, 'href="/runs/broken"')
    assert "is a link" in row(text, 'href="/runs/linked"')
    assert '<a href="/sweeps/sweep">' in text
    assert "1 entry of this folder is a link" in text


def test_names_are_shown_and_do_nothing(page):
    text = page.get("/").text
    assert "<b>" not in text
    assert '<b>"odd" & name' in words(text)
    assert "a⟨U+000A⟩b" in text
    assert "ab⟨U+202E⟩" in text
    assert r"\xff\xfe" in text


def test_a_run_is_told_as_its_summary_has_it(page, home):
    text, summary = page.get("/runs/run").text, json.loads((home / "run" / "summary.json").read_text())
    cited = re.findall(r'<data[^>]* value="([^"]*)" data-source="summary.json#/([^"]*)"', text)
    assert len(cited) > 5
    for value, pointer in cited:
        found = summary
        for part in pointer.split("/"):
            found = found[part]
        assert value == str(found)
    findings = read_findings(home / "run" / "audit" / "findings.json")
    assert findings
    assert row(text, '<th scope="row">Buyer<').startswith("Buyer")


def test_a_run_that_goes_on_says_how_far_it_is(page):
    text = words(page.get("/runs/begun").text)
    assert "interrupted after 3 rounds" in text
    assert "A run is audited when it is finished" in text
    assert page.get("/runs/begun/findings").status_code == 404


def test_filters_take_what_they_say(page, findings):
    for asked in (
        Filter(), Filter(view="platform"), Filter(verdict="leaks"), Filter(attack="Linking a style card"),
        Filter(target="single"), Filter("platform", "leaks", "Linking a style card", "over all"),
        Filter(view="none"), Filter(verdict="<script>"),
    ):  # fmt: skip
        text = page.get("/runs/run/findings", params=vars(asked)).text
        wanted = {
            i
            for i, f in enumerate(findings)
            if asked.view in ("", f.view) and asked.attack in ("", f.attack)
            and asked.verdict in ("", f.verdict)
            and asked.target in ("", "over all" if f.target == "all" else "single")
        }  # fmt: skip
        shown = {int(i) for i in re.findall(r'<th scope="row"><a href="/runs/run/findings/(\d+)"', text)}
        assert shown == wanted
        assert f"{len(wanted)} of {len(findings)} findings" in text
        assert "<script>" not in text
    assert len(findings) > 10


def test_a_finding_says_what_its_row_says(page, findings):
    for i, finding in enumerate(findings):
        text = page.get(f"/runs/run/findings/{i}").text
        assert finding.attack in html.unescape(text)
        if finding.value is None:
            assert finding.reason in html.unescape(text)
            continue
        cited = re.findall(rf'<data[^>]* value="([^"]*)" data-source="findings.json#/{i}/(\w+)"', text)
        wanted = {key: getattr(finding, key) for key in ("value", "control", "bound")}
        assert {key: value for value, key in cited} == {k: str(v) for k, v in wanted.items() if v is not None}
        assert f"{finding.value:.3f}" in words(text)
    assert page.get(f"/runs/run/findings/{len(findings)}").status_code == 404
    for odd in ("-1", "x", "1e3", "٣", "0x1", "99999999999999999999"):
        assert page.get(f"/runs/run/findings/{odd}").status_code == 404


@pytest.fixture
def curved(findings):
    return next(i for i, f in enumerate(findings) if f.curve and f.target == "all")


@pytest.mark.parametrize(
    ("at", "corner"), [("0", 0), ("2", 2), ("4", 4), ("99", 4), ("x", 1), ("-3", 1), ("", 1)]
)
def test_a_curve_is_read_where_it_is_asked(page, home, curved, at, corner):
    file = CurveFile.read(home / "run" / "audit" / "rounds.json")
    text = page.get(f"/runs/run/findings/{curved}", params={"at": at}).text
    said = words(re.search(r'<p role="status">.*?</p>', text, re.DOTALL)[0])
    plot = plotted(file, corner)
    assert f'value="{corner}"' in text
    assert f"names {file.run.tpr[corner]:.3f} of 4 members" in said
    assert f"accuses {file.run.fpr[corner]:.3f} of 4 others" in said
    assert f"defended it names {plot.reading.undefended:.3f}" in said
    assert f"to name {file.allowed_at_most[corner]:.3f} at most" in said
    assert f'd="{plot.run}"' in text
    assert f'd="{plot.undefended}"' in text


def test_the_twin_is_read_where_it_accuses_no_more(home):
    file = CurveFile.read(home / "run" / "audit" / "rounds.json")
    assert [plotted(file, i).reading.undefended for i in range(5)] == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_a_curve_that_is_none_is_refused(mine, opened, curved):
    path = mine / "run" / "audit" / "rounds.json"
    good = json.loads(path.read_text())
    for change in (
        {"format": 0}, {"run": {}}, {"confidence": "x"}, {"allowed": [0.5]}, {"allowed": None},
        {"run": good["run"] | {"fpr": [0, 2, 1, 1, 1]}}, {"run": good["run"] | {"tpr": [1, 0, 1, 1, 1]}},
        {"run": good["run"] | {"members": 0}}, {"run": good["run"] | {"low": [0.0]}},
    ):  # fmt: skip
        path.write_text(json.dumps(good | change))
        with pytest.raises(AuditError, match=r"rounds.json: is no curve"):
            CurveFile.read(path)
        assert opened(mine).get(f"/runs/run/findings/{curved}").status_code == 422
    path.unlink()
    shown = opened(mine).get(f"/runs/run/findings/{curved}")
    assert shown.status_code == 422, "audit.json vouches for it"


@pytest.mark.parametrize("value", ["x", [1], {"a": 1}, 10**400, float("inf")])
@pytest.mark.parametrize(
    ("name", "where", "pages"),
    [
        ("summary.json", ("privacy", "epsilon_artwork_max"), ("/runs/run", "/compare?a=run&b=begun")),
        ("summary.json", ("utility", "artist_top1"), ("/runs/run", "/compare?a=begun&b=run")),
        ("summary.json", ("utility", "baseline_top1"), ("/runs/run",)),
        ("audit/findings.json", (1, "confidence"), ("/runs/run/findings/1",)),
        ("audit/findings.json", (1, "seconds"), ("/runs/run/findings/1",)),
        ("audit/findings.json", (1, "n"), ("/runs/run/findings/1",)),
    ],
)
def test_what_is_no_figure_keeps_no_other_run_from_the_page(mine, opened, name, where, pages, value):
    path = mine / "run" / name
    held = json.loads(path.read_text())
    inner = held
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    path.write_text(json.dumps(held))
    page = opened(mine)
    shown = page.get("/")
    assert shown.status_code == 200
    assert "begun" in shown.text
    assert {page.get(place).status_code for place in pages} <= {200, 422}


def test_a_product_of_other_shapes_is_no_mistake_of_the_program(mine, opened, query):
    path = mine / "run" / "product.safetensors"
    arrays, about = read_arrays(path)
    write_arrays(path, arrays | {"public/cards": arrays["public/cards"][:, :1]}, about)
    shown = opened(mine).post("/runs/run/search", files={"picture": query.read_bytes()}, headers=POST)
    assert shown.status_code == 422


def test_ledgers_are_those_of_the_command(page, home):
    found = accounts(RunFolder(home / "run"))
    text = page.get("/runs/run/ledgers").text
    assert "no budget is set" in text
    for i, account in enumerate(found):
        said = row(text, f'href="/runs/run/ledgers/{i}"')
        assert account.artist in said
        assert "its own ledger" in said
        one = page.get(f"/runs/run/ledgers/{i}").text
        assert account.artist in one
        assert one.count("<tr>") == 1 + len(account.lines)
        assert f"{sum(len(line.entries) for line in account.lines)} releases" in one
    assert page.get(f"/runs/run/ledgers/{len(found)}").status_code == 404


def test_what_is_left_of_a_budget_is_told(mine, opened):
    config = mine / "run" / "config.toml"
    config.write_text(config.read_text().replace('budget_epsilon = "none"', "budget_epsilon = 1000.0"))
    found = accounts(RunFolder(mine / "run"))
    text = opened(mine).get("/runs/run/ledgers").text
    assert "of epsilon 1000.00 per artwork" in words(text)
    for i, account in enumerate(found):
        assert 0 < account.left < 1000
        assert f"{account.left:.2f}" in row(text, f'href="/runs/run/ledgers/{i}"')


def test_a_ledger_is_told_anew_when_it_changes(mine, opened):
    page = opened(mine)
    artist = accounts(RunFolder(mine / "run"))[0].artist
    assert "withdrew" not in page.get("/runs/run/ledgers").text
    withdraw(RunFolder(mine / "run"), artist)
    assert "withdrew at" in row(page.get("/runs/run/ledgers").text, 'href="/runs/run/ledgers/0"')


def test_pictures_are_shown_where_the_report_shows_them(page, home):
    assert '<img src="/runs/run/pictures/inversion.png"' in page.get("/runs/run/pictures").text
    answer = page.get("/runs/run/pictures/inversion.png")
    assert answer.content == (home / "run" / "audit" / "inversion.png").read_bytes()
    assert answer.headers["content-type"] == "image/png"
    drawn = page.get("/runs/run/pictures/rounds.svg")
    assert drawn.headers["content-security-policy"].startswith("default-src 'none'")
    assert "sandbox" in drawn.headers["content-security-policy"]
    for name in (
        "audit.json",
        "findings.json",
        "rounds.json",
        "..%2fsummary.json",
        "none.png",
        "INVERSION.PNG",
    ):
        assert page.get(f"/runs/run/pictures/{name}").status_code == 404


def test_no_picture_is_shown_against_the_setting(mine, opened):
    about = mine / "run" / "audit" / "audit.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"show_pictures": False}))
    page = opened(mine)
    assert "<img" not in page.get("/runs/run/pictures").text
    assert page.get("/runs/run/pictures/inversion.png").status_code == 404
    assert page.get("/runs/run/pictures/rounds.svg").status_code == 200, "a curve shows no artwork"


def test_no_picture_is_shown_once_somebody_withdrew_or_cannot_be_asked(mine, opened):
    page = opened(mine)
    assert page.get("/runs/run/pictures/inversion.png").status_code == 200
    shutil.move(mine / "studios", mine.parent / "studios")
    assert page.get("/runs/run/pictures/inversion.png").status_code == 404
    assert "nobody here can tell" in page.get("/runs/run/pictures").text
    shutil.move(mine.parent / "studios", mine / "studios")
    withdraw(RunFolder(mine / "run"), accounts(RunFolder(mine / "run"))[0].artist)
    assert page.get("/runs/run/pictures/inversion.png").status_code == 404
    assert "have withdrawn" in page.get("/runs/run/pictures").text


def test_a_finding_that_names_a_file_elsewhere_shows_nothing(mine, opened, findings):
    (mine / "secret.png").write_bytes(b"secret")
    path = mine / "run" / "audit" / "findings.json"
    for name in ("../../secret.png", "../summary.json", "/etc/passwd", "config.toml"):
        write_findings(
            path, [replace(f, pictures=(name,), curve=name) for f in findings if f.value is not None]
        )
        page = opened(mine)
        answer = page.get(f"/runs/run/pictures/{name.replace('/', '%2F')}")
        assert answer.status_code == 404
        assert b"secret" not in answer.content
        assert page.get("/runs/run/findings/0").status_code == 200


def test_two_runs_differ_where_their_files_do(page, home, mine, opened):
    text = page.get("/compare", params={"a": "run", "b": "begun"}).text
    assert "All" in words(text)
    assert "settings are the same" in text
    config = mine / "begun" / "config.toml"
    config.write_text(config.read_text().replace("rounds = 2", "rounds = 3"))
    text = opened(mine).get("/compare", params={"a": "run", "b": "begun"}).text
    assert row(text, "<code>run.rounds</code>") == "run.rounds 2 3"
    assert "not finished" in row(text, "epsilon per artwork")
    assert "not in its audit" in text


def test_a_run_beside_itself_has_no_difference(page, findings):
    text = page.get("/compare", params={"a": "run", "b": "run"}).text
    assert "differs" not in text
    shown = re.findall(r'<th scope="row">([^<]*)<br>', text)
    assert set(shown) == {f.attack for f in findings if f.target == "all" and f.value is not None}


def test_a_sweep_has_every_combination_as_a_mark_and_a_row(page):
    text = page.get("/sweeps/sweep").text
    assert "sd 0.071" in row(text, 'id="row-0"')
    assert row(text, 'id="row-0"').startswith("epsilon 2")
    assert "2.00" in row(text, 'id="row-0"')
    assert "1 of 2" in row(text, 'id="row-1"')
    marks = re.findall(r'<a href="#row-(\d)" aria-label="([^"]*)"><title>([^<]*)</title>', text)
    assert [mark[0] for mark in marks] == ["0", "1", "0", "1"]
    assert all(label == title for _, label, title in marks)
    assert "states epsilon 2.00; utility 0.570, standard deviation 0.071 over 2 seeds" in marks[0][1]
    assert "epsilon=8 seed=1 : no <b>memory</b>" in words(text)
    assert "<b>" not in text
    (cell,) = re.findall(r'href="(/runs/sweep:[^"]*)"', text)
    assert page.get(cell).status_code == 200


def test_a_sweep_that_is_not_finished_says_so(mine, opened):
    (mine / "sweep" / "sweep.json").unlink()
    answer = opened(mine).get("/sweeps/sweep")
    assert answer.status_code == 422
    assert "not finished" in answer.text


def test_a_search_finds_what_the_command_finds(page, home, query):
    answer = page.post("/runs/run/search", headers=POST, files={"picture": query.read_bytes()})
    assert answer.status_code == 200
    for match in search(home / "run", query, 10):
        assert (
            row(answer.text, f"<bdi>{match.artist}</bdi>")
            == f"{match.artist} {match.rank} {match.score:+.3f}"
        )


def test_who_withdrew_is_not_found(mine, opened, query):
    gone = search(mine / "run", query, 1)[0].artist
    withdraw(RunFolder(mine / "run"), gone)
    answer = opened(mine).post("/runs/run/search", headers=POST, files={"picture": query.read_bytes()})
    assert answer.status_code == 200
    assert f"<bdi>{gone}</bdi>" not in answer.text
    assert "<bdi>" in answer.text


def test_a_picture_that_is_none_is_refused_in_words(page):
    for data, said in (
        (b"", "Choose a picture"),
        (b"GIF89a", "not a supported type"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
    ):
        answer = page.post("/runs/run/search", headers=POST, files={"picture": data})
        assert answer.status_code == 422
        assert said in answer.text
    for body in ({"content": b"x"}, {"data": {"picture": "x"}}, {"files": {"other": b"x"}}):
        assert page.post("/runs/run/search", headers=POST, **body).status_code == 422


def test_a_picture_touches_no_disk(page, monkeypatch, query):
    import tempfile

    def refused(*_, **__):
        raise AssertionError("a file was made")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refused)
    large = query.read_bytes() + bytes(3 * 2**20)
    assert page.post("/runs/run/search", headers=POST, files={"picture": large}).status_code in (200, 422)


def test_what_cannot_be_searched_says_why(mine, opened, query):
    files = {"picture": query.read_bytes()}
    assert "this is none" in opened(mine).post("/runs/begun/search", headers=POST, files=files).text
    shutil.move(mine / "studios", mine.parent / "studios")
    page = opened(mine)
    assert "nobody here can tell who has withdrawn" in words(page.get("/runs/run/search").text)
    answer = page.post("/runs/run/search", headers=POST, files=files)
    assert "table-nearest" not in answer.text


def test_a_policy_is_held_against_a_run(home, opened, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("[epsilon]\nartwork = 0.001\n[attacks]\nallow_inconclusive = true\n")
    page = opened(home, policy)
    assert 'hx-get="/runs/run/policy"' in page.get("/").text
    text = page.get("/runs/run/policy").text
    assert re.search(r'id="verdict">.*\d+ of \d+ not met', text)
    assert "is above 0.001" in text or "there is no guarantee" in text
    policy.write_text("[consent]\nallow_withdrawn = false\n")
    assert re.search(r'id="verdict">.*all \d+ met', opened(home, policy).get("/runs/run/policy").text)
    assert "none given" in opened(home).get("/").text


def test_a_run_that_was_edited_meets_no_policy(mine, opened, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("[epsilon]\nartwork = 1000.0\n")
    (mine / "run" / "metrics.jsonl").write_text("{}\n")
    text = opened(mine, policy).get("/runs/run/policy").text
    assert "not known" in text
    assert "metrics.jsonl" in text


def test_looking_writes_nothing(mine, opened):
    before = whole(mine / "run"), whole(mine / "begun"), sorted(p.name for p in (mine / "begun").iterdir())
    page = opened(mine)
    for path in (
        "/",
        "/runs/run",
        "/runs/run/findings",
        "/runs/run/ledgers",
        "/runs/begun",
        "/runs/run/pictures",
    ):
        page.get(path)
    assert before == (
        whole(mine / "run"),
        whole(mine / "begun"),
        sorted(p.name for p in (mine / "begun").iterdir()),
    )


def test_a_run_that_somebody_writes_says_so(mine, opened):
    run = RunFolder(mine / "begun")
    with run.lock():
        assert "running" in row(opened(mine).get("/").text, 'href="/runs/begun"')
    assert "interrupted after 3 rounds" in row(opened(mine).get("/").text, 'href="/runs/begun"')


@pytest.mark.parametrize(
    ("axis", "texts"),
    [
        (draw.Axis(0, 1, ""), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (draw.Axis(0.5, 9, "", logarithmic=True), ["0.5", "1", "2", "4", "8"]),
        (draw.around([0.5], ""), ["0.48", "0.49", "0.5", "0.51", "0.52"]),
    ],
)
def test_axes_have_round_numbers_in_their_places(axis, texts):
    assert [tick.text for tick in axis.ticks] == texts
    places = [tick.at for tick in axis.ticks]
    assert places == sorted(places)
    assert draw.LEFT <= places[0] <= places[-1] <= draw.LEFT + draw.WIDTH

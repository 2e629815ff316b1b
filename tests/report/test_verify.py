"""`fedstyle verify` on a run's folder and on a report's page."""

import json

import pytest

from fedstyle_secure.cli import main
from fedstyle_secure.report.formats import report


@pytest.fixture
def verify(capsys, monkeypatch):
    """The exit code and what was printed."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["fedstyle", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return exit_.value.code, printed.out, printed.err

    return call


def test_files_and_openings_of_a_whole_run_pass(verify, bare):
    code, out, _ = verify(bare.path)
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines() if line.startswith(("PASS", "FAIL"))] == [
        "PASS"
    ] * 2
    assert "8 files are as SHA256SUMS says" in out
    assert "4 of 4 artists' own ledgers were compared" in out
    told = json.loads(verify(bare.path, "--json")[1])
    assert (told["files"], told["openings"], told["opener_by"], told["own_ledgers"]) == (8, 1, "studios", 4)


def test_an_edited_file_and_an_edited_opening_fail(verify, bare):
    with bare.fixed_file.open("ab") as file:
        file.write(b"\n")
    code, out, err = verify(bare.path)
    assert (code, err.count("\n"), "files are as" in out) == (8, 1, False)
    assert "fixed.safetensors: was edited" in err
    bare.transcript_file.write_text(bare.transcript_file.read_text().replace('"kept":[', '"kept":[1,', 1))
    code, out, _ = verify(bare.path)
    assert code == 7
    assert "FAIL: openings" in out


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json", "manifest.json"])
def test_a_damaged_file_is_an_error_in_one_line(verify, bare, name):
    with (bare.path / name).open("ab") as file:
        file.write(b"{\n")
    code, _, err = verify(bare.path)
    assert (code in (4, 8), err.count("\n"), name in err) == (True, 1, True)


def test_an_unfinished_run_is_not_said_to_be_whole(verify, bare):
    bare.summary_file.unlink()
    code, out, _ = verify(bare.path)
    assert code == 0
    assert "not finished, so its other files were not checked" in out
    assert "SHA256SUMS" not in out


def test_a_page_passes_as_it_was_written_and_not_after_an_edit(verify, run):
    page = next(
        path for path in report(run.path, ("html", "json"), date="2026-01-31") if path.suffix == ".html"
    )
    digest = json.loads((page.parent / "report.json").read_text())["self_hash"]
    code, out, _ = verify(page)
    assert (code, digest in out) == (0, True)
    page.write_text(page.read_text().replace("leaks", "seals", 1))
    code, out, err = verify(page)
    assert (code, out, err.count("\n")) == (8, "", 1)
    assert "was changed after it was written" in err


def test_the_lines_of_date_and_hash_stay_in_their_places(verify, run):
    """Both were blanked to an empty line, so that they could change places, or go to another empty line."""
    (page, *_) = report(run.path, ("html",), date="2026-01-31")
    text = page.read_text()
    date, own = (
        next(ln for ln in text.split("\n") if f'id="report-{name}"' in ln) for name in ("date", "hash")
    )
    swapped = text.replace(date, "@").replace(own, date).replace("@", own)
    moved = own + "\n" + text.replace(own + "\n", "")
    for edited in (swapped, moved):
        page.write_text(edited)
        assert verify(page)[0] == 8
    page.write_text(text)
    assert verify(page)[0] == 0

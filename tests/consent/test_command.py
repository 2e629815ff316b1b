"""`fedstyle consent`, and what a report says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from fedstyle_secure import cli
from fedstyle_secure.report.page.pieces import Table, plain
from fedstyle_secure.report.run.checklist import entries
from fedstyle_secure.report.run.facts import read_facts

from .conftest import ALLOWED, mining, with_xmp

NO = '[works."0.png"]\ncawg.ai_generative_training.use = "notAllowed"\n'


def call(capsys, monkeypatch, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["fedstyle", "consent", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def test_it_lists_works_voices_and_verdicts(capsys, monkeypatch, portfolio):
    anna = portfolio / "anna"
    (anna / "consent.toml").write_text(ALLOWED + NO)
    (anna / "1.png").write_bytes(with_xmp(mining("DMI-PROHIBITED")))
    code, out, _ = call(capsys, monkeypatch, anna)
    assert code == 0
    assert "0.png  refused: consent.toml says cawg.ai_generative_training = 'notAllowed'" in out
    assert "1.png  refused: plus:DataMining is DMI-PROHIBITED" in out
    assert "2.png  allowed" in out
    assert out.splitlines()[-1] == "6 of 8 works may be used for ai_generative_training."

    code, out, _ = call(capsys, monkeypatch, portfolio, "--json", "--purpose", "ai_generative_training")
    rows = json.loads(out)
    assert len(rows) == 16
    assert {row["artist"] for row in rows} == {"anna", "bela"}
    assert [row["name"] for row in rows if not row["allowed"]] == ["anna/0.png", "anna/1.png"]
    assert [voice["way"] for voice in rows[1]["said"]] == ["consent.toml", "reservation"]

    code, out, _ = call(capsys, monkeypatch, anna, "--purpose", "ai_training")
    assert (code, out.splitlines()[-1]) == (0, "0 of 8 works may be used for ai_training.")


def test_what_it_cannot_read_is_one_line_and_code_3(capsys, monkeypatch, portfolio, tmp_path):
    (portfolio / "anna/consent.toml").write_text("[default]\nsell = true\n")
    code, out, err = call(capsys, monkeypatch, portfolio)
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1
    assert "default.sell" in err
    (tmp_path / "empty").mkdir()
    assert call(capsys, monkeypatch, tmp_path / "empty")[0] == 3


def test_a_forged_line_in_a_name_is_shown_and_not_done(capsys, monkeypatch, portfolio):
    (portfolio / "anna/x\n99 of 99 works may be used.png").write_bytes(b"")
    _, out, _ = call(capsys, monkeypatch, portfolio / "anna")
    assert not any(line.startswith("99 of 99") for line in out.splitlines())


def told(facts, number: int) -> tuple[str, list[Table]]:
    entry = next(e for _, group in entries(facts) for e in group if e.number == number)
    lines = [block.line for block in entry.blocks if not isinstance(block, Table)]
    return " ".join(plain(line) for line in lines), [b for b in entry.blocks if isinstance(b, Table)]


def test_the_report_counts_by_way_and_names_nobody(finished):
    facts = read_facts(finished.path)
    assert "No consent ledger" in told(facts, 7)[0]
    ways = ["consent.toml", "reservation", "reservation", "unsaid"]
    refused = [
        {"artist": "ann", "name": f"secret{i}.png", "way": w, "reason": "r"} for i, w in enumerate(ways)
    ]
    gallery = facts.manifest["gallery"] | {"purpose": "ai_generative_training", "refused": refused}
    manifest = {**facts.manifest, "gallery": gallery}
    asked = replace(facts, manifest=manifest, files={**facts.files, "manifest.json": manifest})
    words, (table,) = told(asked, 7)
    assert "the use ai_generative_training" in words
    assert "its epsilon says how little that can be" in words
    counts = {plain(row[0]).split(",")[0].split(" ")[0]: plain(row[1]) for row in table.rows}
    assert list(counts.values()) == ["1", "2", "1"]
    assert not any("secret" in plain(cell) for row in table.rows for cell in row)
    assert any("use refused" in plain(row[0]) and plain(row[1]) == "4" for row in told(asked, 6)[1][0].rows)
    none = {**manifest, "gallery": gallery | {"refused": []}}
    clean = replace(facts, manifest=none, files={**facts.files, "manifest.json": none})
    assert "No work was refused." in told(clean, 7)[0]

"""A run over a gallery that asks: what was refused is in its manifest and its report, and in no figure."""

from __future__ import annotations

from functools import partial

import pytest

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.galleries import opening
from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page.pieces import Table, plain
from fedstyle_secure.report.run.checklist import entries
from fedstyle_secure.report.run.facts import read_facts

from .conftest import ALLOWED, mining, picture, with_xmp

PURPOSE = "ai_generative_training"


@pytest.mark.long
def test_what_was_refused_is_in_manifest_and_report(tmp_path, monkeypatch):
    for a, artist in enumerate(("anna", "bela", "carl", "dora", "ever", "owner")):
        (tmp_path / "art" / artist).mkdir(parents=True)
        (tmp_path / "art" / artist / "consent.toml").write_text(ALLOWED)
        for i in range(9):
            data = picture(seed=20 * a + i, side=32)
            (tmp_path / "art" / artist / f"{i}.png").write_bytes(data)
    no = f'[works."8.png"]\ncawg.{PURPOSE}.use = "notAllowed"\n'
    (tmp_path / "art/anna/consent.toml").write_text(ALLOWED + no)
    (tmp_path / "art/bela/7.png").write_bytes(with_xmp(mining("DMI-PROHIBITED")))
    monkeypatch.setattr(opening, "open_pictures", partial(opening.open_pictures, consent=PURPOSE))
    settings = (
        "gallery.source=folder", f"gallery.path={tmp_path / 'art'}", "gallery.public=ever, owner",
        "gallery.size=32", "style.encoder=cnn", "style.dim=8", "style.pretrain_steps=3",
        "style.practice_artists=0", "style.views=2", "styles.count=2", "run.rounds=1", "style.rank=0",
        "style.scatter=off", "secure_sum.updates=false", "training.expected_pictures=6",
        "privacy.noise_multiplier=2",
    )  # fmt: skip
    run = fedstyle_secure.train(Config().override(list(settings)), tmp_path / "runs/run").folder
    gallery = run.manifest()["gallery"]
    assert gallery["purpose"] == PURPOSE
    assert [(one["artist"], one["name"], one["way"]) for one in gallery["refused"]] == [
        ("anna", "anna/8.png", "consent.toml"),
        ("bela", "bela/7.png", "reservation"),
    ]
    counts = {row["artist"]: row["train"] + row["test"] for row in gallery["artists"]}
    assert counts == {"anna": 8, "bela": 8, "carl": 9, "dora": 9, "ever": 9, "owner": 9}
    entry = next(e for _, group in entries(read_facts(run.path)) for e in group if e.number == 7)
    (table,) = (block for block in entry.blocks if isinstance(block, Table))
    assert [plain(row[1]) for row in table.rows] == ["1", "1"]
    page = report(run.path)[0].read_text(encoding="utf-8")
    assert "a reservation of text and data mining" in page
    assert "8.png" not in page

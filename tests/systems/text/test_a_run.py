"""Text recognition in the house: a run with a guarantee, what its files hold, and what breaks it."""

import csv
import json
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import fedstyle_secure
from fedstyle_secure.audit.integrity import check_finished
from fedstyle_secure.cli import app
from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, FederationError, GalleryError, PrivacyError, RunError
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.dp_sgd import DPTrainer, record_rows
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import studio_home
from fedstyle_secure.system import State, plan_of, system_bound
from fedstyle_secure.systems.text.personal import personalise
from fedstyle_secure.systems.text.reading import Reader, evaluate
from fedstyle_secure.systems.text.recogniser.charset import Charset
from fedstyle_secure.systems.text.recogniser.ctc import TextLoss
from fedstyle_secure.systems.text.recogniser.start import pooled
from fedstyle_secure.systems.text.scores import ALPHANUMERICS
from fedstyle_secure.systems.text.system import TextSystem
from tests.systems.text.conftest import SETTINGS, settings


def portfolios(config: Config):
    gallery = open_gallery(config.gallery)
    return [gallery.portfolio(artist) for artist in gallery.artists]


def test_it_trains_with_a_guarantee_under_encryption_and_pays_for_every_update(run):
    summary = run.summary()
    assert summary["system"] == "text"
    assert {"word_accuracy", "cer", "baseline_word_accuracy", "central_word_accuracy"} <= set(
        summary["utility"]
    )
    assert summary["utility"]["words"] == sum(p.test.sum() for p in portfolios(run.config()))
    fair = summary["utility"]["fairness"]
    assert fair["figure"] == "word_accuracy"
    tests = [p.test.sum() for p in sorted(portfolios(run.config()), key=lambda p: (sum(~p.test), p.artist))]
    for when, key in (("before", "baseline_word_accuracy"), ("after", "word_accuracy")):
        shares = [row[when] for row in fair["artists"]]
        assert np.average(shares, weights=tests) == pytest.approx(summary["utility"][key])
    assert summary["secure_sum"]["exact"] is True
    assert summary["secure_sum"]["openings"] == 2
    assert 0 < summary["privacy"]["epsilon_artwork_max"] < 1000
    home = studio_home(run.path.parent / "studios", run.config().gallery, "letterer-1")
    entries = Ledger(home / "ledger.jsonl").entries
    assert [(e.round, e.kind) for e in entries] == [(1, "update"), (2, "update")]
    check_finished(run)


def test_only_hashed_numbers_travel(run):
    state, config = State.load(run.product_file), run.config()
    whole = Config.from_dict(SETTINGS | {"hashing": {"ratio": 1.0}})
    values = sum(a.size for a in state.trained.values())
    everything = sum(p.numel() for p in system_bound(whole)._model().parameters())
    assert 6.5 < everything / values <= 8
    layouts = system_bound(config).forms(state)["update"].tensors
    assert sum(int(np.prod(shape)) for shape in layouts.values()) == values


def test_no_word_of_anybody_is_in_any_byte_of_the_run(run):
    texts = {text.lower() for p in portfolios(run.config()) for text in p.labels if len(text) >= 5}
    # Five digits stand by chance among the thousands of hashes and figures, once in a hundred runs.
    words = {text for text in texts if text.isalpha()}
    assert len(words) > 10
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes().lower()
        assert not [word for word in words if word.encode() in data], path
    # The test can fail: a word in a file is found.
    assert next(iter(words)).encode() in json.dumps(sorted(words)).lower().encode()


@pytest.mark.long
def test_encryption_changes_a_step_by_its_rounding_alone(tmp_path):
    found = []
    for enabled in (True, False):
        config = settings(
            privacy={"dp": "off"}, secure_sum={"enabled": enabled}, run={"rounds": 1},
            training={"server_optimizer": "mean"},
        )  # fmt: skip
        run = fedstyle_secure.train(config, tmp_path / str(enabled))
        assert run.summary["secure_sum"]["exact"] is (True if enabled else None)
        found.append(State.load(run.folder.product_file))
    apart = [np.abs(array - found[1].trained[name]).max() for name, array in found[0].trained.items()]
    # Each artist's values are rounded to one of 2^16 steps from -1 to 1, at random to either side.
    assert 0 < max(apart) <= 2 / (2**16 - 2) + 1e-7


@pytest.mark.long
def test_without_privacy_it_learns_to_read(tmp_path):
    """From the start that comes with the package, on lettering that it has not seen."""
    values = {
        "run": {"rounds": 3},
        "gallery": {"artists": 3, "pictures": 120},
        "text": {"practice_epochs": 8, "public_epochs": 0},
        "training": {
            "local_steps": 8, "sampling_rate": 0.125, "expected_pictures": 90,
        },
        "privacy": {"dp": "off"},
    }  # fmt: skip
    utility = fedstyle_secure.train(settings(**values), tmp_path / "run").summary["utility"]
    # Without noise everything follows from the seeds.
    assert utility["word_accuracy"] > utility["baseline_word_accuracy"] + 0.04
    assert utility["baseline_word_accuracy"] > 0.4


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import fedstyle_secure
    from fedstyle_secure.privacy.ledger import Ledger

    real, calls = Ledger.append, []

    def append(self, entries):
        real(self, entries)
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger.append = append
    fedstyle_secure.train(fedstyle_secure.Config.load(Path(sys.argv[1])), sys.argv[2])
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_a_round_it_goes_on_and_spends_nothing_twice(tmp_path):
    config = settings()
    (tmp_path / "text.toml").write_text(config.to_toml())
    out = tmp_path / "runs" / "run"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "text.toml"), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    done = fedstyle_secure.train(config, out, resume=True)
    for artist in open_gallery(config.gallery).artists:
        home = studio_home(out.parent / "studios", config.gallery, artist)
        assert [e.round for e in Ledger(home / "ledger.jsonl").entries] == [1, 2]
    assert done.summary["utility"]["central_word_accuracy"] is not None
    check_finished(done.folder)


@pytest.mark.slow
def test_on_ray_it_is_the_same(tmp_path):
    pytest.importorskip("ray", reason="needs the extra `simulation`")
    config = settings(privacy={"dp": "off"}, text={"compare_epochs": 0})
    here = fedstyle_secure.train(config, tmp_path / "local" / "run")
    there = fedstyle_secure.train(config, tmp_path / "ray" / "run", engine="ray")
    ours, theirs = (State.load(one.folder.product_file) for one in (here, there))
    for name, array in ours.trained.items():
        assert np.abs(array - theirs.trained[name]).max() <= 1e-4


@pytest.fixture(scope="module")
def sent(run):
    """A system, the state that artists are sent first, and an artist's portfolio."""
    config = run.config()
    gallery = open_gallery(config.gallery)
    system = system_bound(config)
    state = system.learn([gallery.portfolio(artist) for artist in gallery.public_artists])
    return system, state, gallery.portfolio("letterer-1")


def test_a_words_row_is_the_same_alone_and_in_company(sent):
    system, state, portfolio = sent
    model = system.model(state)
    records = system.records(model, state, "letterer-1", system.inputs(model, portfolio), portfolio)
    loss = system.loss(model, state)
    rows = list(record_rows(model, loss, records.inputs, records.targets))
    (alone,) = record_rows(model, loss, records.inputs[2:3], records.targets[2:3])
    assert np.array_equal(rows[2], alone)
    # And it is the plain gradient of that word's loss.
    model.zero_grad()
    loss(model(records.inputs[2]), records.targets[2:3]).sum().backward()
    plain = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]).numpy()
    assert np.allclose(rows[2], plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"texts": {"names": ("a",)}}, "has texts"),
        ({"trained": lambda t: {**t, "more": np.zeros(3, np.float32)}}, "'more' is missing or foreign"),
        ({"fixed": lambda f: dict(list(f.items())[1:])}, "missing or foreign in fixed"),
        ({"trained": lambda t: {k: a[:-1] for k, a in t.items()}}, "must be float32 of shape"),
        ({"trained": lambda t: {k: a.astype(np.float64) for k, a in t.items()}}, "must be float32"),
        ({"trained": lambda t: {k: np.full_like(a, np.nan) for k, a in t.items()}}, "values beyond 1000"),
        ({"public": lambda p: {k: np.full_like(a, 1e6) for k, a in p.items()}}, "values beyond 1000"),
    ],
)
def test_what_no_honest_platform_sends_is_refused(sent, change, says):
    system, state, _ = sent
    system.admit(state, 3)
    made = {key: value(getattr(state, key)) if callable(value) else value for key, value in change.items()}
    with pytest.raises(FederationError, match=says):
        system.admit(replace(state, **made), 3)


def test_a_text_that_cannot_be_trained_on_is_named_by_its_place(sent):
    system, state, portfolio = sent
    model = system.model(state)
    place = int(np.flatnonzero(~portfolio.test)[3])
    labels = list(portfolio.labels)
    labels[place] = "geheimnisvoll!"
    odd = replace(portfolio, labels=tuple(labels))
    with pytest.raises(GalleryError, match=portfolio.names[place]) as caught:
        system.records(model, state, "letterer-1", system.inputs(model, odd), odd)
    assert "geheimnisvoll" not in str(caught.value)
    # Nobody has to find out by an artist's silence: the run does not begin.
    with pytest.raises(GalleryError, match=portfolio.names[place]):
        system.meter([odd])


def test_a_text_that_is_skipped_counts_for_nothing_and_moves_no_other(sent):
    """Or one word decided whether its artist answers, which no noise hides."""
    system, state, portfolio = sent
    gallery = system.config.gallery.model_copy(update={"on_bad": "skip"})
    skipping = TextSystem(system.config.model_copy(update={"gallery": gallery}))
    places = np.flatnonzero(~portfolio.test)
    labels = list(portfolio.labels)
    # The first one too, whose text checks before training look at.
    for place in places[[0, 3]]:
        labels[place] = "geheimnisvoll!"
    odd = replace(portfolio, labels=tuple(labels))
    model = skipping.model(state)
    inputs, loss = skipping.inputs(model, odd), skipping.loss(model, state)
    found = skipping.records(model, state, "letterer-1", inputs, odd)
    usual = skipping.records(model, state, "letterer-1", inputs, portfolio)
    rows = list(record_rows(model, loss, found.inputs, found.targets))
    whole = list(record_rows(model, loss, usual.inputs, usual.targets))
    for k, (row, other) in enumerate(zip(rows, whole, strict=True)):
        assert not row.any() if k in (0, 3) else np.array_equal(row, other)
    sgd = replace(plan_of(skipping.config, 3).sgd, noise_multiplier=0.0)
    sums = [
        DPTrainer(model, loss, sgd, 0.1).gradient_sum(records.inputs[kept], records.targets[kept], 2**16)
        for records, kept in ((found, slice(None)), (usual, np.setdiff1d(range(len(rows)), (0, 3))))
    ]
    assert np.array_equal(*sums)
    assert len(pooled(skipping.charset, [odd], "skip")[0]) == len(rows) - 2
    assert skipping.meter([odd])


def test_settings_that_train_nothing_are_refused():
    config = settings(training={"local_steps": 0})
    with pytest.raises(ConfigError, match=r"training\.local_steps = 0"):
        TextSystem(config).check(open_gallery(config.gallery).artists)
    with pytest.raises(ConfigError, match=r"text\.charset"):
        settings(text={"charset": "aa"})


def test_canaries_whose_words_cannot_be_trained_on_are_refused():
    """Their artists alone would not answer: what coins said would show on the wire."""
    for charset, lacks in (("0123456789", "'a'"), (ALPHANUMERICS + "A", "'B'")):
        config = settings(text={"charset": charset}, audit={"canaries": 4, "canary_kind": "foreign"})
        with pytest.raises(ConfigError, match=f"lacks {lacks}; valid: 'gradient'"):
            TextSystem(config).check(open_gallery(config.gallery).artists)
    config = settings(text={"charset": ALPHANUMERICS}, audit={"canaries": 4, "canary_kind": "foreign"})
    TextSystem(config).check(open_gallery(config.gallery).artists)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """Crops as files with a table, one row of it without a picture."""
    root = tmp_path_factory.mktemp("words")
    portfolio = portfolios(run.config())[0]
    rows = [("path", "text")]
    for k in range(6):
        Image.fromarray(portfolio.pictures[k]).save(root / f"{k}.png")
        rows.append((f"{k}.png", portfolio.labels[k]))
    rows += [("missing.png", "none"), ("0.png", "twice")]
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def test_a_finished_run_reads_and_is_scored(run, folder):
    shown = CliRunner().invoke(
        app, ["read", str(run.path), *map(str, sorted(folder.glob("*.png"))), "--json"]
    )
    rows = json.loads(shown.stdout)
    assert [row["picture"][-5:] for row in rows] == [f"{k}.png" for k in range(6)]
    assert all(0 <= row["confidence"] <= 1 for row in rows)
    scored = CliRunner().invoke(app, ["evaluate", str(run.path), str(folder), "--json"])
    found = json.loads(scored.stdout)
    labels = portfolios(run.config())[0].labels[:6]
    right = np.mean([row["text"] == label.lower() for row, label in zip(rows, labels, strict=True)])
    assert found["exact"]["words"] == 6
    assert found["exact"]["word_accuracy"] == pytest.approx(right)
    assert [row["name"] for row in found["left_out"]] == ["labels.csv row 8", "labels.csv row 9"]
    assert found["low"] <= found["alphanumeric"]["word_accuracy"] <= found["high"]
    assert found["cer_low"] <= found["alphanumeric"]["cer"] <= found["cer_high"]


def test_an_artists_own_recogniser_stays_with_it(run, folder, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(run.path.parent, runs)
    mine = RunFolder(runs / "run")
    crop = str(folder / "0.png")
    before = {path: path.read_bytes() for path in mine.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="has no recogniser of its own"):
        Reader.of(mine, "letterer-1")
    with pytest.raises(RunError, match="no such studio"):
        personalise(mine, "letterer-9")
    path = personalise(mine, "letterer-1")
    home = studio_home(runs / "studios", mine.config().gallery, "letterer-1")
    assert path.is_relative_to(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(PrivacyError, match="others can read this recogniser; run chmod 600 on it"):
        Reader.of(mine, "letterer-1")
    path.chmod(0o600)
    # Nothing of the run, which others may have, was touched.
    assert {path: path.read_bytes() for path in mine.path.rglob("*") if path.is_file()} == before
    shown = CliRunner().invoke(app, ["read", str(mine.path), crop, "--artist", "letterer-1", "--json"])
    shared = CliRunner().invoke(app, ["read", str(mine.path), crop, "--json"])
    assert json.loads(shown.stdout)[0]["confidence"] != json.loads(shared.stdout)[0]["confidence"]
    portfolio = portfolios(mine.config())[0]
    crops, targets = pooled(Charset(ALPHANUMERICS), [portfolio])
    loss = TextLoss()
    own, ours = Reader.of(mine, "letterer-1").model, Reader.of(mine).model
    with torch.no_grad():
        assert loss(own(crops), targets).mean() < loss(ours(crops), targets).mean()


def test_a_run_of_another_system_reads_nothing(finished, run, folder, tmp_path):
    shown = CliRunner().invoke(app, ["read", str(finished.path), str(folder / "0.png")])
    assert isinstance(shown.exception, ConfigError)
    assert "reads nothing" in str(shown.exception)
    with pytest.raises(GalleryError, match=r"holds no labels\.csv"):
        evaluate(Reader.of(run), tmp_path)


def test_a_product_that_is_not_of_numbers_is_read_by_nobody(run, tmp_path):
    edited = RunFolder(tmp_path / "run")
    shutil.copytree(run.path, edited.path)
    state = State.load(run.product_file)
    nothing = {name: np.full_like(array, np.nan) for name, array in state.trained.items()}
    replace(state, trained=nothing).save(edited.product_file)
    with pytest.raises(FederationError, match="has values beyond 1000 or none"):
        Reader.of(edited)


def test_where_no_text_counts_nothing_is_claimed(run, folder, tmp_path):
    shutil.copy(folder / "0.png", tmp_path)
    (tmp_path / "labels.csv").write_text("path,text\n0.png,\N{EURO SIGN}\n", encoding="utf-8")
    found = evaluate(Reader.of(run), tmp_path)
    assert (found.alphanumeric.words, found.low, found.high) == (0, 0.0, 1.0)

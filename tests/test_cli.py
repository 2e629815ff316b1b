"""The command line: what it prints, what it writes, and the exit codes."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from fedstyle_secure import cli, training
from fedstyle_secure.audit import runner
from fedstyle_secure.audit.catalogue import catalogue
from fedstyle_secure.config import Config
from fedstyle_secure.privacy.figures import epsilon_told
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.systems.style.system import StyleSystem


@pytest.fixture
def few_attacks(monkeypatch):
    """Audits of two attacks that take no time, in this process."""
    few = [
        known
        for known in catalogue(StyleSystem(Config()))
        if known.card.key in ("card_linkage", "sum_styles")
    ]
    monkeypatch.setattr(runner, "catalogue", lambda system: few)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


HEAVY = ("torch", "opacus", "flwr", "tenseal", "sklearn", "scipy", "numpy", "pydantic")


@pytest.fixture
def tiny_file(tiny, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(tiny.to_toml())
    return path


def call(capsys, monkeypatch, *arguments):
    """Run the entry point; returns exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["fedstyle", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


@pytest.mark.parametrize("what", ["import fedstyle_secure", "import fedstyle_secure.cli"])
def test_importing_loads_nothing_heavy(what):
    code = f"{what}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command_and_the_exit_codes(capsys, monkeypatch):
    code, out, _ = call(capsys, monkeypatch, "--help")
    assert code == 0
    for word in (
        "train",
        "demo",
        "search",
        "search-service",
        "runs",
        "settings",
        "rivals",
        "gallery",
        "audit",
        "report",
        "check",
        "Exit codes",
    ):
        assert word in out


@pytest.mark.long
def test_train_search_and_list(capsys, monkeypatch, tiny_file, query, tmp_path):
    run = tmp_path / "run"
    code, out, _ = call(capsys, monkeypatch, "train", tiny_file, "--out", run, "--json")
    assert code == 0
    assert json.loads(out)["run"] == str(run)
    assert json.loads(out)["utility"] == RunFolder(run).summary()["utility"]

    code, out, _ = call(capsys, monkeypatch, "search", run, query, "--top", "3", "--json")
    found = json.loads(out)
    assert code == 0
    assert [m["rank"] for m in found] == [1, 2, 3]
    assert found[0]["score"] >= found[1]["score"] >= found[2]["score"]
    assert len({m["artist"] for m in found}) == 3

    code, out, _ = call(capsys, monkeypatch, "runs", tmp_path, "--json")
    assert code == 0
    assert [(r["run"], r["state"]) for r in json.loads(out)] == [(str(run), "finished")]

    code, out, err = call(capsys, monkeypatch, "train", tiny_file, "--out", run)
    assert (code, out) == (4, "")
    assert "--force" in err
    code, out, _ = call(capsys, monkeypatch, "train", tiny_file, "--out", run, "--resume")
    assert code == 0
    assert "epsilon_artwork_max" in out


@pytest.mark.long
def test_an_interrupted_run_goes_on_by_the_line_that_is_printed(capsys, monkeypatch, tiny_file, tmp_path):
    monkeypatch.chdir(tmp_path)
    whole = training._train_here

    def stop(config, on_round):
        def once(line, rounds):
            raise KeyboardInterrupt

        whole(config, once)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_train_here", stop)
        begin = ("train", tiny_file, "-s", "run.seed=5", "--out", "runs/my run")
        code, _, err = call(capsys, monkeypatch, *begin)
    assert code == 130
    (line,) = [line for line in err.splitlines() if line.startswith("  fedstyle")]
    words = shlex.split(line)
    assert words == ["fedstyle", "train", "--resume", "runs/my run"]
    code, _, err = call(capsys, monkeypatch, *words[1:], "-s", "run.rounds=3")
    assert (code, "was started with run.rounds = 2, not 3" in err) == (4, True)
    code, _, err = call(capsys, monkeypatch, *words[1:], "--out", "elsewhere")
    assert (code, "--out names another one" in err) == (2, True)
    _, _, err = call(capsys, monkeypatch, "search", "runs/my run", "x.png")
    assert (
        f"`fedstyle train --resume '{tmp_path / 'runs' / 'my run'}'`" in err
        or "--resume 'runs/my run'" in err
    )
    code, out, _ = call(capsys, monkeypatch, *words[1:], "--json")
    assert (code, json.loads(out)["run"]) == (0, str(tmp_path / "runs" / "my run"))
    assert RunFolder(tmp_path / "runs" / "my run").config().run.seed == 5


def test_a_run_that_was_stopped_before_its_manifest_needs_its_settings(capsys, monkeypatch, tiny, tmp_path):
    RunFolder(tmp_path / "run").begin(tiny, resume=False, force=False)
    code, _, err = call(capsys, monkeypatch, "train", "--resume", tmp_path / "run")
    assert (code, "name the configuration and the settings again" in err) == (4, True)


def test_a_run_without_privacy_is_said_loudly(capsys, monkeypatch, tiny_file, tmp_path):
    arguments = ("train", tiny_file, "-s", "privacy.dp=off", "--out", tmp_path / "run")
    code, out, err = call(capsys, monkeypatch, *arguments)
    assert code == 0
    # A log shows that something goes on; there is no terminal for a bar here.
    assert "learning from the public set\n" in err
    assert "round 3 of 3" in err
    assert "nothing bounds what they give away" in err
    assert "no guarantee" in next(line for line in out.splitlines() if "epsilon_artwork_max" in line)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("train", "nowhere.toml"), 2, "nowhere.toml"),
        (("train", "nowhere"), 2, "nowhere: no such file, and no preset of a run; presets: art, "),
        (("sweep", "dp"), 2, "dp: no such file, and no preset of a sweep; presets: tradeoff, "),
        (
            ("check", "TINY", "--policy", "dp"),
            2,
            "dp: no such file, and no preset of a policy; presets: policy",
        ),
        (("train", "dp", "-s", "style.dmi=3"), 2, "'style.dim'"),
        (("init", "--preset", "dpp"), 2, "presets of a run: art, "),
        (("init", "TINY"), 4, "holds something"),
        (("train", "TINY", "-s", "style.dmi=3"), 2, "'style.dim'"),
        (("train", "ILLUSTRATORS", "-s", "gallery.path=missing"), 3, "missing"),
        (("gallery", "show", "-s", "gallery.path=X"), 2, "gallery.path = 'X' is a setting of gallery.source"),
        (("train", "TINY", "-s", "gallery.source=folder", "-s", "gallery.path=X"), 2, "gallery.artists = 4"),
        (("train", "ILLUSTRATORS", "-s", "gallery.dataset=X"), 2, "gallery.dataset = 'X' is a setting of"),
        (("train", "TINY", "-s", "privacy.target_epsilon=0"), 2, ">= 0.05"),
        (("train", "TINY", "-s", "styles.count=4000"), 2, "styles.count"),
        (("train", "TINY", "-s", "run.min_artists=5"), 2, "run.min_artists = 5"),
        (("train", "."), 2, "is a folder"),
        (("train", "TINY", "--out", "TINY"), 4, "holds no run"),
        (("train", "TINY", "--resume", "--out", "nothing"), 4, "no run here"),
        (("gallery", "show", "TINY", "--out", "."), 1, "."),
        (("train", "TINY", "-s", "cards.releases=9"), 2, "9 releases"),
        (("rivals", "TINY", "-s", "privacy.unit=artist"), 2, "privacy.unit"),
        (("rivals", "TINY"), 2, "privacy.noise_multiplier"),
        (("rivals", "ILLUSTRATORS", "-s", "gallery.path=missing"), 3, "missing"),
        (("search", "no-run", "x.png"), 4, "no-run"),
        (("search", "TINY"), 2, "PICTURE"),
    ],
)
def test_errors_are_one_line_with_a_code(capsys, monkeypatch, tiny_file, tmp_path, arguments, code, expected):
    monkeypatch.chdir(tmp_path)
    files = {"TINY": tiny_file, "ILLUSTRATORS": Path(__file__).parents[1] / "configs" / "illustrators.toml"}
    arguments = [files.get(a, a) for a in arguments]
    got, _, err = call(capsys, monkeypatch, *arguments)
    assert got == code
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.long
def test_rivals_writes_a_table_and_plots(capsys, monkeypatch, tiny_file, tmp_path):
    # A grid of one setting a method: what is tried here are the command and the product's own run.
    monkeypatch.setattr(
        "fedstyle_secure.systems.style.rivals.compare.base_grid", lambda config: {"rounds": (1,)}
    )
    monkeypatch.setattr("fedstyle_secure.systems.style.rivals.tuning.LEAST", 4)
    out = tmp_path / "rivals"
    arguments = ("rivals", tiny_file, "-s", "privacy.noise_multiplier=auto", "--draws", "2", "--out", out)
    code, printed, err = call(capsys, monkeypatch, *arguments)
    assert (code, "Traceback" in err) == (0, False)
    assert "in one process" in printed
    lines = [json.loads(line) for line in (out / "rivals.jsonl").read_text().splitlines()]
    assert lines[0]["method"] == "FedStyle"
    assert {"FedAvg", "FedProx", "MOON", "FedProto", "SCAFFOLD", "local only"} <= {x["method"] for x in lines}
    for line in lines:
        assert line["method"] in printed
        assert (line["artist_top1"] is None) == (line["method"] == "start, encrypted prototypes")
    assert all(0 < line["artist_map"] <= 1 for line in lines if line["artist_map"] is not None)
    assert len((out / "rivals.csv").read_text().splitlines()) == len(lines) + 1
    assert (out / "rivals.svg").exists()
    with Image.open(out / "rivals.png") as image:
        assert image.width > 1000

    code, printed, err = call(capsys, monkeypatch, *arguments)
    assert (code, printed) == (4, "")
    assert "--force" in err


def test_gallery_show_writes_a_sheet_and_counts(capsys, monkeypatch, tiny_file, tmp_path):
    sheet = tmp_path / "out" / "sheet.png"
    code, out, _ = call(capsys, monkeypatch, "gallery", "show", tiny_file, "--out", sheet, "--json")
    assert code == 0
    found = json.loads(out)
    assert [(a["train"], a["test"]) for a in found["artists"] if not a["public"]] == [(9, 3)] * 4
    with Image.open(sheet) as image:
        assert image.width > 400
        assert image.height > 7 * 32


def test_gallery_show_says_what_an_audit_could_tell_and_what_a_run_would_refuse(
    capsys, monkeypatch, tmp_path
):
    for artist in ("ann", "bo"):
        (tmp_path / "art" / artist).mkdir(parents=True)
        for i in range(4):
            picture = Image.new("RGB", (40, 40), (60 * i, 90, 7 if artist == "ann" else 200))
            picture.save(tmp_path / "art" / artist / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    folder = ("-s", "gallery.source=folder", "-s", "gallery.path=art", "-s", "gallery.min_pictures=2")
    code, out, _ = call(capsys, monkeypatch, "gallery", "show", *folder)
    assert code == 0
    assert "A run of style would be refused: gallery.public names nobody" in out
    assert "not even an AUC of 1 would show a leak" in out
    assert "more held-out works" in out


def test_settings_lists_all(capsys, monkeypatch):
    code, out, _ = call(capsys, monkeypatch, "settings", "--json")
    assert code == 0
    keys = {row["key"] for row in json.loads(out)}
    assert {"privacy.target_epsilon", "gallery.path", "share.sgd"} <= keys


def test_settings_of_a_section_and_the_few_to_begin_with(capsys, monkeypatch):
    _, out, _ = call(capsys, monkeypatch, "settings", "privacy", "--json")
    assert {row["key"].partition(".")[0] for row in json.loads(out)} == {"privacy"}
    _, out, _ = call(capsys, monkeypatch, "settings", "--start", "--json")
    assert len(json.loads(out)) == 8
    _, out, _ = call(capsys, monkeypatch, "settings", "gallery", "--start")
    assert "gallery.public" in out
    assert "privacy" not in out
    code, _, err = call(capsys, monkeypatch, "settings", "textures", "--start")
    assert (code, err.count("\n")) == (2, 1)
    assert "settings --start" in call(capsys, monkeypatch, "settings")[1]


@pytest.mark.long
@pytest.mark.usefixtures("few_attacks")
def test_the_demo_shows_a_run_that_is_there_and_trains_again_with_force(capsys, monkeypatch, tiny, tmp_path):
    sections = {section: getattr(tiny, section) for section in StyleConfig.model_fields}

    class Tiny(StyleConfig):
        def __init__(self, **values):
            super().__init__(**(sections | values))

    monkeypatch.setattr("fedstyle_secure.systems.style.settings.StyleConfig", Tiny)
    monkeypatch.setattr("fedstyle_secure.cli._DEMO", ("audit.record=all",))
    out = tmp_path / "demo"
    for arguments, there in ((), False), ((), True), (("--force",), False):
        code, text, _ = call(capsys, monkeypatch, "demo", "--out", out, *arguments)
        assert code == 0
        assert ("is there already" in text) == there
    assert len(list((out / "test_pictures").glob("*.png"))) == 4
    assert {path.name for path in (out / "report").iterdir()} >= {"report.html", "report.pdf"}


@pytest.mark.slow
def test_the_demo_finds_the_right_artist_more_often_than_not(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(capsys, monkeypatch, "demo")
    assert code == 0
    assert str(Path("runs/demo")) in out
    pictures = sorted((tmp_path / "runs" / "demo" / "test_pictures").glob("*.png"))
    assert len(pictures) == 16
    right = 0
    for picture in pictures:
        _, out, _ = call(capsys, monkeypatch, "search", "runs/demo", picture, "--top", "1", "--json")
        right += json.loads(out)[0]["artist"] == picture.stem
    assert right > len(pictures) / 2
    code, out, _ = call(capsys, monkeypatch, "demo")
    assert code == 0
    assert "there already" in out


def test_one_number_stands_for_one_epsilon_in_every_command(capsys, monkeypatch, own, tmp_path):
    run = own.path
    told = epsilon_told(RunFolder(run).summary()["privacy"]["epsilon_artwork_max"])
    policy = tmp_path / "policy.toml"
    policy.write_text("[epsilon]\nartwork = 0.001\n")
    assert f"{told} per artwork" in call(capsys, monkeypatch, "ledger", run)[1]
    assert told in call(capsys, monkeypatch, "runs", run.parent)[1]
    assert f": {told} is above 0.001" in call(capsys, monkeypatch, "check", run, "--policy", policy)[1]
    code, _, _ = call(capsys, monkeypatch, "report", run, "--format", "html", "--policy", policy)
    page = (run / "report" / "report.html").read_text()
    assert (code, f">{told}</data>" in page, "not met" in page) == (0, True, True)
    assert f"{told} is above" in page


def test_ledger_and_withdraw(capsys, monkeypatch, own, query):
    run = own.path
    code, out, _ = call(capsys, monkeypatch, "ledger", run)
    assert (code, "update x2" in out) == (0, False)
    assert "4 artists, 16 releases; over everything at most" in out
    assert "No guarantee per artist for 4 of them: of " in out
    assert "were made for the unit artwork." in out
    code, out, _ = call(capsys, monkeypatch, "ledger", run, "--all")
    assert code == 0
    assert out.count("lifetime epsilon") == 4
    assert "update x2" in out
    code, out, _ = call(capsys, monkeypatch, "ledger", run, "--artist", "mosaic-1", "--json")
    (account,) = json.loads(out)
    summary = RunFolder(run).summary()["privacy"]["per_artist"]
    (row,) = [row for row in summary if row["artist"] == "mosaic-1"]
    assert account["epsilon_artwork"] == pytest.approx(row["epsilon_artwork"])
    assert [r["round"] for r in account["releases"]] == [0, 0, 1, 2]
    (home,) = (run.parent / "studios").glob("mosaic-1*")
    code, out, _ = call(capsys, monkeypatch, "withdraw", run, "mosaic-1")
    assert (code, "mosaic-1 has withdrawn" in out) == (0, True)
    assert f"\n  {home / 'ledger.jsonl'}\n" in out
    code, out, _ = call(capsys, monkeypatch, "withdraw", run, "mosaic-1", "--json")
    done = json.loads(out)
    assert (code, done["ledger"]) == (0, str(home / "ledger.jsonl"))
    code, out, _ = call(capsys, monkeypatch, "ledger", run, "--artist", "mosaic-1")
    assert f"mosaic-1 withdrew at {done['withdrawn']}" in out
    assert f"withdrew at {done['withdrawn']}" in call(capsys, monkeypatch, "ledger", run)[1]
    code, out, err = call(capsys, monkeypatch, "search", run, query, "--json")
    assert (code, "mosaic-1" in out, len(json.loads(out))) == (0, False, 3)
    assert f"Withdrew, and is not listed: mosaic-1 (at {done['withdrawn']})." in err
    shutil.rmtree(home)
    _, out, err = call(capsys, monkeypatch, "search", run, query)
    assert "mosaic-1" not in out
    assert "Not listed, as its own ledger is missing or damaged: mosaic-1." in err
    code, _, err = call(capsys, monkeypatch, "ledger", run, "--artist", "nobody")
    assert (code, err.count("\n")) == (4, 1)
    (home,) = (run.parent / "studios").glob("impasto-1*")
    (home / "ledger.jsonl").write_text("{}\n")
    code, _, err = call(capsys, monkeypatch, "ledger", run)
    assert (code, "line 1 is damaged" in err) == (5, True)


def test_a_note_before_the_run_reaches_whoever_started_it(capsys, monkeypatch, tiny, tmp_path):
    path = tmp_path / "artist.toml"
    path.write_text(
        tiny.override(
            ["privacy.unit=artist", "privacy.noise_multiplier=5", "training.local_steps=0"]
        ).to_toml()
    )
    code, out, err = call(capsys, monkeypatch, "train", path, "--out", tmp_path / "run")
    assert code == 0
    assert "The noise hides the styles" in " ".join(err.split())
    assert "privacy.epsilon_artist_max" in out


@pytest.mark.usefixtures("few_attacks")
def test_audit_report_and_check(capsys, monkeypatch, tiny, tmp_path):
    path, run = tmp_path / "tiny.toml", tmp_path / "run"
    path.write_text(tiny.override(["audit.record=all"]).to_toml())
    assert call(capsys, monkeypatch, "train", path, "--out", run, "--json")[0] == 0
    short = tmp_path / "audit.toml"
    short.write_text('preset = "tiny"\ntargets = 4\ncandidates = 8\nrounds = 1\nprocesses = 1\n')
    code, out, err = call(capsys, monkeypatch, "audit", run, short, "--json")
    assert (code, err) == (0, "")
    assert {row["view"] for row in json.loads(out)} >= {"network", "platform", "opener", "buyer"}
    code, _, err = call(capsys, monkeypatch, "audit", run, short)
    assert code == 4
    assert "--force" in err
    code, out, _ = call(capsys, monkeypatch, "report", run, "--format", "html,json", "--date", "2026-01-02")
    assert code == 0
    assert "2026-01-02" in (run / "report" / "report.html").read_text()
    assert not (run / "report" / "report.pdf").exists()
    policy = tmp_path / "policy.toml"
    policy.write_text("[epsilon]\nartwork = 1e6\n")
    assert call(capsys, monkeypatch, "check", run, "--policy", policy)[0] == 0
    policy.write_text("[epsilon]\nartwork = 0.001\n")
    junit = tmp_path / "checks.xml"
    code, out, err = call(capsys, monkeypatch, "check", run, "--policy", policy, "--junit", junit)
    assert code == 9
    assert f"{policy}:2: epsilon.artwork" in out
    assert "checks are not met" in err
    assert "<failure" in junit.read_text()
    (run / "summary.json").write_text((run / "summary.json").read_text() + " ")
    code, _, err = call(capsys, monkeypatch, "report", run)
    assert code == 8
    assert "summary.json" in err


def test_attacks_are_listed_for_people_and_for_machines(capsys, monkeypatch, tiny_file):
    code, out, _ = call(capsys, monkeypatch, "attacks", "--json")
    rows = json.loads(out)
    assert code == 0
    assert all(row["presets"] == ["quick", "standard", "deep"] and row["systems"] for row in rows)
    (card,) = [row for row in rows if row["key"] == "card_membership"]
    assert card["systems"] == ["style"]
    # One that the house cannot run and private AI art can is told of each apart.
    assert [row["systems"] for row in rows if row["key"] == "regurgitation"] == [["art"], ["style", "text"]]
    _, out, _ = call(capsys, monkeypatch, "attacks", tiny_file, "-s", "secure_sum.enabled=false")
    (line,) = [
        a for a, b in pairwise(out.splitlines()) if a.startswith("    in this run") and "card_link" in b
    ]
    assert "platform" in line
    assert call(capsys, monkeypatch, "attacks", tiny_file, "--system", "text")[0] == 2


def test_audits_of_no_run_and_of_no_preset_are_refused(capsys, monkeypatch, tmp_path):
    assert call(capsys, monkeypatch, "audit", tmp_path)[0] == 4
    code, _, err = call(capsys, monkeypatch, "audit", tmp_path, "--preset", "fast")
    assert code == 2
    assert "quick, standard, deep" in err

"""The acceptance of the house: a system in a package of its own, that no other file knows, does everything.

`colours.py` beside this file is offered through an entry point, as anybody's package would.
"""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fedstyle_secure
from fedstyle_secure.audit.integrity import check_finished
from fedstyle_secure.audit.runner import audit
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.cli import app
from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.policy.checks import checks
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.registry import system_named
from fedstyle_secure.report.formats import report
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import studio_home
from fedstyle_secure.sweep.runner import sweep
from fedstyle_secure.system import State

HERE = Path(__file__).parent
SETTINGS = {
    "run": {"system": "colours", "rounds": 2},
    "gallery": {"artists": 4, "public_artists": 3, "pictures": 12, "size": 32},
    "training": {"expected_pictures": 9, "learning_rate": 2.0},
    # So little that every round moves the model, whatever is drawn.
    "privacy": {"noise_multiplier": 0.3},
    "secure_sum": {"updates": True},
    "audit": {"record": "all"},
}


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory):
    """The system as an installed package, for this process and those that it starts."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(HERE / "colours.py", site)
    told = site / "colours-1.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1\n")
    (told / "entry_points.txt").write_text("[fedstyle_secure.systems]\ncolours = colours:Colours\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site), prepend=":")
        yield site


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Trained once, with encrypted sums."""
    root = tmp_path_factory.mktemp("colours")
    return fedstyle_secure.train(Config.from_dict(SETTINGS), root / "runs" / "run").folder


def test_the_system_is_found_by_its_name_and_brings_its_settings():
    config = Config.from_dict(SETTINGS)
    assert type(config).__name__ == "ColourConfig"
    assert config.palette.releases == 1
    assert system_named("colours").name == "colours"
    shown = CliRunner().invoke(app, ["settings", "--system", "colours", "--json"])
    keys = {row["key"] for row in json.loads(shown.stdout)}
    assert {"palette.releases", "share.palette", "run.rounds"} <= keys
    assert not any(key.startswith("cards.") for key in keys)
    with pytest.raises(ConfigError, match=r"-s run\.system=style: .*\[run\] system = 'style'"):
        config.override(["run.system=style"])
    with pytest.raises(ConfigError, match=r"unknown section 'cards'"):
        Config.from_dict(SETTINGS | {"cards": {}})
    with pytest.raises(ConfigError, match=r"run\.system = 'colour' is no system; did you mean 'colours'"):
        Config.from_dict({"run": {"system": "colour"}})


def test_it_trains_with_a_guarantee_under_encryption_and_pays_for_every_release(run):
    summary = run.summary()
    assert summary["system"] == "colours"
    assert summary["utility"].keys() == {"accuracy", "start"}
    assert summary["secure_sum"]["exact"] is True
    assert summary["secure_sum"]["openings"] == 3
    assert 0 < summary["privacy"]["epsilon_artwork_max"] < 1000
    assert summary["privacy"]["noise_multiplier"].keys() == {"sgd", "palette"}
    home = studio_home(run.path.parent / "studios", run.config().gallery, "mosaic-1")
    entries = Ledger(home / "ledger.jsonl").entries
    assert [(e.round, e.kind) for e in entries] == [(0, "palette"), (1, "update"), (2, "update")]
    check_finished(run)


@pytest.mark.long
def test_without_noise_it_learns_and_adds_up_what_artists_have(tmp_path):
    values = SETTINGS | {"privacy": {"noise_multiplier": 0.0}, "run": {"system": "colours", "rounds": 20}}
    sealed = fedstyle_secure.train(Config.from_dict(values), tmp_path / "sealed")
    utility = sealed.summary["utility"]
    assert utility["accuracy"] >= 0.8 > 0.7 > utility["start"]
    gallery = fedstyle_secure.open_gallery(Config.from_dict(values).gallery)
    pictures = np.concatenate([gallery.portfolio(artist).train_pictures for artist in gallery.artists])
    colours, state = pictures.mean(axis=(1, 2)) / 255, State.load(sealed.folder.product_file)
    bright = colours.mean(axis=1) > float(state.fixed["cut"][0])
    for there, shown in zip((~bright, bright), state.public["palette"], strict=True):
        assert np.allclose(shown, colours[there].mean(axis=0), atol=0.01)


@pytest.mark.parametrize("unit", ["artwork", "artist"])
def test_the_unit_artist_takes_it_as_it_is(tmp_path, unit):
    privacy = {"unit": unit, "noise_multiplier": 2.0}
    made = fedstyle_secure.train(Config.from_dict(SETTINGS | {"privacy": privacy}), tmp_path / "run")
    by_artist = made.summary["privacy"]["epsilon_artist_max"]
    assert (by_artist is not None) == (unit == "artist")
    check_finished(made.folder)


class Claims:
    """Rows of which their shape says something else."""

    def __init__(self, shape, rows):
        self.shape, self.rows = shape, rows

    def __iter__(self):
        return iter(self.rows)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros((13, 8)), "rows of shape (13, 8) for 9 records; valid are as many at most"),
        (np.zeros((2, 1)), "of 8 values each"),
        (Claims((2, 8), np.zeros((3, 8))), "more rows than it says"),
        (Claims((2, 8), np.zeros((2, 1))), "a row must be of shape (8,)"),
        (None, "gives no rows, and this kind is not optional"),
    ],
)
def test_rows_that_the_guarantee_does_not_hold_for_are_refused(tmp_path, monkeypatch, rows, says):
    import colours

    values = SETTINGS | {"run": {"system": "colours", "rounds": 1}}
    monkeypatch.setattr(colours.Colours, "rows", lambda *args: rows)
    with pytest.raises(FederationError, match="answering would break the artist's guarantee"):
        fedstyle_secure.train(Config.from_dict(values), tmp_path / "run")
    (log, *_) = (tmp_path / "studios").rglob("artist.log")
    assert says in log.read_text()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import fedstyle_secure
    from fedstyle_secure.privacy.ledger import Ledger

    real, calls = Ledger.append, []

    def append(self, entries):
        real(self, entries)
        calls.append(1)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger.append = append
    fedstyle_secure.train(fedstyle_secure.Config.load(Path(sys.argv[1])), sys.argv[2])
"""


@pytest.mark.long
def test_killed_in_the_middle_of_a_round_it_goes_on_and_spends_nothing_twice(tmp_path):
    config = Config.from_dict(SETTINGS)
    (tmp_path / "colours.toml").write_text(config.to_toml())
    out = tmp_path / "runs" / "run"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "colours.toml"), str(out)]
    assert subprocess.run(command, check=False).returncode == -9
    done = fedstyle_secure.train(config, out, resume=True)
    for artist in fedstyle_secure.open_gallery(config.gallery).artists:
        home = studio_home(out.parent / "studios", config.gallery, artist)
        assert [e.round for e in Ledger(home / "ledger.jsonl").entries] == [0, 1, 2]
    check_finished(done.folder)


@pytest.fixture(scope="module")
def audited(run, tmp_path_factory):
    """A copy that was attacked, in processes of their own."""
    root = tmp_path_factory.mktemp("audited")
    shutil.copytree(run.path.parent, root / "runs")
    folder = RunFolder(root / "runs" / "run")
    settings = AuditSettings(targets=4, candidates=8, rounds=1, processes=2)
    return folder, audit(folder, settings)


def test_its_updates_and_its_product_are_attacked(audited):
    _, found = audited
    assert not found.alarms
    ran = {f.attack for f in found.findings if f.verdict != "not run"}
    assert {"Gradient alignment with the model's changes", "Gradient length at the final model"} <= ran
    assert not [f for f in found.findings if "card" in f.attack or "rototype" in f.attack]
    told = json.dumps(found.about["views"])
    assert "palette sum" in told
    assert "classifier" in told
    assert "card" not in told
    assert "encoder" not in told


@pytest.mark.long
def test_undefended_updates_give_their_pictures_away(tmp_path):
    values = SETTINGS | {"privacy": {"dp": "off"}, "secure_sum": {"enabled": False}}
    plain = fedstyle_secure.train(Config.from_dict(values), tmp_path / "runs" / "run").folder
    found = audit(plain, AuditSettings(targets=8, candidates=8, rounds=1, processes=1))
    leaks = {f.attack for f in found.findings if f.verdict == "leaks" and f.view == "platform"}
    assert "Inversion of an update" in leaks


def test_it_is_reported_and_held_against_a_policy(audited, tmp_path):
    folder, _ = audited
    pages = report(folder.path, ("html", "pdf", "json", "csv"))
    text = next(page for page in pages if page.suffix == ".html").read_text()
    assert "palette sum" in text
    assert "pictures named rightly" in text
    policy = tmp_path / "policy.toml"
    policy.write_text("[evidence]\nsigned = true\nown_ledgers = true\n[epsilon]\nartwork = 1000.0\n")
    assert [one.problem for one in checks(folder.path, policy) if one.problem] == []


@pytest.mark.long
def test_it_is_swept(tmp_path):
    (tmp_path / "colours.toml").write_text(
        Config.from_dict(SETTINGS | {"audit": {}, "run": {"system": "colours", "rounds": 1}}).to_toml()
    )
    grid = tmp_path / "grid.toml"
    grid.write_text(
        '[sweep]\nname = "colours"\nbase = "colours.toml"\n[grid]\n"privacy.noise_multiplier" = [1.0, 4.0]\n'
    )
    found = sweep(grid, tmp_path / "sweep")
    assert not found.failed
    assert [row["utility.accuracy"] is not None for row in found.table.rows] == [True, True]
    assert (tmp_path / "sweep" / "plots" / "utility_epsilon.png").exists()
    pages = report(tmp_path / "sweep", ("html", "json"))
    assert "utility.accuracy" in pages[0].read_text()


@pytest.mark.slow
def test_on_ray_it_is_the_same(tmp_path):
    pytest.importorskip("ray", reason="needs the extra `simulation`")
    config = Config.from_dict(SETTINGS | {"privacy": {"noise_multiplier": 0.0}})
    here = fedstyle_secure.train(config, tmp_path / "local" / "run")
    there = fedstyle_secure.train(config, tmp_path / "ray" / "run", engine="ray")
    ours, theirs = (State.load(one.folder.product_file) for one in (here, there))
    for name, array in ours.trained.items():
        assert np.abs(array - theirs.trained[name]).max() <= 1e-5

"""Audits of real runs: what is undefended leaks, each defence keeps something, all of it is kept."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from fedstyle_secure.accounts import withdraw
from fedstyle_secure.audit import runner
from fedstyle_secure.audit.catalogue import catalogue
from fedstyle_secure.audit.curves import CurveFile, curve_file
from fedstyle_secure.audit.exposed_works import exposed_file, histogram_file, read_exposed
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.runner import Audit, Estimate, audit
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.audit.views import views_of
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError, RunError
from fedstyle_secure.privacy.accounting import merge
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import system_bound
from fedstyle_secure.training import train

SETTINGS = AuditSettings(
    targets=12, candidates=40, confidence=0.95, rounds=2, processes=1, fpr=(0.1,), show_pictures=True
)
# Enough for what is kept, killed, hidden and named; no verdict is looked at.
QUICK = SETTINGS.model_copy(update={"targets": 4, "candidates": 8, "pictures": 1, "steps": 2, "rounds": 1})
SMALL = (
    "gallery.artists=8", "gallery.public_artists=6", "gallery.pictures=20", "gallery.size=48",
    "style.dim=48", "style.practice_artists=0", "styles.count=4", "run.rounds=2",
    "training.expected_pictures=15", "audit.record=all",
)  # fmt: skip

# Updates drown in noise and cards nearly so, while sums keep what encryption and masks are to guard. Updates
# leave in clear, each with all of its noise.
GUARDED = (
    "privacy.noise=own", "secure_sum.updates=false",
    "privacy.noise_multiplier=40", "privacy.clip_norm=0.001", "share.sgd=0.0001", "share.cards=0.001",
    "share.prototypes=1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def guarded(train_run):
    return train_run(*SMALL, *GUARDED)


@pytest.fixture(scope="module")
def plain(train_run):
    return train_run(*SMALL, "privacy.dp=off", "secure_sum.enabled=false")


ATTACKS = catalogue(system_bound(Config()))
FEW = ("update_one", "card_membership", "imprint", "model_gradient")
"""Attacks: one draws pictures, two draw curves, one cannot be run."""


@pytest.fixture
def few_attacks(monkeypatch):
    few = [known for known in ATTACKS if known.card.key in FEW]
    monkeypatch.setattr(runner, "catalogue", lambda _: few)


@pytest.fixture
def shared_scene(scene_of, monkeypatch):
    """Pictures are prepared once, not for every audit; a blind guess finds nothing."""
    monkeypatch.setattr(runner, "Scene", scene_of)


def verdicts(scene_of, run, view, attacks, *without):
    """The headline verdict of some attacks under a view."""
    scene = scene_of(run, SETTINGS.model_copy(update={"without": without}))
    words, artists = scene.system.words, scene.roster_length
    views = views_of(scene.config, scene.plan, words, artists, SETTINGS.colluders, without)
    seen = next(v for v in views if v.key == view)
    found = {}
    for known in ATTACKS:
        if known.card.key in attacks:
            item = known.item(seen)
            found[known.card.key] = "not run" if item is None else known.run(scene, item).findings[0].verdict
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("defence", "view", "attack"),
    [
        ("noise", "platform", "update_one"),
        ("clip", "platform", "update_one"),
        ("encryption", "platform", "sum_styles"),
        ("masks", "platform_opener", "sum_styles"),
        ("min_cohort", "malicious_platform", "singled_out"),
        ("opener_checks", "malicious_platform", "taken_apart"),
    ],
)
def test_each_defence_changes_a_verdict_of_the_view_that_it_guards(scene_of, guarded, defence, view, attack):
    assert verdicts(scene_of, guarded, view, [attack])[attack] != "leaks"
    assert verdicts(scene_of, guarded, view, [attack], defence)[attack] == "leaks"


def test_an_undefended_run_leaks_and_the_audit_says_so_everywhere(plain):
    found = audit(plain, SETTINGS)
    rows = {(f.view, f.attack, f.metric, f.target): f for f in found.findings}
    one = rows["platform", "Inversion of an update", "identification rate", "all"]
    assert one.verdict == "leaks"
    assert one.value == 1.0
    assert one.bound is None
    assert rows["network", one.attack, one.metric, "all"].value == one.value
    assert rows["buyer", one.attack, one.metric, "all"].verdict == "not run"
    for attack, metric in (
        ("Tracing a prototype sum", "membership AUC"),
        ("Main style of an artist from a prototype sum", "main style named rightly"),
    ):
        assert rows["platform", attack, metric, "all"].verdict == "leaks"
    assert not found.alarms
    # Every attack has its place under every view.
    names = {known.card.name for known in ATTACKS}
    for view in found.about["views"]:
        assert {f.attack for f in found.findings if f.view == view["key"]} == names
    assert Audit.open(plain).findings == found.findings
    files = {p.name for p in found.folder.iterdir()}
    assert set(found.about["files"]) | {"audit.json"} == files
    assert one.pictures[0] in files
    assert all(f.curve in files for f in found.findings if f.curve)
    curved = [f for f in found.findings if f.curve and f.metric == "membership AUC" and f.target == "all"]
    assert curved
    for f in curved:
        file = CurveFile.read(found.folder / curve_file(f.curve))
        assert [area(curve) for curve in (file.run, file.undefended)] == pytest.approx([f.value, f.control])
        assert file.allowed is None, "nothing is guaranteed"
    with pytest.raises(RunError, match="--force"):
        audit(plain, SETTINGS)


def area(curve):
    """Below a curve."""
    corners = list(zip(curve.fpr, curve.tpr, strict=True))
    return sum((c - a) * (b + d) / 2 for (a, b), (c, d) in pairwise(corners))


@pytest.mark.long
def test_the_same_seed_gives_the_same_findings(scene_of, guarded):
    """Noise that an audit draws anew is its own, and seeded."""
    keys = ("update_one", "sum_styles", "card_membership")
    first = [k.run(scene_of(guarded, QUICK), k.needs[-1]) for k in ATTACKS if k.card.key in keys]
    again = [k.run(scene_of(guarded, QUICK), k.needs[-1]) for k in ATTACKS if k.card.key in keys]
    for a, b in zip(first, again, strict=True):
        assert [f.value for f in a.findings] == [f.value for f in b.findings]


@pytest.mark.long
def test_the_limit_of_updates_covers_every_release_that_they_hold(guarded):
    """By the last round that is everything; an update alone would be a limit that nothing promises."""
    scene = Scene(guarded, SETTINGS)
    last = scene.rounds[-1].sent
    assert merge(scene.costs(last=last.round)) == merge(scene.plan.events())
    assert len(scene.costs(last=scene.first.round)) == 3  # card and prototypes of the opening, one update
    bare = Scene(guarded, SETTINGS.model_copy(update={"without": ("noise",)}))
    assert Limit(bare.costs(last=last.round)).none


@pytest.mark.long
@pytest.mark.usefixtures("few_attacks", "shared_scene")
def test_pictures_are_kept_back_where_they_may_not_be_shown(guarded):
    found = audit(guarded, QUICK.model_copy(update={"show_pictures": False}), force=True)
    assert not any(f.pictures for f in found.findings)
    assert not list(found.folder.glob("pictures*"))


@pytest.mark.long
@pytest.mark.usefixtures("few_attacks")
def test_no_picture_is_shown_once_an_artist_has_withdrawn(guarded, tmp_path):
    shutil.copytree(guarded.path.parent, tmp_path / "copy")
    copy = RunFolder(tmp_path / "copy" / "run")
    withdraw(copy, "mosaic-1")
    found = audit(copy, QUICK, force=True)
    assert not any(f.pictures for f in found.findings)
    assert not list(found.folder.glob("pictures*"))


_AUDIT = """
import sys
from pathlib import Path
from fedstyle_secure.audit import runner
from fedstyle_secure.audit.settings import AuditSettings
if __name__ == "__main__":
    settings = AuditSettings.model_validate_json(sys.argv[2])
    known, few = runner.catalogue, sys.argv[3:]
    runner.catalogue = lambda system: [attack for attack in known(system) if attack.card.key in few]
    runner.audit(Path(sys.argv[1]), settings, force=True, on_job=lambda name, *_: print(name, flush=True))
"""


@pytest.mark.long
@pytest.mark.usefixtures("few_attacks")
def test_a_killed_audit_goes_on_with_what_it_had(tiny, tmp_path):
    run = train(tiny.override(["audit.record=all"]), tmp_path / "run").folder
    script = tmp_path / "run_audit.py"
    script.write_text(_AUDIT)
    settings = QUICK.model_copy(update={"seed": 5})
    command = [sys.executable, str(script), str(run.path), settings.model_dump_json(), *FEW]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as process:
        for _ in range(2):
            assert process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
    jobs = run.audit_folder / "jobs"
    kept = {p.name: p.stat().st_mtime_ns for p in jobs.glob("*.json")}
    started = []
    found = audit(run, settings, on_job=lambda name, done, of, left: started.append(done))
    assert len(started) < started[-1]
    assert not jobs.exists()
    assert len(kept) >= 2
    # Two processes find what one does.
    whole = audit(run, settings.model_copy(update={"processes": 2}), force=True)
    strip = [{**f.to_dict(), "seconds": 0} for f in found.findings]
    assert strip == [{**f.to_dict(), "seconds": 0} for f in whole.findings]


@pytest.mark.long
@pytest.mark.usefixtures("few_attacks", "shared_scene")
def test_what_an_interrupted_audit_left_does_not_outlive_its_settings(guarded, monkeypatch):
    """Pictures above all: they may have been allowed then, and not now."""
    shutil.rmtree(guarded.audit_folder, ignore_errors=True)
    done = []

    def stop(name, *_):
        done.append(name)
        if name == "update_one":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(guarded, QUICK, on_job=stop)
    assert (guarded.audit_folder / "pictures_update_one.png").exists()
    jobs = {job.stem for job in (guarded.audit_folder / "jobs").iterdir()}
    assert len(jobs) == len(done)
    hidden = QUICK.model_copy(update={"show_pictures": False})
    found = audit(guarded, hidden)
    assert not list(guarded.audit_folder.glob("pictures_*"))
    curves = {row.curve for row in found.findings if row.curve}
    named = {name for row in found.findings for name in (*row.pictures, row.curve) if name}
    named |= {name(curve) for curve in curves for name in (exposed_file, histogram_file)}
    for curve in curves:
        works = read_exposed(found.folder / exposed_file(curve))["works"]
        assert {row["work"] for row in works} == {""}, "names of works are kept back with their pictures"
    assert {Path(name).stem for name in found.about["files"]} == {Path(n).stem for n in named} | {"findings"}


def test_a_run_without_a_record_says_what_could_not_be_run(finished):
    scene = Scene(finished, SETTINGS)
    known = {k.card.key: k for k in ATTACKS}
    with pytest.raises(AuditError, match=r"audit\.record"):
        known["update_rounds"].run(scene, known["update_rounds"].needs[0])


def test_before_an_audit_it_is_said_how_much_is_to_be_done_and_from_what_that_is_guessed(finished):
    rounds = [line["seconds"] for line in finished.metrics()]
    told = Estimate.of(finished, AuditSettings(processes=2), 6)
    assert told.round_s == statistics.median(rounds[1:])
    assert told.seconds == pytest.approx(6 * 2 * told.round_s / 2)
    assert str(told).startswith("6 attacks, 2 at a time: about ")
    assert "of this run's rounds" in str(told)
    # A process too many is none.
    assert Estimate.of(finished, AuditSettings(processes=8), 3).processes == 3


@pytest.mark.long
def test_studios_that_lie_elsewhere_are_named_and_others_refused(guarded, tmp_path):
    shutil.copytree(guarded.path.parent, tmp_path / "runs")
    (tmp_path / "runs" / "studios").rename(tmp_path / "disks")
    run = tmp_path / "runs" / guarded.path.name
    artist = Scene(guarded, SETTINGS).gallery.artists[0]
    withdraw(RunFolder(run), artist, tmp_path / "disks")
    assert Scene(RunFolder(run), SETTINGS).withdrawn == ()
    assert Scene(RunFolder(run, studios=tmp_path / "disks"), SETTINGS).withdrawn == (artist,)
    (tmp_path / "disks" / ".fedstyle-studios").write_text("0" * 32)
    with pytest.raises(AuditError, match="are not the studios"):
        audit(RunFolder(run, studios=tmp_path / "disks"), SETTINGS, force=True)


def test_an_unfinished_or_missing_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="no run here"):
        audit(Path(tmp_path))


@pytest.mark.long
@pytest.mark.usefixtures("few_attacks", "shared_scene")
def test_a_job_kept_with_other_settings_is_not_used(guarded):
    shutil.rmtree(guarded.audit_folder, ignore_errors=True)
    jobs = guarded.audit_folder / "jobs"
    jobs.mkdir(parents=True)
    (jobs / "update_one-own_updates.json").write_text(json.dumps({"key": "other", "findings": []}))
    found = audit(guarded, QUICK)
    assert any(f.attack == "Inversion of an update" and f.value is not None for f in found.findings)


def test_a_folder_that_holds_an_audit_is_refused_first_of_all(tmp_path, monkeypatch):
    """Every file of the run was hashed first."""

    def works(_):
        raise AssertionError("worked")

    monkeypatch.setattr("fedstyle_secure.audit.runner.check_finished", works)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.json").write_text("{}")
    with pytest.raises(RunError, match="holds an audit"):
        audit(tmp_path)

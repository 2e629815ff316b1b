"""Whole runs: what they leave, resuming after kill -9, declined rounds, and the wire."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import fedstyle_secure
from fedstyle_secure.accounts import withdraw
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, FederationError, RunError
from fedstyle_secure.federation.artist import Studio
from fedstyle_secure.federation.fixed import FixedPartMissing
from fedstyle_secure.federation.local_training import batch_rng
from fedstyle_secure.federation.protocol import Instruction, instruction_record
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.report.formats import report
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import claim, studio_home, studios_root
from fedstyle_secure.system import State, plan_of, split_arrays
from fedstyle_secure.systems.style.encoders import encoder_from_arrays, fit_encoder
from fedstyle_secure.systems.style.heads import HEAD_PUBLIC
from fedstyle_secure.systems.style.system import StyleSystem
from fedstyle_secure.threads import one_thread

PUBLIC_NAMES = ("public-impasto-1", "public-woodcut-1", "public-pixel-art-1")
NO_NOISE = ["privacy.noise_multiplier=0"]


def ledger(run, artist):
    config = run.config()
    return Ledger(studio_home(studios_root(config, run), config.gallery, artist) / "ledger.jsonl")


def product(run):
    return State.load(run.folder.product_file)


def weights(run):
    state = product(run)
    head = {name: array for name, array in state.public.items() if name in HEAD_PUBLIC}
    return {**state.fixed, **state.trained, **head}


@pytest.mark.long
def test_a_run_leaves_everything_that_the_next_tool_reads(tiny, tmp_path):
    lines = []
    tiny = tiny.override(["privacy.noise_multiplier=auto"])
    run = fedstyle_secure.train(
        tiny, tmp_path / "run", on_round=lambda line, n: lines.append((line["round"], n))
    )
    folder = run.folder.path
    for name in ("config.toml", "manifest.json", "metrics.jsonl", "ledger.json", "summary.json"):
        assert (folder / name).stat().st_size > 0
    plan = plan_of(tiny, 4)
    assert lines == [(i, plan.rounds) for i in range(plan.rounds)]
    assert [line["round"] for line in run.folder.metrics()] == list(range(plan.rounds))
    privacy = run.summary["privacy"]
    assert 0.99 * tiny.privacy.target_epsilon < privacy["epsilon_artwork_max"] <= tiny.privacy.target_epsilon
    assert privacy["epsilon_artist_max"] is None
    assert len(privacy["per_artist"]) == 4
    exported = json.loads((folder / "ledger.json").read_text())
    expected = ["card", "prototypes"] + ["update"] * len(plan.rounds_of("update"))
    expected += ["card"] * (len(plan.rounds_of("card")) - 1)
    for entries in exported.values():
        assert sorted(e["kind"] for e in entries) == sorted(expected)
    utility = run.summary["utility"]
    assert utility["queries"] == 4 * 3
    assert utility["baseline_top1"] == run.folder.metrics()[0]["artist_top1"]


def test_a_finished_run_is_never_overwritten_without_force(tiny, own):
    first = own.summary()
    with pytest.raises(RunError, match="--force"):
        fedstyle_secure.train(tiny, own.path)
    again = fedstyle_secure.train(tiny, own.path, resume=True)
    assert again.summary == first
    other = tiny.override(["run.seed=1", *NO_NOISE])
    forced = fedstyle_secure.train(other, own.path, force=True)
    assert forced.folder.config().run.seed == 1


def test_resuming_with_other_settings_is_refused_and_names_the_setting(tiny, tmp_path):
    RunFolder(tmp_path / "run").begin(tiny, resume=False, force=False)
    with pytest.raises(RunError, match=r"style\.dim = 8, not 9"):
        fedstyle_secure.train(tiny.override(["style.dim=9"]), tmp_path / "run", resume=True)


@pytest.mark.long
def test_same_seed_same_weights_without_noise_and_other_weights_with(tiny, finished, tmp_path):
    quiet = tiny.override(NO_NOISE)
    a, b = (weights(fedstyle_secure.train(quiet, tmp_path / name)) for name in "ab")
    assert all(np.array_equal(a[k], b[k]) for k in a)
    noisy = [State.load(finished.product_file), product(fedstyle_secure.train(tiny, tmp_path / "d"))]
    assert not np.array_equal(*(state.public["cards"] for state in noisy))


KILLER = """
    import os, signal, sys
    from pathlib import Path
    import fedstyle_secure
    from fedstyle_secure.privacy.ledger import Ledger

    config, out, moment = fedstyle_secure.Config.load(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
    calls = 0
    real = Ledger.append

    def append(self, entries):
        global calls
        real(self, entries)
        calls += 1
        if moment == "inside a round" and calls == 6:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_round(line, rounds):
        if moment == "between rounds" and line["round"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger.append = append
    fedstyle_secure.train(config, out, on_round=on_round)
"""


@pytest.mark.long
@pytest.mark.parametrize("noise", ["0", "2"])
@pytest.mark.parametrize("moment", ["between rounds", "inside a round"])
def test_killed_and_resumed(tiny, tmp_path, moment, noise):
    config = tiny.override([f"privacy.noise_multiplier={noise}"])
    file = tmp_path / "run.toml"
    file.write_text(config.to_toml())
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLER), str(file), str(tmp_path / "run"), moment],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    run = RunFolder(tmp_path / "run")
    artists = fedstyle_secure.open_gallery(config.gallery).artists
    spent = {artist: ledger(run, artist).entries for artist in artists}
    assert any(spent.values())
    assert not RunFolder(tmp_path / "run").finished

    resumed = fedstyle_secure.train(config, tmp_path / "run", resume=True)
    whole = fedstyle_secure.train(config, tmp_path / "whole")
    for artist, before in spent.items():
        after = ledger(whole.folder, artist).entries
        assert after[: len(before)] == before
        # Each release once: what was sent before the kill was sent again, not made again.
        rounds = [[(e.round, e.kind) for e in after if e.run == r.folder.identity] for r in (resumed, whole)]
        assert rounds[0] == rounds[1]
        assert sorted(set(rounds[0])) == sorted(rounds[0])
        # And the second run on the same portfolio went on with the same ledger.
        assert len(after) == len(rounds[0]) + len(rounds[1])
    assert [line["round"] for line in resumed.folder.metrics()] == [
        line["round"] for line in whole.folder.metrics()
    ]
    if noise == "0":
        ours, theirs = weights(resumed), weights(whole)
        assert max(np.abs(ours[k] - theirs[k]).max() for k in ours) <= 1e-6
        assert resumed.summary["privacy"]["epsilon_artwork_max"] is None
    else:
        first, second = (run.summary["privacy"]["per_artist"][0] for run in (resumed, whole))
        assert second["epsilon_artwork"] == pytest.approx(first["epsilon_artwork"])
        assert first["lifetime_epsilon_artwork"] == first["epsilon_artwork"]
        assert second["lifetime_epsilon_artwork"] > 1.2 * second["epsilon_artwork"]


def with_broken_ledger(config, out):
    """A run that was begun, with a ledger that is none in the home of one artist."""
    run = RunFolder(out)
    run.begin(config, resume=False, force=False)
    claim(studios_root(config, run))
    broken = studio_home(studios_root(config, run), config.gallery, "mosaic-1") / "ledger.jsonl"
    broken.parent.mkdir(parents=True)
    broken.write_text("this is no ledger\n")
    return broken.parent


@pytest.mark.long
def test_an_artist_that_fails_declines_with_a_number_and_the_round_goes_on(tiny, tmp_path):
    config = tiny.override(["run.min_artists=3"])
    home = with_broken_ledger(config, tmp_path / "run")
    run = fedstyle_secure.train(config, tmp_path / "run", resume=True)
    for line in run.folder.metrics():
        assert line["replies"] == 3
        assert line["declined"] == ["code 103: answering would break the artist's guarantee"]
    assert "line 1 is damaged" in (home / "artist.log").read_text()


def test_too_few_artists_stop_the_run(tiny, tmp_path):
    config = tiny.override(["run.min_artists=4"])
    with_broken_ledger(config, tmp_path / "run")
    with pytest.raises(FederationError, match=r"round 0: 3 of 4 artists answered, run\.min_artists = 4"):
        fedstyle_secure.train(config, tmp_path / "run", resume=True)


@pytest.mark.long
@pytest.mark.parametrize("loss", ["all of it", "its last line"])
def test_a_ledger_that_lost_a_release_the_platform_got_carries_no_figure(tiny, tmp_path, loss):
    home = studio_home(tmp_path / "studios", tiny.gallery, "mosaic-1")

    def on_round(line, rounds):
        if line["round"] == rounds - 1:
            lines = (home / "ledger.jsonl").read_text().splitlines(keepends=True)
            left = [] if loss == "all of it" else lines[:-1]
            (home / "ledger.jsonl").write_text("".join(left))
            # Whoever shortens a ledger can write its length anew; the platform still knows what it got.
            head = json.loads(left[-1])["hash"] if left else "0" * 64
            (home / "ledger.head").write_text(json.dumps({"lines": len(left), "hash": head}))

    privacy = fedstyle_secure.train(tiny, tmp_path / "run", on_round=on_round).summary["privacy"]
    by_artist = {entry["artist"]: entry["epsilon_artwork"] for entry in privacy["per_artist"]}
    assert by_artist["mosaic-1"] is None
    assert by_artist["impasto-1"] > 0
    assert privacy["epsilon_artwork_max"] is None


@pytest.mark.long
def test_who_does_not_consent_has_no_card_and_is_not_found(tiny, tmp_path):
    config = tiny.override(["cards.consent=impasto-1,mosaic-1"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    assert product(run).texts["cards"] == ("impasto-1", "mosaic-1")
    exported = json.loads(run.folder.ledger_file.read_text())
    assert "card" in {e["kind"] for e in exported["mosaic-1"]}
    assert "card" not in {e["kind"] for e in exported["hatching-1"]}
    by_artist = {e["artist"]: e["epsilon_artwork"] for e in run.summary["privacy"]["per_artist"]}
    assert by_artist["hatching-1"] < by_artist["mosaic-1"]
    assert run.summary["utility"]["queries"] == 6


def test_nobody_consents(tiny, tmp_path):
    run = fedstyle_secure.train(tiny.override(["cards.consent=none"]), tmp_path / "run")
    assert run.summary["utility"]["artist_top1"] is None
    with pytest.raises(RunError, match="no artist published a card"):
        fedstyle_secure.search(run.folder, __file__)


def test_a_run_without_privacy_says_so(tiny, tmp_path):
    run = fedstyle_secure.train(tiny.override(["privacy.dp=off"]), tmp_path / "run")
    assert run.summary["privacy"]["epsilon_artwork_max"] is None
    entry = json.loads(run.folder.ledger_file.read_text())["mosaic-1"][0]
    assert entry["sensitivity"] is None
    assert entry["artwork_cost"]["noise_multiplier"] == 0


def test_two_processes_cannot_write_one_run(tiny, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(tiny, resume=False, force=False)
    with folder.lock():
        assert folder.state == "running"
        with pytest.raises(RunError, match="another process"):
            fedstyle_secure.train(tiny, folder.path, resume=True)
    assert folder.state == "interrupted after 0 rounds"


def test_deleting_a_run_deletes_nothing_else(tiny, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(tiny, resume=False, force=False)
    (folder.path / "sketch.png").write_text("precious")
    folder.remove()
    assert [p.name for p in folder.path.iterdir()] == ["sketch.png"]
    for force in (False, True):
        with pytest.raises(RunError, match="holds no run"):
            folder.begin(tiny, resume=False, force=force)
    assert (folder.path / "sketch.png").read_text() == "precious"


def test_a_start_that_fails_leaves_nothing_in_the_way(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"run\.min_artists = 5, but the gallery has 4"):
        fedstyle_secure.train(tiny.override(["run.min_artists=5"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"cards\.consent: 'nobody' is no artist"):
        fedstyle_secure.train(tiny.override(["cards.consent=nobody"]), tmp_path / "run")
    assert fedstyle_secure.train(tiny, tmp_path / "run").folder.finished


def test_resuming_needs_a_run_of_the_same_settings(tiny, own, tmp_path):
    with pytest.raises(RunError, match="no run here"):
        fedstyle_secure.train(tiny, tmp_path / "elsewhere", resume=True)
    with pytest.raises(RunError, match=r"run\.seed = 0, not 1"):
        fedstyle_secure.train(tiny.override(["run.seed=1"]), own.path, resume=True)
    with pytest.raises(ConfigError, match="choose one"):
        fedstyle_secure.train(tiny, own.path, resume=True, force=True)


def folder_of(tiny, root):
    """A folder gallery whose private artists have 5, 9 and 14 training pictures."""
    source = fedstyle_secure.open_gallery(tiny.override(["gallery.pictures=24"]).gallery)
    rows = ["path,artist,split"]
    counts = {"ann": 5, "bo": 9, "cy secretname": 14, "open": 20}
    for (artist, count), name in zip(counts.items(), (*source.artists[:3], "public-impasto-1"), strict=True):
        (root / artist).mkdir(parents=True)
        for i, picture in enumerate(source.portfolio(name).pictures[: count + 3]):
            Image.fromarray(picture).save(root / artist / f"sketch-{i}.png")
            rows.append(f"{artist}/sketch-{i}.png,{artist},{'train' if i < count else 'test'}")
    (root / "split.csv").write_text("\n".join(rows) + "\n")
    settings = ["gallery.source=folder", f"gallery.path={root}", "gallery.public=open"]
    of_atelier = ["gallery.artists=16", "gallery.public_artists=16", "gallery.pictures=60"]
    return tiny.override([*settings, *of_atelier, "styles.source=vocabulary"])


def test_the_wire_carries_no_picture_count_or_file_name(tiny, tmp_path, monkeypatch):
    from fedstyle_secure.engines import local

    seen = []
    real = local.LocalGrid._handle

    def tap(self, message):
        reply = real(self, message)
        seen.append(reply)
        return reply

    monkeypatch.setattr(local.LocalGrid, "_handle", tap)
    config = folder_of(tiny, tmp_path / "art")
    fedstyle_secure.train(config, tmp_path / "run")
    kinds, sizes = set(), {}
    for reply in seen:
        if not reply.has_content() or "reply" not in reply.content:
            continue
        kinds |= set(reply.content)
        assert set(reply.content.config_records["reply"]) == {"artist"}
        assert not reply.content.metric_records
        if "upload" in reply.content:
            upload = reply.content.config_records["upload"]
            sizes.setdefault("upload", set()).add(tuple(len(upload[key]) for key in sorted(upload)))
            assert set(upload) == {"manifest", "body", "signature"}
        for kind, arrays in reply.content.array_records.items():
            sizes.setdefault(kind, set()).add(tuple((n, len(a.data)) for n, a in arrays.items()))
            for array in arrays.values():
                assert b"sketch" not in array.data
                assert str(tmp_path).encode() not in array.data
                values = array.numpy()
                # As a float array would hold them: among float32 no share in double precision is ever found.
                kind = values.dtype if values.dtype.kind == "f" else np.float64
                assert not np.isin(values, np.array([5, 9, 14, 5 / 45, 9 / 45, 14 / 45], kind)).any()
    assert kinds == {"reply", "card", "update", "upload"}
    assert all(len(group) == 1 for group in sizes.values()), "names and sizes must not depend on the artist"


def test_resuming_with_other_pictures_is_refused(tiny, tmp_path):
    config = folder_of(tiny, tmp_path / "art")

    def dies(line, rounds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fedstyle_secure.train(config, tmp_path / "run", on_round=dies)
    Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(tmp_path / "art" / "ann" / "sketch-0.png")
    with pytest.raises(RunError, match="gallery has changed"):
        fedstyle_secure.train(config, tmp_path / "run", resume=True)


def opening_for(tiny, tmp_path):
    """A studio, and the opening state of its run."""
    gallery = fedstyle_secure.open_gallery(tiny.gallery)
    system = StyleSystem(tiny)
    state = system.learn([gallery.portfolio("public-impasto-1")])
    portfolio = gallery.portfolio("impasto-1")
    return Studio(tmp_path / "home", "run", system, plan_of(tiny, 4), 4, portfolio, str), state


def test_an_artist_refuses_what_its_settings_do_not_say(tiny, tmp_path):
    studio, state = opening_for(tiny, tmp_path)
    prototypes, cards = state.public["prototypes"], state.public["cards"]
    one_more = {"prototypes": np.concatenate([prototypes, prototypes[:1]]), "cards": cards}
    head, bias = state.trained["head.weight"], state.fixed["projection.bias"] * 2
    for changes, text in [
        ({"public": {"prototypes": prototypes[:, :-1], "cards": cards[:, :-1]}}, "not as wide"),
        ({"public": {"prototypes": prototypes, "cards": cards[:, :-1]}}, "as wide as tensor 'prototypes'"),
        ({"public": state.public | {"more": cards}}, "are all"),
        ({"public": state.public | {"prototypes": prototypes[:-1]}}, "'prototypes' must be float32 with 3"),
        ({"round": 99}, "not in the plan"),
        (
            {"public": one_more, "texts": state.texts | {"styles": (*state.texts["styles"], "x")}},
            "another number of styles",
        ),
        ({"trained": {"head.weight": np.zeros((2, 2), np.float32)}}, "'head.weight'"),
        ({"trained": {}}, "'head.weight' is missing or foreign"),
        ({"trained": {}, "fixed": state.fixed | {"head.weight": head}}, "'head.weight' is in the wrong part"),
        # Else a fixed tensor could change from round to round under the same digest.
        ({"trained": state.trained | {"projection.bias": bias}}, "'projection.bias' is in the wrong part"),
    ]:
        with pytest.raises(FederationError, match=text):
            studio.answer(replace(state, **changes), offered=True)
    assert not (tmp_path / "home" / "ledger.jsonl").exists()
    # Nothing of that used up the round, nor fixed what never changes.
    assert set(studio.answer(state, offered=True).arrays) == {"card", "prototypes"}


def test_what_leaves_in_a_sum_only_is_neither_made_nor_charged_where_no_sum_is_offered(tiny, tmp_path):
    """An opener that died after the first query cost every artist a prototype that never left."""
    studio, state = opening_for(tiny, tmp_path)
    assert set(studio.answer(state, offered=False).arrays) == {"card"}
    entries = Ledger(tmp_path / "home" / "ledger.jsonl").entries
    assert [entry.kind for entry in entries] == ["card"]
    # An offer that comes later finds the round answered: nothing more leaves.
    assert set(studio.answer(state, offered=True).arrays) == {"card"}


def test_what_never_changes_is_asked_for_again_where_it_is_not_kept(tiny, tmp_path):
    studio, state = opening_for(tiny, tmp_path)

    def sent(fixed):
        return Instruction.from_record(instruction_record(state, fixed=fixed))

    with pytest.raises(FixedPartMissing):
        studio.state(sent(fixed=False))
    studio.answer(studio.state(sent(fixed=True)), offered=True)
    # Another process of the same artist finds it on its disk, and a damaged one counts for nothing.
    again, _ = opening_for(tiny, tmp_path)
    assert again.state(sent(fixed=False)).digest == state.digest
    (kept,) = (tmp_path / "home" / "fixed").glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    once_more, _ = opening_for(tiny, tmp_path)
    with pytest.raises(FixedPartMissing):
        once_more.state(sent(fixed=False))


@pytest.mark.long
def test_what_never_changes_travels_once_a_run_and_artist(tiny, tmp_path, monkeypatch):
    from fedstyle_secure.engines import local

    sizes = []
    real = local.LocalGrid._handle

    def tap(self, message):
        if message.metadata.message_type == "train":
            groups = message.content.array_records.items()
            sizes.append({name: sum(len(a.data) for a in group.values()) for name, group in groups})
        return real(self, message)

    monkeypatch.setattr(local.LocalGrid, "_handle", tap)
    run = fedstyle_secure.train(tiny.override(NO_NOISE), tmp_path / "run")
    state = product(run)
    assert ["fixed" in size for size in sizes] == [True] * 4 + [False] * (len(sizes) - 4)
    sent = sum(array.nbytes for part in (state.trained, state.public) for array in part.values())
    header = 128 * (len(state.trained) + len(state.public))
    assert all(size["trained"] + size["public"] <= sent + header for size in sizes)


def test_a_model_is_built_once_a_round_and_artist(tiny, tmp_path, monkeypatch):
    built = []
    real = StyleSystem.model

    def counted(self, state):
        built.append(state.round)
        return real(self, state)

    gallery = fedstyle_secure.open_gallery(tiny.gallery)
    config = tiny.override(["secure_sum.updates=true"])
    system = StyleSystem(config)
    state = system.learn([gallery.portfolio("public-impasto-1")])
    studio = Studio(
        tmp_path,
        "run",
        system,
        plan_of(config, 4),
        4,
        gallery.portfolio("impasto-1"),
        str,
    )
    monkeypatch.setattr(StyleSystem, "model", counted)
    for number in range(3):
        studio.layouts(studio.state(_sent(replace(state, round=number)))).summed(number)
        studio.answer(replace(state, round=number), offered=True)
    assert built == [0, 1, 2]


def _sent(state):
    return Instruction.from_record(instruction_record(state, fixed=True))


@pytest.mark.long
def test_labels_outside_the_public_set_do_not_make_an_artist_decline(tiny, tmp_path):
    config = tiny.override(["styles.source=labels"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    assert all(line["declined"] == [] for line in run.folder.metrics())
    public = fedstyle_secure.open_gallery(config.gallery)
    labels = {s for a in public.public_artists for s in public.portfolio(a).labels}
    assert set(product(run).texts["styles"]) == labels


def test_noisy_runs_of_one_seed_draw_their_batches_independently(tiny, tmp_path):
    """The ledger composes draws as independent; the same draws in each run would cost far more."""

    state = State(0, {}, {}, {"prototypes": np.zeros((3, 8), np.float32)}, {})

    def draws(config):
        layouts = Layouts(config, plan_of(config, 4), StyleSystem(config).forms(state), 4)
        return [batch_rng(layouts, "impasto-1", 1).random(9).tolist() for _ in range(2)]

    first, second = draws(tiny)
    assert first != second
    first, second = draws(tiny.override(NO_NOISE))
    assert first == second


def test_force_does_not_delete_a_run_that_is_being_written(tiny, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(tiny, resume=False, force=False)
    with folder.lock(), pytest.raises(RunError, match="another process"):
        folder.begin(tiny, resume=False, force=True)
    assert folder.begun


@pytest.mark.long
@pytest.mark.parametrize("train", ["norms", "all"])
def test_other_weights_may_train_privately(tiny, tmp_path, train):
    config = tiny.override([f"style.train={train}"])
    with pytest.raises(ConfigError, match=r"cards\.releases to 2 or more"):
        fedstyle_secure.train(config, tmp_path / "run")
    config = config.override(["cards.releases=2", "privacy.noise_multiplier=0"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    start = encoder_from_arrays(config.style, weights(run))
    trained = set(split_arrays(start)[1])
    assert "trunk.stem_norm.weight" in trained
    assert ("trunk.stem.weight" in trained) == (train == "all")
    public = [fedstyle_secure.open_gallery(config.gallery).portfolio(a) for a in PUBLIC_NAMES]
    with one_thread():
        first = StyleSystem(config).learn(public)
    before = {**first.fixed, **first.trained}
    moved = {name for name, array in weights(run).items() if not np.array_equal(array, before[name])}
    assert moved == trained


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (["style.encoder=texture", "style.train=norms", "cards.releases=2"], r"style\.train"),
        (["style.encoder=texture", "style.train=all"], r"style\.train"),
        (["gallery.source=folder", "gallery.path=/nowhere"], r"gallery\.public"),
        (["gallery.source=hub", "gallery.dataset=nobody/nothing"], r"gallery\.public"),
    ],
)
def test_what_no_encoder_can_learn_from_is_refused_before_any_work(
    tiny, tmp_path, monkeypatch, settings, key
):
    """560 practice pictures were painted first, or a data set fetched."""

    def works(*_, **__):
        raise AssertionError("worked")

    # Those that import it first: a module that is first imported meanwhile would keep the one of this test.
    for name in (
        "fedstyle_secure.federation.apps.open_gallery",
        "fedstyle_secure.federation.experiment.open_gallery",
        "fedstyle_secure.systems.style.encoders.practice_portfolios",
        "fedstyle_secure.systems.style.encoders.practice_features",
        "fedstyle_secure.galleries.opening.open_gallery",
    ):
        monkeypatch.setattr(name, works)
    elsewhere = settings[0].startswith("gallery.source")
    config = (Config() if elsewhere else tiny).override(settings)
    with pytest.raises(ConfigError, match=key):
        fedstyle_secure.train(config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=key):
        fit_encoder(config.style, [] if elsewhere else [object()], 0)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_timeout_that_nobody_can_keep_ends_the_run_with_its_reason(tiny, tmp_path, sealed):
    config = tiny.override(["run.timeout=1e-9", f"secure_sum.enabled={str(sealed).lower()}"])
    with pytest.raises(FederationError, match="in time"):
        fedstyle_secure.train(config, tmp_path / "run")


@pytest.mark.long
@pytest.mark.parametrize("failing", ["checkpoint.safetensors", "metrics.jsonl", "summary.staged.json"])
def test_a_full_disk_is_one_line_with_the_folder_and_the_way_on(tiny, tmp_path, monkeypatch, failing):
    """It was a SafetensorError, or a line that said "output"."""
    sync, full = os.fsync, True

    def limited(handle):
        if full and failing in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", limited)
    with pytest.raises(RunError, match=rf"run: No space left on device: .*{failing}; .*--resume"):
        fedstyle_secure.train(tiny, tmp_path / "run")
    assert list((tmp_path / "run").rglob("*.partial")) == []
    full = False
    run = fedstyle_secure.train(tiny, tmp_path / "run", resume=True)
    assert [line["round"] for line in run.folder.metrics()] == [0, 1, 2]
    assert sorted((e.round, e.kind) for e in ledger(run.folder, "impasto-1").entries) == [
        (0, "card"),
        (0, "prototypes"),
        (1, "update"),
        (2, "update"),
    ]


def test_an_artists_full_disk_is_a_reason_of_its_own(tiny, tmp_path, monkeypatch):
    """It was "the artist's program failed", and the release was not charged."""
    sync = os.fsync

    def limited(handle):
        if "ledger.jsonl" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", limited)
    with pytest.raises(FederationError, match="code 106: the artist's machine failed"):
        fedstyle_secure.train(tiny, tmp_path / "run")


def test_config_type_is_exported():
    assert fedstyle_secure.Config is Config


def test_a_second_run_goes_on_with_the_ledger_whatever_its_settings(tiny, own):
    two = own.path.parent / "two"
    again = fedstyle_secure.train(tiny.override(["run.seed=5", "privacy.noise_multiplier=3"]), two)
    forced = fedstyle_secure.train(tiny, two, force=True)
    figures = [run.summary["privacy"]["per_artist"][0] for run in (again, forced)]
    assert figures[1]["lifetime_epsilon_artwork"] > figures[0]["lifetime_epsilon_artwork"] > 0
    assert len({e.run for e in ledger(forced.folder, "impasto-1").entries}) == 3


def test_an_artist_over_budget_declines_and_the_round_goes_on(tiny, tmp_path, caplog):
    tiny = tiny.override(["styles.min_contributors=2"])
    first = fedstyle_secure.train(tiny.override(["gallery.artists=2"]), tmp_path / "first")
    spent = first.summary["privacy"]["epsilon_artwork_max"]
    limited = tiny.override([f"privacy.budget_epsilon={spent * 1.01}"])
    with caplog.at_level("WARNING", logger="fedstyle_secure"):
        run = fedstyle_secure.train(limited, tmp_path / "second")
    # Said before it happens, and nobody else is stopped.
    assert "2 of 4 artists have released too much before" in caplog.text
    for line in run.folder.metrics():
        assert line["declined"] == ["code 104: the round would cost more than the artist's budget"] * 2
        assert line["replies"] == 2
    rows = {row["artist"]: row for row in run.summary["privacy"]["per_artist"]}
    old, new = rows["impasto-1"], rows["mosaic-1"]
    assert old["epsilon_artwork"] == 0.0
    assert old["lifetime_epsilon_artwork"] == pytest.approx(spent)
    assert new["lifetime_epsilon_artwork"] == new["epsilon_artwork"]
    assert old["budget_left"] == pytest.approx(0.01 * spent)


def test_a_budget_below_the_plan_is_refused_before_anything_is_released(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"privacy\.budget_epsilon = 0\.5 does not cover"):
        fedstyle_secure.train(tiny.override(["privacy.budget_epsilon=0.5"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_calibrated_run_fits_its_own_budget_to_the_last_round(tiny, tmp_path):
    config = tiny.override(
        ["privacy.noise_multiplier=auto", "privacy.target_epsilon=3", "privacy.budget_epsilon=3"]
    )
    run = fedstyle_secure.train(config, tmp_path / "run")
    assert all(line["declined"] == [] for line in run.folder.metrics())
    assert 2.97 < run.summary["privacy"]["epsilon_artwork_max"] <= 3.0


def test_who_withdraws_between_rounds_releases_nothing_more_and_its_card_goes(tiny, tmp_path):
    def on_round(line, rounds):
        if line["round"] == 0:
            withdraw(RunFolder(tmp_path / "run"), "impasto-1")

    run = fedstyle_secure.train(tiny, tmp_path / "run", on_round=on_round)
    lines = run.folder.metrics()
    assert lines[0]["declined"] == []
    for line in lines[1:]:
        assert line["declined"] == ["code 105: the artist has withdrawn"]
        assert "impasto-1" not in line["released_by"]
    assert "impasto-1" not in product(run).texts["cards"]
    assert "mosaic-1" in product(run).texts["cards"]
    rows = {row["artist"]: row for row in run.summary["privacy"]["per_artist"]}
    assert rows["impasto-1"]["withdrawn"]
    assert 0 < rows["impasto-1"]["epsilon_artwork"] < rows["mosaic-1"]["epsilon_artwork"]
    with pytest.raises(RunError, match="'nobody' is no artist of this run"):
        withdraw(run.folder, "nobody")


@pytest.mark.long
def test_noisy_counts_are_released_where_asked_for(tiny, tmp_path):
    config = tiny.override(["metrics.releases=1", "privacy.noise_multiplier=auto"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    lines = run.folder.metrics()
    assert [line["round"] for line in lines if line["found_share"] is not None] == [lines[-1]["round"]]
    kinds = [(e.kind, e.mechanism) for e in ledger(run.folder, "impasto-1").entries]
    # A sum with one noise like all others; with noise of their own, artists' counts leave in clear.
    assert kinds[-1] == ("metrics", "GaussianSum")
    own = fedstyle_secure.train(config.override(["privacy.noise=own"]), tmp_path / "own")
    assert ledger(own.folder, "impasto-1").entries[-1].mechanism == "NoisyCounts"
    assert 7.9 < own.summary["privacy"]["epsilon_artwork_max"] <= 8.0
    assert 7.9 < run.summary["privacy"]["epsilon_artwork_max"] <= 8.0
    exact = fedstyle_secure.train(config.override(["privacy.dp=off"]), tmp_path / "exact")
    found = exact.folder.metrics()[-1]["found_share"]
    # 4 artists of 9 training pictures: a share of 36.
    assert found * 36 == pytest.approx(round(found * 36))


ARTIST = ["privacy.unit=artist", "privacy.noise_multiplier=auto", "privacy.target_epsilon=4"]


@pytest.mark.long
def test_unit_artist_releases_sums_only_and_states_both_units(tiny, tmp_path):
    run = fedstyle_secure.train(tiny.override(ARTIST), tmp_path / "run")
    privacy = run.summary["privacy"]
    assert 3.9 < privacy["epsilon_artist_max"] <= 4.0 < privacy["epsilon_artwork_max"]
    for artist in ("impasto-1", "mosaic-1"):
        entries = ledger(run.folder, artist).entries
        assert [(e.round, e.kind) for e in entries] == [(0, "sum"), (1, "sum"), (2, "sum")]
        assert all(e.artist_cost is not None for e in entries)
    assert product(run).texts["cards"] == ()
    assert run.summary["utility"]["artist_top1"] is None
    assert 0 <= run.summary["utility"]["style_top1"] <= 1


@pytest.mark.long
def test_unit_artist_without_noise_is_the_mean_over_artists(tiny, tmp_path):
    """The whole way of clip, rotation, rounding and back changes style sums by rounding only."""
    config = tiny.override(["privacy.unit=artist", "privacy.dp=off", "styles.min_contributors=2"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    assert run.summary["utility"]["style_cosine"] > 0.9999
    assert run.summary["privacy"]["epsilon_artist_max"] is None
    assert max(line["update_kept"] or 0 for line in run.folder.metrics()) == 1.0


@pytest.mark.long
def test_few_artists_are_warned_that_noise_hides_their_styles(tiny, tmp_path, caplog):
    with caplog.at_level("WARNING", logger="fedstyle_secure"):
        fedstyle_secure.train(tiny.override([*ARTIST, "training.local_steps=0"]), tmp_path / "run")
    assert "The noise hides the styles" in caplog.text


@pytest.mark.parametrize(
    ("encrypted", "text"),
    [
        ("false", r"3 of 4 artists answered, privacy\.min_cohort = 4"),
        ("true", "3 artists are ready for the sum, it needs 4"),
    ],
)
def test_a_sum_of_too_few_artists_is_refused(tiny, tmp_path, encrypted, text):
    config = tiny.override([*ARTIST, "privacy.min_cohort=4", f"secure_sum.enabled={encrypted}"])
    with_broken_ledger(config, tmp_path / "run")
    with pytest.raises(FederationError, match=text):
        fedstyle_secure.train(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("privacy.min_cohort=5", "privacy.min_cohort = 5, but there are 4 artists"),
        ("privacy.colluders=3", "leaves nobody honest in a cohort of 3"),
    ],
)
def test_a_cohort_that_cannot_be_is_refused(tiny, tmp_path, setting, text):
    with pytest.raises(ConfigError, match=text):
        fedstyle_secure.train(tiny.override([*ARTIST, setting]), tmp_path / "run")


def test_colluders_cost_noise(tiny):
    def noise(colluders):
        settings = [*ARTIST, "gallery.artists=40", f"privacy.colluders={colluders}"]
        return plan_of(tiny.override(settings), 40).shared.noise

    assert noise(10).share_deviation > 1.15 * noise(0).share_deviation


@pytest.mark.long
def test_shares_that_leave_in_clear_give_nobody_a_figure(tiny, tmp_path):
    config = tiny.override([*ARTIST, "secure_sum.enabled=false"])
    privacy = fedstyle_secure.train(config, tmp_path / "run").summary["privacy"]
    assert privacy["epsilon_artist_max"] is None
    assert privacy["epsilon_artwork_max"] is None
    # Nor does a later run whose shares are sealed hide it.
    later = fedstyle_secure.train(tiny.override(ARTIST), tmp_path / "later").summary["privacy"]
    assert later["epsilon_artist_max"] <= 4.0
    assert later["per_artist"][0]["lifetime_epsilon_artist"] is None


@pytest.mark.long
def test_consent_of_a_name_with_a_comma_is_that_artists_alone(tiny, tmp_path):
    """Before, cards of Abbey and of Edwin were published, who did not consent."""
    names = ["Abbey, Edwin", "Abbey", "Edwin", " zed ", "open"]
    source = fedstyle_secure.open_gallery(tiny.gallery)
    for name, artist in zip(names, (*source.artists, source.public_artists[0]), strict=True):
        (tmp_path / "art" / name).mkdir(parents=True)
        for i, picture in enumerate(source.portfolio(artist).pictures):
            Image.fromarray(picture).save(tmp_path / "art" / name / f"{i}.png")
    of_atelier = ["gallery.artists=16", "gallery.public_artists=16", "gallery.pictures=60"]
    folder = ["gallery.source=folder", f"gallery.path={tmp_path / 'art'}", "gallery.public=open"]
    config = tiny.override([*of_atelier, *folder, "run.rounds=1", 'audit.record=[" zed "]'])

    for text in ("Abbey, Edwin", "Abbey,Edwin", "zed"):
        with pytest.raises(ConfigError, match=r"cards\.consent = .* is not clear, as there is an artist"):
            fedstyle_secure.train(config.override([f"cards.consent={text}"]), tmp_path / "unclear")
    with pytest.raises(ConfigError, match=r"cards\.consent: 'Edwn' is no artist.*did you mean 'Edwin'"):
        fedstyle_secure.train(config.override(["cards.consent=Edwn"]), tmp_path / "unclear")
    assert not list((tmp_path / "studios").glob("*/ledger.jsonl"))

    config = config.override([f"cards.consent={json.dumps(names[:1])}"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    fedstyle_secure.train(config, tmp_path / "run", resume=True)
    assert product(run).texts["cards"] == ("Abbey, Edwin",)
    kinds = {name: {entry.kind for entry in ledger(run.folder, name).entries} for name in names[:4]}
    assert [name for name, found in kinds.items() if "card" in found] == ["Abbey, Edwin"]
    kept = run.folder.config()
    assert (kept.cards.consent, kept.audit.record) == (("Abbey, Edwin",), (" zed ",))
    assert Scene(run.folder, AuditSettings()).config.cards.consent == ("Abbey, Edwin",)
    pages = report(run.folder.path, ("json",))
    assert "Consent to publish a style card" in pages[0].read_text()
    withdraw(run.folder, "Abbey, Edwin")
    assert not ledger(run.folder, "Abbey").withdrawal

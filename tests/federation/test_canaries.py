"""Canaries in whole runs: who trains with them, who never sees them, and where it is said."""

import inspect
import json

import numpy as np
import pytest

import fedstyle_secure
from fedstyle_secure import cli
from fedstyle_secure.errors import ConfigError, FederationError, RunError
from fedstyle_secure.federation.record import read_rounds
from fedstyle_secure.files import read_arrays
from fedstyle_secure.galleries.canaries import Canaries, Canary, coordinates
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import studio_home
from fedstyle_secure.system import State
from fedstyle_secure.systems.style.system import StyleSystem

NO_NOISE = ["privacy.noise_multiplier=0", "audit.record=all"]
FOREIGN = ["audit.canaries=8", "audit.canary_kind=foreign"]
FIGURES = ("queries", "candidates")


def planted(config, out, inside, **keywords):
    """Train a run whose coins fell as `inside` says: a bool for all, or indices."""
    run = RunFolder(out)
    run.begin(config, resume=False, force=False)
    drawn = Canaries.draw(config, fedstyle_secure.open_gallery(config.gallery))
    coins = [inside if isinstance(inside, bool) else i in inside for i in range(len(drawn.each))]
    each = tuple(Canary(c.artist, coin) for c, coin in zip(drawn.each, coins, strict=True))
    Canaries(drawn.kind, each).save(run.canaries_file)
    return fedstyle_secure.train(config, out, resume=True, **keywords)


def sent(run, number, artist, kind):
    return read_rounds(run.folder)[number].replies[artist].arrays[kind]


@pytest.mark.long
def test_a_gradient_canary_moves_an_update_at_its_coordinate_by_the_clip_norm_and_nothing_else(
    tiny, tmp_path
):
    config = tiny.override([*NO_NOISE, "audit.canaries=10", "privacy.clip_norm=0.5"])
    without, with_some = planted(config, tmp_path / "a", False), planted(config, tmp_path / "b", {0, 5, 8})
    places = coordinates(0, 10, 64)
    for index, artist in enumerate(fedstyle_secure.open_gallery(config.gallery).artists):
        before, after = (sent(run, 1, artist, "update")["head.weight"] for run in (without, with_some))
        mine = {0: [0, 8], 1: [5]}.get(index, [])
        expected = np.zeros(64)
        expected[places[mine]] = -0.6 / 9 * 0.5
        moved = (after - before).ravel()
        if mine:
            assert np.abs(moved - expected).max() < 1e-6
        else:
            assert np.array_equal(before, after)
        # Neither cards nor anything of the opening round knows of it.
        for name, card in sent(without, 0, artist, "card").items():
            assert np.array_equal(card, sent(with_some, 0, artist, "card")[name])


@pytest.mark.long
def test_picture_canaries_take_part_in_everything_like_pictures(tiny, tmp_path):
    config = tiny.override(
        ["privacy.dp=off", "secure_sum.enabled=false", "audit.record=all", *FOREIGN, "metrics.releases=1"]
    )
    without, with_some = planted(config, tmp_path / "a", False), planted(config, tmp_path / "b", {1})
    artists = fedstyle_secure.open_gallery(config.gallery).artists
    for number, kind in ((0, "card"), (0, "prototypes"), (1, "update")):
        changed = [
            any(
                not np.array_equal(array, sent(with_some, number, artist, kind)[name])
                for name, array in sent(without, number, artist, kind).items()
            )
            for artist in artists
        ]
        # Updates of the others follow the cards and prototypes, which are another artist's already.
        assert changed == [kind == "update", True, kind == "update", kind == "update"]
    # But they are no works of anybody: the counts of pictures are those of the portfolios.
    last = len(with_some.folder.metrics()) - 1
    for artist in artists:
        assert sent(with_some, last, artist, "metrics")["counts"][0] == 9


@pytest.mark.long
@pytest.mark.parametrize("kind", ["foreign", "mislabelled"])
def test_no_canary_is_a_query_a_candidate_or_a_picture_of_the_meters(tiny, tmp_path, monkeypatch, kind):
    seen = []
    real = StyleSystem.meter

    def meter(self, portfolios):
        seen.append([len(p.pictures) for p in portfolios])
        return real(self, portfolios)

    monkeypatch.setattr(StyleSystem, "meter", meter)
    plain = fedstyle_secure.train(tiny, tmp_path / "plain")
    config = tiny.override(["audit.canaries=20", f"audit.canary_kind={kind}"])
    run = planted(config, tmp_path / "run", True)
    assert seen[0] == seen[1] == [12] * 4
    for key in FIGURES:
        assert run.summary["utility"][key] == plain.summary["utility"][key]
    assert len(State.load(run.folder.product_file).texts["cards"]) == 4


@pytest.mark.long
def test_canary_artists_take_part_and_are_nobody(tiny, tmp_path):
    config = tiny.override(["privacy.unit=artist", "prototypes.releases=2"])
    plain = fedstyle_secure.train(config, tmp_path / "plain" / "run")
    run = fedstyle_secure.train(config.override(["audit.canaries=3"]), tmp_path / "planted" / "run")
    names = fedstyle_secure.open_gallery(config.gallery).artists
    for line in run.folder.metrics():
        assert line["replies"] == line["sum"]["artists"] == 7
    assert [row["artist"] for row in run.summary["privacy"]["per_artist"]] == list(names)
    assert set(json.loads(run.folder.ledger_file.read_text())) == set(names)
    assert run.summary["utility"].keys() == plain.summary["utility"].keys()
    assert run.summary["audit"]["canaries"] == {"number": 3, "kind": "artist", "most_per_artist": 0}
    # They have ledgers of their own, so that their way out is the artists' own way out.
    home = studio_home(tmp_path / "planted" / "studios", config.gallery, "canary-3")
    assert {e.kind for e in Ledger(home / "ledger.jsonl").entries} == {"sum"}


@pytest.mark.long
@pytest.mark.parametrize(
    "settings", [["audit.canaries=12"], FOREIGN, ["audit.canaries=3", "privacy.unit=artist"]]
)
def test_it_is_said_how_many_there_are_and_never_which(tiny, tmp_path, settings):
    config = tiny.override(settings)
    ins, outs = (planted(config, tmp_path / name, coin) for name, coin in (("in", True), ("out", False)))
    number = config.audit.canaries
    for run in (ins, outs):
        assert run.summary["audit"]["canaries"]["number"] == number
        assert read_arrays(run.folder.product_file)[1]["canaries"] == str(number)
    assert ins.summary["audit"] == outs.summary["audit"]
    assert ins.folder.manifest_file.read_bytes() == outs.folder.manifest_file.read_bytes()
    assert ins.folder.manifest()["audit"] == ins.summary["audit"]


def test_nothing_but_an_artists_studio_reads_the_coins(tiny, tmp_path, monkeypatch):
    readers = []
    real = Canaries.load.__func__

    def load(cls, *arguments):
        readers.append(inspect.stack()[1].function)
        return real(cls, *arguments)

    monkeypatch.setattr(Canaries, "load", classmethod(load))
    fedstyle_secure.train(tiny.override(["audit.canaries=6", "audit.record=all"]), tmp_path / "run")
    assert readers == ["_open_studio"] * 4


def test_canaries_cost_the_ledgers_nothing_and_the_portfolio_stays_the_same_one(tiny, own):
    plain = own.summary()
    run = fedstyle_secure.train(tiny.override(FOREIGN), own.path.parent / "planted")
    for key in ("epsilon_artwork_max", "noise_multiplier"):
        assert run.summary["privacy"][key] == plain["privacy"][key]
    home = studio_home(own.path.parent / "studios", tiny.gallery, "mosaic-1")
    runs = [entry.run for entry in Ledger(home / "ledger.jsonl").entries]
    assert set(runs) == {own.identity, run.folder.identity}
    row = run.summary["privacy"]["per_artist"][0]
    assert row["lifetime_epsilon_artwork"] > row["epsilon_artwork"]


@pytest.mark.long
def test_a_resumed_run_keeps_its_coins_and_one_without_them_is_refused(tiny, tmp_path):
    config = tiny.override(["audit.canaries=40"])

    def dies(line, rounds):
        if line["round"] == 1:
            raise KeyboardInterrupt

    for name in ("kept", "lost"):
        with pytest.raises(KeyboardInterrupt):
            fedstyle_secure.train(config, tmp_path / name, on_round=dies)
    kept, lost = (RunFolder(tmp_path / name).canaries_file for name in ("kept", "lost"))
    before = kept.read_bytes()
    # 40 coins of two runs are equal with 1e-12.
    assert before != lost.read_bytes()
    fedstyle_secure.train(config, tmp_path / "kept", resume=True)
    assert kept.read_bytes() == before
    lost.unlink()
    with pytest.raises(RunError, match=r"canaries\.json: is gone"):
        fedstyle_secure.train(config, tmp_path / "lost", resume=True)


def test_an_artist_declines_whose_coins_are_damaged(tiny, tmp_path):
    config = tiny.override(["audit.canaries=4"])
    run = RunFolder(tmp_path / "run")
    run.begin(config, resume=False, force=False)
    run.canaries_file.write_text("{}")
    with pytest.raises(FederationError, match="0 of 4 artists answered"):
        fedstyle_secure.train(config.override(["secure_sum.enabled=true"]), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["audit.canaries=65"], r"audit\.canaries = 65, but there are 64 coordinates"),
        (["audit.canaries=1", "training.local_steps=0"], r"training\.local_steps > 0"),
        (["audit.canaries=1", "audit.canary_kind=artist"], r"privacy\.unit = 'artwork'"),
        (
            ["audit.canaries=100", "privacy.unit=artist", "prototypes.releases=0"],
            r"audit\.canaries = 100, but there are 64 coordinates",
        ),
        (["audit.canaries=37", "audit.canary_kind=mislabelled"], "the gallery has 36"),
    ],
)
def test_what_cannot_be_planted_is_refused_before_anything_is_released(tiny, tmp_path, settings, text):
    with pytest.raises(ConfigError, match=text):
        fedstyle_secure.train(tiny.override(settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.rglob("ledger.jsonl"))


def test_the_command_line_says_that_a_model_holds_canaries(
    tiny, finished, query, tmp_path, capsys, monkeypatch
):
    run = fedstyle_secure.train(tiny.override(["audit.canaries=6"]), tmp_path / "run").folder.path
    plain = finished.path
    monkeypatch.setenv("COLUMNS", "200")

    def said(*arguments):
        monkeypatch.setattr("sys.argv", ["fedstyle", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        found = capsys.readouterr()
        return found.out, found.err

    note = "holds canaries: 6 of the kind gradient"
    out, err = said("search", run, query, "--json")
    assert note in err
    assert len(json.loads(out)) == 4
    assert note in said("verify", run)[0]
    assert json.loads(said("verify", run, "--json")[0])["canaries"] == 6
    cli._show(fedstyle_secure.Run.open(run), False)
    assert note in capsys.readouterr().out
    for arguments in (("search", plain, query), ("verify", plain)):
        assert "canaries" not in "".join(said(*arguments))
    cli._show(fedstyle_secure.Run.open(plain), False)
    assert "canaries" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("settings", [["audit.canaries=12"], ["audit.canaries=2", "privacy.unit=artist"]])
def test_the_ray_engine_plants_the_same_canaries(tiny, tmp_path, settings):
    pytest.importorskip("ray", reason="needs the extra `simulation`")
    config = tiny.override([*NO_NOISE, *settings])
    here = planted(config, tmp_path / "local", {0, 1, 5})
    there = planted(config, tmp_path / "ray", {0, 1, 5}, engine="ray")
    ours, theirs = (read_arrays(run.folder.product_file)[0] for run in (here, there))
    # An artist's vector is rounded to 1 / 1024 of its length, by OS entropy.
    allowed = 3e-2 if config.privacy.unit == "artist" else 1e-5
    assert max(np.abs(ours[name] - theirs[name]).max(initial=0.0) for name in ours) <= allowed

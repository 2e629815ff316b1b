"""Grids: what the shorthands mean, and bad ones refused by name before anything runs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.files import sources_digest
from fedstyle_secure.shipped import presets
from fedstyle_secure.sweep import grid as grids
from fedstyle_secure.sweep.grid import Cell, Grid
from fedstyle_secure.sweep.runner import sweep

REPO = Path(__file__).parents[2]


def test_cells_are_all_combinations_and_set_what_they_say(grid_of):
    grid = grid_of(
        {
            "epsilons": [0.5, "none"],
            "secure_sum": {"enabled": [True, False]},
            "training.local_steps": [1, 3],
            "seeds": [4, 5, 6],
        },
        base={"privacy": {"delta": 1e-6}, "gallery.artists": 9},
    )
    cells = grid.cells()
    assert len(cells) == 2 * 2 * 2 * 3
    flats = [cell.config.to_flat() for cell in cells]
    assert {f["privacy.delta"] for f in flats} == {1e-6}
    assert {f["gallery.artists"] for f in flats} == {9}
    seen = {
        (f["privacy.dp"], f["secure_sum.enabled"], f["training.local_steps"], f["run.seed"]) for f in flats
    }
    assert seen == {
        (dp, sealed, steps, seed)
        for dp in ("on", "off")
        for sealed in (True, False)
        for steps in (1, 3)
        for seed in (4, 5, 6)
    }
    for cell, flat in zip(cells, flats, strict=True):
        assert cell.points["epsilon"] == ("no DP" if flat["privacy.dp"] == "off" else "0.5")
        if flat["privacy.dp"] == "on":
            assert flat["privacy.target_epsilon"] == 0.5
        assert cell.points["secure_sum.enabled"] == str(flat["secure_sum.enabled"]).lower()
        # Nothing else than what varies differs from the base.
        varied = {"run.seed", "gallery.seed", "privacy.dp", "privacy.target_epsilon", "secure_sum.enabled"}
        varied |= {"training.local_steps", "privacy.delta", "gallery.artists"}
        assert {k for k, v in Config().to_flat().items() if flat[k] != v} <= varied


def test_named_points_set_several_settings_together(grid_of):
    points = [
        {"name": "plain", "privacy": {"dp": "off"}, "secure_sum.enabled": False},
        {"name": "dp_he", "privacy.target_epsilon": 2.0, "secure_sum.updates": True},
    ]
    plain, both = grid_of({"defences": points}).cells()
    assert (plain.points, plain.config.privacy.dp, plain.config.secure_sum.enabled) == (
        {"defences": "plain"}, "off", False,
    )  # fmt: skip
    assert (both.config.privacy.target_epsilon, both.config.secure_sum.updates) == (2.0, True)
    assert both.config.privacy.dp == "on"


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"seed": [1]}, r"grid\.seed is no setting; did you mean 'seeds'"),
        ({"privacy.target_epsilonn": [1]}, r"grid\.privacy\.target_epsilonn.*mean 'privacy.target_epsilon'"),
        ({"local_steps": [1]}, r"grid\.local_steps.*'training\.local_steps'"),
        ({"seeds": []}, r"grid\.seeds is empty"),
        ({"seeds": 3}, r"grid\.seeds = 3 is not allowed; allowed: a list"),
        ({"seeds": [0, 1, 0]}, r"grid\.seeds has '0' twice"),
        ({"seeds": [-1]}, r"run\.seed = -1 is not allowed"),
        ({"epsilons": [8, 8.0]}, r"grid\.epsilons has '8' twice"),
        ({"epsilons": [0.001]}, r"privacy\.target_epsilon = 0\.001 is not allowed; allowed: a number >="),
        ({"epsilons": ["off"]}, r"grid\.epsilons: 'off' is not allowed; allowed: a number, or 'none'"),
        ({"epsilons": [True]}, r"grid\.epsilons: True is not allowed"),
        ({"gallery.artists": [8, 0]}, r"gallery\.artists = 0 is not allowed; allowed: a whole number >= 1"),
        ({"run.folder": ["a"]}, r"run\.folder is the sweep's own"),
        ({"how": [{"name": "a", "run.studios": "x"}]}, r"grid\.how: run\.studios is the sweep's own"),
        ({"audit.record": ["all"]}, r"audit\.record is the sweep's own"),
        ({"how": [{"privacy.dp": "off"}]}, r"grid\.how: every point needs a name"),
        ({"epsilons": [1, 2], "how": [{"name": "a", "privacy.dp": "off"}]},
         r"privacy\.dp is set by grid\.epsilons and by grid\.how"),
        ({"how": [{"name": "a", "run.seed": 1}, {"name": "b", "run.seed": 1}]}, r"grid\.how has 'b' twice"),
    ],
)  # fmt: skip
def test_a_bad_axis_is_refused_by_name(grid_of, grid, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        grid_of(grid)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sweep_section", "expected"),
    [
        ({"procesess": 2}, r"unknown setting 'sweep\.procesess'; did you mean 'processes'"),
        ({"processes": -1}, r"sweep\.processes"),
        ({"processes": True}, r"sweep\.processes = True"),
        ({"audit": "quik"}, r"sweep\.audit: preset 'quik' is none of quick"),
        ({"audit": {"target": 4}}, r"unknown setting 'sweep\.audit\.target'; did you mean 'targets'"),
        ({"audit": {"targets": 1}}, r"sweep\.audit\.targets = 1 is not allowed"),
        ({"audit": {"processes": 2}}, r"sweep\.audit\.processes is the sweep's own"),
        ({"base": "missing"}, r"some/missing: no such configuration file"),
        ({"base": "missing.toml"}, r"some/missing\.toml: no such configuration file"),
    ],
)
def test_bad_settings_of_the_sweep_itself_are_refused(grid_of, sweep_section, expected):
    with pytest.raises(ConfigError, match=expected):
        grid_of({"seeds": [0]}, sweep=sweep_section)


def test_an_epsilon_that_would_do_nothing_is_refused(grid_of):
    with pytest.raises(ConfigError, match=r"privacy\.noise_multiplier = 2 fixes the noise"):
        grid_of({"epsilons": [1, 2]}, base={"privacy.noise_multiplier": 2.0})
    grid_of({"epsilons": ["none"]}, base={"privacy.noise_multiplier": 2.0})


def test_a_bad_grid_leaves_nothing_on_the_disk(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[grid]\nseeds = [0, 1]\ngallery.artists = [4, 0]\n")
    with pytest.raises(ConfigError, match=r"bad\.toml: grid\.gallery\.artists: gallery\.artists = 0"):
        sweep(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for text, expected in (
        ("grid = 1", "'grid' is a section"),
        ("[grids]\n", "did you mean 'grid'"),
        ("[", "TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=expected):
            Grid.load(path)


def test_audited_cells_are_recorded_and_lowered_presets_say_so(grid_of):
    assert grid_of({"seeds": [0]}).audit is None
    assert grid_of({"seeds": [0]}).cells()[0].config.audit.record == ("none",)
    plain = grid_of({"seeds": [0]}, {"audit": "quick"})
    assert (plain.audit.preset, plain.audit.processes) == ("quick", 1)
    assert plain.cells()[0].config.audit.record == ("all",)
    lowered = grid_of({"seeds": [0]}, {"audit": {"preset": "standard", "targets": 10}})
    assert (lowered.audit.label, lowered.audit.targets, lowered.audit.steps) == (
        "standard, changed: targets", 10, 600,
    )  # fmt: skip


def test_a_grid_written_and_read_back_has_the_same_cells(grid_of, tmp_path):
    grid = grid_of(
        {
            "epsilons": [1, "none"],
            "seeds": [3],
            "how": [{"name": "a b", "secure_sum.enabled": False}, {"name": "c", "run.rounds": 3}],
        },
        {"audit": {"targets": 9}, "name": "mine", "processes": 3},
        {"gallery.source": "folder", "gallery.public": "x, y"},
    )
    path = tmp_path / "again.toml"
    path.write_text(grid.to_toml(), encoding="utf-8")
    again = Grid.load(path)
    assert again.cells() == grid.cells()
    assert [cell.name for cell in again.cells()] == [cell.name for cell in grid.cells()]
    assert (again.name, again.processes, again.audit) == (grid.name, grid.processes, grid.audit)


@given(
    names=st.lists(st.text(min_size=1, max_size=200).filter(str.strip), min_size=2, max_size=4, unique=True),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
)
def test_folder_names_are_safe_and_differ_for_different_settings(names, seeds):
    points = [{"name": name, "gallery.artists": i + 1} for i, name in enumerate(names)]
    grid = Grid.from_dict({"grid": {"how": points, "seeds": seeds}}, Path("g.toml"))
    folders = [cell.name for cell in grid.cells()]
    assert len(set(folders)) == len(names) * len(seeds)
    for folder in folders:
        assert folder.isascii()
        assert not set(folder) & set("/\\: \0\n")
        assert not folder.startswith((".", "-"))
        assert len(folder) < 100


def test_every_setting_counts_in_the_hash_and_the_audits_processes_do_not(grid_of):
    config = Config()
    base = Cell({}, config, None)
    for key, value in (("run.seed", 1), ("privacy.delta", 1e-6), ("secure_sum.bits", 12)):
        assert Cell({}, Config.from_flat(config.to_flat() | {key: value}), None).digest != base.digest
    audited = grid_of({"seeds": [0]}, {"audit": "quick"}).cells()[0]
    assert audited.digest != Cell({}, audited.config, None).digest
    more = audited.audit.model_copy(update={"processes": 7})
    assert Cell({}, audited.config, more).digest == audited.digest


def test_the_grid_of_the_issue_is_6_epsilons_encryption_on_and_off_3_seeds():
    grid = Grid.load(REPO / "configs" / "tradeoff.toml")
    cells = grid.cells()
    seen = {
        (
            c.config.privacy.target_epsilon if c.config.privacy.dp == "on" else "none",
            (c.config.secure_sum.enabled, c.config.secure_sum.updates),
            c.config.run.seed,
        )
        for c in cells
    }
    assert len(seen) == len(cells) == 36
    assert {e for e, _, _ in seen} == {0.5, 1, 2, 4, 8, "none"}
    assert {sealed for _, sealed, _ in seen} == {(True, True), (False, False)}
    assert grid.audit is not None


SPLITS = [
    {"name": "cards", "share.sgd": 0.2, "share.cards": 0.7, "share.prototypes": 0.1},
    {"name": "even", "share.sgd": 0.4, "share.cards": 0.4, "share.prototypes": 0.2, "cards.releases": 2},
]
UNITS = [
    {"name": "artwork", "privacy.unit": "artwork"},
    {"name": "artist", "privacy.unit": "artist", "cards.consent": "none", "privacy.min_cohort": 4},
]


def test_everything_that_the_issue_names_is_an_axis(grid_of):
    grid = grid_of(
        {
            "epsilons": [4, "none"],
            "unit": UNITS,
            "split": SPLITS,
            "secure_sum.enabled": [True, False],
            "gallery.artists": [8, 12],
            "training.local_steps": [1, 2],
            "audits": ["quick", "standard"],
            "seeds": [0, 1],
        }
    )
    cells = grid.cells()
    assert len(cells) == 2**8
    seen = set()
    for cell in cells:
        config, audit = cell.config, cell.audit
        seen.add(
            (
                config.privacy.dp, config.privacy.unit, config.share.cards, config.secure_sum.enabled,
                config.gallery.artists, config.training.local_steps, audit.preset, config.run.seed,
            )
        )  # fmt: skip
        assert (cell.points["audit"], cell.points["unit"]) == (audit.preset, config.privacy.unit)
        assert (audit.targets, audit.rounds) == ((20, 4) if audit.preset == "quick" else (50, 0))
        assert audit.label == audit.preset
    assert len(seen) == 2**8


def test_an_audits_preset_keeps_what_the_sweep_changed_and_a_point_changes_what_it_names(grid_of, tmp_path):
    named = {"name": "few", "audit.preset": "deep", "audit.targets": 9, "audit.without": ["noise"]}
    grid = grid_of(
        {"how": [named, {"name": "as it is", "audit.preset": "deep"}], "audit.fpr": [[0.1], [0.01, 0.2]]},
        {"audit": {"preset": "standard", "steps": 7}},
    )
    few, _, usual, other = (cell.audit for cell in grid.cells())
    assert (few.preset, few.targets, few.steps, few.pictures, few.without) == ("deep", 9, 7, 20, ("noise",))
    assert (usual.preset, usual.targets, usual.steps, usual.without) == ("deep", 100, 7, ())
    assert (usual.fpr, other.fpr) == ((0.1,), (0.01, 0.2))
    assert few.label == "deep, changed: targets, steps, fpr, WHAT IF it lacked: noise"
    (tmp_path / "again.toml").write_text(grid.to_toml())
    again = Grid.load(tmp_path / "again.toml")
    assert [cell.name for cell in again.cells()] == [cell.name for cell in grid.cells()]


def test_single_settings_of_the_audit_are_axes_too(grid_of):
    cells = grid_of({"audit.rounds": [2, 3]}).cells()
    assert [cell.audit.rounds for cell in cells] == [2, 3]
    assert {cell.config.audit.record for cell in cells} == {("all",)}
    for bad, expected in (
        ({"audits": ["quik"]}, "grid.audits: preset 'quik' is none of quick"),
        ({"audit.rounds": [-1]}, r"grid\.audit\.rounds: audit\.rounds = -1 is not allowed"),
        ({"audit.processes": [1, 2]}, r"audit\.processes is the sweep's own"),
        ({"audit.round": [1]}, r"audit\.round"),
        ({"audits": ["quick"], "audit.rounds": [2]}, "is set by grid.audits and by grid.audit.rounds"),
    ):
        with pytest.raises(ConfigError, match=expected):
            grid_of(bad)


def _seeds(cell):
    return cell.config.gallery.seed, cell.config.run.seed, cell.audit and cell.audit.seed


@pytest.mark.parametrize(
    ("grid", "sweep_section", "base", "seeds", "said"),
    [
        ({}, {"audit": "quick"}, {}, (7, 7, 7), "that of pictures, run and audit."),
        ({}, {}, {}, (7, 7, None), "that of pictures and run."),
        ({}, {"audit": "quick"}, {"gallery.seed": 0}, (0, 7, 7),
         "that of run and audit. Pictures do not follow from it, as the gallery's seed was set apart"),
        ({"gallery.seed": [3]}, {"audit": "quick"}, {}, (3, 7, 7), "as an axis of the grid sets"),
        ({}, {"audit": {"seed": 5}}, {}, (7, 7, 5), "pictures and run. The audit's seed was set apart"),
        ({}, {"audit": "quick"}, {"gallery.source": "folder", "gallery.path": "x"}, (0, 7, 7),
         "as the gallery is not a procedural one"),
    ],
)  # fmt: skip
def test_a_seed_is_that_of_pictures_run_and_audit(grid_of, tmp_path, grid, sweep_section, base, seeds, said):
    asked = grid_of({**grid, "epsilons": [1, "none"], "seeds": [7, 8]}, sweep_section, base)
    cells = asked.cells()
    assert _seeds(cells[0]) == seeds
    # Another seed is another one in everything that it sets; cells of one seed agree in it.
    assert _seeds(cells[1]) == tuple(8 if seed == 7 else seed for seed in seeds)
    assert _seeds(cells[2]) == _seeds(cells[0])
    assert said in asked.seeds
    (tmp_path / "again.toml").write_text(asked.to_toml())
    again = Grid.load(tmp_path / "again.toml")
    assert again.seeds == asked.seeds
    assert [cell.name for cell in again.cells()] == [cell.name for cell in cells]


def test_a_base_file_that_names_the_gallerys_seed_wins_too(tmp_path):
    (tmp_path / "base.toml").write_text("[gallery]\nseed = 2\n")
    path = tmp_path / "grid.toml"
    path.write_text('[sweep]\nbase = "base.toml"\n[grid]\nseeds = [0, 1]\n')
    assert {cell.config.gallery.seed for cell in Grid.load(path).cells()} == {2}


def test_cells_of_another_version_of_the_program_have_other_names(grid_of, tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("x = 1\n")
    first = sources_digest([package])
    (package / "notes.md").write_text("no source")
    assert sources_digest([package]) == first
    (package / "a.py").write_text("x = 2\n")
    second = sources_digest([package])
    (package / "a.py").rename(package / "b.py")
    third = sources_digest([package])
    (package / "a.html.j2").write_text("")
    assert len({first, second, third, sources_digest([package])}) == 4
    cell = grid_of({"seeds": [0]}).cells()[0]
    before = cell.name
    monkeypatch.setattr(grids, "code_digest", lambda: first)
    assert cell.name != before


def test_a_base_may_be_a_preset_and_a_file_beside_the_grid_wins(tmp_path):
    values = {"sweep": {"base": "dp"}, "grid": {"seeds": [1, 2]}}
    assert Grid.from_dict(values, tmp_path / "g.toml").base == Config.load(presets("run")["dp"])
    (tmp_path / "dp").write_text("[privacy]\ndelta = 1e-6\n")
    assert Grid.from_dict(values, tmp_path / "g.toml").base.privacy.delta == 1e-6

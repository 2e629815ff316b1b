"""Presets by name, a new folder, and that both come with the wheel."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.policy.checks import load_policy
from fedstyle_secure.shipped import FOLDER, file_of, presets
from fedstyle_secure.starting import OFFERED, START, chosen, start, with_start

REPO = Path(__file__).parents[1]


def test_the_presets_are_the_files_of_configs_each_of_one_kind():
    assert FOLDER.resolve() == REPO / "configs"
    kinds = [set(presets(kind)) for kind in ("run", "audit", "sweep", "policy")]
    assert sorted(name for kind in kinds for name in kind) == sorted(
        path.stem for path in (REPO / "configs").glob("*.toml")
    )
    assert set(presets("policy")) == {"policy"}
    assert set(presets("audit")) == {"audit_quick", "audit_standard", "audit_deep"}
    assert {"tradeoff"} < set(presets("sweep"))


def test_a_file_wins_over_a_preset_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert file_of(Path("dp"), "run") == FOLDER / "dp.toml"
    Path("art").mkdir()
    assert file_of(Path("art"), "run") == FOLDER / "art.toml"
    Path("dp").write_text("[run]\n")
    assert file_of(Path("dp"), "run") == Path("dp")
    # What is written as a path is one, there or not.
    assert file_of(Path("dp.toml"), "run") == Path("dp.toml")
    assert file_of(tmp_path / "plain", "run") == tmp_path / "plain"


def test_a_name_of_nothing_or_of_another_kind_lists_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("dpp", "audit_quick", "policy"):
        with pytest.raises(ConfigError, match=rf"^{name}: .*presets: art, .*dp, dp_he, .*plain") as caught:
            file_of(Path(name), "run")
        assert "\n" not in str(caught.value)
        assert "audit_deep" not in str(caught.value)


@pytest.mark.parametrize("preset", sorted(presets("run")))
def test_a_new_folder_says_what_its_preset_says(tmp_path, preset):
    written = start(tmp_path / "mine", preset)
    assert [path.name for path in written] == ["config.toml", "policy.toml", ".gitignore", "README.md"]
    assert Config.load(written[0]) == Config.load(presets("run")[preset])
    load_policy(written[1])
    ignored = written[2].read_text().splitlines()
    assert {"runs/", "studios/", "passphrase"} <= set(ignored)
    assert "mine" in written[3].read_text()


def test_what_most_people_change_stands_in_it_and_works_once_it_is_no_comment(tmp_path):
    text = start(tmp_path / "mine")[0].read_text()
    for key in START:
        name = key.partition(".")[2]
        assert any(line.lstrip("# ").startswith(f"{name} = ") for line in text.splitlines()), key
    loud = "\n".join(
        line.removeprefix("# ") if line.partition(" = ")[0].lstrip("# ").isidentifier() and " = " in line
        else line
        for line in text.splitlines()
    )  # fmt: skip
    values = tomllib.loads(loud)
    assert {f"{s}.{k}" for s, keys in values.items() for k in keys} >= set(START)
    assert Config.from_dict(values) == Config.load(tmp_path / "mine" / "config.toml")


def test_comments_go_into_the_section_that_is_there():
    text = with_start("# Mine.\n[privacy]\ndelta = 1e-6\n\n[run]\nseed = 3\n", Config())
    assert text.startswith("# Mine.\n[privacy]\ndelta = 1e-6\n# ")
    assert text.count("[privacy]") == 1
    assert Config.from_dict(tomllib.loads(text)) == Config.from_dict(
        {"privacy": {"delta": 1e-6}, "run": {"seed": 3}}
    )


def test_every_first_setting_is_one_and_every_offered_preset_is_there():
    assert set(START) <= set(Config().to_flat())
    assert len(START) == 8
    assert set(OFFERED) <= set(presets("run"))


def test_no_file_is_overwritten_and_no_unknown_preset_begun(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(RunError, match="holds something"):
        start(tmp_path)
    with pytest.raises(ConfigError, match="--preset dpp: there is none; presets of a run: art, "):
        start(tmp_path / "new", "dpp")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_wheel_has_the_presets_and_begins_a_folder(tmp_path):
    """Built, and put into a folder by itself: the sources are not in sight."""
    source = tmp_path / "source"
    for name in ("fedstyle_secure", "attacks", "configs"):
        shutil.copytree(REPO / name, source / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source / name)
    wheel = ("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source)
    subprocess.run([sys.executable, "-m", *map(str, wheel)], check=True)
    (built,) = tmp_path.glob("*.whl")
    there = tmp_path / "there"
    put = ("pip", "install", "--quiet", "--no-deps", "--target", there, built)
    subprocess.run([sys.executable, "-m", *map(str, put)], check=True)
    assert {path.name for path in (there / "fedstyle_secure" / "presets").iterdir()} == {
        path.name for path in (REPO / "configs").iterdir()
    }
    assert not (there / "fedstyle_secure" / "presets").is_symlink()
    said = (
        "import fedstyle_secure.cli as cli, sys; assert 'there' in cli.__file__; "
        "sys.argv = ['fedstyle', 'init', 'mine', '--preset', 'folder']; cli.main()"
    )
    home = os.environ | {"PYTHONPATH": str(there)}
    done = subprocess.run(
        [sys.executable, "-c", said], cwd=tmp_path, env=home, capture_output=True, text=True, check=True
    )
    assert "`cd mine`" in done.stdout
    assert "put pictures into pictures/" in done.stdout
    assert "configs/" not in (tmp_path / "mine" / "policy.toml").read_text()
    assert (tmp_path / "mine" / "config.toml").exists()


def test_settings_are_found_by_section_by_beginning_and_by_word():
    rows = Config.describe()
    assert {row["key"].partition(".")[0] for row in chosen(rows, "privacy")} == {"privacy"}
    assert [row["key"] for row in chosen(rows, "privacy.target")] == ["privacy.target_epsilon"]
    assert "privacy.budget_epsilon" in {row["key"] for row in chosen(rows, "epsilon")}
    assert chosen(rows, "") == rows
    with pytest.raises(ConfigError, match="sections: run, gallery, "):
        chosen(rows, "epsilom")


@pytest.mark.parametrize(
    ("key", "effect"),
    [
        ("privacy.target_epsilon", "twice the noise"),
        ("style.temperature", "lower: "),
        ("share.sgd", "less noise there"),
        ("share.cards", "found better"),
        ("training.realign_steps", "cost no privacy"),
    ],
)
def test_what_a_setting_does_is_told_with_its_name(key, effect):
    (row,) = [row for row in Config.describe() if row["key"] == key]
    assert effect in row["help"]
    assert f"# {row['help']}\n" in (REPO / "configs" / "demo.toml").read_text()

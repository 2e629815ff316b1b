"""Settings: round trips, and errors that name the key, the range and the nearest name."""

import json
import re
import tomllib
import unicodedata
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.policy.checks import Policy, load_policy
from fedstyle_secure.sweep.grid import Grid

REPO = Path(__file__).parents[1]


def test_flat_and_toml_round_trips_keep_every_setting(tmp_path):
    config = Config().override(
        [
            "gallery.source=folder",
            "gallery.public=a b,c",
            "privacy.noise_multiplier=1.5",
            "cards.consent=none",
            "run.folder=/x y",
        ]
    )
    assert Config.from_flat(config.to_flat()) == config
    path = tmp_path / "c.toml"
    path.write_text(config.to_toml())
    assert Config.load(path) == config
    assert config.gallery.public == ("a b", "c")
    assert all(isinstance(v, str | int | float | bool) for v in config.to_flat().values())


@given(
    seed=st.integers(0, 2**31 - 1),
    rate=st.floats(0.001, 1),
    names=st.lists(st.text("abcdefgh -_é", min_size=1).map(str.strip).filter(bool), max_size=4),
)
def test_any_valid_values_survive_toml_and_flat(seed, rate, names):
    flat = Config().to_flat() | {
        "run.seed": seed,
        "training.sampling_rate": rate,
        "gallery.source": "folder",
        "gallery.public": ",".join(names),
    }
    config = Config.from_flat(flat)
    assert config.run.seed == seed
    assert config.training.sampling_rate == rate
    assert config.gallery.public == tuple(names)
    assert Config.from_dict(tomllib.loads(config.to_toml())) == config


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("style.dmi=3", ["style.dmi", "'style.dim'"]),
        ("styl.dim=3", ["'styl'", "'style'"]),
        ("rounds=3", ["'rounds'", "'run.rounds'"]),
        ("privacy.rounds=3", ["privacy.rounds", "'run.rounds'"]),
        ("run.rounds=0", ["run.rounds", "0", ">= 1"]),
        ("run.rounds=2.5", ["run.rounds", "whole number"]),
        ("privacy.dp=maybe", ["privacy.dp", "'on'", "'off'"]),
        ("privacy.noise_multiplier=-1", ["privacy.noise_multiplier", ">= 0", "'auto'"]),
        ("privacy.target_epsilon=nan", ["privacy.target_epsilon", "nan"]),
        ("privacy.unit=person", ["privacy.unit", "'artwork'"]),
        ("cards.consent=all,ann", ["cards.consent", "all"]),
        ("audit.record=none,ann", ["audit.record", "none"]),
        ("audit.canary_kind=bird", ["audit.canary_kind", "'foreign'"]),
        ("run.seed", ["run.seed", "section.key=value"]),
    ],
)
def test_a_bad_setting_is_one_line_that_names_key_and_way_out(setting, expected):
    with pytest.raises(ConfigError) as caught:
        Config().override([setting])
    text = str(caught.value)
    assert "\n" not in text
    for part in expected:
        assert part in text


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: no such"):
        Config.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[run\nseed = ")
    with pytest.raises(ConfigError, match=r"broken\.toml: not a TOML file"):
        Config.load(broken)
    foreign = tmp_path / "foreign.toml"
    foreign.write_text("run = 3\n")
    with pytest.raises(ConfigError, match="'run' is a section"):
        Config.load(foreign)


def test_every_setting_has_words():
    rows = Config.describe()
    assert len(rows) == len(Config().to_flat())
    assert all(row["help"] and row["allowed"] for row in rows)


def test_flower_knows_the_same_settings_and_defaults():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    nested = project["tool"]["flwr"]["app"]["config"]
    assert Config.from_dict(nested) == Config()
    assert {f"{s}.{k}" for s, keys in nested.items() for k in keys} == set(Config().to_flat())


OTHERS = ("audit_", "policy", "tradeoff")
"""Settings of audits, policies and sweeps, which have tests of their own."""


@pytest.mark.parametrize(
    "path",
    sorted(p for p in (REPO / "configs").glob("*.toml") if not p.stem.startswith(OTHERS)),
    ids=lambda p: p.stem,
)
def test_every_shipped_config_is_valid(path):
    Config.load(path)


def test_the_demo_config_is_the_defaults():
    assert Config.load(REPO / "configs" / "demo.toml") == Config()


@pytest.mark.parametrize(
    ("source", "setting"),
    [
        ("atelier", "gallery.path=X"),
        ("atelier", "gallery.dataset=X"),
        ("atelier", "gallery.on_bad=skip"),
        ("atelier", "gallery.min_pictures=9"),
        ("atelier", "gallery.public=ann"),
        ("folder", "gallery.artists=4"),
        ("folder", "gallery.dataset=X"),
        ("folder", "gallery.keep_fraction=0.5"),
        ("hub", "gallery.path=X"),
        ("hub", "gallery.split_column=book"),
        ("hub", "gallery.pictures=9"),
    ],
)
def test_a_setting_of_another_source_is_an_error_wherever_it_is_given(tmp_path, source, setting):
    """Before, it was left unused without a word."""
    key, _, value = setting.partition("=")
    said = (
        re.escape(f"{key} = ")
        + ".* is a setting of gallery.source = .* and gallery.source is "
        + repr(source)
    )
    for settings in ([f"gallery.source={source}", setting], [setting, f"gallery.source={source}"]):
        with pytest.raises(ConfigError, match=said):
            Config().override(settings)
    path = tmp_path / "c.toml"
    text = value if value[0].isdigit() else f'"{value}"'
    path.write_text(f'[gallery]\nsource = "{source}"\n{key.partition(".")[2]} = {text}\n')
    with pytest.raises(ConfigError, match=said):
        Config.load(path)
    flat = Config().to_flat() | {"gallery.source": source, key: tomllib.loads(f"x = {text}")["x"]}
    with pytest.raises(ConfigError, match=said):
        Config.from_flat(flat)
    # What is as it is by default says nothing.
    Config.from_flat(Config().to_flat() | {"gallery.source": source})


def test_every_setting_of_the_gallery_belongs_to_a_source_or_to_all():
    """Those that a source does not read are its others' settings: no setting is without effect."""
    told = {
        row["key"].partition(".")[2]: row["help"].partition(":")[0]
        for row in Config.describe()
        if row["key"].startswith("gallery.") and ":" in row["help"]
    }
    assert set(told) == {
        "min_pictures", "on_bad", "path", "split_column", "public", "artists", "pictures", "public_artists",
        "dataset", "dataset_split", "artist_column", "image_column", "label_column", "max_artists",
        "keep_fraction",
    }  # fmt: skip
    assert set(told.values()) == {"folder, hub", "folder", "hub", "atelier"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ann, bo", ("ann", "bo")),
        ("ann,", ("ann",)),
        ('["Abbey, Edwin", " x "]', ("Abbey, Edwin", " x ")),
        ("['Abbey, Edwin']", ("Abbey, Edwin",)),
        ('"Abbey, Edwin"', ("Abbey, Edwin",)),
        ('"Abbey, Edwin", "zed"', ("Abbey, Edwin", "zed")),
        (json.dumps(["🎨, x"]), ("🎨, x",)),
        ("O'Keeffe", ("O'Keeffe",)),
        ("3", ("3",)),
        ("007", ("007",)),
        ("1e5", ("1e5",)),
        ("true", ("true",)),
        ("2020-01-01", ("2020-01-01",)),
        ("cafe\u0301", ("caf\u00e9",)),
    ],
)
def test_names_as_a_text_or_as_a_list_on_the_command_line(text, names):
    assert Config().override([f"cards.consent={text}"]).cards.consent == names
    assert Config().override([f"audit.record={text}"]).audit.record == names


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", ",", '[""]', "[1]", "[ann]", '["ann"', '["ann"] x', 'ann, "Abbey, Edwin"', "'t Hooft",
        '["ann"]\nx = 1', '["all", "ann"]', '{"ann": 1}, "x', '[["ann"]]',
    ],
)  # fmt: skip
def test_a_text_that_may_be_a_list_and_is_none_is_refused(text):
    with pytest.raises(ConfigError, match=r"cards\.consent = .* is not allowed; allowed: names: a list"):
        Config().override([f"cards.consent={text}"])


@pytest.mark.parametrize("value", [3, [3], [["ann"]], True, {"ann": 1}, [""], [None]])
def test_names_are_texts_in_toml_too(value):
    with pytest.raises(ConfigError, match=r"cards\.consent"):
        Config.from_dict({"cards": {"consent": value}})


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_a_list_of_any_names_stays_that_list(names):
    """Through settings, `-s`, Flower's run configuration and TOML; before, a comma made two names of one."""
    names = tuple(unicodedata.normalize("NFC", name) for name in names)
    config = Config.from_dict({"gallery": {"source": "folder", "public": list(names)}, "run": {"seed": 3}})
    assert config.gallery.public == names
    for again in (
        config.override(["run.seed=3"]),
        Config.from_flat(config.to_flat()),
        Config.from_dict(tomllib.loads(config.to_toml())),
        Config.from_flat(tomllib.loads(tomli_w.dumps(config.to_flat()))),
        Config().override(["gallery.source=folder", f"gallery.public={json.dumps(names)}", "run.seed=3"]),
    ):
        assert again.gallery.public == names
        assert again == config
        assert again.to_flat() == config.to_flat()


@pytest.mark.parametrize(
    ("text", "known", "unclear"),
    [
        ("Abbey, Edwin", ["Abbey, Edwin", "Abbey", "Edwin"], "Abbey, Edwin"),
        ("Abbey,Edwin", ["Abbey, Edwin"], "Abbey, Edwin"),
        ("zed, Abbey, Edwin", ["Abbey , Edwin", "zed"], "Abbey , Edwin"),
        ("ann", [" ann", "ann"], " ann"),
        ("all", ["all,"], "all,"),
        ("Edwin, Abbey", ["Abbey, Edwin", "Abbey", "Edwin"], ""),
        ("Abbey, zed, Edwin", ["Abbey, Edwin", "Abbey", "zed", "Edwin"], ""),
        ("all", ["Abbey, Edwin", ","], ""),
        ('["Abbey", "Edwin"]', ["Abbey, Edwin", "Abbey", "Edwin"], ""),
        ('["Abbey, Edwin"]', ["Abbey, Edwin", "Abbey", "Edwin"], ""),
    ],
)
def test_a_text_that_could_mean_other_artists_is_refused(text, known, unclear):
    config = Config().override([f"cards.consent={text}"])
    for names in (config.cards.consent, Config.from_flat(config.to_flat()).cards.consent):
        if not unclear:
            names.refuse_unclear("cards.consent", known)
            continue
        with pytest.raises(ConfigError) as caught:
            names.refuse_unclear("cards.consent", known)
        assert f"there is an artist {unclear!r}; write a list: {json.dumps([unclear])}, or " in str(
            caught.value
        )


@pytest.mark.parametrize("text", ["007", "2024-01-01", "true", "1 # c", "a#b", "1\nseed = 2"])
def test_text_settings_take_the_text_whatever_it_looks_like(text):
    assert Config().override([f"run.folder={text}"]).run.folder == text
    assert Config().override([f'run.folder="{text}"']).run.folder == text if "\n" not in text else True


def test_what_is_not_utf8_is_refused_and_a_byte_order_mark_is_read(tmp_path):
    with pytest.raises(ConfigError, match="is not UTF-8"):
        Config().override(["run.folder=\udce9"])
    path = tmp_path / "c.toml"
    path.write_bytes(b'\xef\xbb\xbf[cards]\nconsent = ["cafe\xcc\x81"]\n')
    assert Config.load(path).cards.consent == ("caf\u00e9",)
    path.write_bytes("[run]\nseed = 1\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="not a TOML file"):
        Config.load(path)


def test_every_toml_file_may_begin_with_a_byte_order_mark(tmp_path):
    for name, load in (
        ("audit_quick.toml", AuditSettings.load),
        ("policy.toml", load_policy),
        ("tradeoff.toml", Grid.load),
    ):
        text = (REPO / "configs" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        load(tmp_path / name)


WRONG = {
    "a whole number": (True, False, 5.0, "5", None, [5]),
    "a number": (True, False, "0.5", None, [0.5]),
    "true or false": (0, 1, 1.0, "true", "yes", None),
    "text": (5, True, 0.5, None, ["x"]),
    "names": (5, True, [5], [True], None),
}
"""Values of another type, which are never taken for one of this type."""


@pytest.mark.parametrize("one", Config.describe(), ids=lambda one: one["key"])
def test_no_setting_takes_a_value_of_another_type(one):
    """`target_epsilon = true` was an epsilon of 1."""
    kinds = [kind for kind in WRONG if one["allowed"].startswith(kind)] or ["text"]
    for value in WRONG[kinds[0]]:
        for build in (Config.from_flat, lambda flat: Config.from_dict(_nested(flat))):
            with pytest.raises(ConfigError, match=one["key"].replace(".", r"\.")):
                build({one["key"]: value})


def _nested(flat):
    return {key.split(".")[0]: {key.split(".")[1]: value} for key, value in flat.items()}


def test_whole_numbers_are_numbers():
    assert Config.from_flat({"privacy.target_epsilon": 3}).privacy.target_epsilon == 3.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("seed", "targets", "colluders") for value in (True, 7.0, "7")),
        *(("confidence", value) for value in (True, "0.99", float("nan"))),
        *(("show_pictures", value) for value in (1, "no")),
        *(("fpr", value) for value in (0.1, [True], ["0.1"], [0.1, None])),
        *(("without", value) for value in ("noise", ["sound"], [1])),
    ],
)
def test_no_setting_of_an_audit_takes_a_value_of_another_type(key, value):
    with pytest.raises(ValidationError, match=key):
        AuditSettings.model_validate({key: value})


@pytest.mark.parametrize(
    "values",
    [
        *({"epsilon": {"artwork": value}} for value in (True, "8")),
        *({"attacks": {"max_tpr": {"fpr": value, "value": 0.5}}} for value in (True, "0.1")),
        *({"attacks": {"allow_inconclusive": value}} for value in (1, "yes")),
        *({"attacks": {"required": value}} for value in ("update_one", [1])),
        {"attacks": {"forbidden_verdicts": "leaks"}},
    ],
)
def test_no_key_of_a_policy_takes_a_value_of_another_type(values):
    with pytest.raises(ValidationError, match="should be a valid"):
        Policy.model_validate(values)

"""Settings: round trips, and errors that name the key, the range and the nearest name."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.report.policy import Policy

REPO = Path(__file__).parents[1]


def test_flat_and_toml_round_trips_keep_every_setting(tmp_path):
    config = Config().override(
        ["gallery.public=a b,c", "privacy.noise_multiplier=1.5", "cards.consent=none", "run.folder=/x y"]
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
        ("style.dmi=3", ["style.dmi", "'dim'"]),
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

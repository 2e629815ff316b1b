"""An artist's policy: what it may say, that it says so when it is wrong, and what counts as loosened."""

import importlib.util
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given

from fedstyle_secure.errors import ConfigError, PrivacyError
from fedstyle_secure.sites.policy import PLACES, Policy, loosened, template

_SPEC = importlib.util.spec_from_file_location("drawn", Path(__file__).with_name("drawn.py"))
drawn = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(drawn)


def written(path, text):
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_the_template_says_every_key_with_a_comment_and_loads_back(tmp_path):
    text = template({"portfolio.path": "art", "sum.required": ["update"], "privacy.max_rounds": 7})
    loaded = Policy.load(written(tmp_path / "policy.toml", text))
    assert loaded == Policy().changed(
        {"portfolio.path": "art", "sum.required": ["update"], "privacy.max_rounds": 7}
    )
    lines = text.splitlines()
    keys = [i for i, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(keys) == len(Policy()._all_keys())
    assert all(lines[i - 1].startswith("# ") for i in keys)


@given(drawn.policies)
def test_every_policy_is_read_back_as_it_was_written(policy):
    again = Policy.from_dict(tomllib.loads(policy.to_toml()))
    assert again == policy
    assert again.digest() == policy.digest()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[privacy]\nmax_epsilon = 3",
            "unknown setting 'privacy.max_epsilon'; did you mean 'privacy.max_epsilon_run'?",
        ),
        ("[cards]\npublish = false", "unknown section 'cards'; did you mean 'card'?"),
        ("[card]\nmax_rounds = 3", "did you mean 'privacy.max_rounds'?"),
        ("privacy = 3", "'privacy' is a section"),
        ("[privacy]\ndp = 'off'", "privacy.dp = 'off' is not allowed; allowed: 'required', 'optional'"),
        ("[privacy]\nunits = ['picture']", "allowed: a list of 'artwork', 'artist'"),
        ("[privacy]\nmax_delta = 0", "privacy.max_delta = 0 is not allowed; allowed: a number > 0 and < 0.1"),
        ("[privacy]\nmax_epsilon_run = inf", "privacy.max_epsilon_run = inf is not allowed"),
        ("[privacy]\nmax_epsilon_run = nan", "privacy.max_epsilon_run = nan is not allowed"),
        ("[privacy]\nmax_rounds = 3.5", "privacy.max_rounds = 3.5 is not allowed"),
        ("[sum]\nmin_cohort = 1", "sum.min_cohort = 1 is not allowed; allowed: a whole number >= 2"),
        ("[sum]\nrequired = ['all', 'update']", "sum.required = ['all', 'update'] is not allowed"),
        ("[sum]\nrequired = []", "sum.required = [] is not allowed"),
        ("[consent]\nfile = ''", "consent.file = '' is not allowed"),
        ("[card]\npublish = 'no'", "card.publish = 'no' is not allowed; allowed: true or false"),
        ("[privacy", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, said):
    path = written(tmp_path / "policy.toml", text)
    with pytest.raises(ConfigError) as error:
        Policy.load(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value).replace(text, "")


def test_a_missing_policy_is_no_empty_one(tmp_path):
    with pytest.raises(ConfigError, match="no such policy"):
        Policy.load(tmp_path / "policy.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        Policy.load(tmp_path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_policy_that_others_can_write_to_is_refused(tmp_path, mode):
    path = written(tmp_path / "policy.toml", template())
    os.chmod(path, mode)
    with pytest.raises(PrivacyError, match="others can write to this policy"):
        Policy.load(path)


def test_the_digest_is_of_what_it_says_and_of_no_place():
    assert Policy().digest() == Policy.from_dict({"privacy": {"units": ["artist", "artwork"]}}).digest()
    policy = BASE
    for key in PLACES:
        assert policy.changed({key: "elsewhere"}).digest() == policy.digest()
    others = {policy.changed({key: value}).digest() for key, value in LOOSER.items() if key not in PLACES}
    assert len(others | {policy.digest()}) == len(LOOSER) - len(PLACES) + 1


LOOSER = {
    "portfolio.path": "others",
    "portfolio.split_column": "fold",
    "allow.systems": ["style", "art"],
    "allow.purposes": ["ai_training", "ai_generative_training"],
    "privacy.dp": "optional",
    "privacy.units": ["artwork", "artist"],
    "privacy.min_noise_multiplier": 0.4,
    "privacy.max_epsilon_run": 8.5,
    "privacy.max_epsilon_lifetime": 17.0,
    "privacy.max_delta": 1e-4,
    "privacy.max_clip_norm": 1.5,
    "privacy.max_rounds": 65,
    "privacy.max_releases_a_day": 41,
    "sum.required": ["update"],
    "sum.min_cohort": 2,
    "sum.min_contributors": 2,
    "sum.min_colluders": 0,
    "card.publish": True,
    "card.max_releases": 3,
    "record.canaries": True,
    "record.messages": True,
    "consent.file": "empty.jsonl",
}
"""For every key, a value that allows more than BASE."""

BASE = Policy().changed(
    {
        "card.publish": False,
        "privacy.units": ["artwork"],
    }
)


def test_of_every_key_it_is_known_which_change_allows_more():
    assert set(LOOSER) == set(Policy()._all_keys())
    for key, value in LOOSER.items():
        changed = BASE.changed({key: value})
        assert loosened(BASE, changed) == (key,)
        if key.split(".")[0] in ("privacy", "allow", "sum", "card", "record") and key != "sum.required":
            assert loosened(changed, BASE) == (), key
    assert loosened(BASE, BASE) == ()


@pytest.mark.parametrize(
    ("old", "new", "more"),
    [
        (["all"], ["none"], True),
        (["all"], ["update"], True),
        (["update"], ["none"], True),
        (["update"], ["prototypes"], True),
        (["update"], ["prototypes", "update"], False),
        (["update"], ["all"], False),
        (["none"], ["update"], False),
        (["none"], ["none"], False),
    ],
)
def test_kinds_that_no_longer_need_a_sum_are_loosened(old, new, more):
    before, after = (Policy().changed({"sum.required": names}) for names in (old, new))
    assert bool(loosened(before, after)) is more

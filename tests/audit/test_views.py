"""What adversary views hold follows from the settings, and each defence keeps something from someone."""

import pytest

from fedstyle_secure.audit.catalogue import catalogue
from fedstyle_secure.audit.settings import DEFENCES, PRESETS, AuditSettings
from fedstyle_secure.audit.views import Item, present_defences, views_of
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError, ConfigError
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.style.prototypes import ROW_NORM


def held(settings=(), without=(), colluders=1, artists=16):
    config = Config().override(["privacy.noise_multiplier=2", *settings])
    plan = solve(config, ROW_NORM, artists)
    return {v.key: set(v.holds) for v in views_of(config, plan, artists, colluders, without)}


def test_with_everything_on_nobody_holds_an_artists_sum():
    found = held()
    assert all(Item.OWN_SUMS not in items for items in found.values())
    assert found["opener"] == {Item.TOTAL_SUMS}
    assert found["buyer"] == {Item.CARDS, Item.TOTAL_SUMS, Item.FINAL_MODEL}
    assert Item.OWN_UPDATES in found["platform"]
    assert Item.OTHERS_SUMS in found["platform_artists"]


@pytest.mark.parametrize(
    ("defence", "view", "item"),
    [
        ("encryption", "platform", Item.OWN_SUMS),
        ("encryption", "network", Item.OWN_SUMS),
        ("masks", "platform_opener", Item.OWN_SUMS),
        ("min_cohort", "malicious_platform", Item.SUM_OF_ONE),
        ("opener_checks", "malicious_platform", Item.TWO_OPENINGS),
    ],
)
def test_a_missing_defence_gives_a_view_something(defence, view, item):
    assert item not in held()[view]
    assert item in held(without=(defence,))[view]


def test_sums_in_clear_are_the_platforms():
    found = held(["secure_sum.enabled=false"])
    assert Item.OWN_SUMS in found["platform"]
    assert Item.OWN_SUMS not in found["buyer"]
    assert found["opener"] == set()


def test_sealed_updates_and_the_unit_artist_keep_updates_from_the_platform():
    assert Item.OWN_UPDATES not in held(["secure_sum.updates=true"])["platform"]
    by_artist = held(["privacy.unit=artist"])
    assert Item.OWN_UPDATES not in by_artist["platform"]
    assert all(Item.CARDS not in items for items in by_artist.values())
    assert Item.MEAN_UPDATES in by_artist["platform"]


def test_what_a_run_never_had_cannot_be_missing():
    config = Config().override(["privacy.dp=off", "secure_sum.enabled=false"])
    plan = solve(config, ROW_NORM, 16)
    assert present_defences(config, plan) == ()
    with pytest.raises(AuditError, match="no defence 'noise'"):
        views_of(config, plan, 16, 1, ("noise",))
    with_all = Config().override(["privacy.noise_multiplier=2"])
    assert present_defences(with_all, solve(with_all, ROW_NORM, 16)) == DEFENCES


def test_every_attack_and_every_edpb_class_has_its_place():
    known = catalogue()
    assert len({k.card.key for k in known}) == len(known)
    assert {k.card.category for k in known} == {
        "membership inference", "attribute inference", "exfiltration", "regurgitation", "model inversion",
        "reconstruction",
    }  # fmt: skip
    assert {k.card.level for k in known} == {"L0", "L1", "L2", "L3", "L4", "L5"}
    assert all(k.absent for k in known if k.run is None)


def test_presets_and_their_files_are_the_same(pytestconfig):
    for name in PRESETS:
        path = pytestconfig.rootpath / "configs" / f"audit_{name}.toml"
        assert AuditSettings.load(path) == AuditSettings.from_preset(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("targets = 1", "targets"),
        ("target = 10", "target = 10 is not allowed: preset, seed"),
        ('without = ["lock"]', "without"),
        ("seed = [", "cannot be read as TOML"),
    ],
)
def test_bad_settings_are_named(tmp_path, text, said):
    (tmp_path / "audit.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        AuditSettings.load(tmp_path / "audit.toml")
    with pytest.raises(ConfigError, match="quick, standard, deep"):
        AuditSettings.from_preset("fast")

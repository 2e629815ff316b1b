"""What adversary views hold follows from the settings, and each defence keeps something from someone."""

import pytest

from fedstyle_secure.audit.catalogue import catalogue
from fedstyle_secure.audit.settings import DEFENCES, PRESETS, AuditSettings
from fedstyle_secure.audit.views import Item, present_defences, views_of
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError, ConfigError
from fedstyle_secure.system import plan_of, system_bound
from fedstyle_secure.systems.style.words import WORDS


def held(settings=(), without=(), colluders=1, artists=16):
    config = Config().override(["privacy.noise_multiplier=2", *settings])
    plan = plan_of(config, artists)
    return {v.key: set(v.holds) for v in views_of(config, plan, WORDS, artists, colluders, without)}


def test_with_everything_on_nobody_holds_an_artists_sum():
    found = held()
    assert all(Item.OWN_SUMS not in items for items in found.values())
    assert found["opener"] == {Item.TOTAL_SUMS, Item.MEAN_UPDATES}
    assert found["buyer"] == {Item.NAMED, Item.MOVED, Item.FINAL_MODEL}
    assert {view for view, items in found.items() if Item.OWN_UPDATES in items} == {"platform_opener"}
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


OWN, MEAN, CARDS = Item.OWN_UPDATES, Item.MEAN_UPDATES, Item.NAMED
OWN_SUMS, OTHERS, TOTAL = Item.OWN_SUMS, Item.OTHERS_SUMS, Item.TOTAL_SUMS
PROTOTYPES, ONE, TWO = Item.MOVED, Item.SUM_OF_ONE, Item.TWO_OPENINGS
MODEL, WEIGHTS, PLANTED = Item.FINAL_MODEL, Item.CHOSEN_WEIGHTS, Item.CANARIES
PRODUCT = {CARDS, PROTOTYPES, MODEL}
"""What everybody gets."""

TABLE = {
    "default": ((), (), 1, {
        "network": {MEAN, TOTAL} | PRODUCT,
        "platform": {MEAN, TOTAL} | PRODUCT,
        "platform_opener": {OWN, MEAN, TOTAL, TWO} | PRODUCT,
        "platform_artists": {MEAN, TOTAL, OTHERS} | PRODUCT,
        "malicious_platform": {MEAN, TOTAL, WEIGHTS} | PRODUCT,
        "opener": {MEAN, TOTAL},
        "buyer": PRODUCT,
    }),
    "updates in clear": (("secure_sum.updates=false",), (), 1, {
        "network": {OWN, MEAN, TOTAL} | PRODUCT,
        "platform": {OWN, MEAN, TOTAL} | PRODUCT,
        "platform_opener": {OWN, MEAN, TOTAL, TWO} | PRODUCT,
        "platform_artists": {OWN, MEAN, TOTAL, OTHERS} | PRODUCT,
        "malicious_platform": {OWN, MEAN, TOTAL, WEIGHTS} | PRODUCT,
        "opener": {TOTAL},
        "buyer": PRODUCT,
    }),
    "nothing trains": (("style.train=none", "privacy.noise_multiplier=auto"), (), 1, {
        "network": {TOTAL} | PRODUCT,
        "platform": {TOTAL} | PRODUCT,
        "platform_opener": {TOTAL, TWO} | PRODUCT,
        "platform_artists": {TOTAL, OTHERS} | PRODUCT,
        "malicious_platform": {TOTAL, WEIGHTS} | PRODUCT,
        "opener": {TOTAL},
        "buyer": PRODUCT,
    }),
    "sealed updates and nothing else": (("prototypes.releases=0", "style.scatter=off"), (), 1, {
        "network": {MEAN, CARDS, MODEL},
        "platform": {MEAN, CARDS, MODEL},
        "platform_opener": {OWN, MEAN, TWO, CARDS, MODEL},
        "platform_artists": {MEAN, CARDS, MODEL},
        "malicious_platform": {MEAN, WEIGHTS, CARDS, MODEL},
        "opener": {MEAN},
        "buyer": {CARDS, MODEL},
    }),
    "all but one collude": ((), (), 15, {
        "network": {MEAN, TOTAL} | PRODUCT,
        "platform": {MEAN, TOTAL} | PRODUCT,
        "platform_opener": {OWN, MEAN, TOTAL, TWO} | PRODUCT,
        "platform_artists": {OWN, MEAN, TOTAL, OTHERS} | PRODUCT,
        "malicious_platform": {MEAN, TOTAL, WEIGHTS} | PRODUCT,
        "opener": {MEAN, TOTAL},
        "buyer": PRODUCT,
    }),
    "without cohort and checks": ((), ("min_cohort", "opener_checks"), 1, {
        "network": {MEAN, TOTAL} | PRODUCT,
        "platform": {MEAN, TOTAL} | PRODUCT,
        "platform_opener": {OWN, MEAN, TOTAL, TWO} | PRODUCT,
        "platform_artists": {MEAN, TOTAL, OTHERS} | PRODUCT,
        "malicious_platform": {OWN, MEAN, TOTAL, ONE, TWO, WEIGHTS} | PRODUCT,
        "opener": {MEAN, TOTAL},
        "buyer": PRODUCT,
    }),
    "in clear": (("secure_sum.enabled=false",), (), 1, {
        "network": {OWN, MEAN, OWN_SUMS, TOTAL} | PRODUCT,
        "platform": {OWN, MEAN, OWN_SUMS, TOTAL} | PRODUCT,
        "platform_opener": {OWN, MEAN, OWN_SUMS, TOTAL} | PRODUCT,
        "platform_artists": {OWN, MEAN, OWN_SUMS, OTHERS, TOTAL} | PRODUCT,
        "malicious_platform": {OWN, MEAN, OWN_SUMS, TOTAL, WEIGHTS} | PRODUCT,
        "opener": set(),
        "buyer": PRODUCT,
    }),
    "unit artist": (("privacy.unit=artist",), (), 1, {
        "network": {MEAN, TOTAL, PROTOTYPES, MODEL},
        "platform": {MEAN, TOTAL, PROTOTYPES, MODEL},
        "platform_opener": {OWN, MEAN, TOTAL, TWO, PROTOTYPES, MODEL},
        "platform_artists": {MEAN, TOTAL, OTHERS, PROTOTYPES, MODEL},
        "malicious_platform": {MEAN, TOTAL, WEIGHTS, PROTOTYPES, MODEL},
        "opener": {MEAN, TOTAL},
        "buyer": {PROTOTYPES, MODEL},
    }),
    "unit artist without masks": (("privacy.unit=artist",), ("masks",), 1, {
        "network": {MEAN, TOTAL, PROTOTYPES, MODEL},
        "platform": {MEAN, TOTAL, PROTOTYPES, MODEL},
        "platform_opener": {OWN, MEAN, OWN_SUMS, TOTAL, TWO, PROTOTYPES, MODEL},
        "platform_artists": {MEAN, TOTAL, OTHERS, PROTOTYPES, MODEL},
        "malicious_platform": {MEAN, TOTAL, WEIGHTS, PROTOTYPES, MODEL},
        "opener": {MEAN, TOTAL},
        "buyer": {PROTOTYPES, MODEL},
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_every_view_holds_of_every_item(name):
    """Views by items, in full: what is not in the table is lacked."""
    settings, without, colluders, expected = TABLE[name]
    assert held(settings, without, colluders) == expected


READERS = {"network", "platform", "platform_opener", "platform_artists", "malicious_platform"}


@pytest.mark.parametrize(
    ("settings", "holders"),
    [
        ((), set()),
        (("audit.canaries=8", "secure_sum.updates=false"), READERS),
        (("audit.canaries=8",), READERS | {"opener"}),
        (("audit.canaries=8", "privacy.unit=artist"), READERS | {"opener"}),
        (("audit.canaries=8", "privacy.unit=artist", "training.local_steps=0"), READERS | {"opener"}),
        (("audit.canaries=8", "privacy.unit=artist", "secure_sum.enabled=false"), READERS),
        (("audit.canaries=8", "audit.canary_kind=foreign", "secure_sum.updates=false", "cards.releases=2"),
         READERS),
        (("audit.canaries=8", "audit.canary_kind=foreign", "cards.releases=1"), READERS | {"buyer"}),
        (("audit.canaries=8", "audit.canary_kind=foreign", "cards.releases=2"), READERS),
        (("audit.canaries=8", "audit.canary_kind=foreign", "training.local_steps=0", "cards.releases=1"),
         READERS | {"buyer"}),
    ],
)  # fmt: skip
def test_canaries_are_looked_for_by_who_gets_what_they_show_in(settings, holders):
    noise = ["privacy.noise_multiplier=auto"] if "training.local_steps=0" in settings else []
    assert {view for view, items in held([*settings, *noise]).items() if PLANTED in items} == holders


def test_a_row_that_was_not_run_never_says_that_a_view_lacks_what_it_holds():
    """The reason is that of the least that the attack would do with."""
    config = Config().override(["privacy.noise_multiplier=2"])
    views = {v.key: v for v in views_of(config, plan_of(config, 16), WORDS, 16, 1)}
    known = {k.card.key: k for k in catalogue(system_bound(config))}
    assert known["sum_styles"].item(views["buyer"]) is None
    assert "no sum itself" in known["sum_styles"].refusal(views["buyer"])
    assert known["sum_membership"].item(views["buyer"]) is Item.MOVED
    assert known["sum_membership"].item(views["platform"]) is Item.TOTAL_SUMS
    for attack in known.values():
        for view in views.values():
            if attack.item(view) is None:
                assert attack.refusal(view) in view.lacks.values()


def test_sums_in_clear_are_the_platforms():
    found = held(["secure_sum.enabled=false"])
    assert Item.OWN_SUMS in found["platform"]
    assert Item.OWN_SUMS not in found["buyer"]
    assert found["opener"] == set()


def test_sealed_updates_and_the_unit_artist_keep_updates_from_the_platform():
    assert Item.OWN_UPDATES not in held()["platform"]
    by_artist = held(["privacy.unit=artist"])
    assert Item.OWN_UPDATES not in by_artist["platform"]
    assert all(Item.NAMED not in items for items in by_artist.values())
    assert Item.MEAN_UPDATES in by_artist["platform"]


def test_what_a_run_never_had_cannot_be_missing():
    config = Config().override(["privacy.dp=off", "secure_sum.enabled=false"])
    plan = plan_of(config, 16)
    assert present_defences(config, plan) == ()
    with pytest.raises(AuditError, match="no defence 'noise'"):
        views_of(config, plan, WORDS, 16, 1, ("noise",))
    with_all = Config().override(["privacy.noise_multiplier=2"])
    assert present_defences(with_all, plan_of(with_all, 16)) == DEFENCES


def test_every_attack_and_every_edpb_class_has_its_place():
    known = catalogue(system_bound(Config()))
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


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        ((), True),
        (("privacy.unit=artist",), True),
        (("secure_sum.updates=false",), True),
        (("privacy.noise=own",), False),
        (("privacy.dp=off",), False),
    ],
)
def test_what_two_openings_leave_of_the_noise_is_said(settings, shared):
    config = Config().override(["privacy.noise_multiplier=2", *settings])
    views = {v.key: v for v in views_of(config, plan_of(config, 16), WORDS, 16, 1)}
    opened = views["platform_opener"].holds
    assert ("too little for any guarantee" in opened[Item.TWO_OPENINGS]) == shared
    # An update that leaves in clear has all of its noise, whoever reads it.
    sealed = config.secure_sum.updates or config.privacy.unit == "artist"
    assert ("too little for any guarantee" in opened[Item.OWN_UPDATES]) == (shared and sealed)
    others = [
        told for view in views.values() for item, told in view.holds.items() if view.key != "platform_opener"
    ]
    assert not any("too little for any guarantee" in told for told in others)

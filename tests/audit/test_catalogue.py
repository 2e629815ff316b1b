"""The list of attacks, of all systems and of one run."""

import json

from fedstyle_secure.audit.catalogue import catalogue, catalogues, told
from fedstyle_secure.audit.views import Item, views_of
from fedstyle_secure.registry import systems
from fedstyle_secure.system import plan_of, system_bound


def test_every_system_has_the_house_attacks_and_its_own():
    found = {name: {known.card.key for known in all_} for name, all_ in catalogues().items()}
    assert list(found) == systems()
    assert {"style", "text", "art"} <= set(found)
    assert {"update_one", "model_gradient"} <= set.intersection(*found.values())
    assert "card_membership" in found["style"] - found["text"]


def test_an_attack_says_what_it_needs_and_from_where_it_is():
    known = {k.card.key: told(k) for k in catalogues()["style"]}
    assert known["update_rounds"]["needs"] == ["each artist's update"]
    assert known["update_rounds"]["recorded"]
    assert not known["model_gradient"]["recorded"]
    assert known["imprint"]["source"] == "Fowl et al. 2022"
    assert known["participation"]["source"] is None
    assert known["participation"]["absent"]
    json.dumps(known)
    assert all(item.told for item in Item)


def test_of_a_run_it_says_who_could_and_otherwise_why_nobody(tiny):
    def rows(config):
        system = system_bound(config)
        views = views_of(config, plan_of(config, 4), system.words, 4, colluders=1)
        return {k.card.key: told(k, views) for k in catalogue(system)}

    clear = rows(tiny.override(["secure_sum.enabled=false"]))
    assert "platform" in clear["update_rounds"]["views"]
    assert clear["update_rounds"]["why_not"] is None
    assert clear["card_membership"]["views"]
    still = rows(tiny.override(["training.local_steps=0", "privacy.noise_multiplier=auto"]))
    assert still["update_rounds"]["views"] == []
    assert "nothing trains privately" in still["update_rounds"]["why_not"]
    assert still["participation"]["why_not"] == still["participation"]["absent"]

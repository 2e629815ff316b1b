from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.consent.uses import PURPOSES, USES, WAYS, Said, of_purpose, refusal

voices = st.lists(st.builds(Said, st.sampled_from(WAYS[:3]), st.sampled_from(USES), st.just("says so")))


@given(voices)
def test_one_that_refuses_is_enough_and_one_that_allows_is_needed(said):
    found = refusal("ai_generative_training", said)
    allowed = bool(said) and all(one.use == "allowed" for one in said)
    assert (found is None) == allowed
    if found is not None and said:
        assert found in said
        assert found.use != "allowed"


@given(voices, voices)
def test_no_further_voice_turns_a_no_into_a_yes(said, more):
    if said and refusal("ai_training", said) is not None:
        assert refusal("ai_training", said + more) is not None
        assert refusal("ai_training", more + said) is not None


def test_nobodys_word_is_a_refusal_that_says_so():
    found = refusal("data_mining", [])
    assert found is not None
    assert (found.way, found.use) == ("unsaid", "notAllowed")
    assert "data_mining" in found.reason


@given(st.dictionaries(st.sampled_from(PURPOSES), st.sampled_from(USES)), st.sampled_from(PURPOSES))
def test_only_a_purposes_own_entry_can_allow_it(uses, purpose):
    found = of_purpose(uses, purpose)
    if found is not None and found[1] == "allowed":
        assert found[0] == purpose
    if purpose in uses:
        assert found == (purpose, uses[purpose])


def test_a_wider_no_holds_for_a_purpose_that_nothing_is_said_of():
    assert of_purpose({"data_mining": "notAllowed"}, "ai_generative_training") == (
        "data_mining",
        "notAllowed",
    )
    assert of_purpose({"ai_training": "constrained"}, "ai_generative_training") == (
        "ai_training",
        "constrained",
    )
    # Who makes works itself is another purpose: no model of the other kind refuses or allows for it.
    assert of_purpose({"ai_generative_training": "notAllowed"}, "ai_training") is None
    assert of_purpose({"ai_training": "allowed"}, "ai_generative_training") is None

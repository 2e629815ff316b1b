"""Encrypted scores are the integers' own, whatever is drawn; the parameters are within the standard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.errors import SearchError
from fedstyle_secure.private_search.index import Index
from fedstyle_secure.private_search.layout import (
    MOST_CARDS,
    MOST_DIM,
    SCALE,
    SEARCH,
    Layout,
    card_polynomials,
    plan,
    quantise,
    query_polynomials,
)
from fedstyle_secure.private_search.messages import MOST_QUERY_BYTES, read_query
from fedstyle_secure.private_search.query import ask
from fedstyle_secure.private_search.shelf import Offer, Served
from fedstyle_secure.secure_sum import seal
from fedstyle_secure.secure_sum.profiles import MAX_MODULUS_BITS, PROFILES
from fedstyle_secure.systems.style.retrieval import rank_artists, ranked


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def served(cards: np.ndarray) -> Served:
    return Served.of(Offer(tuple(str(number) for number in range(len(cards))), cards, b"", ""))


def private(cards: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Integer scores by way of the encryption."""
    at = served(cards)
    question = ask(query, at.catalogue)
    return np.rint(question.scores(at.index.answer(question.body)) * SCALE**2).astype(np.int64)


def naive(cards: np.ndarray, query: np.ndarray) -> np.ndarray:
    return quantise(cards) @ quantise(query[np.newaxis])[0]


@settings(max_examples=25)
@given(
    cards=st.integers(1, 400),
    dim=st.integers(1, 160),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["any", "sparse", "one sign", "two values"]),
)
def test_encrypted_scores_are_the_integer_dot_products(cards, dim, seed, kind):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(cards + 1, dim))
    if kind == "sparse":
        rows *= rng.random(rows.shape) < 0.1
        rows[:, rng.integers(dim)] += 1e-3
        rows += 1e-9
    elif kind == "one sign":
        rows = np.abs(rows)
    elif kind == "two values":
        rows = np.sign(rows)
    rows = unit(rows)
    assert np.array_equal(private(rows[1:], rows[0]), naive(rows[1:], rows[0]))


@pytest.mark.parametrize("dim", [1, 128, MOST_DIM])
def test_the_largest_scores_and_the_longest_cards_are_exact(dim):
    """All places as large as they can be, of one sign and of the other; the query is a card itself."""
    rows = np.full((130, dim), dim**-0.5)
    rows[::2] *= -1
    assert np.array_equal(private(rows, rows[1]), naive(rows, rows[1]))
    basis = np.eye(dim)[[-1]]
    assert np.array_equal(private(basis, -basis[0]), [-(SCALE**2)])


def test_products_of_polynomials_hold_the_scores_where_the_layout_says():
    """Without encryption: the negacyclic products, summed over pieces, for every width of 13 dimensions."""
    rng = np.random.default_rng(3)
    cards, query = rng.integers(-99, 100, size=(700, 13)), rng.integers(-99, 100, size=13)
    for width in range(1, 14):
        layout = Layout(700, 13, width)
        pieces, blocks = query_polynomials(query, layout), card_polynomials(cards, layout)
        found = []
        for block in blocks:
            whole = sum(np.convolve(p, c) for p, c in zip(pieces, block, strict=True))
            product = whole[: SEARCH.degree].copy()
            product[: len(whole) - SEARCH.degree] -= whole[SEARCH.degree :]
            found.append(product[layout.places])
        assert np.array_equal(np.concatenate(found)[:700], cards @ query)


def test_parameters_are_those_that_seal_makes_and_within_the_standard():
    """Homomorphic Encryption Standard 2018, table 1: degree 4096, 128 bits, classical: 109 bits."""
    from tenseal import sealapi

    made = sealapi.CoeffModulus.Create(SEARCH.degree, list(SEARCH.coefficient_bits))
    assert SEARCH.primes == tuple(modulus.value() for modulus in made)
    assert sum(SEARCH.coefficient_bits) <= MAX_MODULUS_BITS
    assert seal.parameters(SEARCH).parameters_set()
    assert SEARCH.number not in {profile.number for profile in PROFILES.values()}


@pytest.mark.parametrize("cards", [1, 2, 40, 1000, 4096, 10_000, MOST_CARDS])
@pytest.mark.parametrize("dim", [1, 2, 7, 48, 128, MOST_DIM])
def test_no_layout_has_more_noise_or_larger_scores_than_the_parameters_bear(cards, dim):
    layout = plan(cards, dim)
    assert 2 * SEARCH.plain_modulus * layout.largest_noise < SEARCH.primes[0]
    # Rounding moves a vector of length SCALE by half a unit in each of its places.
    assert (SCALE + dim**0.5) ** 2 < SEARCH.plain_modulus // 2
    assert layout.query_bytes < MOST_QUERY_BYTES


def test_the_bound_on_the_noise_holds_where_cards_are_longest():
    """SEAL's own count of what is left, where every place of every card is as large as it can be."""
    from tenseal import sealapi

    rows = np.full((1000, 128), 128**-0.5)
    at = served(rows)
    question = ask(rows[0], at.catalogue)
    decryptor = sealapi.Decryptor(seal.parameters(SEARCH), question.secret)
    noise = SEARCH.plain_modulus * at.index.layout.largest_noise
    bound = SEARCH.primes[0].bit_length() - noise.bit_length()
    for words in at.index._weighed(read_query(question.body, at.index.layout)):
        answer = seal.ciphertext(SEARCH, seal.parameters(SEARCH), words[:, np.newaxis])
        assert decryptor.invariant_noise_budget(answer) >= bound - 1 > 0


def test_the_first_five_are_those_of_the_plain_search():
    """False alarms: none, as cards and queries are fixed and scores exact."""
    rng = np.random.default_rng(5)
    cards, queries = unit(rng.normal(size=(1000, 128))), unit(rng.normal(size=(20, 128)))
    at = served(cards)
    names = at.catalogue.names
    for query in queries:
        question = ask(query, at.catalogue)
        found = ranked(question.scores(at.index.answer(question.body)), names, 5)
        plain = rank_artists(query.astype(np.float32), names, cards.astype(np.float32), 5)
        assert [match.artist for match in found] == [match.artist for match in plain]
        assert np.allclose([m.score for m in found], [m.score for m in plain], atol=1e-5)


@pytest.mark.parametrize("rows", [np.zeros((1, 4)), np.ones((2, 4)), np.full((1, 4), np.nan)])
def test_vectors_that_are_not_of_length_one_are_refused(rows):
    with pytest.raises(SearchError, match="unit vectors"):
        Index(rows)


@pytest.mark.parametrize(("cards", "dim"), [(0, 4), (MOST_CARDS + 1, 4), (4, 0), (4, MOST_DIM + 1)])
def test_sizes_that_no_layout_holds_are_refused(cards, dim):
    with pytest.raises(SearchError, match="1 to"):
        plan(cards, dim)


def test_a_query_of_another_width_is_refused(served):
    with pytest.raises(SearchError, match="24 dimensions"):
        ask(np.ones(3), served.catalogue)


def test_two_encryptions_of_one_query_share_nothing_and_look_alike_uniform(served, made):
    """Chi-square of the top four bits of both polynomials; a false alarm in 10^6."""
    from scipy.stats import chi2

    query = made()[0][0]
    bodies = [ask(query, served.catalogue).body for _ in range(2)]
    words = [read_query(body, served.index.layout) for body in bodies]
    assert (words[0] == words[1]).mean() < 1e-3
    for one in words:
        for polynomial in range(2):
            for prime in range(2):
                values = one[:, polynomial, prime].reshape(-1)
                bins = np.bincount((values * np.uint64(16) // np.uint64(SEARCH.primes[prime])).astype(int))
                expected = values.size / 16
                assert ((bins - expected) ** 2 / expected).sum() < chi2.isf(1e-6 / 8, 15)

"""What a peer sends is taken only where it is exactly what it must be; else one line says what is wrong."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fedstyle_secure.errors import SearchError
from fedstyle_secure.private_search.index import Index
from fedstyle_secure.private_search.layout import SEARCH
from fedstyle_secure.private_search.messages import ID_BYTES, Catalogue, read_answer, read_query, write_query
from fedstyle_secure.private_search.query import ask
from fedstyle_secure.secure_sum.profiles import Q80
from fedstyle_secure.secure_sum.scheme import encrypt, make_keys
from fedstyle_secure.secure_sum.wire import Kind, encode, frame_bytes


@pytest.fixture(scope="module")
def question(served, made):
    return ask(made()[0][0], served.catalogue)


@pytest.fixture(scope="module")
def answer(served, question):
    return served.index.answer(question.body)


def refused(call, *arguments) -> str:
    with pytest.raises(SearchError) as caught:
        call(*arguments)
    line = str(caught.value)
    assert line
    assert "\n" not in line
    assert len(line) < 300
    return line


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: b"",
        lambda body: body[: ID_BYTES - 1],
        lambda body: body[:ID_BYTES],
        lambda body: body[:-1],
        lambda body: body + b"\0",
        lambda body: body * 2,
        lambda body: body[: len(body) // 2],
        lambda body: body[ID_BYTES:],
        lambda body: body[:ID_BYTES] + bytes(len(body) - ID_BYTES),
        lambda body: body[:ID_BYTES] + b"\xff" * (len(body) - ID_BYTES),
        # Every coefficient the largest that its bits hold, so none below its prime.
        lambda body: body[: ID_BYTES + 16] + b"\xff" * (len(body) - ID_BYTES - 16),
    ],
)
def test_a_malformed_query_is_refused_in_one_line(served, question, spoil):
    assert "no query of this catalogue" in refused(served.index.answer, spoil(question.body))


@pytest.mark.parametrize("position", range(16))
def test_a_flipped_bit_in_the_head_of_a_query_is_refused(served, question, position):
    body = bytearray(question.body)
    body[ID_BYTES + position] ^= 1 << position % 8
    refused(served.index.answer, bytes(body))


def test_a_ciphertext_of_other_parameters_is_refused(served, question):
    public, _ = make_keys(Q80)
    other = encrypt(public, np.zeros(Q80.degree * served.index.layout.pieces, np.int64))
    assert "S76" in refused(served.index.answer, question.body[:ID_BYTES] + other)


@pytest.mark.parametrize("where", ["in its place", "behind", "before"])
def test_a_query_that_brings_a_secret_key_is_refused(served, question, where):
    """There is no place for a key of any kind: a buyer whose program sends one by mistake gets no answer."""
    head, body = question.body[:ID_BYTES], question.body[ID_BYTES:]
    words = np.ones((1, 1, SEARCH.degree), np.uint64)
    secret = encode(Kind.SECRET_KEY, SEARCH, [words] * 3)
    assert len(secret) == frame_bytes(Kind.SECRET_KEY, SEARCH)
    sent = {"in its place": secret, "behind": body + secret, "before": secret + body}[where]
    refused(served.index.answer, head + sent)
    # As long as a query, so that its length gives nothing away.
    refused(served.index.answer, head + (secret + body)[: len(body)])


def test_a_query_that_is_not_encrypted_is_refused(served, question):
    words = read_query(question.body, served.index.layout)
    words[-1, 1] = 0
    assert "not encrypted" in refused(served.index.answer, write_query(question.body[:ID_BYTES], words))


def test_a_query_whose_scores_would_not_be_encrypted_is_refused():
    """Parts whose masks cancel under cards that the asker knows: each part of these cards is the same."""
    index = Index(np.full((1000, 128), 128**-0.5))
    assert index.layout.pieces == 4
    words = np.ones((4, 2, 2, SEARCH.degree), np.uint64)
    for prime in range(2):
        words[::2, 1, prime] = SEARCH.primes[prime] - 1
    assert "not be encrypted" in refused(index.answer, write_query(bytes(ID_BYTES), words))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body + b"\0",
        lambda body: b"\0" + body[1:],
        lambda body: body[:5] + b"\xff" * (len(body) - 5),
        lambda body: body[:5] + bytes(len(body) - 5),
    ],
)
def test_a_malformed_answer_is_refused_in_one_line(question, answer, spoil):
    refused(question.scores, spoil(answer))


def test_an_answer_to_another_query_is_noticed(served, question, made):
    """Under another key scores are uniform mod t, and 40 of them all look like cosines once in 2^40."""
    other = ask(made()[0][1], served.catalogue)
    assert "no cosine" in refused(question.scores, served.index.answer(other.body))


def test_an_answer_is_read_as_it_was_written(served, answer):
    words = read_answer(answer, served.index.layout)
    assert words[:, 1].all(axis=1).mean() > 0.99
    elsewhere = np.setdiff1d(np.arange(SEARCH.degree), served.index.layout.places)
    assert not words[:, 0, elsewhere].any(), "nothing but scores is sent"


def test_a_question_shows_no_key(question):
    assert "secret" not in repr(question)


def _catalogue(served, **changes) -> bytes:
    told = json.loads(served.catalogue.to_bytes()) | changes
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def test_a_catalogue_is_read_as_it_was_written(served):
    assert Catalogue.from_bytes(served.catalogue.to_bytes()) == served.catalogue
    odd = dataclasses.replace(served.catalogue, names=("Łukasz, or another", "a\nb"), note="ä")
    assert Catalogue.from_bytes(odd.to_bytes()) == odd


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": True},
        {"names": []},
        {"names": ["a", "a"]},
        {"names": [1]},
        {"names": "abc"},
        {"dim": 0},
        {"dim": 10**9},
        {"dim": "24"},
        {"id": "00"},
        {"encoder": "../../etc"},
        {"encoder_bytes": -1},
        {"encoder_bytes": 1 << 40},
        {"note": "x" * 2000},
        {"more": 1},
    ],
)
def test_a_malformed_catalogue_is_refused_in_one_line(served, changes):
    assert _catalogue(served) == served.catalogue.to_bytes()
    refused(Catalogue.from_bytes, _catalogue(served, **changes))


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b"\xff", b"<html>", b"null"])
def test_what_is_no_catalogue_at_all_is_refused_in_one_line(data):
    refused(Catalogue.from_bytes, data)

"""Over real sockets: what is on the wire, and what a service answers to whom."""

from __future__ import annotations

import dataclasses
import socket
from itertools import pairwise

import numpy as np
import pytest

from fedstyle_secure.errors import RunError, SearchError
from fedstyle_secure.private_search.client import Changed, Client
from fedstyle_secure.private_search.layout import SEARCH
from fedstyle_secure.private_search.messages import ID_BYTES, MOST_QUERY_BYTES, read_query
from fedstyle_secure.private_search.query import ask
from fedstyle_secure.private_search.service import MOST_CONNECTIONS, SearchServer
from fedstyle_secure.private_search.shelf import Served, Shelf
from fedstyle_secure.secure_sum.wire import Kind, encode


class Clock:
    """A clock that goes where it is put."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def server(made, running):
    offer = made()[1]
    return running(SearchServer(Shelf(lambda: offer)))


def spoken(server: SearchServer, data: bytes) -> bytes:
    """Everything that the server says to these bytes."""
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_buyer_finds_over_a_network_what_a_plain_search_finds(server, made):
    queries, offer = made()
    client = Client(server.url)
    catalogue = client.catalogue()
    assert catalogue.names == offer.names
    assert client.encoder(catalogue) == offer.encoder
    for query in queries:
        question = ask(query, catalogue)
        scores = question.scores(client.answer(question.body, catalogue))
        assert np.allclose(scores, offer.cards @ query, atol=1e-5)


def test_nothing_but_ciphertexts_of_a_query_is_on_the_wire(server, made, tapped):
    """Every byte that a buyer sends is accounted for: fixed words, public numbers, coefficients below their
    primes; and two queries differ in coefficients only."""
    queries, _ = made()
    with tapped(server) as wire:
        client = Client(f"http://127.0.0.1:{wire.port}")
        for query in queries[:2]:
            catalogue = client.catalogue()
            client.encoder(catalogue)
            question = ask(query, catalogue)
            question.scores(client.answer(question.body, catalogue))
    host = f"Host: 127.0.0.1:{wire.port}\r\n".encode()
    size = ID_BYTES + catalogue.layout.query_bytes
    fixed = [
        b"GET /catalogue HTTP/1.1\r\n" + host + b"\r\n",
        f"GET /encoder/{catalogue.encoder} HTTP/1.1\r\n".encode() + host + b"\r\n",
        b"POST /search HTTP/1.1\r\n" + host + f"Content-Length: {size}\r\n\r\n".encode() + catalogue.id,
    ]
    assert [sent[: len(head)] for sent, head in zip(wire.up, fixed * 2, strict=True)] == fixed * 2
    bodies = [sent[len(fixed[2]) - ID_BYTES :] for sent in wire.up[2::3]]
    assert [len(sent) for sent in wire.up] == 2 * [
        len(fixed[0]),
        len(fixed[1]),
        len(fixed[2]) + size - ID_BYTES,
    ]
    for body in bodies:
        words = read_query(body, catalogue.layout)
        frame = encode(Kind.BODY, SEARCH, [words[:, :, prime] for prime in range(2)])
        assert body == catalogue.id + frame, "no byte of a query is anything but a coefficient"
    assert bodies[0] != bodies[1]
    assert len(wire.down[2]) == len(wire.down[5])


def test_what_is_no_request_is_answered_and_the_next_one_too(server, served):
    query = ask(served.offer.cards[0], server.shelf.now().catalogue).body
    post = b"POST /search HTTP/1.1\r\n"
    for data, status in (
        (b"GET / HTTP/1.1\r\n\r\n", b" 404 "),
        (b"GET /encoder/" + b"0" * 64 + b" HTTP/1.1\r\n\r\n", b" 404 "),
        (b"GET /catalogue/../../etc/passwd HTTP/1.1\r\n\r\n", b" 404 "),
        (b"POST /catalogue HTTP/1.1\r\n\r\n", b" 404 "),
        (b"DELETE /catalogue HTTP/1.1\r\n\r\n", b" 501 "),
        (post + b"\r\n", b" 411 "),
        (post + b"Content-Length: -1\r\n\r\n", b" 411 "),
        (post + b"Content-Length: 1e9\r\n\r\n", b" 411 "),
        (post + b"Transfer-Encoding: chunked\r\n\r\n", b" 411 "),
        (post + f"Content-Length: {MOST_QUERY_BYTES + 1}\r\n\r\n".encode(), b" 413 "),
        (post + b"Content-Length: 0\r\n\r\n", b" 409 "),
        (post + b"Content-Length: 16\r\n\r\n" + query[:ID_BYTES], b" 400 "),
        (post + f"Content-Length: {len(query)}\r\n\r\n".encode() + query[:-1], b" 400 "),
        (post + f"Content-Length: {len(query) + 1}\r\n\r\n".encode() + query + b"\0", b" 400 "),
        (post + f"Content-Length: {len(query)}\r\n\r\n".encode() + query, b" 200 "),
    ):
        said = spoken(server, data)
        assert status in said.partition(b"\r\n")[0], (data[:60], said[:200])
        assert b"Traceback" not in said
        assert b"python" not in said.lower()
    for data in (b"", b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"x" * 70_000):
        spoken(server, data)
    assert Client(server.url).catalogue().names


def test_who_has_withdrawn_is_gone_from_a_running_service_within_a_minute(made, running):
    query, clock = made()[0][0], Clock()
    offers = [made()[1]]
    server = running(SearchServer(Shelf(lambda: offers[-1], seconds=60, clock=clock), a_minute=100))
    client = Client(server.url)
    before = client.catalogue()
    assert "artist 7" in before.names
    clock.seconds = 59
    assert client.catalogue() == before
    kept = [i for i, name in enumerate(before.names) if name != "artist 7"]
    offers.append(
        dataclasses.replace(
            offers[0], names=tuple(before.names[i] for i in kept), cards=offers[0].cards[kept]
        )
    )
    clock.seconds = 60
    question = ask(query, before)
    with pytest.raises(Changed, match="ask again"):
        client.answer(question.body, before)
    after = client.catalogue()
    assert "artist 7" not in after.names
    question = ask(query, after)
    scores = question.scores(client.answer(question.body, after))
    assert np.allclose(scores, offers[1].cards @ query, atol=1e-5)


def test_cards_that_stay_the_same_keep_their_catalogue(made):
    clock = Clock()
    shelf = Shelf(lambda: made()[1], seconds=60, clock=clock)
    first = shelf.now()
    clock.seconds = 61
    assert shelf.now() is first


def test_a_service_whose_files_are_damaged_says_no_more_than_that(running):
    def load():
        raise RunError("/home/somebody/runs/run: product.safetensors is damaged")

    server = running(SearchServer(Shelf(load)))
    said = spoken(server, b"GET /catalogue HTTP/1.1\r\n\r\n")
    assert b" 503 " in said
    assert b"somebody" not in said
    with pytest.raises(SearchError, match="nothing can be searched"):
        Client(server.url).catalogue()


def test_an_address_may_ask_so_often_a_minute(made, running):
    clock, (queries, offer) = Clock(), made()
    server = running(SearchServer(Shelf(lambda: offer), a_minute=2, clock=clock))
    client = Client(server.url)
    catalogue = client.catalogue()
    body = ask(queries[0], catalogue).body
    for _ in range(2):
        client.answer(body, catalogue)
    with pytest.raises(SearchError, match="429"):
        client.answer(body, catalogue)
    clock.seconds = 60
    client.answer(body, catalogue)


def test_more_connections_than_there_is_room_for_are_closed(server):
    held = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(MOST_CONNECTIONS)]
    try:
        with socket.create_connection(("127.0.0.1", server.server_port)) as one_more:
            assert one_more.recv(1) == b""
    finally:
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    "url", ["", "ftp://a", "http://", "http://a:b", "http://a/b", "http://[", "file:///x"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(SearchError, match="no address"):
        Client(url)


def test_an_address_that_is_taken_is_told_in_one_line(server):
    with pytest.raises(SearchError, match=f"127.0.0.1:{server.server_port} cannot be listened on"):
        SearchServer(server.shelf, port=server.server_port)


def test_a_service_that_is_not_there_is_told_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SearchError, match=f"127.0.0.1:{port}"):
        Client(f"http://127.0.0.1:{port}").catalogue()


def test_an_encoder_that_is_not_the_catalogues_is_refused(server):
    client = Client(server.url)
    catalogue = client.catalogue()
    with pytest.raises(SearchError, match="404"):
        client.encoder(dataclasses.replace(catalogue, encoder="0" * 64))


def test_a_service_that_swaps_its_encoder_or_sends_without_end_is_refused(made, running):
    offer = made()[1]
    served = Served.of(offer)
    lying = dataclasses.replace(served, offer=dataclasses.replace(offer, encoder=b"another one......"))
    longer = dataclasses.replace(served, offer=dataclasses.replace(offer, encoder=offer.encoder * 2))
    for shown, match in ((lying, "another encoder"), (longer, "more than the 17 bytes")):
        shelf = Shelf(lambda: offer)
        shelf.now = lambda shown=shown: shown  # type: ignore[method-assign]
        client = Client(running(SearchServer(shelf)).url)
        with pytest.raises(SearchError, match=match):
            client.encoder(client.catalogue())


def test_queries_are_answered_one_after_the_other_and_all_right(server, made):
    """Several buyers at once, each with its own query."""
    from concurrent.futures import ThreadPoolExecutor

    queries, offer = made()

    def found(query):
        client = Client(server.url)
        catalogue = client.catalogue()
        question = ask(query, catalogue)
        return question.scores(client.answer(question.body, catalogue))

    with ThreadPoolExecutor(5) as pool:
        scores = list(pool.map(found, queries))
    assert np.allclose(scores, queries @ offer.cards.T, atol=1e-5)
    assert not any(np.allclose(a, b, atol=1e-3) for a, b in pairwise(scores))

"""Private search beside the plain one: time of buyer and platform, bytes, and whether both find the same.

Prints a JSON line for each number of artists. Cards and queries are drawn like those of procedural painters:
an encoder learned from the public set embeds pictures of painters it has not seen, and means of artists and
pictures around them are drawn from Gaussians with the moments found. A query is a picture of one of the
artists. *same_top5* counts queries whose first five are those of the plain search in float32, in its order;
*same_top5_set*, in any order; *int8_same_top5*, the same had vectors been rounded to a largest value of 127.
Times are CPU seconds, medians over the queries; embedding a picture is in none of them. *loopback_s* is a
whole query by the clock, over HTTP on this machine's own interface.
"""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from fedstyle_secure import Config, open_gallery
from fedstyle_secure.private_search.client import Client
from fedstyle_secure.private_search.layout import SCALE, quantise
from fedstyle_secure.private_search.query import ask
from fedstyle_secure.private_search.service import SearchServer
from fedstyle_secure.private_search.shelf import Offer, Served, Shelf
from fedstyle_secure.systems.style.encoders import fit_encoder
from fedstyle_secure.systems.style.retrieval import ranked
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.threads import one_thread

ARTISTS, QUERIES, TOP = (1_000, 10_000), 100, 5
PAINTERS, PICTURES = 96, 8


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / lengths).astype(np.float32)


def moments() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of painters (d,), covariance of their means (d, d), and of pictures around them (d, d)."""
    settings = (f"gallery.artists={PAINTERS}", f"gallery.pictures={PICTURES}")
    config = Config().override(settings)
    assert isinstance(config, StyleConfig)
    gallery = open_gallery(config.gallery)
    encoder = fit_encoder(config.style, [gallery.portfolio(a) for a in gallery.public_artists], 0)
    embedded = [encoder.embed_pictures(gallery.portfolio(a).train_pictures) for a in gallery.artists]
    means = np.array([rows.mean(axis=0) for rows in embedded])
    around = np.concatenate([rows - rows.mean(axis=0) for rows in embedded])
    return means.mean(axis=0), np.cov(means.T), around.T @ around / (len(around) - len(means))


def first(scores: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Names of the nearest."""
    return [match.artist for match in ranked(scores, names, TOP)]


def int8(rows: np.ndarray) -> np.ndarray:
    """Rows as integers of at most 127."""
    rounded: np.ndarray = np.rint(rows * (127 / np.abs(rows).max())).astype(np.int64)
    return rounded


def seconds(work: Callable[[], Any], taken: list[float]) -> Any:
    """Do the work and note its CPU seconds."""
    began = time.process_time()
    found = work()
    taken.append(time.process_time() - began)
    return found


def over_loopback(served: Served, queries: np.ndarray) -> float:
    """Median seconds by the clock from an embedding to its scores, through a service on this machine."""
    taken = []
    with SearchServer(Shelf(lambda: served.offer), a_minute=len(queries)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = Client(server.url)
        catalogue = client.catalogue()
        for query in queries:
            began = time.perf_counter()
            question = ask(query, catalogue)
            question.scores(client.answer(question.body, catalogue))
            taken.append(time.perf_counter() - began)
        server.shutdown()
        thread.join()
    return statistics.median(taken)


def compare(artists: int, mean: np.ndarray, between: np.ndarray, within: np.ndarray) -> dict[str, object]:
    """All queries against so many artists."""
    rng = np.random.default_rng(artists)
    means = rng.multivariate_normal(mean, between, artists, method="eigh")
    asked = rng.choice(artists, QUERIES, replace=False)
    cards = unit(means)
    around = rng.multivariate_normal(np.zeros(len(mean)), within, QUERIES, method="eigh")
    queries = unit(means[asked] + around)
    names = tuple(f"artist {number:05d}" for number in range(artists))
    indexing: list[float] = []
    served = seconds(lambda: Served.of(Offer(names, cards, b"", "")), indexing)
    times: dict[str, list[float]] = {"ask": [], "answer": [], "open": [], "plain": []}
    same = same_set = coarse = exact = 0
    for query in queries:
        plain = first(seconds(lambda q=query: cards @ q, times["plain"]), names)
        question = seconds(lambda q=query: ask(q, served.catalogue), times["ask"])
        answer = seconds(lambda q=question: served.index.answer(q.body), times["answer"])
        scores = seconds(lambda q=question, a=answer: q.scores(a), times["open"])
        exact += np.array_equal(np.rint(scores * SCALE**2), quantise(cards) @ quantise(query[None])[0])
        found = first(scores, names)
        same += found == plain
        same_set += set(found) == set(plain)
        coarse += first(int8(cards) @ int8(query[None])[0], names) == plain
    median = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "benchmark": "private_search",
        "artists": artists,
        "dim": len(mean),
        "queries": QUERIES,
        "same_top5": same,
        "same_top5_set": same_set,
        "int8_same_top5": coarse,
        "exact": exact,
        "bytes_up": len(question.body),
        "bytes_down": len(answer),
        "catalogue_bytes": len(served.catalogue.to_bytes()),
        "cards_as_int16_bytes": 2 * cards.size,
        "buyer_s": round(median["ask"] + median["open"], 4),
        "platform_s": round(median["answer"], 4),
        "loopback_s": round(over_loopback(served, queries), 3),
        "plain_s": round(median["plain"], 6),
        "index_s": round(indexing[0], 3),
    }


def main() -> None:
    """Compare at each number of artists."""
    with one_thread():
        found = moments()
        for artists in ARTISTS:
            print(json.dumps(compare(artists, *found)), flush=True)


if __name__ == "__main__":
    main()

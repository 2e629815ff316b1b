"""Overhead of a round with 8 artists and an empty handler: the local engine beside Flower's Ray simulation.

Prints a JSON line an engine: median, least and largest milliseconds of a round, and the start-up.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import time

os.environ.update(FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1", RAY_USAGE_STATS_ENABLED="0")

from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from fedstyle_secure.engines.local import LocalGrid

ARTISTS, ROUNDS, WARM_UP = 8, 30, 5


def empty_client() -> ClientApp:
    """Answers every message with nothing."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Message(RecordDict(), reply_to=message)

    return app


def timed_server(seconds: list[float]) -> ServerApp:
    """Sends one empty message to each node, round after round, and notes how long each round takes."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        while len(nodes := list(grid.get_node_ids())) < ARTISTS:
            time.sleep(0.05)
        for _ in range(ROUNDS):
            began = time.perf_counter()
            content = RecordDict({"encoder": ArrayRecord({})})
            replies = list(grid.send_and_receive([Message(content, node, "train") for node in nodes]))
            seconds.append(time.perf_counter() - began)
            assert len(replies) == ARTISTS
            assert not any(reply.has_error() for reply in replies)

    return app


def report(engine: str, seconds: list[float], total: float) -> float:
    """Print the engine's line; returns its median in seconds."""
    kept = seconds[WARM_UP:]
    median = statistics.median(kept)
    line = {
        "benchmark": "engines",
        "engine": engine,
        "artists": ARTISTS,
        "rounds": len(kept),
        "round_ms_median": round(1000 * median, 3),
        "round_ms_min": round(1000 * min(kept), 3),
        "round_ms_max": round(1000 * max(kept), 3),
        "start_s": round(total - sum(seconds), 2),
    }
    print(json.dumps(line), flush=True)
    return median


def main() -> None:
    """Run both engines in turn."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    here: list[float] = []
    began = time.perf_counter()
    grid = LocalGrid(empty_client(), ARTISTS, {})
    timed_server(here)(grid, Context(1, 0, {}, RecordDict(), {}))
    local = report("local", here, time.perf_counter() - began)

    there: list[float] = []
    began = time.perf_counter()
    backend = {
        "client_resources": {"num_cpus": 1},
        "init_args": {"log_to_driver": False, "logging_level": 40},
    }
    run_simulation(timed_server(there), empty_client(), num_supernodes=ARTISTS, backend_config=backend)
    ray = report("ray", there, time.perf_counter() - began)
    print(json.dumps({"benchmark": "engines", "ray_over_local": round(ray / local, 1)}))


if __name__ == "__main__":
    main()

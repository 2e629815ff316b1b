"""Encrypted sums beside the naive CKKS recipe: bytes, time of artist, platform and opener, platform memory.

Prints JSON lines: one for each length of vector, with ratios against the naive recipe of the same run, then
the platform's peak memory at 10 and at 1000 artists, each measured in a process of its own (Linux only).
Times are CPU times, medians over interleaved repeats, in microseconds per value; masks and signatures are not
in them.
Every upload of the compared sum is an encryption of its own: noise adds up as it does in a run.
The opener's time includes what the naive recipe does not do: to check the noise budget, and to build the
context anew from the secret key for each sum.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from fedstyle_secure.secure_sum.packing import Layout, pack, plan, unpack
from fedstyle_secure.secure_sum.profiles import PROFILES
from fedstyle_secure.secure_sum.scheme import Accumulator, PublicKey, encrypt, make_keys, open_total

ARTISTS, BITS, REPEATS, VECTORS, UPLOADS = 1000, 10, 25, 20, 200
# The length that the bars are set for; and 64 styles of 64 values with their counts, in one block.
LENGTHS = (65_536, 4_160)


def seconds(times: dict[str, list[float]], name: str, work: Callable[[], Any]) -> Any:
    """Do the work once and note how much of the processor's time it took."""
    began = time.process_time()
    result = work()
    times.setdefault(name, []).append(time.process_time() - began)
    return result


def compare(values: int) -> dict[str, object]:
    """Both recipes on vectors of this length, and a full sum of 1000 opened here."""
    from naive_ckks import NaiveCkks

    layout = plan(values, BITS, ARTISTS)
    public, secret = make_keys(layout.profile)
    naive = NaiveCkks()
    generator = np.random.default_rng(values)
    vectors = generator.integers(-(1 << BITS - 1), 1 << BITS - 1, size=(VECTORS, values))
    running, expected = Accumulator(public, layout.blocks), np.zeros(values, dtype=np.int64)
    times: dict[str, list[float]] = {}

    real = generator.normal(size=values)
    peer = naive.load(naive.encrypt(real))
    for artist in range(ARTISTS):
        vector = vectors[artist % VECTORS]
        if artist % (ARTISTS // REPEATS) == 0:
            upload = seconds(times, "naive artist", lambda: naive.encrypt(real))
            seconds(times, "naive platform", lambda upload=upload: peer.add_(naive.load(upload)))
        body = seconds(times, "artist", lambda vector=vector: encrypt(public, pack(vector, layout)))
        seconds(times, "platform", lambda body=body: running.add(body))
        expected += vector

    total = running.total()
    for _ in range(REPEATS):
        seconds(times, "naive opener", lambda: naive.decrypt(upload))
        slots, budget = seconds(times, "opener", lambda: open_total(secret, total, layout.blocks))
        sums = seconds(times, "unpack", lambda slots=slots: unpack(slots, layout, ARTISTS))
    median = {name: 1e6 * statistics.median(taken) / values for name, taken in times.items()}
    return {
        "values": values,
        "artists": ARTISTS,
        "bits": BITS,
        "profile": layout.profile.name,
        "blocks": layout.blocks,
        "exact": bool(np.array_equal(sums, expected)),
        "budget_bits": budget,
        "bytes_per_value": round(layout.upload_bytes / values, 3),
        "naive_bytes_per_value": round(len(upload) / values, 3),
        "bytes_ratio": round(len(upload) / layout.upload_bytes, 2),
        "public_key_bytes": len(public.to_bytes()),
        "artist_us_per_value": round(median["artist"], 4),
        "naive_artist_us_per_value": round(median["naive artist"], 4),
        "artist_ratio": round(median["naive artist"] / median["artist"], 2),
        "platform_us_per_value": round(median["platform"], 5),
        "naive_platform_us_per_value": round(median["naive platform"], 5),
        "platform_ratio": round(median["naive platform"] / median["platform"], 2),
        "opener_us_per_value": round(median["opener"] + median["unpack"], 4),
        "naive_opener_us_per_value": round(median["naive opener"], 4),
    }


def platform_memory(folder: Path, artists: int, layout: Layout) -> float:
    """Peak memory in MB of a process that adds as many uploads, read one by one, and writes the sum."""
    command = [sys.executable, __file__, str(folder), str(artists), layout.profile.name, str(layout.blocks)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def platform_process(folder: Path, artists: int, profile: str, blocks: int) -> None:
    """What `platform_memory` starts."""
    running = Accumulator(PublicKey.from_bytes((folder / "public").read_bytes(), PROFILES[profile]), blocks)
    for artist in range(artists):
        running.add((folder / str(artist % UPLOADS)).read_bytes())
    (folder / "sum").write_bytes(running.total())
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def memory(values: int) -> dict[str, object]:
    """The platform's peak at 10 and at 1000 artists; the larger sum, five copies of each of 200 uploads, is
    opened and compared."""
    layout = plan(values, BITS, ARTISTS)
    public, secret = make_keys(layout.profile)
    vectors = np.random.default_rng(1).integers(-(1 << BITS - 1), 1 << BITS - 1, size=(UPLOADS, values))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "public").write_bytes(public.to_bytes())
        for index, vector in enumerate(vectors):
            (folder / str(index)).write_bytes(encrypt(public, pack(vector, layout)))
        small = platform_memory(folder, 10, layout)
        large = platform_memory(folder, ARTISTS, layout)
        slots, _ = open_total(secret, (folder / "sum").read_bytes(), layout.blocks)
    return {
        "values": values,
        "upload_mb": round(layout.upload_bytes / 2**20, 2),
        "platform_peak_mb_10_artists": round(small, 1),
        "platform_peak_mb_1000_artists": round(large, 1),
        "exact": bool(
            np.array_equal(unpack(slots, layout, ARTISTS), vectors.sum(axis=0) * ARTISTS // UPLOADS)
        ),
    }


def main() -> None:
    """Compare, then measure memory."""
    # TenSEAL warns on standard output about every long vector; the lines of this benchmark go past it.
    with os.fdopen(os.dup(1), "w", buffering=1) as lines:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        for values in LENGTHS:
            print(json.dumps(compare(values)), file=lines)
        print(json.dumps(memory(LENGTHS[0])), file=lines)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        platform_process(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main()

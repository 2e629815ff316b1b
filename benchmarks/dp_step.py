"""One DP-SGD step on the project's CNN: one record at a time, beside Opacus' hooks and beside no privacy.

Prints a JSON line for each number of pictures and what trains: CPU time and memory of ours and of the plain
step as ratios to the hooks', medians with their range over rounds in which all three take turns, each in a
process of its own with one thread. Ours is `DPTrainer.fit` with its checks; the hooks' is `GradSampleModule`
with `DPOptimizer` on the whole batch. Memory is the peak of a step over what the process held before it
(Linux only).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor
from torch.nn import functional as F

from fedstyle_secure.privacy.dp_sgd import DPTrainer
from fedstyle_secure.privacy.mechanisms import DpSgd
from fedstyle_secure.systems.style.cnn import CnnEncoder
from fedstyle_secure.systems.style.losses import PrototypeContrast

CONTENDERS = ("hooks", "ours", "plain")
CASES = ((64, "all"), (64, "norms"), (64, "head"), (128, "all"))
ROUNDS, STEPS = 5, 3
DIM, ANCHORS, RATE = 128, 28, 0.1


def setting(pictures: int, train: str) -> tuple[CnnEncoder, PrototypeContrast, Tensor, Tensor]:
    """The encoder, its loss, and a batch of pictures of 64 pixels as it sees them."""
    torch.manual_seed(0)
    encoder = CnnEncoder(DIM, train)  # type: ignore[arg-type]
    anchors = F.normalize(torch.randn(ANCHORS, DIM), dim=1)
    pixels = np.random.default_rng(0).integers(0, 256, (pictures, 64, 64, 3), dtype=np.uint8)
    targets = torch.stack([torch.arange(pictures) % ANCHORS, torch.full((pictures,), -1)], dim=1)
    return encoder.train(), PrototypeContrast(lambda: anchors, 0.1, 0.1), encoder.prepare(pixels), targets


def step_of(contender: str, pictures: int, train: str) -> Callable[[], None]:
    """A step, to be taken again and again."""
    encoder, loss, inputs, targets = setting(pictures, train)
    plan = DpSgd(1.0, 1.0, 1.0, 1, float(pictures))
    trained = [p for p in encoder.parameters() if p.requires_grad]
    if contender == "ours":
        trainer = DPTrainer(encoder, loss, plan, RATE)
        return lambda: trainer.fit(inputs[:, None], targets, np.random.default_rng(0))
    sgd = torch.optim.SGD(trained, lr=RATE)
    if contender == "plain":

        def plain() -> None:
            sgd.zero_grad()
            loss(encoder(inputs), targets).mean().backward()
            sgd.step()

        return plain
    wrapped = GradSampleModule(encoder, loss_reduction="sum", strict=False)
    private = DPOptimizer(sgd, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=pictures)

    def hooked() -> None:
        private.zero_grad(set_to_none=True)
        loss(wrapped(inputs.requires_grad_(True)), targets).sum().backward()
        private.step()

    return hooked


def memory_kb(field: str) -> int:
    """A line of this process' status."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])


def measured(contender: str, pictures: int, train: str) -> dict[str, float]:
    """CPU seconds of a step, and MB at its peak over what was held before the first."""
    torch.set_num_threads(1)
    step = step_of(contender, pictures, train)
    # 5 sets the peak back to what is held now.
    Path("/proc/self/clear_refs").write_text("5")
    held = memory_kb("VmRSS")
    step()
    peak = memory_kb("VmHWM") - held
    times = []
    for _ in range(STEPS):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return {"cpu_s": statistics.median(times), "peak_mb": peak / 1024}


def compare(pictures: int, train: str) -> dict[str, object]:
    """All contenders in turn, in processes of their own."""
    rounds: list[dict[str, dict[str, float]]] = []
    for _ in range(ROUNDS):
        rounds.append({})
        for name in CONTENDERS:
            command = [sys.executable, __file__, name, str(pictures), train]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rounds[-1][name] = json.loads(done.stdout)

    def ratio(name: str, figure: str) -> dict[str, float]:
        found = sorted(each[name][figure] / each["hooks"][figure] for each in rounds)
        return {"median": statistics.median(found), "low": found[0], "high": found[-1]}

    return {
        "pictures": pictures,
        "trains": train,
        "ours_over_hooks_cpu": ratio("ours", "cpu_s"),
        "ours_over_hooks_memory": ratio("ours", "peak_mb"),
        "plain_over_hooks_cpu": ratio("plain", "cpu_s"),
        "plain_over_hooks_memory": ratio("plain", "peak_mb"),
        "hooks_cpu_s": statistics.median(each["hooks"]["cpu_s"] for each in rounds),
        "hooks_peak_mb": statistics.median(each["hooks"]["peak_mb"] for each in rounds),
    }


def main() -> None:
    """Print a line a case."""
    for pictures, train in CASES:
        line = compare(pictures, train)
        print(json.dumps(line, default=lambda x: round(x, 3)), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(measured(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
    else:
        main()

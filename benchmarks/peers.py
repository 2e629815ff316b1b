"""One small classifier through `attacks`, `auditml` and LeakPro: figures, scikit-learn's, lines, CPU seconds.

Usage: python benchmarks/peers.py [--shadows 16] [--seeds 3]
A peer that cannot be imported is skipped with a line. Each tool gets the same net, records and training, and
trains its own reference models. Prints a JSON line an attack: the tool's figure, scikit-learn's from the
tool's own scores (the true-positive rate is the largest at no more than that false-positive rate), lines of
code as `ast.unparse` writes them, without the training that all share, and CPU seconds of the whole call.

`ties` asks each tool about scores that are tied, as labels alone or rounded outputs give them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import io
import json
import logging
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

CLASSES, INPUTS, HALF, EPOCHS, BATCH, RATE = 5, 100, 2800, 12, 64, 3e-3
FPR = 0.01
Line = dict[str, Any]
Figures = dict[str, tuple[float | None, float | None, np.ndarray]]
"""By attack: the tool's own AUC, its rate at FPR, and its scores, members first."""


class Net(nn.Module):
    """What is audited."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(INPUTS, 128), nn.ReLU(), nn.Linear(128, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Population:
    """All records, as LeakPro reads them from a file."""

    def __init__(self, data: Tensor, targets: Tensor) -> None:
        self.data, self.targets = data, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.data[index], self.targets[index]


class World:
    """Members and others, half and half, and the net that trained on the members."""

    def __init__(self, seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        self.targets = torch.arange(2 * HALF) % CLASSES
        centres = torch.randn(CLASSES, INPUTS, generator=draws)
        self.inputs = 0.2 * centres[self.targets] + torch.randn(2 * HALF, INPUTS, generator=draws)
        self.members = TensorDataset(self.inputs[:HALF], self.targets[:HALF])
        self.others = TensorDataset(self.inputs[HALF:], self.targets[HALF:])
        self.net, self.seed = fit(self.members, seed), seed


def fit(data: Any, seed: int) -> nn.Module:
    """The training of everybody's models."""
    torch.manual_seed(seed)
    net = Net()
    return trained(net, DataLoader(data, BATCH, shuffle=True), torch.optim.Adam(net.parameters(), RATE))


def trained(net: nn.Module, loader: Any, optimizer: torch.optim.Optimizer) -> nn.Module:
    """Plain epochs."""
    for _ in range(EPOCHS):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net.eval()


def by_ours(world: World, shadows: int) -> Figures:
    """With `attacks`."""
    from attacks import audit_model

    found = audit_model(
        world.net, world.members, world.others, fit=fit, shadows=shadows, rates=(FPR,), seed=world.seed
    )
    names = {"loss threshold": "loss threshold", "LiRA": "LiRA", "RMIA": "RMIA"}
    return {
        theirs: (
            found.row(name).value, found.row(name, FPR).value,
            np.r_[found.curves[name].members, found.curves[name].non_members],
        )
        for theirs, name in names.items()
    }  # fmt: skip


def by_auditml(world: World, shadows: int) -> Figures:
    """With `auditml`, whose number of shadow models and epochs cannot be set from its `audit`."""
    import auditml
    from auditml.attacks.mia_shadow import ShadowMIA
    from torch.utils.data import ConcatDataset

    loaders = DataLoader(world.members, BATCH), DataLoader(world.others, BATCH)
    found = auditml.audit(world.net, *loaders, attacks=["mia_threshold"], device="cpu")
    shadow = ShadowMIA(
        world.net, shadow_dataset=ConcatDataset([world.members, world.others]), shadow_model_fn=Net,
        num_shadows=shadows, shadow_epochs=EPOCHS, num_classes=CLASSES, batch_size=BATCH, learning_rate=RATE,
        seed=world.seed + 1,
    )  # fmt: skip
    said = shadow.run(*loaders)
    told = shadow.evaluate()
    threshold = found["mia_threshold"]
    return {
        "loss threshold": (
            threshold.auc_roc, threshold.tpr_at_1fpr,
            found._raw_results["mia_threshold"][1].confidence_scores,
        ),
        "shadow classifier": (told["auc_roc"], told["tpr_at_1fpr"], said.confidence_scores),
    }  # fmt: skip


def by_leakpro(world: World, shadows: int) -> Figures:
    """With LeakPro, which reads net, records and settings from files."""
    import joblib
    import yaml
    from leakpro import AbstractInputHandler, LeakPro
    from leakpro.schemas import EvalOutput, TrainingOutput

    class Handler(AbstractInputHandler):  # type: ignore[misc]
        class UserDataset(AbstractInputHandler.UserDataset):  # type: ignore[misc,name-defined]
            def __init__(self, data: Tensor, targets: Tensor) -> None:
                self.data, self.targets = data, targets

        def train(self, dataloader: Any, model: Any, criterion: Any, optimizer: Any, epochs: Any) -> Any:
            trained(model, dataloader, optimizer)
            return TrainingOutput(model=model, metrics=Handler.eval(self, dataloader, model, criterion))

        def eval(self, loader: Any, model: Any, criterion: Any, device: Any = None) -> Any:
            with torch.no_grad():
                told = [(model(x), y) for x, y in loader]
            out, right = torch.cat([x for x, _ in told]), torch.cat([y for _, y in told])
            accuracy = float((out.argmax(1) == right).double().mean())
            return EvalOutput(accuracy=accuracy, loss=float(criterion(out, right)))

    with tempfile.TemporaryDirectory() as name:
        folder, criterion = Path(name), nn.CrossEntropyLoss()
        loader = DataLoader(world.members, BATCH, shuffle=True)
        scored = Handler.eval(None, loader, world.net, criterion)
        metadata = LeakPro.make_mia_metadata(
            train_result=TrainingOutput(model=world.net, metrics=scored),
            optimizer=torch.optim.Adam(world.net.parameters(), RATE), loss_fn=criterion, dataloader=loader,
            test_result=scored, epochs=EPOCHS, train_indices=list(range(HALF)),
            test_indices=list(range(HALF, 2 * HALF)), dataset_name="peers",
        )  # fmt: skip
        torch.save(world.net.state_dict(), folder / "target_model.pkl")
        joblib.dump(metadata, folder / "model_metadata.pkl")
        joblib.dump(Population(world.inputs, world.targets), folder / "population.pkl")
        attack = {"attack": "lira", "online": True, "num_shadow_models": shadows}
        settings = {
            "audit": {
                "attack_type": "mia", "attack_list": [attack], "data_modality": "tabular",
                "output_dir": str(folder / "out"), "random_seed": world.seed,
            },
            "target": {
                "module_path": __file__, "model_class": "Net", "target_folder": str(folder),
                "data_path": str(folder / "population.pkl"),
            },
        }  # fmt: skip
        (folder / "audit.yaml").write_text(yaml.safe_dump(settings))
        np.random.seed(world.seed)  # noqa: NPY002  LeakPro draws from the global generator.
        torch.manual_seed(world.seed)
        (found,) = LeakPro(Handler, str(folder / "audit.yaml")).run_audit()
    return {"LiRA": (found.roc_auc, found.fixed_fpr_table["TPR@1%FPR"], found.signal_values)}


TOOLS: dict[str, tuple[str, Callable[[World, int], Figures]]] = {
    "ours": ("attacks", by_ours),
    "auditml": ("auditml", by_auditml),
    "LeakPro": ("leakpro", by_leakpro),
}


def tied_by_ours(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """AUC and rate at FPR."""
    from attacks import audit_scores

    found = audit_scores({"member": truth, "score": scores}, rates=(FPR,))
    return found.row("score").value, found.row("score", FPR).value  # type: ignore[return-value]


def tied_by_auditml(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """AUC and rate at FPR, of the method that all its attacks evaluate by."""
    from auditml.attacks.base import BaseAttack

    found = BaseAttack._compute_metrics(scores > np.median(scores), truth, scores)
    return found["auc_roc"], found["tpr_at_1fpr"]


def tied_by_leakpro(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """AUC and rate at FPR."""
    from leakpro.reporting.mia_result import MIAResult

    found = MIAResult.from_full_scores(truth, scores, "ties")
    return found.roc_auc, found.fixed_fpr_table["TPR@1%FPR"]


TIED = {"ours": tied_by_ours, "auditml": tied_by_auditml, "LeakPro": tied_by_leakpro}


def scikit_learns(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """AUC, and the largest true-positive rate at no more than FPR."""
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    return float(roc_auc_score(truth, scores)), float(tpr[fpr <= FPR].max())


def lines_of(function: Callable[..., Any]) -> int:
    """A function's lines as `ast.unparse` writes them, without its head and docstring."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    return sum(bool(line.strip()) for part in body for line in ast.unparse(part).splitlines())


def measured(tool: str, worlds: list[World], shadows: int) -> Iterator[Line]:
    """A line an attack, with a figure a world."""
    call, rows = TOOLS[tool][1], []
    for world in worlds:
        started = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found = call(world, shadows)
        rows.append((found, time.process_time() - started))
    for attack in rows[0][0]:
        told = [(*found[attack][:2], *_judged(found[attack][2])) for found, _ in rows]
        yield {
            "benchmark": "peers", "tool": tool, "attack": attack, "lines": lines_of(call),
            "cpu_s": round(statistics.median(spent for _, spent in rows), 2),
            "auc": _round(t[0] for t in told), "auc_scikit": _round(t[2] for t in told),
            "tpr_at_0.01": _round(t[1] for t in told), "tpr_at_0.01_scikit": _round(t[3] for t in told),
        }  # fmt: skip


def tied(tool: str, worlds: list[World]) -> Iterator[Line]:
    """Logits to no decimal, which many services give, and the right label alone."""
    for name in ("rounded losses", "right label"):
        told = []
        for world in worlds:
            with torch.no_grad():
                out = world.net(world.inputs)
            truth = np.arange(2 * HALF) < HALF
            if name == "right label":
                scores = (out.argmax(1) == world.targets).double().numpy()
            else:
                losses = nn.functional.cross_entropy(out.round(), world.targets, reduction="none")
                scores = -losses.double().numpy().round(1)
            told.append((*TIED[tool](truth.astype(float), scores), *scikit_learns(truth, scores)))
        yield {
            "benchmark": "peers, ties", "tool": tool, "scores": name,
            "auc": _round(t[0] for t in told), "auc_scikit": _round(t[2] for t in told),
            "tpr_at_0.01": _round(t[1] for t in told), "tpr_at_0.01_scikit": _round(t[3] for t in told),
        }  # fmt: skip


def _judged(scores: np.ndarray) -> tuple[float, float]:
    kept = np.isfinite(scores)
    return scikit_learns((np.arange(len(scores)) < HALF)[kept], scores[kept])


def _round(values: Iterator[float | None]) -> list[float | None]:
    return [None if value is None else round(float(value), 4) for value in values]


def main() -> None:
    """Every tool that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shadows", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    worlds = [World(seed) for seed in range(asked.seeds)]
    for tool, (module, _) in TOOLS.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # A peer's broken import must not end the others' lines.
            print(json.dumps({"benchmark": "peers", "tool": tool, "skipped": f"cannot be imported: {error}"}))
            continue
        for line in (*measured(tool, worlds, asked.shadows), *tied(tool, worlds)):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Full shadow models: the same in any number of processes, after a kill, and never another recipe's."""

import importlib
import os
import select
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from attacks.errors import AttackError
from attacks.membership.farm import farm_outputs, train_farm
from attacks.membership.lira import lira
from attacks.membership.scores import References
from attacks.membership.shadows import Recipe, train_shadows
from attacks.membership.threshold import logit_score
from attacks.observation import cross_entropy

HERE = Path(__file__).parent


@pytest.fixture
def nets(monkeypatch):
    """Importable here and in every process started from here."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("nets")


@pytest.fixture
def world(nets):
    return nets.candidates()


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.long
def test_processes_are_one_by_one_to_the_bit(nets, world, tmp_path):
    """Two processes, none, and torch's own optimiser in a plain loop, with dropout and BatchNorm."""
    pictures, targets, sets = world
    call = (nets.convnet, cross_entropy, *world, nets.RECIPE)
    told = []
    parallel = train_farm(*call, tmp_path / "two", processes=2, progress=lambda *done: told.append(done))
    assert told == [(k, 8) for k in range(1, 9)]
    assert same(parallel, train_farm(*call, tmp_path / "one", processes=1))
    for k in range(8):
        model = nets.convnet(k)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-3)
        own = torch.from_numpy(np.flatnonzero(sets[:, k]))
        draws = torch.Generator().manual_seed(k)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(k)
            for _ in range(3):
                for batch in own[torch.randperm(20, generator=draws)].split(8):
                    optimiser.zero_grad()
                    nn.functional.cross_entropy(model(pictures[batch]), targets[batch]).backward()
                    optimiser.step()
        for name, tensor in model.state_dict().items():
            assert torch.allclose(parallel[name][k], tensor, atol=1e-5), name
        outputs = farm_outputs(nets.convnet(0), parallel, pictures, chunk=7)[k]
        assert torch.allclose(outputs, model.eval()(pictures), atol=1e-4)


@pytest.mark.long
def test_groups_of_heads_in_processes_are_the_same_groups(nets, tmp_path):
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    _, targets, sets = nets.candidates()
    call = (nets.head, cross_entropy, features, targets, sets, nets.RECIPE)
    here = train_shadows(*call, tmp_path / "here", group=4)
    assert same(here, train_shadows(*call, tmp_path / "there", group=4, processes=2))


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for another's child needs Linux")
def test_killed_and_resumed_gives_the_same_scores_and_leaves_no_process(nets, world, tmp_path):
    pictures, targets, sets = world
    cache, traces = tmp_path / "cache", tmp_path / "traces"
    traces.mkdir()
    code = f"import nets; nets.train_and_stall({str(cache)!r}, {str(traces)!r})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout.readline() == "2 8\n"
        process.send_signal(signal.SIGKILL)
    workers = [int(path.stem) for path in traces.glob("*.pid")]
    assert len(workers) == 2
    assert process.pid not in workers
    for worker in workers:
        try:
            handle = os.pidfd_open(worker)
        except ProcessLookupError:
            continue
        ended, _, _ = select.select([handle], [], [], 60)
        os.close(handle)
        assert ended, f"process {worker} outlived the one that started it"
    kept = {path: path.stat().st_mtime_ns for path in cache.glob("*.safetensors")}
    assert 2 <= len(kept) < 8
    trainer = partial(nets.traced_sgd, folder=str(traces))
    call = (nets.convnet, cross_entropy, *world, nets.RECIPE)
    resumed = train_farm(*call, cache, trainer, processes=1)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    whole = train_farm(*call, tmp_path / "whole", trainer, processes=1)
    assert same(resumed, whole)
    scores = []
    for state in (resumed, whole):
        outputs = farm_outputs(nets.convnet(0), state, pictures).numpy()
        signals = np.stack([logit_score(output, targets.numpy()) for output in outputs], 1)
        scores.append(lira(signals[:, 0], References(signals[:, 1:], sets[:, 1:]), "offline").values)
    assert (scores[0] == scores[1]).all()


def test_a_model_is_given_its_own_set_and_nothing_else(nets, world, tmp_path):
    pictures, _, sets = world
    trainer = partial(nets.traced_sgd, folder=str(tmp_path))
    train_farm(nets.convnet, cross_entropy, *world, nets.RECIPE, tmp_path / "cache", trainer, processes=1)
    for k in range(8):
        assert (np.load(tmp_path / f"{k}.npy") == pictures[sets[:, k]].numpy()).all()


def test_any_change_makes_new_models(nets, tmp_path):
    pictures, targets, sets = nets.candidates()
    usual = {
        "factory": nets.convnet,
        "loss": cross_entropy,
        "inputs": pictures,
        "targets": targets,
        "trained_on": sets[:, :2],
        "recipe": nets.RECIPE,
    }
    seen = set()

    def new_models(**changed):
        train_farm(**usual | changed, cache=tmp_path, processes=1)
        found = set(tmp_path.iterdir()) - seen
        seen.update(found)
        return len(found)

    assert new_models() == 2
    assert new_models() == 0
    moved, relabelled = pictures.clone(), targets.clone()
    moved[7, 0, 2, 2] += 1e-6
    relabelled[5] = (targets[5] + 1) % 3
    for name, value in vars(nets.RECIPE).items():
        if name != "set_size":
            other = f"{value}2" if name == "name" else value + 1 if isinstance(value, int) else value / 2
            assert new_models(recipe=Recipe(**vars(nets.RECIPE) | {name: other})) == 2, name
    assert new_models(inputs=moved) == 2
    assert new_models(targets=relabelled) == 2
    assert new_models(trained_on=sets[:, 2:4]) == 2
    # The first model's set is as it was.
    assert new_models(trained_on=sets[:, [0, 3]]) == 0
    assert new_models(trained_on=sets[:, [0, 4]]) == 1
    assert new_models(loss=nets.squared) == 2
    assert new_models(factory=partial(nets.convnet, width=16)) == 2
    assert new_models(trainer=partial(nets.traced_sgd, folder=str(tmp_path.parent))) == 2


def test_what_cannot_be_trusted_is_refused(nets, world, tmp_path):
    pictures, targets, sets = world
    call = {
        "factory": nets.convnet,
        "loss": cross_entropy,
        "inputs": pictures,
        "targets": targets,
        "trained_on": sets,
        "recipe": nets.RECIPE,
        "cache": tmp_path,
        "processes": 1,
    }
    short = sets.copy()
    short[np.flatnonzero(sets[:, 4])[0], 4] = False
    for changed, message in (
        ({"trained_on": short}, "shadow model 4 would train on 19 candidates, the victim on 20"),
        ({"trained_on": sets.astype(int)}, "trained_on must be bool"),
        ({"inputs": pictures[1:]}, "39 rows of data"),
        ({"factory": lambda seed: nets.convnet(seed)}, "the factory must be a function at the top"),
        ({"loss": nn.CrossEntropyLoss()}, "the loss must be a function at the top"),
        ({"trainer": partial(nets.traced_sgd, folder=tmp_path)}, "an argument of the trainer must be"),
        ({"factory": nets.growing}, "seed 1 has other tensors"),
        ({"factory": nets.restless}, "another model each time for seed 0"),
        ({"processes": 0}, "processes must be a whole number of at least 1"),
    ):
        with pytest.raises(AttackError, match=message):
            train_farm(**call | changed)
    assert not list(tmp_path.iterdir())
    train_farm(**call)
    damaged = sorted(tmp_path.iterdir())[3]
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(AttackError, match="damaged shadow models, delete the file"):
        train_farm(**call)


@pytest.mark.long
def test_a_process_that_dies_is_told_and_what_was_done_is_kept(nets, world, tmp_path):
    """A process comes to model 2, and ends, only when model 0 or 1 is done."""
    with pytest.raises(AttackError, match="ended early"):
        train_farm(nets.convnet, cross_entropy, *world, nets.RECIPE, tmp_path, nets.dying, processes=2)
    assert 1 <= len(list(tmp_path.glob("*.safetensors"))) <= 2

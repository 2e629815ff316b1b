"""The probe: it passes what is bounded, catches what is not, and knows nothing of fedstyle_secure."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attacks.sensitivity import picture_values, probe_sensitivity


def clipped(batch):
    flat = batch.reshape(len(batch), -1)
    return (flat / np.maximum(1, np.linalg.norm(flat, axis=1, keepdims=True))).sum(0)


def pool(n=40, d=6):
    return np.random.default_rng(0).normal(size=(n, d))


@pytest.mark.parametrize(("adjacency", "bound"), [("add-remove", 1.0), ("replace", 2.0)])
def test_a_clipped_sum_keeps_its_bound_and_reaches_it(adjacency, bound):
    report = probe_sensitivity(clipped, pool(), bound, adjacency, np.random.default_rng(1))
    assert report.holds
    assert report.worst == pytest.approx(bound, rel=0.2)
    assert (report.trials, report.bound, report.adjacency) == (300, bound, adjacency)


def unclipped(rows):
    """A clip that forgets some rows, given the number of rows."""

    def total(batch):
        flat = batch.reshape(len(batch), -1)
        factor = 1 / np.maximum(1, np.linalg.norm(flat, axis=1, keepdims=True))
        factor[rows(len(batch))] = 1
        return (flat * factor).sum(0)

    return total


BROKEN = {
    "the last row is not clipped": unclipped(lambda b: slice(b - 1, b)),
    "the second physical batch is not clipped": unclipped(lambda b: slice(4, b)),
    "a full batch's sixth row is not clipped": unclipped(lambda b: slice(5, 6) if b == 8 else slice(0)),
    "a single picture is not clipped": unclipped(lambda b: slice(0, b if b == 1 else 0)),
    "not clipped": lambda batch: batch.sum(0),
    "clipped after the sum of pairs": lambda batch: clipped(batch) * len(batch) / 4,
    "centred on the batch": lambda batch: clipped(batch - batch.mean(0)),
    "divided by the batch's size": lambda batch: 8 * clipped(batch) / len(batch) ** 0.5,
    "not finite": lambda batch: np.where(np.abs(batch).max() > 5, np.nan, clipped(batch)),
}


@pytest.mark.parametrize("adjacency", ["add-remove", "replace"])
@pytest.mark.parametrize("name", BROKEN)
def test_planted_bugs_are_caught(name, adjacency):
    """Pictures 12 long on average, so that one that is not clipped shows; three seeds each."""
    bound = 1.0 if adjacency == "add-remove" else 2.0
    for seed in range(3):
        report = probe_sensitivity(BROKEN[name], 5 * pool(), bound, adjacency, np.random.default_rng(seed))
        assert not report.holds
        assert report.mixing is None


def test_what_changes_stands_anywhere_and_batches_have_every_size():
    """A spy: the neighbours differ in every place of batches of every size, and in nothing else."""
    seen, batches = set(), []

    def spy(batch):
        batches.append(batch.copy())
        return clipped(batch)

    probe_sensitivity(spy, pool(), 2.0, "replace", np.random.default_rng(0), batch_size=4)
    for neighbour, batch in zip(batches[::2], batches[1::2], strict=True):
        (places,) = (neighbour != batch).any(1).nonzero()
        assert len(places) <= 1
        seen |= {(len(batch), int(place)) for place in places}
    assert seen == {(size, place) for size in range(1, 5) for place in range(size)}


def test_a_third_exaggerates_and_a_third_searches():
    """Pictures beyond the pool: all of one third, half of another; scaled, negated and constant."""
    plain, own = pool(), {row.tobytes() for row in pool()}
    kinds = dict.fromkeys(("scaled", "negated", "constant"), 0)
    pairs = []

    def spy(batch):
        pairs.append(batch.copy())
        return clipped(batch)

    probe_sensitivity(spy, plain, 2.0, "replace", np.random.default_rng(0))
    strange = 0
    for batch in pairs[1::2]:
        rows = [row for row in batch if row.tobytes() not in own]
        assert len(rows) <= 1
        strange += len(rows)
        for row in rows:
            constant, negated = (row == row[0]).all(), (plain == -row).all(1).any()
            kinds["constant" if constant else "negated" if negated else "scaled"] += 1
    # 100 exaggerate, of 100 that search half or more do: without the first third 100 at most.
    assert 130 < strange <= 200
    assert min(kinds.values()) > 20
    # And the picture in its place is exaggerated in a third of the trials at least.
    others = sum(any(row.tobytes() not in own for row in batch) for batch in pairs[::2])
    assert others >= 100


def test_the_search_climbs_where_drawing_does_not_reach():
    """A leak that doubles with every picture of a kind that one in five is, of eight in a batch.

    Drawing finds 7 or 8 of them, the one that changes among them, with probability 8e-5 a trial; searching
    from the worst pair does for most seeds.
    """
    kind = pool()
    kind[:8, 0] = 1e-3

    def leaking(batch):
        return np.r_[2.0 ** (batch[:, 0] == 1e-3).sum(), clipped(batch)]

    worst = [
        probe_sensitivity(leaking, kind, 1.0, "add-remove", np.random.default_rng(seed)).worst
        for seed in range(6)
    ]
    assert (np.array(worst) > 2**6).sum() >= 3, worst


class InBatch:
    """Each picture's loss contrasts it with the others of its batch."""

    def __call__(self, outputs, targets):
        logits = outputs @ outputs.T
        return F.cross_entropy(logits, torch.arange(len(logits)), reduction="none")


def own_loss(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


@pytest.mark.parametrize("adjacency", ["add-remove", "replace"])
@pytest.mark.parametrize(
    ("norm", "loss", "named"),
    [
        (nn.BatchNorm1d(5), own_loss, "1"),
        (nn.GroupNorm(1, 5), InBatch(), "loss"),
        (nn.BatchNorm1d(5), InBatch(), "1"),
        (nn.GroupNorm(1, 5), own_loss, None),
    ],
)
def test_the_layer_or_the_loss_that_mixes_pictures_is_named(norm, loss, named, adjacency):
    """Spec: cross-entropy with GroupNorm keeps the bound, BatchNorm and in-batch contrast are named."""
    torch.manual_seed(0)
    norm.reset_parameters()
    model = nn.Sequential(nn.Linear(6, 5), norm, nn.Tanh(), nn.Linear(5, 3)).train()

    def batch_of(batch):
        inputs = torch.from_numpy(batch.astype(np.float32))
        return inputs, (inputs[:, 0] > 0).long()

    def clipped_sum(batch):
        """Gradients of each loss, clipped: whatever the loss depends on."""
        inputs, targets = batch_of(batch)
        if isinstance(norm, nn.BatchNorm1d) and len(batch) == 1:
            return np.zeros(sum(p.numel() for p in model.parameters()))
        each = torch.autograd.grad(
            loss(model(inputs), targets),
            list(model.parameters()),
            torch.eye(len(batch)),
            is_grads_batched=True,
        )
        flat = torch.cat([part.flatten(1) for part in each], dim=1)
        return (flat / flat.norm(dim=1, keepdim=True).clamp(min=1)).sum(0).numpy()

    def watched(batch):
        if isinstance(norm, nn.BatchNorm1d) and len(batch) == 1:
            return {}
        return picture_values(model, loss, *batch_of(batch))

    bound = 1.0 if adjacency == "add-remove" else 2.0
    report = probe_sensitivity(
        clipped_sum, pool(), bound, adjacency, np.random.default_rng(0), trials=60, watched=watched
    )
    assert report.holds is (named is None), report
    assert report.mixing == named


def test_looking_at_layers_does_not_move_them():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    values = picture_values(model, own_loss, torch.randn(4, 6), torch.zeros(4, dtype=torch.int64))
    assert list(values) == ["0", "1", "2", "loss"]
    assert [v.shape for v in values.values()] == [(4, 5)] * 3 + [(4,)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model)


def test_a_bound_that_is_half_too_small_is_caught():
    assert not probe_sensitivity(clipped, pool(), 0.5, "add-remove", np.random.default_rng(1)).holds


def test_the_same_seed_gives_the_same_report():
    a, b = (probe_sensitivity(clipped, pool(), 1.0, "replace", np.random.default_rng(3)) for _ in range(2))
    assert a == b


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"pool": pool(8)}, "too small"),
        ({"adjacency": "addremove"}, "add-remove"),
        ({"trials": 0}, "trials"),
        ({"bound": float("nan")}, "bound must"),
    ],
)
def test_what_would_prove_nothing_is_refused(change, text):
    settings = {"pool": pool(), "bound": 1.0, "adjacency": "replace", "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=text):
        probe_sensitivity(clipped, **(settings | change))


@pytest.mark.long
def test_attacks_stands_apart():
    code = "import attacks.sensitivity, sys; print([m for m in sys.modules if m.startswith('fedstyle')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

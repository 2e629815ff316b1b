"""The artist refuses models that copy, and lets honest ones through."""

import pytest
import torch
from torch import nn

from attacks.errors import AttackError
from attacks.inversion.imprint import Imprinted
from attacks.observation import LocalTraining, Observation, cross_entropy
from attacks.replay import simulate
from attacks.vetting import (
    VettingLimits,
    _best_copy,
    self_audit,
    vet_architecture,
    vet_forward,
    vet_weights,
)
from fedstyle_secure.systems.style.cnn import CnnEncoder


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_honest_models_pass_fresh_and_trained(mlp, convnet, smooth_pictures):
    torch.manual_seed(0)
    fresh = [mlp(), convnet(), convnet(norm=True), CnnEncoder(64, "all"), nn.LSTM(8, 16), nn.Linear(30, 5)]
    for model in fresh:
        assert vet_weights(model.state_dict()) == []
        assert vet_architecture(model, shapes(model)) == []
    trained = convnet(norm=True)
    pictures, targets = smooth_pictures(32), torch.arange(32) % 10
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(trained(pictures), targets).mean().backward()
        optimizer.step()
    assert vet_weights(trained.state_dict()) == []


@pytest.mark.parametrize("disguise", ["none", "rows scaled", "rows shuffled", "rows with a little noise"])
def test_the_imprint_is_refused_by_its_rows(disguise, convnet):
    model = Imprinted(convnet(), torch.linspace(0.2, 0.8, 32), 768)
    draws = torch.Generator().manual_seed(0)
    weight = model.measure.weight.data
    if disguise == "rows scaled":
        weight *= torch.rand(32, 1, generator=draws) + 0.5
        weight[::2] *= -1
    if disguise == "rows shuffled":
        order = torch.randperm(32, generator=draws)
        weight[:], model.measure.bias.data[:] = weight[order], model.measure.bias.data[order]
    if disguise == "rows with a little noise":
        weight *= 1 + 1e-3 * torch.randn(weight.shape, generator=draws)
    objections = {o.tensor: o.reason for o in vet_weights(model.state_dict())}
    assert "shifted biases" in objections["measure.weight"]
    foreign = {o.tensor for o in vet_architecture(model, shapes(convnet()))}
    assert {"measure.weight", "measure.bias", "spread.weight"} <= foreign


@pytest.mark.parametrize(
    ("tensor", "value", "words"),
    [
        ("0.weight", float("nan"), "not finite"),
        ("0.bias", float("inf"), "not finite"),
        ("0.bias", 1e6, "more than 100"),
        ("1.running_var", 1e9, "running variance"),
        ("1.running_var", 0.0, "running variance"),
        ("6.weight", 60.0, "amplifies"),
    ],
)
def test_broken_and_blown_up_tensors_are_named(tensor, value, words, convnet):
    state = convnet(norm=True).state_dict()
    state[tensor] = torch.full_like(state[tensor], value)
    assert [o.tensor for o in vet_weights(state)] == [tensor]
    assert words in vet_weights(state)[0].reason


def test_missing_foreign_and_misshapen_tensors_are_named(convnet):
    agreed = shapes(convnet())
    changed = {"extra": (2,), "0.bias": (9,)} | {
        n: s for n, s in agreed.items() if n not in ("0.bias", "0.weight")
    }
    reasons = {o.tensor: o.reason for o in vet_architecture(convnet(), changed)}
    assert reasons == {
        "0.bias": "is (8,), not (9,)",
        "0.weight": "was not agreed on",
        "extra": "was agreed on and is missing",
    }


def observed(model, batch=1, **training):
    return Observation(
        model, model.state_dict(), (3, 16, 16), training=LocalTraining(0.1, batch_size=batch, **training),
        loss=cross_entropy,
    )  # fmt: skip


def test_the_self_audit_catches_what_weights_do_not_show(mlp, convnet, smooth_pictures):
    pictures, target = smooth_pictures(1), torch.tensor([3])
    for model in (mlp(), Imprinted(convnet(), torch.linspace(0, 1, 16), 768)):
        found = self_audit(observed(model), pictures, target)
        assert found.verdict == "refuse"
        assert found.worst > 60
        assert found.blind < 40
    assert vet_weights(mlp().state_dict()) == []


class Shifted(nn.Module):
    """An imprint without a bias: the thresholds are in the shift of what follows."""

    def __init__(self, thresholds, batch_norm):
        super().__init__()
        bins = len(thresholds)
        self.measure, self.out = nn.Linear(768, bins, bias=False), nn.Linear(1, 10)
        self.norm = nn.BatchNorm1d(bins)
        with torch.no_grad():
            self.measure.weight.fill_(1 / 768)
            self.norm.bias.copy_(-thresholds)
        self.batch_norm = batch_norm

    def forward(self, x):
        x = self.measure(x.flatten(1))
        x = self.norm(x) if self.batch_norm else x * self.norm.weight + self.norm.bias
        return self.out(torch.relu(x).mean(1, keepdim=True))


class Halves(nn.Module):
    """A linear layer on either half of the picture."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.out = nn.Linear(384, 32), nn.Linear(384, 32), nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.out(torch.relu(torch.cat([self.left(x[:, :384]), self.right(x[:, 384:])], 1)))


class WholeKernel(nn.Module):
    """An imprint as a convolution whose kernel is the whole picture, its rows 2 % apart."""

    def __init__(self, thresholds):
        super().__init__()
        bins, draws = len(thresholds), torch.Generator().manual_seed(0)
        self.measure, self.out = nn.Conv2d(3, bins, 16), nn.Linear(1, 10)
        apart = nn.functional.normalize(torch.randn(bins, 768, generator=draws), dim=1)
        with torch.no_grad():
            rows = 1 / 768 + 0.02 * 768**-0.5 * apart
            self.measure.weight.copy_(rows.view(bins, 3, 16, 16))
            self.measure.bias.copy_(-thresholds)

    def forward(self, x):
        return self.out(torch.relu(self.measure(x).flatten(1)).mean(1, keepdim=True))


class Trap(nn.Module):
    """Random rows that fire for one public picture in 32 (Boenisch et al. 2023)."""

    def __init__(self, public, seed):
        super().__init__()
        self.trap, self.out = nn.Linear(768, 12), nn.Linear(12, 10)
        rows = torch.randn(12, 768, generator=torch.Generator().manual_seed(seed)) / 768**0.5
        with torch.no_grad():
            self.trap.weight.copy_(rows)
            self.trap.bias.copy_(-(public.flatten(1) @ rows.T).quantile(1 - 1 / 32, dim=0))

    def forward(self, x):
        return self.out(torch.relu(self.trap(x.flatten(1))))


class Agreed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(768, 10)

    def forward(self, x):
        features = nn.functional.gelu(self.conv(x))
        return self.out(nn.functional.adaptive_avg_pool2d(features, (12, 8)).flatten(1))


class GoesRound(Agreed):
    """The same tensors, and a way round the convolution."""

    def forward(self, x):
        return self.out(x.flatten(1))


class Elementwise(nn.Module):
    """No layer at all: the picture times a vector, plus a vector."""

    def __init__(self):
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(768)), nn.Parameter(torch.zeros(768))
        self.out = nn.Linear(1, 10)

    def forward(self, x):
        return self.out(torch.tanh(x.flatten(1) * self.gain + self.shift).mean(1, keepdim=True))


@pytest.fixture
def thresholds(smooth_pictures):
    means = smooth_pictures(200, seed=9).flatten(1).mean(1)
    at = (torch.arange(128) + 0.5) / 128
    return means.mean() + means.std() * 2**0.5 * torch.erfinv(2 * at - 1)


@pytest.mark.parametrize("name", ["shift", "batch norm", "halves", "whole kernel", "goes round"])
def test_models_made_to_copy_are_refused_by_the_self_audit(name, thresholds, smooth_pictures):
    torch.manual_seed(0)
    model = {
        "shift": lambda: Shifted(thresholds, False), "batch norm": lambda: Shifted(thresholds, True).eval(),
        "halves": Halves, "whole kernel": lambda: WholeKernel(thresholds), "goes round": GoesRound,
    }[name]()  # fmt: skip
    n = 1 if name == "halves" else 8
    mode = "eval" if name == "batch norm" else "train"
    found = self_audit(observed(model, n, mode=mode), smooth_pictures(n), torch.arange(n))
    assert found.verdict == "refuse"
    assert found.worst > 60
    assert found.worst > found.blind + 30


@pytest.mark.parametrize("name", ["shift", "whole kernel"])
def test_imprints_in_other_clothes_are_refused_by_their_rows(name, thresholds):
    model = Shifted(thresholds, True) if name == "shift" else WholeKernel(thresholds)
    objections = {o.tensor: o.reason for o in vet_weights(model.state_dict())}
    assert "128 rows" in objections["measure.weight"]


def test_trap_weights_that_leak_an_exact_picture_are_refused(smooth_pictures):
    """Twelve batches of 32, which no check of weights refuses. Every batch that gives an exact picture away
    is refused; in at least half of them one is."""
    public, leaks = smooth_pictures(400, seed=9), 0
    for seed in range(12):
        model, pictures = Trap(public, seed), smooth_pictures(32, seed=100 + seed)
        targets = torch.arange(32) % 10
        seen = observed(model, 32)
        update = simulate(seen, pictures, targets)
        fired = update["trap.bias"].abs() > 1e-7
        rows = update["trap.weight"][fired] / update["trap.bias"][fired, None]
        exact = (torch.cdist(rows, pictures.flatten(1)) < 1e-3 * 768**0.5).any()
        leaks += bool(exact)
        assert vet_weights(model.state_dict()) == []
        if exact:
            assert self_audit(seen, pictures, targets).refuse
    assert leaks >= 6


def test_a_difference_of_two_rows_is_read_where_rows_and_span_say_nothing():
    """More mixtures than numbers, so that they span everything; a picture is what two rows differ by."""
    draws = torch.Generator().manual_seed(0)
    picture, rows = torch.rand(1, 20, generator=draws), torch.rand(40, 20, generator=draws) - 0.5
    rows[31] = rows[7] + 0.3 * picture[0]
    value, how = _best_copy(rows.double(), picture.double())
    assert how == "a difference of two rows"
    assert value > 90
    assert _best_copy(rows[:31].double(), picture.double())[0] < 30
    value, how = _best_copy(torch.cat([rows[:31], 2 * picture]).double(), picture.double())
    assert how == "a row of its update"
    assert value > 90


def test_a_forward_that_goes_another_way_is_found(smooth_pictures):
    torch.manual_seed(0)
    agreed, other = Agreed(), GoesRound()
    probes = smooth_pictures(4)
    assert vet_architecture(other, shapes(agreed)) == []
    assert [o.tensor for o in vet_forward(other, agreed, probes)] == ["forward"]
    assert vet_forward(Agreed(), agreed, probes) == []
    assert vet_forward(nn.Linear(3, 4), agreed, probes)[0].reason == "was not agreed on"


def test_a_forward_that_differs_in_gradients_or_in_train_mode_only_is_found(smooth_pictures):
    class Detaches(Agreed):
        def forward(self, x):
            return super().forward(x).detach() + 0 * self.out(x.flatten(1))

    class InTraining(Agreed):
        def forward(self, x):
            return self.out(x.flatten(1)) if self.training else super().forward(x)

    torch.manual_seed(0)
    for other, words in ((Detaches(), "'conv.bias' in eval mode"), (InTraining(), "outputs in train mode")):
        objections = vet_forward(other, Agreed(), smooth_pictures(4))
        assert words in objections[0].reason


def test_honest_models_are_not_refused_by_the_self_audit(convnet, smooth_pictures):
    """Small patches, a mixed batch on a wide stem, and a linear layer on a batch larger than it has rows."""
    torch.manual_seed(0)
    stem = nn.Sequential(
        nn.Conv2d(3, 32, 7, stride=2, padding=3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 10),
    )  # fmt: skip
    wide = nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.GELU(), nn.Linear(16, 10))
    for model, n in ((convnet(), 16), (CnnEncoder(16, "all"), 16), (stem, 16), (wide, 64)):
        found = self_audit(observed(model, n), smooth_pictures(n, seed=4), torch.arange(n) % 10)
        assert found.verdict in ("no copy found", "not judged")
        assert found.verdict == "not judged" or found.worst < found.blind + 10 or found.worst < 30


def test_what_was_not_read_is_said_and_not_called_safe(convnet, smooth_pictures):
    pictures, target = smooth_pictures(1), torch.tensor([3])
    head = self_audit(observed(convnet()), pictures, target)
    assert (head.verdict, head.worst) == ("not judged", None)
    assert any("layer '5' gives its input away" in reason for reason in head.reasons)
    vector = self_audit(observed(Elementwise()), pictures, target)
    assert vector.verdict == "not judged"
    assert any("'gain' (768,) belongs to no layer" in reason for reason in vector.reasons)
    seen = Observation(
        nn.Linear(8, 3), nn.Linear(8, 3).state_dict(), (8,), training=LocalTraining(0.1), loss=cross_entropy
    )
    with pytest.raises(AttackError, match="no picture's"):
        self_audit(seen, torch.rand(1, 8), target[:1] - 1)


def test_honest_oddities_pass():
    """A head of zeros of which half of the classes were seen, a dead channel, and means in 0 to 255."""
    draws = torch.Generator().manual_seed(0)
    features, targets = torch.randn(400, 80, generator=draws), torch.randint(0, 5, (400,), generator=draws)
    head = nn.Linear(80, 10)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(head.parameters(), 0.1)
    for _ in range(50):
        optimizer.zero_grad()
        cross_entropy(head(features), targets).mean().backward()
        optimizer.step()
    assert vet_weights(head.state_dict()) == []
    norm = nn.BatchNorm1d(4)
    norm.running_var[2] = 0.0
    assert vet_weights(norm.state_dict()) == []
    assert vet_weights({"pixel_mean": torch.tensor([123.7, 116.3, 103.5]).view(3, 1, 1)}) == []


def test_empty_and_complex_tensors_are_named():
    broken = {"a": torch.zeros(0, 4), "b": torch.full((4,), float("nan"), dtype=torch.complex64)}
    assert {o.tensor: o.reason.split(",")[0] for o in vet_weights(broken)} == {
        "a": "is empty",
        "b": "is complex",
    }


@pytest.mark.parametrize(
    "limits", [{"parallel_rows": 0}, {"value": float("nan")}, {"gain": float("inf")}, {"angle": 0.0}]
)
def test_limits_that_mean_nothing_are_refused(limits):
    with pytest.raises(AttackError, match="must be"):
        VettingLimits(**limits)

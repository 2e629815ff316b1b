"""DP-SGD: clipped sums against one picture at a time, the noise, and the refusal of what mixes pictures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attacks.sensitivity import probe_sensitivity
from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy import dp_sgd
from fedstyle_secure.privacy.dp_sgd import (
    DPTrainer,
    GradientCanaries,
    clipped_gradient_sum,
    picture_gradients,
)
from fedstyle_secure.privacy.mechanisms import DpSgd
from fedstyle_secure.privacy.picture_loss import PictureLoss
from fedstyle_secure.systems.style.cnn import CnnEncoder
from fedstyle_secure.systems.style.losses import InBatchContrast, PrototypeContrast

ANCHORS = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def prototype_loss():
    return PrototypeContrast(lambda: ANCHORS, temperature=0.1, alignment=0.5)


def pictures(n, views=1, size=32):
    inputs = torch.rand(n, views, 3, size, size) * 2 - 1
    targets = torch.stack([torch.arange(n) % 5, torch.full((n,), -1)], dim=1)
    targets[0, 1] = 3
    return inputs, targets


def one_at_a_time(module, loss, inputs, targets, clip):
    """The reference: a loop over pictures, each clipped on its own."""
    total = 0.0
    for views, target in zip(inputs, targets, strict=True):
        module.zero_grad()
        loss(module(views), target[None].expand(len(views), -1)).mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in module.parameters() if p.requires_grad])
        total = total + gradient * min(1.0, clip / float(gradient.norm()))
    return total


@pytest.mark.parametrize("train", ["head", "norms", "all"])
@pytest.mark.parametrize("views", [1, 3])
def test_clipped_sum_equals_one_picture_at_a_time(train, views):
    encoder = CnnEncoder(dim=8, train=train)
    images, targets = pictures(6, views)
    inputs = torch.stack([encoder.prepare(_bytes(v)) for v in images.unbind(1)], dim=1)
    for clip in (0.05, 10.0):
        ours = clipped_gradient_sum(encoder, prototype_loss(), inputs, targets, clip)
        theirs = one_at_a_time(encoder, prototype_loss(), inputs, targets, clip)
        assert (ours - theirs).abs().max() < 1e-5
    assert ours.norm() > 1e-3


def _bytes(images):
    return ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def test_views_of_a_picture_count_as_one_record():
    encoder = CnnEncoder(dim=8, train="all")
    inputs, targets = pictures(1, views=4)
    assert clipped_gradient_sum(encoder, prototype_loss(), inputs, targets, 0.01).norm() <= 0.01


def test_a_picture_with_nan_counts_as_zero():
    encoder = CnnEncoder(dim=8, train="all")
    inputs, targets = pictures(5)
    without = clipped_gradient_sum(encoder, prototype_loss(), inputs[1:], targets[1:], 0.1)
    inputs[0] = float("nan")
    assert torch.allclose(
        clipped_gradient_sum(encoder, prototype_loss(), inputs, targets, 0.1), without, atol=1e-6
    )


def step_noise(inputs, targets, plan, seed=0, rate=1.0):
    """What a plan's steps added to the weights."""
    torch.manual_seed(seed)
    encoder = CnnEncoder(dim=inputs.shape[-1], train="head")
    before = encoder.head.weight.detach().clone()
    anchors = F.normalize(torch.randn(5, inputs.shape[-1]), dim=1)
    loss = PrototypeContrast(lambda: anchors, 0.1, 0.5)
    rng = np.random.default_rng(seed)
    trainer = DPTrainer(encoder, loss, plan, rate, read=np.random.default_rng(seed + 1).bytes)
    trainer.fit(inputs, targets, rng)
    return (encoder.head.weight.detach() - before).numpy()


def test_an_empty_poisson_batch_is_a_step_of_pure_noise_of_the_stated_deviation():
    inputs = torch.randn(4, 1, 384)
    targets = torch.zeros(4, 2, dtype=torch.int64)
    plan = DpSgd(clip_norm=0.5, noise_multiplier=2.0, sampling_rate=1e-12, steps=3, expected_batch_size=4.0)
    noise = step_noise(inputs, targets, plan)
    # 147,456 samples: relative deviation 0.0018; 2 % alarms falsely below 1e-25.
    assert abs(noise.std() / (math.sqrt(3) * 2.0 * 0.5 / 4.0) - 1) < 0.02
    assert plan.update_deviation(1.0) == pytest.approx(math.sqrt(3) * 2.0 * 0.5 / 4.0)
    assert plan.update_deviation(0.1) == pytest.approx(plan.update_deviation(1.0) / 10)


def test_the_divisor_is_the_public_one_and_not_the_drawn_batch():
    inputs = torch.randn(8, 1, 384)
    targets = torch.stack([torch.arange(8) % 5, torch.full((8,), -1)], dim=1)
    sizes = [
        np.linalg.norm(step_noise(inputs, targets, DpSgd(math.inf, 0.0, 1.0, 1, divisor)))
        for divisor in (4.0, 8.0)
    ]
    assert sizes[0] == pytest.approx(2 * sizes[1], rel=1e-5)


class Centred(nn.Module):
    """Subtracts the batch's mean: mixes pictures without any BatchNorm to name."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 8, bias=False)

    def forward(self, x):
        return F.normalize(self.head(x - x.mean(0)), dim=1)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.norm = (
            nn.Linear(6, 8, bias=False),
            nn.BatchNorm1d(8, affine=False, track_running_stats=False),
        )

    def forward(self, x):
        return F.normalize(self.norm(self.head(x)), dim=1)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 8, bias=False)

    def forward(self, x):
        return F.normalize(self.head(x), dim=1)


class Detached(nn.Module):
    """Subtracts the batch's mean without a gradient through it."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 8, bias=False)

    def forward(self, x):
        return F.normalize(self.head(x - x.mean(0).detach()), dim=1)


class Remembering(nn.Module):
    """Keeps a running mean of what it saw."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 8, bias=False)
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x):
        self.seen = 0.9 * self.seen + 0.1 * x.detach().mean(0)
        return F.normalize(self.head(x), dim=1)


PLAN = DpSgd(1.0, 1.0, 0.5, 1, 4.0)


class Classes(InBatchContrast):
    """In-batch contrast over the first column of the targets."""

    def __call__(self, embeddings, targets):
        return super().__call__(embeddings, targets[:, 0])


@pytest.mark.parametrize(
    ("module", "loss", "name"),
    [
        (Normed(), prototype_loss(), "'norm' \\(BatchNorm1d\\)"),
        (Centred(), prototype_loss(), "Centred mixes"),
        (Detached(), prototype_loss(), "Detached mixes"),
        (Remembering(), prototype_loss(), "Remembering mixes"),
        (Plain(), Classes(0.1), "'in-batch contrast' contrasts"),
    ],
)
def test_what_mixes_pictures_is_refused_by_name(module, loss, name):
    inputs = torch.randn(6, 1, 6)
    targets = torch.zeros(6, 2, dtype=torch.int64)
    with pytest.raises(PrivacyError, match=name):
        DPTrainer(module, loss, PLAN, 0.1).fit(inputs, targets, np.random.default_rng(0))


def probe(module, loss, adjacency, bound, summed=clipped_gradient_sum):
    """300 random and adversarial trials on vectors of six values."""

    def clipped_sum(batch):
        inputs = torch.from_numpy(batch[:, None, :-1].astype(np.float32))
        targets = torch.zeros(len(batch), 2, dtype=torch.int64)
        targets[:, 0] = torch.from_numpy(np.abs(batch[:, -1]).astype(np.int64) % 5)
        targets[:, 1] = -1
        return summed(module.train(), loss, inputs, targets, 1.0).numpy()

    rng = np.random.default_rng(0)
    pool = np.concatenate([rng.normal(size=(60, 6)), rng.integers(0, 2, (60, 1))], axis=1)
    return probe_sensitivity(clipped_sum, pool, bound, adjacency, rng, trials=300)


@pytest.mark.parametrize(("adjacency", "bound"), [("add-remove", 1.0), ("replace", 2.0)])
def test_one_picture_never_moves_the_clipped_sum_beyond_the_bound(adjacency, bound):
    report = probe(Plain(), prototype_loss(), adjacency, bound)
    assert report.trials == 300
    assert report.holds
    assert report.worst > 0.5 * bound


@pytest.mark.parametrize(
    ("module", "loss"), [(Plain(), Classes(0.1)), (Normed(), prototype_loss())], ids=["in-batch", "BatchNorm"]
)
def test_the_same_probe_fails_where_pictures_share_a_batch_that_mixes_them(module, loss, benchmark_module):
    hooks = benchmark_module("opacus_hooks")

    def hooked_sum(module, loss, inputs, targets, clip):
        if isinstance(module, Normed) and len(inputs) == 1:
            return torch.zeros(48)
        rows = torch.stack([torch.from_numpy(r) for r in hooks.hooked_rows(module, loss, inputs, targets)])
        return (rows / (rows.norm(dim=1, keepdim=True) / clip).clamp(min=1)).sum(0)

    assert not probe(module, loss, "add-remove", 1.0, hooked_sum).holds


def moved_by(module, plan, canaries, inputs=None, targets=None, seed=0):
    """What training moved the flattened trainable parameters by, in units of the step, sign turned back."""
    inputs = torch.zeros(0, 1, 6) if inputs is None else inputs
    targets = torch.zeros(0, 2, dtype=torch.int64) if targets is None else targets
    parameters = [p for p in module.parameters() if p.requires_grad]
    with torch.no_grad():
        # From zero nothing is lost to rounding.
        for p in parameters:
            p.zero_()
    DPTrainer(module, prototype_loss(), plan, 1.0).fit(inputs, targets, np.random.default_rng(seed), canaries)
    after = torch.cat([p.detach().flatten() for p in parameters]).double().numpy()
    return -after * plan.expected_batch_size


class TwoLayers(Plain):
    """Several parameters, with one that does not train between them."""

    def __init__(self):
        super().__init__()
        self.fixed = nn.Parameter(torch.ones(3), requires_grad=False)
        self.tail = nn.Linear(8, 8)

    def forward(self, x):
        return F.normalize(self.tail(self.head(x)), dim=1)


@pytest.mark.parametrize("length", [1.0, 20.0])
def test_canaries_alone_sum_to_the_clip_norm_at_their_coordinates_however_long_they_are(length):
    plan = DpSgd(0.7, 0.0, 1.0, 1, 4.0)
    # Ends and starts of all three parameters: 48 + 64 + 8 values.
    places = (0, 47, 48, 111, 112, 119, 5)
    total = moved_by(TwoLayers(), plan, GradientCanaries(places, 0.7 * length))
    expected = np.zeros(120)
    expected[list(places)] = 0.7
    # Opacus divides by the length plus 1e-6.
    assert np.abs(total - expected).max() < 2e-6
    assert (total[expected == 0] == 0).all()


def test_a_shorter_canary_stays_as_it_is_and_without_a_clip_so_does_a_longer_one():
    for clip, norm in ((0.7, 0.5), (math.inf, 30.0)):
        total = moved_by(Plain(), DpSgd(clip, 0.0, 1.0, 1, 4.0), GradientCanaries((3,), norm))
        assert total[3] == pytest.approx(norm, abs=1e-6)


def test_canaries_add_to_the_pictures_and_change_nothing_of_theirs():
    inputs, targets = torch.randn(6, 2, 6), torch.zeros(6, 2, dtype=torch.int64)
    targets[:, 1] = -1
    plan = DpSgd(0.3, 0.0, 1.0, 1, 4.0)

    def total(canaries):
        # At zero weights nothing has a gradient, so these start elsewhere.
        module = Plain()
        with torch.no_grad():
            module.head.weight.copy_(torch.linspace(-1, 1, 48).reshape(8, 6))
        before = module.head.weight.detach().clone()
        DPTrainer(module, prototype_loss(), plan, 1.0).fit(
            inputs, targets, np.random.default_rng(0), canaries
        )
        return (before - module.head.weight.detach()).flatten() * plan.expected_batch_size

    without, both = total(GradientCanaries((), 1.0)), total(GradientCanaries((7, 20), 1.0))
    assert without.norm() > 0.1
    difference = both - without
    assert difference[[7, 20]].numpy() == pytest.approx([0.3, 0.3], abs=1e-5)
    difference[[7, 20]] = 0
    assert difference.abs().max() < 1e-5


def test_a_canary_is_drawn_as_often_as_a_picture():
    rate, steps = 0.3, 3000
    plan = DpSgd(1.0, 0.0, rate, steps, 1.0)
    times = moved_by(Plain(), plan, GradientCanaries((1, 2), 1.0))[[1, 2]]
    # Binomial counts; 5 deviations of 25.1 draws: a false alarm below 2e-6 for both together.
    assert np.abs(times - rate * steps).max() < 5 * math.sqrt(steps * rate * (1 - rate))
    # And by draws of their own: equal counts all along would be one draw for both.
    assert abs(times[0] - times[1]) > 0.5


def test_noise_lies_on_canaries_as_on_everything():
    plan = DpSgd(0.5, 0.6, 1.0, 1, 4.0)
    places = tuple(range(0, 147_000, 490))
    canaries = GradientCanaries(places, 0.5)
    module = CnnEncoder(dim=384, train="head")
    there = moved_by(module, plan, canaries, torch.zeros(0, 1, 384))[list(places)]
    # 300 samples of N(0.5, 0.3^2): 6 deviations of the sample's deviation (4.1 %) and of its mean (0.017),
    # which alarm falsely below 1e-8.
    assert abs(there.std() / 0.3 - 1) < 0.25
    assert abs(there.mean() - 0.5) < 0.104


def test_a_canary_outside_the_parameters_is_refused():
    with pytest.raises(PrivacyError, match="coordinates 0 to 47"):
        moved_by(Plain(), PLAN, GradientCanaries((48,), 1.0))


@pytest.mark.parametrize("clip", [0.05, 10.0, math.inf])
def test_an_auditors_rows_add_up_to_the_clipped_sum(clip):
    encoder = CnnEncoder(dim=8, train="all")
    images, targets = pictures(5, 2)
    rows = picture_gradients(encoder, prototype_loss(), images, targets, clip)
    # It leaves nothing behind that the next training would take for its own.
    assert all(p.grad is None and getattr(p, "grad_sample", None) is None for p in encoder.parameters())
    assert rows.norm(dim=1).max() <= clip * (1 + 1e-5)
    theirs = clipped_gradient_sum(encoder, prototype_loss(), images, targets, clip)
    assert (rows.sum(0) - theirs).abs().max() < 1e-4


def test_without_a_clip_a_few_records_share_a_product_and_memory_does_not_grow():
    """A thousand crops in one product took 700 MB, and one that was not finite took all others along."""
    seen = []

    class Watching(Plain):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    module, plan = Watching(), DpSgd(math.inf, 0.0, 1.0, 1, 1)
    inputs, targets = torch.randn(200, 2, 6), torch.tensor([[0, -1]] * 200)
    inputs[7] = math.nan
    before = module.head.weight.detach().clone()
    DPTrainer(module, prototype_loss(), plan, 1.0).fit(inputs, targets, np.random.default_rng(0))
    moved = before - module.head.weight.detach()
    assert max(seen) <= 2 * dp_sgd._TOGETHER < len(inputs)
    with torch.no_grad():
        module.head.weight.copy_(before)
    expected = one_at_a_time(
        module, prototype_loss(), inputs[dp_sgd._TOGETHER :], targets[dp_sgd._TOGETHER :], math.inf
    )
    assert torch.allclose(moved.flatten(), expected, atol=1e-4 * float(expected.abs().max()))


class Forgetful(Plain):
    """Drops values at random, so that a picture's gradient hangs on how many came before it."""

    def forward(self, x):
        return F.normalize(self.head(F.dropout(x, 0.5)), dim=1)


class Counting(Plain):
    """Keeps a state that no buffer shows."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += 1
        return F.normalize(self.head(x * self.seen + 1), dim=1)


@pytest.mark.parametrize("module", [Forgetful(), Counting()])
def test_a_record_whose_gradient_is_not_its_own_is_refused_by_the_parameter(module):
    inputs, targets = torch.randn(6, 1, 6), torch.tensor([[0, -1]] * 6)
    with pytest.raises(PrivacyError, match=r"mixes|gradient of 'head.weight' for one record"):
        DPTrainer(module, prototype_loss(), PLAN, 0.1).fit(inputs, targets, np.random.default_rng(0))


class Hoarding(PictureLoss):
    """Remembers from the second record on, which a try of two records does not see."""

    name = "hoarding"

    def __init__(self):
        self.seen = []

    def __call__(self, embeddings, targets):
        self.seen.append(embeddings.detach().sum())
        return embeddings.sum(dim=1) * (sum(self.seen) if len(self.seen) > 60 else 1.0)


def test_a_loss_that_remembers_records_is_refused_at_the_end_of_the_step():
    inputs, targets = torch.randn(40, 1, 6), torch.tensor([[0, -1]] * 40)
    plan = replace(PLAN, steps=4, sampling_rate=1.0)
    with pytest.raises(PrivacyError, match="'hoarding' remembers records"):
        DPTrainer(Plain(), Hoarding(), plan, 0.1).fit(inputs, targets, np.random.default_rng(0))


class Bent(nn.Module):
    """A convolution whose input does not lie channel by channel, where Opacus' hooks go wrong in silence."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        x = torch.tanh(self.first(x)).contiguous(memory_format=torch.channels_last)
        return F.normalize(self.second(x).mean((2, 3)), dim=1)


def test_rows_are_checked_and_not_believed(monkeypatch, benchmark_module):
    inputs, targets = torch.randn(4, 1, 3, 8, 8), torch.tensor([[0, -1]] * 4)

    def fit():
        DPTrainer(Bent(), prototype_loss(), PLAN, 0.1).fit(inputs, targets, np.random.default_rng(0))

    fit()
    hooks = benchmark_module("opacus_hooks")
    monkeypatch.setattr(dp_sgd, "record_rows", hooks.hooked_rows)
    with pytest.raises(PrivacyError, match=r"gradient of 'second.weight' for one record is not that"):
        fit()


def test_a_refusal_tells_nothing_of_the_pictures(monkeypatch):
    """Module and loss are tried on records that everybody knows."""
    seen = []
    monkeypatch.setattr(dp_sgd, "refuse_mixing", lambda module, loss, inputs, targets: seen.append(inputs))
    monkeypatch.setattr(dp_sgd, "require_own_rows", lambda module, loss, inputs, targets: seen.append(inputs))
    for _ in range(2):
        inputs, targets = torch.randn(6, 1, 6), torch.tensor([[0, -1]] * 6)
        DPTrainer(Plain(), prototype_loss(), PLAN, 0.1).fit(inputs, targets, np.random.default_rng(0))
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not any(torch.equal(row, own) for row in seen[3] for own in inputs)

"""The probe of per-record gradients: silent on right rows, and it names the layers that two kinds of memory
layout break in Opacus 1.6 while its validator finds nothing."""

import pytest
import torch
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn import functional as F

from attacks.errors import AttackError
from attacks.rows import probe_rows


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Mixer(nn.Module):
    """Convolution, attention over places, convolution: the middle of a diffusion UNet."""

    def __init__(self, *, contiguous):
        super().__init__()
        self.before = nn.Conv2d(3, 8, 3, padding=1)
        self.attend = nn.Linear(8, 8)
        self.after = nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)
        self.contiguous = contiguous

    def forward(self, x):
        x = F.silu(self.before(x))
        b, c, h, w = x.shape
        places = self.attend(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(b, c, h, w)
        if self.contiguous:
            places = places.contiguous()
        return self.head(F.silu(self.after(places)).mean((2, 3)))


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1),
        nn.GroupNorm(2, 8),
        nn.GELU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def own_loss(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


def hooked(model, loss=own_loss):
    """What a DP run by Opacus trains on."""
    wrapped = GradSampleModule(model, loss_reduction="sum")

    def rows_of(inputs, targets):
        wrapped.zero_grad()
        loss(wrapped(inputs.requires_grad_(True)), targets).sum().backward()
        return {name: p.grad_sample for name, p in model.named_parameters()}

    return rows_of


def batch(layout=torch.contiguous_format):
    return torch.randn(5, 3, 8, 8).contiguous(memory_format=layout), torch.tensor([0, 1, 1, 0, 1])


@pytest.mark.parametrize("make", [small_cnn, lambda: Mixer(contiguous=True)])
def test_right_rows_hold(make):
    model = make()
    report = probe_rows(model, own_loss, *batch(), hooked(model))
    assert report.holds, str(report)
    assert max(report.errors.values()) < 1e-4
    assert "are right" in str(report)


def test_a_convolution_behind_attention_is_named():
    """Published: relative error 1.0 on a UNet, no error of the validator."""
    model = Mixer(contiguous=False)
    assert ModuleValidator.validate(model, strict=False) == []
    report = probe_rows(model, own_loss, *batch(), hooked(model))
    assert report.wrong == ("after.weight",)
    assert report.errors["after.weight"] > 0.5
    assert "after.weight" in str(report)


def test_a_convolution_of_channels_last_pictures_is_named():
    model = small_cnn()
    assert ModuleValidator.validate(model, strict=False) == []
    report = probe_rows(model, own_loss, *batch(torch.channels_last), hooked(model))
    assert "0.weight" in report.wrong
    assert report.errors["0.weight"] > 0.5


def right_rows(model):
    def rows_of(inputs, targets):
        rows = {name: [] for name, _ in model.named_parameters()}
        for x, y in zip(inputs, targets, strict=True):
            gradients = torch.autograd.grad(own_loss(model(x[None]), y[None]).sum(), list(model.parameters()))
            for name, gradient in zip(rows, gradients, strict=True):
                rows[name].append(gradient)
        return {name: torch.stack(found) for name, found in rows.items()}

    return rows_of


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows.pop("6.bias"),
        lambda rows: rows.update({"6.bias": rows["6.bias"][:4]}),
        lambda rows: rows.update({"6.bias": rows["6.bias"].sum(0)}),
        lambda rows: rows.update({"6.bias": rows["6.bias"] * 1.01}),
        lambda rows: rows.update({"6.bias": rows["6.bias"].flip(0)}),
        lambda rows: rows["6.bias"][3].fill_(float("nan")),
    ],
    ids=["missing", "one short", "summed", "a hundredth longer", "in another order", "not a number"],
)
def test_the_parameter_whose_rows_are_spoilt_is_the_one_that_is_named(spoil):
    model = small_cnn()

    def rows_of(inputs, targets):
        rows = right_rows(model)(inputs, targets)
        spoil(rows)
        return rows

    assert probe_rows(model, own_loss, *batch(), right_rows(model)).holds
    assert probe_rows(model, own_loss, *batch(), rows_of).wrong == ("6.bias",)


def test_a_layer_that_draws_at_random_is_named_and_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Dropout(0.5), nn.Linear(8, 2)).train()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    assert set(probe_rows(model, own_loss, *batch(), right_rows(model)).wrong) >= {"1.weight", "3.weight"}
    assert model.training
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())
    assert probe_rows(model.eval(), own_loss, *batch(), right_rows(model)).holds


def test_what_is_no_comparison_is_refused():
    model = small_cnn()
    x, y = batch()
    for given in ((x[:1], y[:1]), (x, y[:4])):
        with pytest.raises(AttackError, match="2 records or more"):
            probe_rows(model, own_loss, *given, right_rows(model))
    with pytest.raises(AttackError, match="tolerance must be a number in"):
        probe_rows(model, own_loss, x, y, right_rows(model), tolerance=0.0)
    with pytest.raises(AttackError, match="requires a gradient"):
        probe_rows(small_cnn().requires_grad_(False), own_loss, x, y, right_rows(model))

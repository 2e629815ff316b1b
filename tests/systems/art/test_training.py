"""What artists of private AI art train on, and the factors that they train."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.errors import ConfigError, FederationError, PrivacyError
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.dp_sgd import record_rows, require_own_rows
from fedstyle_secure.system import system_bound
from fedstyle_secure.systems.art.backbone.folder import backbone
from fedstyle_secure.systems.art.factors import OWN, SHARED, add_factors, merge_factors
from fedstyle_secure.systems.art.records import Looker, LookLoss, drawn_for, looks
from fedstyle_secure.systems.art.system import ArtSystem


def pictures(number, seed=0, size=32):
    return np.random.default_rng(seed).integers(0, 256, (number, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def sent(settings):
    """A system, the state that artists are sent first, and an artist's portfolio."""
    config = settings()
    gallery = open_gallery(config.gallery)
    system = system_bound(config)
    assert isinstance(system, ArtSystem)
    return system, system.learn([]), gallery.portfolio(gallery.artists[0])


def spread_out(model):
    """Trained weights that are not where they began, where second factors are zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p += 0.05 * torch.randn(p.shape, generator=generator)
    return model


def test_a_works_row_is_the_mean_over_its_looks_one_at_a_time(sent):
    """Opacus' own hooks give wrong rows for such networks: after attention, and for factored convolutions."""
    system, state, portfolio = sent
    model = spread_out(system.model(state))
    records = system.records(model, state, "a", system.inputs(model, portfolio), portfolio)
    rows = list(record_rows(model, system.loss(model, state), records.inputs[:3], records.targets[:3]))
    trained = [p for p in model.parameters() if p.requires_grad]
    for row, views in zip(rows, records.inputs[:3], strict=True):
        naive = torch.zeros(row.size, dtype=torch.float64)
        for view in views:
            loss = model(view[None]).square().mean()
            parts = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
            naive += torch.cat([p.flatten() for p in parts]).double() / len(views)
        error = np.linalg.norm(row - naive.numpy()) / np.linalg.norm(naive.numpy())
        assert np.linalg.norm(row) > 0
        assert error < 1e-4
    (alone,) = record_rows(model, system.loss(model, state), records.inputs[2:3], records.targets[2:3])
    assert np.array_equal(alone, rows[2])


def test_a_layer_whose_rows_are_wrong_is_named_before_anything_is_released(sent):
    system, state, portfolio = sent
    model = spread_out(system.model(state))
    inputs = system.inputs(model, portfolio)[:2]
    require_own_rows(model, LookLoss(), inputs, torch.zeros(2, dtype=torch.int64))

    class Remembers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.seen = model, 0.0

        def forward(self, looked):
            self.seen += 1.0
            return self.inner(looked) * self.seen

    with pytest.raises(PrivacyError, match="is not that of the record alone"):
        require_own_rows(Remembers(), LookLoss(), inputs, torch.zeros(2, dtype=torch.int64))


def test_a_look_hangs_on_its_picture_alone(small):
    many, model = pictures(6), backbone(str(small)).build()
    conditions = np.arange(6) % 2
    whole = looks(model, many, conditions, draws=3, seed=1)
    kept = np.array([4, 1])
    assert torch.equal(looks(model, many[kept], conditions[kept], 3, 1), whole[torch.from_numpy(kept)])
    assert not torch.equal(looks(model, many, conditions, 3, 2)[:, :, 3:6], whole[:, :, 3:6])
    assert len({one.numpy().tobytes() for one in whole[:, :, 3:6].flatten(0, 1)}) == 18


@given(draws=st.integers(1, 12), seed=st.integers(0, 2**31 - 1))
def test_times_of_a_picture_are_spread(draws, seed):
    time, noise = drawn_for(pictures(1)[0], torch.zeros(3, 32, 32), draws, 1000, seed)
    middles = (np.arange(draws) + 0.5) * 1000 / draws
    assert np.abs(time.numpy() - middles).max() <= 500 / draws + 1
    assert noise.shape == (draws, 3, 32, 32)


def test_the_loss_of_looks_is_the_denoising_loss(small):
    model, works = backbone(str(small)).build(), pictures(2)
    found = looks(model, works, np.array([0, 2]), draws=4, seed=9)
    with torch.no_grad():
        losses = LookLoss()(Looker(model)(found.flatten(0, 1)), torch.zeros(8)).reshape(2, 4)
        for row, work, condition in zip(losses, works, (0, 2), strict=True):
            clean = torch.from_numpy(work).permute(2, 0, 1).float() / 127.5 - 1
            time, noise = drawn_for(work, clean, 4, model.steps, 9)
            for loss, t, n in zip(row, time, noise, strict=True):
                one = model.denoising_losses(clean[None], n[None], t[None], torch.tensor([condition]))
                assert torch.allclose(loss, one[0], rtol=1e-4)


def test_whatever_is_sent_as_a_look_is_one(small):
    """Checks before training look at noise: a time or condition that there is none of must not fail."""
    model = Looker(backbone(str(small)).build())
    for value in (-1e30, 1e30, float("nan"), 0.5):
        assert model(torch.full((1, 7, 32, 32), value)).shape == (1, 3 * 32 * 32)


def test_factors_change_nothing_at_first_and_merge_into_what_they_were(small):
    plain = backbone(str(small)).build()
    factored = copy.deepcopy(plain)
    add_factors(factored.unet, 2, SHARED, 7, first_trains=False)
    noisy = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    asked = (noisy, torch.tensor([10, 900]), torch.tensor([0, 2]))
    with torch.no_grad():
        assert torch.equal(plain(*asked), factored(*asked))
        spread_out(factored)
        changed = factored(*asked)
        assert (changed - plain(*asked)).abs().max() > 0.01
        merge_factors(factored.unet)
        assert torch.allclose(factored(*asked), changed, atol=1e-4)
    assert list(factored.state_dict()) == list(plain.state_dict())


def test_the_mean_of_second_factors_is_the_mean_of_the_changes(small):
    """Which two trained factors would not give: why the first one is held."""

    def merged(seconds, firsts=None):
        model = backbone(str(small)).build()
        add_factors(model.unet, 2, SHARED, 7, first_trains=False)
        named = dict(model.unet.named_parameters())
        with torch.no_grad():
            for name, parameter in named.items():
                if "lora_B" in name:
                    parameter.copy_(seconds[name])
                elif "lora_A" in name and firsts is not None:
                    parameter.copy_(firsts[name])
        merge_factors(model.unet)
        return torch.cat([p.detach().flatten() for p in model.unet.parameters()])

    model = backbone(str(small)).build()
    add_factors(model.unet, 2, SHARED, 7, first_trains=False)
    shapes = {n: p.shape for n, p in model.unet.named_parameters() if "lora_" in n}
    one, other = (
        {n: torch.randn(s, generator=torch.Generator().manual_seed(k)) for n, s in shapes.items()}
        for k in (1, 2)
    )
    mean = {n: (one[n] + other[n]) / 2 for n in shapes}
    exact = (merged(one) + merged(other)) / 2
    assert torch.allclose(merged(mean), exact, atol=1e-4)
    both = (merged(one, one) + merged(other, other)) / 2
    assert (merged(mean, mean) - both).abs().max() > 0.1


def test_first_factors_are_held_where_they_are_shared_and_train_where_they_are_an_artists_own(small):
    for name, first in ((SHARED, False), (OWN, True)):
        model = backbone(str(small)).build()
        add_factors(model.unet, 2, name, 0, first_trains=first)
        trains = {n for n, p in model.unet.named_parameters() if p.requires_grad}
        assert all(f".{name}." in n for n in trains)
        assert any("lora_A" in n for n in trains) is first
        assert any("lora_B" in n for n in trains)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"texts": {}}, "are no backbone's"),
        ({"texts": lambda t: {**t, "conditions": ("one", "two")}}, "another backbone than was agreed to"),
        ({"texts": lambda t: {**t, "network": ("{",)}}, "another backbone than was agreed to"),
        ({"fixed": lambda f: {k: a + np.float32("base" in k) for k, a in f.items()}}, "another backbone"),
        ({"fixed": lambda f: {k: a * (1 + ("lora" in k)) for k, a in f.items()}}, "does not follow from run"),
        ({"texts": lambda t: {**t, "network": tuple(t["network"][0])}}, "is not one text"),
        (
            {"fixed": lambda f: {k: a.astype(np.float64) if "lora" in k else a for k, a in f.items()}},
            "does not follow from run",
        ),
        ({"trained": lambda t: {**t, "more": np.zeros(3, np.float32)}}, "'more' is missing or foreign"),
        ({"trained": lambda t: {k: a[:-1] for k, a in t.items()}}, "must be float32 of shape"),
        ({"trained": lambda t: {k: a.astype(np.float64) for k, a in t.items()}}, "must be float32"),
        ({"trained": lambda t: {k: np.full_like(a, np.nan) for k, a in t.items()}}, "values beyond 1000"),
        ({"fixed": lambda f: {**f, "more": np.zeros(3, np.float32)}}, "another backbone"),
        ({"fixed": lambda f: {**f, "x.lora_A.y": np.zeros(3, np.float32)}}, "missing or foreign in fixed"),
        ({"public": lambda p: {k: np.full_like(a, 1e6) for k, a in p.items()}}, "values beyond 1000"),
    ],
)
def test_what_no_honest_platform_sends_is_refused(sent, change, says):
    from dataclasses import replace

    system, state, _ = sent
    system.admit(state, 3)
    made = {key: value(getattr(state, key)) if callable(value) else value for key, value in change.items()}
    with pytest.raises(FederationError, match=says):
        system.admit(replace(state, **made), 3)


def test_labels_that_the_backbone_does_not_know_ask_for_nothing(small):
    model = backbone(str(small)).build()
    assert model.asked_by(("poster", "neon", "", "mosaic")).tolist() == [1, 2, 2, 0]


def test_settings_that_do_not_go_together_are_refused(settings):
    config = settings(training={"local_steps": 0})
    with pytest.raises(ConfigError, match=r"training\.local_steps = 0"):
        ArtSystem(config).check(open_gallery(config.gallery).artists)
    for change, says in (
        ({"gallery": {"size": 64}}, r"gallery\.size = 64: the backbone makes pictures of 32"),
        ({"art": {"backbone": "/nowhere"}}, "is not there; valid is a folder"),
        (
            {"art": {"backbone_sha256": ""}},
            "valid are both, or neither .*of the folder is [0-9a-f]{64}",
        ),
        ({"art": {"backbone_sha256": "0" * 64}}, r"is another one than art\.backbone_sha256 says"),
        ({"art": {"backbone": ""}}, "valid are both, or neither"),
    ):
        with pytest.raises(ConfigError, match=says):
            ArtSystem(settings(**change)).require_learnable()

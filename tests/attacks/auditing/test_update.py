"""A captured update of any optimiser: right descriptions replay, wrong ones are named, leaks are said."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn, optim
from torch.nn import functional as F

from attacks import AttackError, LocalTraining, Observation, audit_update, captured, difference, replay_update
from attacks.auditing.update import as_plain
from attacks.inversion.unroll import UnrolledClient
from attacks.observation import cross_entropy
from attacks.optimisers import Memory, stepped
from attacks.replay import simulate
from attacks.results import Budget, Evidence

LITTLE = Budget(steps=150, restarts=1)


def told(rate, steps=3, **given):
    return LocalTraining(rate, steps=steps, epochs=steps, batch_size=4, **given)


def decaying(parameters):
    optimizer = optim.SGD(parameters, 0.1)
    return optimizer, optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


OPTIMISERS = {
    "momentum": (lambda p: optim.SGD(p, 0.1, 0.9), told(0.1, momentum=0.9), "momentum: 0.9"),
    "Nesterov": (
        lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True),
        told(0.1, momentum=0.9, nesterov=True),
        "optimiser: SGD with Nesterov's momentum 0.9",
    ),
    "weight decay": (
        lambda p: optim.SGD(p, 0.1, weight_decay=0.03),
        told(0.1, weight_decay=0.03),
        "weight decay: 0.03",
    ),
    "all of SGD": (
        lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=0.05, nesterov=True),
        told(0.1, momentum=0.9, weight_decay=0.05, nesterov=True),
        "optimiser: SGD with Nesterov's momentum 0.9, weight decay 0.05",
    ),
    "Adam": (lambda p: optim.Adam(p, 1e-3), told(1e-3, optimizer="adam"), "optimiser: Adam"),
    "Adam with decay": (
        lambda p: optim.Adam(p, 1e-3, (0.8, 0.95), weight_decay=0.01),
        told(1e-3, optimizer="adam", weight_decay=0.01, betas=(0.8, 0.95)),
        "optimiser: Adam with betas 0.8 and 0.95, weight decay 0.01",
    ),
    "AdamW": (
        lambda p: optim.AdamW(p, 1e-3),
        told(1e-3, optimizer="adamw", weight_decay=0.01),
        "optimiser: AdamW with weight decay 0.01",
    ),
    "a schedule": (
        decaying,
        told(0.1, schedule=(1.0, 0.5, 0.25)),
        "optimiser: SGD with a schedule: rates times 1, 0.5, 0.25",
    ),
}


def client(make, steps=3, batch=4, seed=0):
    """A net before and after, and what it trained on."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.GELU(), nn.Flatten(), nn.Linear(6 * 64, 5))
    pictures = F.interpolate(torch.rand(batch, 3, 4, 4), size=16, mode="bicubic").clamp(0, 1)
    targets = torch.arange(batch) % 5
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    made = make(net.parameters())
    optimizer, scheduler = made if isinstance(made, tuple) else (made, None)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(pictures), targets).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return net, before, pictures, targets


def seen(net, before, training):
    return Observation(
        net, before, (3, 16, 16), (difference(before, net.state_dict()),), training, cross_entropy
    )


@pytest.mark.long
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_replays_and_its_absence_from_the_description_is_named(name):
    make, right, mismatch = OPTIMISERS[name]
    net, before, pictures, targets = client(make)
    found = replay_update(seen(net, before, right), pictures, targets)
    assert found.verdict == "holds", found
    assert found.error < 1e-6
    stated = told(right.learning_rate, momentum=right.momentum if name == "all of SGD" else 0.0)
    wrong = replay_update(seen(net, before, stated), pictures, targets)
    assert wrong.verdict == "differs"
    assert mismatch in wrong.mismatch.replace("SGD with weight decay 0.03", "weight decay: 0.03")
    assert wrong.left < 1e-4


@pytest.mark.long
def test_other_pictures_do_not_pass_under_adam():
    """What rounding may do under Adam must not be so much that anything replays."""
    net, before, pictures, targets = client(lambda p: optim.Adam(p, 1e-3))
    right = told(1e-3, optimizer="adam")
    other = torch.rand(pictures.shape, generator=torch.Generator().manual_seed(5))
    found = replay_update(seen(net, before, right), other, targets)
    assert found.verdict == "differs"
    assert found.mismatch.startswith("unknown")
    assert found.tolerance < 1e-3 < found.error


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"optimizer": "lion"}, "optimizer must be 'sgd', 'adam' or 'adamw'"),
        ({"nesterov": True}, "nesterov needs a momentum"),
        ({"optimizer": "adam", "momentum": 0.9}, "takes betas and no momentum"),
        ({"optimizer": "adam", "noise_std": 0.1}, "what it makes of noise_std is not known"),
        ({"schedule": (1.0,)}, "schedule has 1 factors for 3 steps"),
        ({"betas": (0.9,)}, "betas must be two numbers"),
    ],
)
def test_descriptions_that_make_no_sense_are_one_line(given, line):
    with pytest.raises(AttackError, match=line):
        told(0.1, **given)


def test_noise_echoes_through_nesterov_and_schedules_as_the_steps_count():
    for given in ({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"schedule": (1.0, 0.5, 0.1)}):
        training = told(0.1, **given)
        for step, echo in enumerate(training.echoes):
            weights, memory = {"w": torch.zeros(1, dtype=torch.float64)}, Memory()
            for k in range(3):
                gradient = {"w": torch.full((1,), float(k == step), dtype=torch.float64)}
                weights, memory = stepped(weights, gradient, memory, training)
            assert float(-weights["w"]) == pytest.approx(0.1 * echo, rel=1e-12)


def test_a_single_step_with_decay_or_nesterov_is_turned_into_a_plain_one():
    made = lambda p: optim.SGD(p, 0.1, 0.8, weight_decay=0.05, nesterov=True)  # noqa: E731
    net, before, pictures, targets = client(made, steps=1)
    training = told(0.1, 1, momentum=0.8, weight_decay=0.05, nesterov=True)
    plain = as_plain(seen(net, before, training))
    assert plain.training.plain
    assert replay_update(plain, pictures, targets).error < 1e-5
    with pytest.raises(AttackError, match="inversion reads SGD with momentum, and this training had adam"):
        UnrolledClient(seen(net, before, told(0.1, optimizer="adam")))


def test_one_step_of_one_picture_leaks_the_picture_and_a_file_tells_so(tmp_path):
    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1, weight_decay=0.01), steps=1, batch=1)
    training = LocalTraining(0.1, weight_decay=0.01)
    found = audit_update(net, before, net.state_dict(), training, pictures, targets, budget=LITTLE)
    assert found.checks[0].holds
    row = found.rows[0]
    assert row.metric == "reconstruction PSNR"
    assert row.verdict == "leaks"
    assert row.value > row.baseline + 6
    assert row.control > 20
    assert str(found).startswith("leaks: strong inversion: reconstruction PSNR")
    assert (tmp_path / "a" / "findings.json") in found.report(tmp_path / "a")


def test_a_wrong_description_is_named_and_nothing_is_attacked():
    net, before, pictures, targets = client(lambda p: optim.Adam(p, 1e-3))
    found = audit_update(net, before, net.state_dict(), told(1e-3), pictures, targets, budget=LITTLE)
    assert found.checks[0].says == "the update is not what the description gives: optimiser: Adam"
    assert found.rows[0].verdict == "not run"
    assert "does not replay" in found.rows[0].reason
    assert str(found).splitlines()[2].startswith("DOES NOT HOLD: replay")


def test_adams_update_is_asked_which_pictures_it_was_made_of():
    make = OPTIMISERS["Adam"][0]
    torch.manual_seed(3)
    others = torch.rand(24, 3, 16, 16), torch.arange(24) % 5
    net, before, pictures, targets = client(make, batch=12)
    training = LocalTraining(1e-3, steps=3, epochs=3, batch_size=12, optimizer="adam")
    found = audit_update(net, before, net.state_dict(), training, pictures, targets, others=others)
    assert found.checks[0].holds
    row = found.row("alignment of gradients")
    assert row.n == 36
    assert row.value > 0.6
    assert "signs of gradients" in found.rows[0].reason


def test_arrays_in_a_list_or_numbered_are_taken_by_the_models_order():
    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1), steps=1, batch=1)
    given = {"budget": Budget(steps=2)}
    arrays = [[t.numpy() for t in state.values()] for state in (before, net.state_dict())]
    numbered = [dict(enumerate(map(torch.from_numpy, one))) for one in arrays]
    for start, end in (arrays, numbered):
        assert audit_update(net, start, end, LocalTraining(0.1), pictures, targets, **given).checks[0].holds
    with pytest.raises(AttackError, match="after: 2 arrays for the model's 4 tensors"):
        audit_update(net, arrays[0], arrays[1][:2], LocalTraining(0.1), pictures, targets)
    with pytest.raises(AttackError, match="before: give tensors by name or a list of arrays, not int"):
        audit_update(net, 3, arrays[1], LocalTraining(0.1), pictures, targets)


def test_an_update_of_the_simulated_client_is_the_real_clients():
    for make, right, _ in OPTIMISERS.values():
        net, before, pictures, targets = client(make)
        observation = seen(net, before, right)
        made = simulate(observation, pictures, targets)
        for name, tensor in observation.updates[0].items():
            assert torch.allclose(made[name], tensor, atol=2e-7), name


class Idle:
    """An attack that looks at nothing."""

    name, requires = "idle", frozenset()

    def run(self, observation, budget, seed):
        n = observation.training.pictures
        return Evidence("idle", 0.0, True, pictures=torch.full((n, *observation.picture_shape), 0.4))


class Oracle(Idle):
    """Wins on an undefended update, whose pictures it knows, and nowhere else."""

    name = "oracle"

    def __init__(self, undefended):
        self.undefended = undefended

    def run(self, observation, budget, seed):
        if observation.training.noise_std:
            return super().run(observation, budget, seed)
        return Evidence("oracle", 0.0, True, pictures=self.undefended)


def trained(net, pictures, targets, rate=0.1, steps=1):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = optim.SGD(net.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(pictures), targets).backward()
        optimizer.step()
    return before, {name: tensor.clone() for name, tensor in net.state_dict().items()}


def features(n, seed):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, 64, generator=draws), torch.randint(0, 3, (n,), generator=draws)


@pytest.fixture
def world():
    """A net, what it was and became, its pictures, and those of others among whom its own are told."""
    net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
    own = features(30, 1)
    return net, *trained(net, *own), own, features(80, 7)


BATCH = LocalTraining(0.1, batch_size=30)


def test_nothing_is_said_not_to_be_broken_where_the_pictures_do_not_give_the_update(world):
    net, before, after, own, others = world
    assert audit_update(net, before, after, BATCH, *own, others=others).rows[1].verdict == "leaks"
    for pictures, targets in (features(30, 99), (own[0], own[1].roll(1))):
        found = audit_update(net, before, after, BATCH, pictures, targets, others=others)
        assert found.checks[0].holds is False
        assert found.rows[1].verdict == "inconclusive"
        assert "does not replay" in found.rows[1].reason


def test_nothing_is_said_not_to_be_broken_where_noise_hides_whose_update_it_is(world):
    net, before, after, _, others = world
    draws = torch.Generator().manual_seed(5)
    noised = {name: t + 0.5 * torch.randn(t.shape, generator=draws) for name, t in after.items()}
    stated = LocalTraining(0.1, batch_size=30, noise_std=5.0)
    found = audit_update(net, before, noised, stated, *features(30, 99), others=others)
    assert found.checks[0].holds is None
    assert found.rows[1].verdict == "inconclusive"
    assert "not known" in found.rows[1].reason
    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1), steps=1, batch=1)
    noised = {name: t + torch.randn(t.shape, generator=draws) for name, t in net.state_dict().items()}
    stated, oracle = LocalTraining(0.1, noise_std=10.0), Oracle(pictures.flip(-1))
    row = audit_update(net, before, noised, stated, pictures, targets, attack=oracle).rows[0]
    assert row.control == 100
    assert row.verdict == "inconclusive"


def test_own_pictures_among_those_of_others_are_refused(world):
    net, before, after, own, others = world
    mixed = tuple(torch.cat(pair) for pair in zip(others, own, strict=True))
    for given in (own, mixed):
        with pytest.raises(AttackError, match="30 records are in pictures and in others alike"):
            audit_update(net, before, after, BATCH, *own, others=given)
    again = tuple(torch.cat([one, one[:5]]) for one in others)
    notes = audit_update(net, before, after, BATCH, *own, others=again).about["notes"]
    assert notes == ["5 of 115 records come again, and intervals count them anew"]


def test_fewer_than_four_pictures_are_inconclusive_however_they_score(world):
    net, _, _, own, _ = world
    few = own[0][:3], own[1][:3]
    before, after = trained(net, *few)
    row = audit_update(
        net, before, after, LocalTraining(0.1, batch_size=3), *few, others=features(400, 7)
    ).rows[1]
    assert row.low > 0.5
    assert row.verdict == "inconclusive"
    assert row.reason == "3 pictures and 400 of others tell nothing: at least 4 of each"


def test_pure_noise_is_never_said_to_leak_and_the_picture_itself_always_is(world):
    net, before, _, own, others = world
    for seed in range(6):
        draws = torch.Generator().manual_seed(seed)
        noise = {name: t + 0.01 * torch.randn(t.shape, generator=draws) for name, t in before.items()}
        found = audit_update(net, before, noise, BATCH, *own, others=others, seed=seed)
        assert not found.leaks, seed
        assert found.rows[1].verdict == "inconclusive"
    # The first layer's gradient is the picture, times a number.
    linear, (_, _, picture, target) = (
        nn.Sequential(nn.Flatten(), nn.Linear(768, 5)),
        client(lambda p: optim.SGD(p, 0.1), batch=1),
    )
    states = trained(linear, picture, target)
    found = audit_update(linear, *states, LocalTraining(0.1), picture, target, budget=LITTLE)
    assert found.rows[0].verdict == "leaks"


@pytest.mark.parametrize("steps", [3, 20])
def test_a_replay_that_overflows_holds_nothing(tmp_path, steps):
    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1), steps=1, batch=1)
    training = LocalTraining(1e30, steps=steps, epochs=steps)
    found = audit_update(net, before, net.state_dict(), training, pictures, targets)
    assert found.checks[0].holds is False
    assert "too large to be compared" in found.checks[0].says
    assert found.about["replay_error"] is None
    assert found.report(tmp_path)


def test_an_update_too_large_to_be_squared_holds_nothing():
    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1), steps=1, batch=1)
    after = {name: tensor.double() + 1e200 for name, tensor in net.state_dict().items()}
    found = audit_update(net.double(), before, after, LocalTraining(0.1), pictures, targets)
    assert found.checks[0].holds is False


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"pictures": torch.full((1, 3, 16, 16), torch.nan)}, "pictures must be finite and in"),
        ({"pictures": torch.full((1, 3, 16, 16), 128.0)}, "pictures must be finite and in"),
        ({"pictures": torch.zeros(1, 3, 16, 16).byte()}, "pictures must be 1 or more floating"),
        ({"pictures": torch.zeros(0, 3, 16, 16)}, "pictures: there is no record"),
        ({"pictures": torch.zeros(1, 3, 8, 8)}, "cannot be replayed on this model: mat1 and mat2"),
        ({"pictures": torch.full((1, 5), torch.nan)}, "pictures must be floating and finite"),
        ({"targets": torch.tensor([1, 2])}, "pictures: 1 inputs, but 2 targets"),
        ({"confidence": 1 - 1e-16}, "confidence must be a number in"),
    ],
)
def test_pictures_that_do_not_fit_are_one_line(given, line):
    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1), steps=1, batch=1)
    asked = {"pictures": pictures, "targets": targets, **given}
    with pytest.raises(AttackError, match=line) as caught:
        audit_update(net, before, net.state_dict(), LocalTraining(0.1), **asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "crafted",
    ["text", None, np.array([None]), np.ones(5, ">f4"), [[1], [1, 2]], torch.zeros(5, device="meta")],
    ids=["text", "none", "objects", "big-endian", "ragged", "meta"],
)
def test_crafted_tensors_are_one_line_that_names_them(crafted):
    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1), steps=1, batch=1)
    after = {**net.state_dict(), "3.bias": crafted}
    for given in (after, list(after.values())):
        with pytest.raises(AttackError, match=r"after: tensor '3\.bias' holds no numbers") as caught:
            audit_update(net, before, given, LocalTraining(0.1), pictures, targets)
        assert "\n" not in str(caught.value)


def test_numbered_arrays_are_the_models_although_a_file_orders_them_otherwise(tmp_path):
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.Flatten(), *(nn.Linear(384, 384) for _ in range(3))
    )
    pictures, targets = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    states = trained(net, pictures, targets)
    (tmp_path / "round-0001").mkdir()
    for what, state in zip(("sent", "reply"), states, strict=True):
        numbered = {str(k): tensor for k, tensor in enumerate(state.values())}
        save_file(numbered, tmp_path / "round-0001" / f"{what}-2.safetensors")
    (kept,) = captured(tmp_path)
    assert list(kept.before) != sorted(kept.before, key=int)
    training = LocalTraining(0.1, batch_size=2)
    found = audit_update(net, kept.before, kept.after, training, pictures, targets, attack=Idle())
    assert found.checks[0].holds


def test_a_model_with_a_mask_or_an_empty_tensor_is_audited():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.empty = nn.Linear(64, 3), nn.Parameter(torch.zeros(0, 3))
            self.register_buffer("mask", torch.ones(64, dtype=torch.bool))

        def forward(self, x):
            return self.linear(x * self.mask) + self.empty.sum()

    own, net = features(4, 1), Masked()
    states = trained(net, *own)
    assert difference({"m": torch.tensor([True])}, {"m": torch.tensor([False])})["m"].tolist() == [-1]
    assert audit_update(net, *states, LocalTraining(0.1, batch_size=4), *own).checks[0].holds
    wrong = LocalTraining(0.1, batch_size=4, optimizer="adam")
    assert audit_update(net, *states, wrong, *own).checks[0].holds is False


def test_an_attack_that_breaks_down_leaves_the_rest_of_the_audit():
    class Broken(Idle):
        def run(self, observation, budget, seed):
            raise RuntimeError("derivative is not implemented\nsecond line")

    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1), steps=1)
    others = torch.rand(8, 3, 16, 16), torch.arange(8) % 5
    training = LocalTraining(0.1, batch_size=4)
    found = audit_update(
        net, before, net.state_dict(), training, pictures, targets, others=others, attack=Broken()
    )
    assert (found.rows[0].verdict, found.rows[0].reason) == ("not run", "derivative is not implemented")
    assert found.rows[1].value is not None


def test_a_model_that_cannot_be_copied_is_one_line():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.utils.weight_norm(nn.Linear(64, 3))
    own = features(2, 1)
    states = trained(net, *own)
    with pytest.raises(AttackError, match="model: it cannot be copied"):
        audit_update(net, *states, LocalTraining(0.1, batch_size=2), *own)


def test_an_audit_of_dropout_moves_no_generator_and_no_mode():
    net = nn.Sequential(nn.Linear(64, 64), nn.Dropout(), nn.Linear(64, 3))
    own = features(4, 1)
    states = trained(net, *own)
    kept = torch.get_rng_state()
    found = [audit_update(net, *states, LocalTraining(0.1, batch_size=4), *own) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), kept)
    assert net.training
    assert "draws at random" in found[0].checks[0].says
    assert found[0].about["replay_error"] == found[1].about["replay_error"]


def test_a_schedule_of_one_factor_is_another_rate():
    net, before, pictures, targets = client(lambda p: optim.SGD(p, 0.1), steps=2)
    halved = told(0.2, steps=2, schedule=(0.5, 0.5))
    plain = as_plain(seen(net, before, halved))
    assert (plain.training.learning_rate, plain.training.schedule) == (0.1, ())
    assert replay_update(plain, pictures, targets).holds


@pytest.mark.parametrize(("shape", "line"), [((64,), "pictures only"), ((3, 4, 4), "missing 1 required")])
def test_a_model_that_takes_no_such_pictures_is_one_line(shape, line):
    class Particular(nn.Linear):
        def forward(self, x, mask=None):
            assert x.ndim == 4, "pictures only"
            return super().forward()

    net = Particular(64, 3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    after = {name: tensor + 0.1 for name, tensor in before.items()}
    with pytest.raises(AttackError, match=f"cannot be replayed on this model: .*{line}"):
        audit_update(net, before, after, LocalTraining(0.1), torch.rand(1, *shape), torch.tensor([1]))

"""A captured update of any optimiser: right descriptions replay, wrong ones are named, leaks are said."""

import pytest
import torch
from torch import nn, optim
from torch.nn import functional as F

from attacks import AttackError, LocalTraining, Observation, audit_update, difference, replay_update
from attacks.auditing.update import as_plain
from attacks.inversion.unroll import UnrolledClient
from attacks.observation import cross_entropy
from attacks.optimisers import Memory, stepped
from attacks.replay import simulate
from attacks.results import Budget

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

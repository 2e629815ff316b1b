"""Models, records and trainings that would make a figure untrue: the right figure, a note, or one line."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from attacks import AttackError, audit_model
from attacks.auditing.data import Records

from .conftest import drawn, fit

QUICK = {"rates": (), "control": False}


class Said(nn.Module):
    """What a net says, made into something else."""

    def __init__(self, net, made):
        super().__init__()
        self.net, self.made = net, made

    def forward(self, x):
        return self.made(self.net(x))


class Counting(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return self.net(x)


def joined(a, b):
    return torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]])


def part(records, places):
    return records[0][places], records[1][places]


def fails(error=ValueError):
    def raising(_):
        raise error

    return raising


def test_a_record_is_on_one_side_only(victim, members, non_members):
    mixed = joined(part(members, slice(0, 20)), non_members)
    with pytest.raises(AttackError, match="20 records are in members and in non_members alike"):
        audit_model(victim, members, mixed)
    with pytest.raises(AttackError, match="80 records are in members and in population alike"):
        audit_model(victim, members, non_members, population=members)


def test_records_that_come_again_are_noted(victim, members, non_members):
    again = joined(members, part(members, slice(0, 3)))
    assert "3 of 163 records come again" in str(
        audit_model(victim, again, non_members, **QUICK).about["notes"]
    )
    assert not audit_model(victim, members, non_members, **QUICK).about["notes"]


def test_noisier_labels_on_one_side_are_no_leak_of_a_model_that_saw_neither():
    leaks = 0
    for seed in range(6):
        draws = torch.Generator().manual_seed(seed)
        x = torch.randn(800, 8, generator=draws)
        y = (x[:, 0] > 0).long()
        torch.manual_seed(seed)
        elsewhere = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
        optimizer = torch.optim.Adam(elsewhere.parameters(), 0.02)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(elsewhere(x[300:]), y[300:]).backward()
            optimizer.step()
        noisy = torch.randint(0, 2, (150,), generator=draws)
        found = audit_model(elsewhere, (x[:150], y[:150]), (x[150:300], noisy), **QUICK)
        leaks += bool(found.leaks)
    assert leaks == 0


def test_reference_models_that_tell_the_truth_are_refused_with_a_population_too(victim, members, non_members):
    references = [fit(TensorDataset(*non_members), seed, epochs=1) for seed in range(4)]
    told = np.zeros((160, 4), bool)
    told[80:] = told[:8] = True
    told[:, 0] = False
    with pytest.raises(AttackError, match="their sets tell the victim's"):
        audit_model(
            victim,
            members,
            non_members,
            references=references,
            trained_on=told,
            population=drawn(40, 9),
            **QUICK,
        )


def test_a_fit_that_trains_one_model_again_and_again_is_refused(victim, members, non_members):
    one = nn.Linear(16, 3)
    with pytest.raises(
        AttackError, match="reference model 1 is the reference model 0, with the same weights"
    ):
        audit_model(victim, members, non_members, fit=lambda data, seed: one, **QUICK)
    with pytest.raises(AttackError, match="reference model 0 is the audited model"):
        audit_model(victim, members, non_members, references=[victim], **QUICK)
    for shape in ((160, 3), (160,)):
        with pytest.raises(AttackError, match=r"trained_on must be bool \(160, 1\)"):
            audit_model(victim, members, non_members, references=[one], trained_on=np.zeros(shape, bool))


def test_an_answer_that_hangs_on_the_batch_is_refused_and_one_that_is_drawn_is_noted(
    victim, members, non_members
):
    centred = Said(victim, lambda out: out - out.mean(0))
    with pytest.raises(AttackError, match="hangs on the others in its batch"):
        audit_model(centred, members, non_members)
    noisy = Said(victim, lambda out: out + torch.randn_like(out))
    assert "differently each time" in str(audit_model(noisy, members, non_members, **QUICK).about["notes"])


def test_what_a_forward_pass_counts_is_as_it_was(victim, members, non_members):
    counting = Counting(victim)
    audit_model(counting, members, non_members, **QUICK)
    assert counting.calls.item() == 0


@pytest.mark.parametrize(
    "made",
    [
        lambda out: out.softmax(1),
        lambda out: out.log_softmax(1),
        lambda out: torch.cat([out, torch.full((len(out), 1), -torch.inf)], 1),
    ],
    ids=["probabilities", "log-probabilities", "a class masked out"],
)
def test_probabilities_and_masked_classes_give_the_figure_of_the_logits(victim, members, non_members, made):
    plain = audit_model(victim, members, non_members, fit=fit_short, shadows=4, **QUICK)

    def fit_so(data, seed):
        return Said(fit_short(data, seed), made)

    other = audit_model(Said(victim, made), members, non_members, fit=fit_so, shadows=4, **QUICK)
    for attack in ("loss threshold", "LiRA"):
        assert other.row(attack).value == pytest.approx(plain.row(attack).value, abs=2e-3)


def fit_short(data, seed):
    return fit(data, seed, epochs=4)


@pytest.mark.parametrize(
    ("net", "given", "line"),
    [
        (lambda out: out[:1], {}, "gives 1 rows of logits for 160 records"),
        (fails(), {}, "does not take inputs torch.float32 (160, 16) on cpu: ValueError"),
        (fails(AssertionError), {}, "on cpu: AssertionError"),
        (fails(AttributeError("no such")), {}, "on cpu: no such"),
        (lambda out: out, {"loss": lambda out, y: 0.5}, "loss gives float, not one value"),
        (lambda out: {"logits": out}, {"loss": lambda out, y: out["x"]}, "KeyError 'x'"),
        (lambda out: out, {"views": lambda x, draws: x[:1]}, "views and model give (1, 3) for 160 inputs"),
        (lambda out: out, {"views": lambda x, draws: None}, "views and model give NoneType"),
        (lambda out: out, {"rates": 0.1}, "rates must be several"),
        (lambda out: out, {"confidence": 1 - 1e-15}, "confidence must be a number in (0, 0.999999999]"),
    ],
)
def test_what_cannot_be_read_is_one_line(victim, members, non_members, net, given, line):
    with pytest.raises(AttackError) as error:
        audit_model(Said(victim, net), members, non_members, **given)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([(torch.zeros(16), None)] * 5, "members: a target: NoneType holds no numbers"),
        ([(torch.zeros(16), "cat")] * 5, "members: a target: str holds no numbers"),
        ((np.full((5, 16), "a"), torch.zeros(5)), "members: ndarray holds no numbers"),
        ((torch.zeros(5, 16), torch.tensor(1)), "members: 5 inputs, but 1 targets"),
    ],
)
def test_records_without_numbers_are_one_line(given, line):
    with pytest.raises(AttackError) as error:
        Records.of(given, "members")
    assert line in str(error.value)


def test_sparse_records_lists_of_labels_and_unbatched_loaders_are_the_same_records(members):
    x, y = members
    pairs = TensorDataset(x, y)
    for given in (
        (x.to_sparse(), y),
        (x, y.tolist()),
        (x.clone().requires_grad_(), y),
        DataLoader(pairs, batch_size=None),
        DataLoader(pairs, batch_sampler=[range(50), range(50, 80)]),
    ):
        found = Records.of(given, "members")
        assert torch.equal(found.inputs, x)
        assert torch.equal(found.targets, y)
    inputs = Records.of(DataLoader(list(x), batch_size=None), "members")
    assert torch.equal(inputs.inputs, x)


def test_infinite_inputs_that_a_model_takes_do_not_break_the_blind_guess(victim, members, non_members):
    x = members[0].clone()
    x[3, 2], x[4, 1] = torch.inf, 1e38
    finite = nn.Sequential(nn.Hardtanh(-9, 9), victim)
    found = audit_model(finite, (x, members[1]), non_members, **QUICK)
    assert found.row("quantile regression").verdict != "not run"


@pytest.mark.filterwarnings("ignore")  # torch's, that tracing is old, and of gradients of copies.
def test_a_traced_model_has_no_control_and_its_figure(victim, members, non_members):
    traced = torch.jit.trace(victim, members[0][:2])
    found = audit_model(traced, members, non_members, rates=())
    assert found.row("loss threshold").verdict == "leaks"

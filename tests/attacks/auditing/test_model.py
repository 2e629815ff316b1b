"""Anyone's model in one call: figures are scikit-learn's, null models do not leak, odd models get a right
figure or one clear line."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from attacks import AttackError, audit_model
from attacks.auditing.blind import blind_guess
from attacks.auditing.data import Records

from .conftest import drawn, fit

QUICK = {"rates": (), "control": False}


def losses_of(net, records):
    with torch.no_grad():
        return F.cross_entropy(net(records[0]).double(), records[1], reduction="none").numpy()


def sklearn_auc(net, members, non_members):
    inside, outside = losses_of(net, members), losses_of(net, non_members)
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    return roc_auc_score(truth, -np.r_[inside, outside])


def test_a_net_that_knows_its_records_leaks_and_the_figure_is_scikit_learns(victim, members, non_members):
    found = audit_model(victim, members, non_members)
    row = found.row("loss threshold")
    assert row.verdict == "leaks"
    assert row.value == pytest.approx(sklearn_auc(victim, members, non_members), abs=1e-12)
    assert row.low < row.value < row.high
    assert row.control > 0.8
    assert len(str(found).splitlines()) == 3
    assert str(found).startswith("leaks: ")


@pytest.mark.long
def test_with_the_users_own_fit_lira_and_rmia_run_and_beat_the_threshold(victim, members, non_members):
    found = audit_model(victim, members, non_members, fit=fit, shadows=12, rates=())
    lira = found.row("LiRA")
    assert lira.verdict == found.row("RMIA").verdict == "leaks"
    assert lira.value > found.row("loss threshold").value
    assert found.about["notes"] == ["12 reference models of 80 records"]


@pytest.mark.long
def test_references_that_are_there_already_serve_as_well(victim, members, non_members):
    sets = np.zeros((160, 6), bool)
    sets[np.arange(80) * 2, :3] = sets[np.arange(80) * 2 + 1, 3:] = True
    every = Records.of(members, "m").with_(Records.of(non_members, "n"))
    models = [fit(every.at(sets[:, k]).dataset(), k) for k in range(6)]
    found = audit_model(victim, members, non_members, references=models, trained_on=sets, rates=())
    assert found.row("LiRA").verdict == "leaks"
    offline = audit_model(
        victim,
        members,
        non_members,
        references=[fit(TensorDataset(*drawn(80, seed)), seed) for seed in (9, 10)],
        **QUICK,
    )
    assert offline.row("LiRA").value > 0.6
    with pytest.raises(AttackError, match=r"trained_on must be bool \(160, 6\)"):
        audit_model(victim, members, non_members, references=models, trained_on=sets[:80])


def test_all_ways_to_give_records_give_the_same_figures(victim, members, non_members):
    data = TensorDataset(*members)
    given = [
        members,
        tuple(part.numpy() for part in members),
        data,
        [data[k] for k in range(len(data))],
        DataLoader(data, 32, shuffle=True),
    ]
    values = [audit_model(victim, one, non_members, **QUICK).row("loss threshold").value for one in given]
    assert values == pytest.approx([values[0]] * len(values), abs=1e-12)


def _null_leaks(runs, records=30):
    """How many of several untrained nets are said to leak, with every attack."""
    cried = 0
    for seed in range(runs):
        torch.manual_seed(seed)
        inside, outside = drawn(records, 1000 + seed), drawn(records, 2000 + seed)
        untrained = lambda data, seed: nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 3))  # noqa: E731
        found = audit_model(
            untrained(None, 0), inside, outside, fit=untrained, shadows=8, population=drawn(40, 3000 + seed),
            control=False, seed=seed,
        )  # fmt: skip
        assert {row.attack for row in found.rows if row.value is not None} >= {
            "LiRA",
            "RMIA",
            "quantile regression",
        }
        cried += bool(found.leaks)
    return cried


@pytest.mark.long
def test_untrained_nets_leak_in_none_of_ten_runs():
    """Each run cries with probability 0.0025 at most, so ten do in one of forty; the seeds are fixed."""
    assert _null_leaks(10) == 0


@pytest.mark.slow
def test_untrained_nets_leak_in_none_of_sixty_runs():
    """At a true rate of 0.32, auditml's 19 of 60, all sixty stay silent once in 1e10."""
    assert _null_leaks(60) == 0


def test_a_net_with_something_to_find_is_not_silent_on_as_few_records(members, non_members):
    few = [tuple(part[:30] for part in side) for side in (members, non_members)]
    net = fit(TensorDataset(*few[0]), 0, epochs=60)
    assert audit_model(net, *few, rates=(), control=False).leaks


def test_without_a_control_nothing_is_said_not_to_be_broken(non_members):
    found = audit_model(fit(TensorDataset(*drawn(80, 5)), 0, epochs=1), drawn(80, 6), non_members, **QUICK)
    verdicts = {row.verdict for row in found.rows if row.value is not None}
    assert verdicts == {"inconclusive"}
    with_one = audit_model(
        fit(TensorDataset(*drawn(80, 5)), 0, epochs=1), drawn(80, 6), non_members, rates=()
    )
    assert with_one.row("loss threshold").verdict == "not broken by this attack"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_another_precision_gives_nearly_the_same_figure(victim, members, non_members, dtype):
    wanted = sklearn_auc(victim, members, non_members)
    net = copy.deepcopy(victim).to(dtype)
    row = audit_model(net, members, non_members, rates=()).row("loss threshold")
    assert row.value == pytest.approx(wanted, abs=0.02)
    assert row.control > 0.8
    assert next(net.parameters()).dtype is dtype


def test_half_precision_that_overflows_is_one_line(victim, members, non_members):
    net = copy.deepcopy(victim).half()
    with torch.no_grad():
        net[2].weight.mul_(3e4)
    with pytest.raises(AttackError, match=r"not finite for .* of 160 records; in half precision") as error:
        audit_model(net, members, non_members)
    assert "\n" not in str(error.value)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 16)
        self.outer = nn.Linear(16, 16)
        self.outer.weight = self.inner.weight
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(F.relu(self.outer(F.relu(self.inner(x)))))


def test_tied_weights_stay_tied_and_nothing_of_the_model_moves(members, non_members):
    net = Tied()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.head.eval()
    found = audit_model(net, members, non_members, rates=())
    assert found.row("loss threshold").value == pytest.approx(
        sklearn_auc(net, members, non_members), abs=1e-12
    )
    assert net.outer.weight is net.inner.weight
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert (net.training, net.inner.training, net.head.training) == (True, True, False)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def with_norm(**given):
    return nn.Sequential(
        nn.Linear(16, 16), nn.BatchNorm1d(16, **given), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)
    )


def test_batch_norm_is_read_by_its_running_statistics_in_whatever_mode_it_came(members, non_members):
    net = with_norm()
    net(members[0])
    before = net[1].running_mean.clone()
    value = audit_model(net, members, non_members, batch=7, **QUICK).row("loss threshold").value
    assert torch.equal(net[1].running_mean, before)
    assert net.training
    assert value == pytest.approx(sklearn_auc(net.eval(), members, non_members), abs=1e-12)


def test_batch_norm_without_running_statistics_is_one_line(members, non_members):
    with pytest.raises(
        AttackError, match="layer '1' takes its statistics from the batch in evaluation mode too"
    ):
        audit_model(with_norm(track_running_stats=False), members, non_members)


def test_a_model_on_a_device_without_values_is_one_line(victim, members, non_members):
    with pytest.raises(AttackError, match="weights lie on the meta device"):
        audit_model(copy.deepcopy(victim).to("meta"), members, non_members)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_gives_the_same_figure(victim, members, non_members):
    row = audit_model(copy.deepcopy(victim).cuda(), members, non_members, rates=()).row("loss threshold")
    assert row.value == pytest.approx(sklearn_auc(victim, members, non_members), abs=1e-3)


def test_members_of_one_class_are_told_apart_without_the_model_and_that_is_no_leak(non_members):
    x, _ = drawn(80, 7)
    net = fit(TensorDataset(*drawn(80, 8)), 0, epochs=2)
    found = audit_model(net, (x, torch.zeros(80).long()), non_members)
    assert found.about["blind_auc"] > 0.7
    assert found.about["blind_p"] <= 0.01
    row = found.row("loss threshold")
    assert row.baseline == found.about["blind_auc"]
    assert {row.verdict for row in found.rows} == {"inconclusive", "not run"}
    assert "differ without the model" in found.row("modified entropy threshold").reason
    many = audit_model(net, (drawn(200, 7)[0], torch.zeros(200).long()), drawn(200, 9), control=False)
    assert "no rate is its own" in many.row("loss threshold", 0.1).reason


def test_twenty_records_are_inconclusive_and_say_what_is_missing(victim, members, non_members):
    few = [tuple(part[:10] for part in side) for side in (members, non_members)]
    found = audit_model(fit(TensorDataset(*drawn(10, 4)), 0, 1), *few)
    row = found.row("loss threshold")
    assert row.verdict == "inconclusive"
    assert row.reason == "the attack had 20 records, of which not even all could have shown a leak" or (
        "did not win" in row.reason
    )
    assert found.row("loss threshold", 0.01).reason == "needs 100 non-members, and there are 10"
    with pytest.raises(AttackError, match="3 members and 80 non-members tell nothing: at least 4 of each"):
        audit_model(victim, tuple(part[:3] for part in members), non_members)


def agreeing(encoder, x, epochs=200):
    """Trains an encoder until a record's views agree, and other records' embeddings are apart."""
    optimizer = torch.optim.Adam(encoder.parameters(), 0.01)
    for step in range(epochs):
        draws = torch.Generator().manual_seed(step)
        one, two = (F.normalize(encoder(jittered(x, draws)), dim=1) for _ in range(2))
        optimizer.zero_grad()
        F.cross_entropy(one @ two.T / 0.1, torch.arange(len(x))).backward()
        optimizer.step()
    return encoder


def jittered(x, draws):
    return x + 0.6 * torch.randn(x.shape, generator=draws)


def test_an_encoder_without_labels_is_judged_by_how_its_views_agree():
    inside, outside = drawn(60, 1)[0], drawn(60, 2)[0]
    encoder = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 64))
    untrained = audit_model(encoder, inside, outside, views=jittered, rates=())
    assert untrained.row("agreement of views").verdict != "leaks"
    found = audit_model(agreeing(encoder, inside), inside, outside, views=jittered, rates=())
    row = found.row("agreement of views")
    assert row.value > 0.6
    assert row.verdict == "leaks"
    assert {r.attack for r in found.rows} == {"agreement of views", "quantile regression", "LiRA", "RMIA"}


def test_an_autoencoder_is_judged_by_its_own_loss_and_without_one_the_line_says_what_to_give():
    inside, outside = drawn(60, 1)[0], drawn(60, 2)[0]
    net = nn.Sequential(nn.Linear(16, 6), nn.Linear(6, 16))
    error = lambda outputs, targets: (outputs - targets).square().mean(1)  # noqa: E731
    row = audit_model(net, inside, outside, loss=error, rates=()).row("loss threshold")
    with torch.no_grad():
        said = np.r_[error(net(inside), inside).numpy(), error(net(outside), outside).numpy()]
    assert row.value == pytest.approx(roc_auc_score(np.arange(120) < 60, -said.astype(float)), abs=1e-12)
    with pytest.raises(AttackError, match=r"records have no targets: give loss=.* views=") as line:
        audit_model(net, inside, outside)
    assert "\n" not in str(line.value)


def test_a_single_output_is_the_second_class():
    net = nn.Linear(16, 1)
    inside, outside = ((x, (y > 0).float()) for x, y in (drawn(60, 1), drawn(60, 2)))
    with torch.no_grad():
        said = [
            F.binary_cross_entropy_with_logits(net(x)[:, 0], y, reduction="none")
            for x, y in (inside, outside)
        ]
    value = audit_model(net, inside, outside, **QUICK).row("loss threshold").value
    assert value == pytest.approx(
        roc_auc_score(np.arange(120) < 60, -torch.cat(said).double().numpy()), abs=1e-6
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (3, "members must be tensors, a dataset or a loader of (input, target), not int"),
        ([], "members: there is no record"),
        ((torch.zeros(5, 16), torch.zeros(4)), "members: 5 inputs, but 4 targets"),
        ([{"x": torch.zeros(3)}] * 5, "each item must be an input tensor or a pair"),
        ((torch.zeros(9, 16), torch.full((9,), 7)), "targets must be classes 0 to 2"),
        ((torch.zeros(9, 16), torch.full((9,), 0.5)), "are no classes (b,): give loss="),
        ((torch.zeros(9, 5), torch.zeros(9).long()), "inputs are (5,) here and (16,) there"),
        (torch.zeros(9, 16), "some records have targets and others none"),
    ],
)
def test_records_that_do_not_fit_are_one_line(victim, non_members, given, line):
    with pytest.raises(AttackError) as error:
        audit_model(victim, given, non_members)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_outputs_that_are_no_logits_and_fits_that_give_no_model_are_one_line(victim, members, non_members):
    wide = nn.Sequential(victim, nn.Unflatten(1, (3, 1, 1)))
    with pytest.raises(AttackError, match="which are no logits"):
        audit_model(wide, members, non_members)
    with pytest.raises(AttackError, match="fit must return the trained model, not NoneType"):
        audit_model(victim, members, non_members, fit=lambda data, seed: None)
    with pytest.raises(AttackError, match="does not take inputs"):
        audit_model(nn.Linear(3, 2), members, non_members)


@pytest.mark.long
def test_the_blind_guess_is_calibrated_and_finds_a_shift():
    """Under no difference p is even: of 60, at most 12 lie below a tenth but for one in 100."""
    p = []
    for seed in range(60):
        records = Records(*drawn(50, 4000 + seed))
        p.append(blind_guess(records, np.arange(50) < 25, seed, shuffles=99).p_value)
    assert sum(one <= 0.1 for one in p) <= 12
    assert 0.35 < np.mean(p) < 0.65
    moved = Records(*drawn(50, 1))
    moved.inputs[:25, 3] += 3
    assert blind_guess(moved, np.arange(50) < 25, 0).apart


def test_the_same_seed_gives_the_same_audit(victim, members, non_members):
    one, two = (
        audit_model(victim, members, non_members, fit=partial(fit, epochs=2), shadows=4, control=False)
        for _ in range(2)
    )
    assert [row.value for row in one.rows] == [row.value for row in two.rows]

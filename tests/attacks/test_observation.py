"""Observations are whole or refused with the tensor's name; adversaries get what they have and no more."""

import ast
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import attacks
from attacks.errors import AttackError
from attacks.inversion.analytic import AnalyticInversion
from attacks.inversion.optimisation import inverting_gradients
from attacks.observation import (
    Capability,
    LocalTraining,
    Normalisation,
    Observation,
    ThreatModel,
    cross_entropy,
    difference,
)
from attacks.preflight import replay
from attacks.replay import simulate
from attacks.results import Budget, Evidence, conduct


@pytest.fixture
def seen(observe, smooth_pictures, mlp):
    return observe(mlp(), smooth_pictures(2), torch.tensor([1, 2]))


def changed(seen, name, tensor):
    return replace(seen, updates=({**seen.updates[0], name: tensor},))


def test_bad_updates_are_refused_by_the_tensors_name(seen):
    update = seen.updates[0]
    for value in (float("nan"), float("inf")):
        broken = update["1.bias"].clone()
        broken[3] = value
        with pytest.raises(AttackError, match=r"update of round 0: tensor '1.bias' is not finite"):
            changed(seen, "1.bias", broken)
    with pytest.raises(AttackError, match=r"tensor '3.weight' is \(10, 63\), not \(10, 64\)"):
        changed(seen, "3.weight", update["3.weight"][:, 1:])
    with pytest.raises(AttackError, match=r"tensor '3.bias' is missing"):
        replace(seen, updates=({n: t for n, t in update.items() if n != "3.bias"},))
    with pytest.raises(AttackError, match=r"tensor '9.bias' is not one of the model's"):
        changed(seen, "9.bias", torch.zeros(3))
    with pytest.raises(AttackError, match=r"every trained tensor is zero \(first: '1.weight'\)"):
        replace(seen, updates=({n: torch.zeros_like(t) for n, t in update.items()},))


def test_bad_weights_targets_and_public_sets_are_refused(seen):
    with pytest.raises(AttackError, match=r"weights: tensor '1.weight' is missing"):
        replace(seen, weights={n: t for n, t in seen.weights.items() if n != "1.weight"})
    with pytest.raises(AttackError, match="3 for 2 pictures"):
        replace(seen, targets=torch.tensor([1, 2, 3]))
    with pytest.raises(AttackError, match=r"public_pictures: must be in \[0, 1\]"):
        replace(seen, public_pictures=255 * torch.rand(4, 3, 16, 16))
    with pytest.raises(AttackError, match=r"must be \(m, 3, 16, 16\)"):
        replace(seen, public_pictures=torch.rand(4, 3, 8, 8))
    with pytest.raises(AttackError, match="needs `training` and `loss`"):
        replace(seen, loss=None)
    with pytest.raises(AttackError, match="2 updates need 1 later_weights"):
        replace(seen, updates=seen.updates * 2)
    with pytest.raises(AttackError, match="2 channels"):
        replace(seen, normalisation=Normalisation((0.5, 0.5), (1.0, 1.0)))
    with pytest.raises(AttackError, match="picture_shape"):
        replace(seen, picture_shape=(3, 16))


def test_bad_prototypes_are_refused(seen):
    with pytest.raises(AttackError, match=r"prototypes 'ink': must be floating \(t, d\)"):
        replace(seen, prototypes={"ink": torch.zeros(3)})
    with pytest.raises(AttackError, match=r"prototypes: tensor 'ink' is not finite"):
        replace(seen, prototypes={"ink": torch.full((1, 3), float("nan"))})
    with pytest.raises(AttackError, match=r"counts: tensor 'ink' is missing"):
        replace(seen, prototypes={"ink": torch.ones(1, 3)}, counts={})
    with pytest.raises(AttackError, match=r"counts: tensor 'ink' is \(2,\), not \(1,\)"):
        replace(seen, prototypes={"ink": torch.ones(1, 3)}, counts={"ink": torch.tensor([1, 2])})
    with pytest.raises(AttackError, match="whole numbers"):
        replace(seen, prototypes={"ink": torch.ones(1, 3)}, counts={"ink": torch.tensor([0])})
    with pytest.raises(AttackError, match="counts belong to prototypes"):
        replace(seen, counts={"ink": torch.tensor([1])})
    with pytest.raises(AttackError, match="prototype_noise"):
        replace(seen, prototype_noise=float("nan"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("learning_rate", 0.0), ("learning_rate", float("nan")), ("steps", 0), ("batch_size", 0),
        ("epochs", 2),
        ("momentum", 1.0), ("reduction", "none"), ("mode", "test"), ("clip_norm", 0.0), ("noise_std", -1.0),
        ("views", 0),
    ],
)  # fmt: skip
def test_a_description_out_of_range_names_the_setting(setting, value):
    with pytest.raises(AttackError, match="steps" if setting == "epochs" else setting):
        LocalTraining(**({"learning_rate": 0.1} | {setting: value}))


def test_files_come_back_and_damaged_ones_are_named(seen, mlp, tmp_path):
    after = {name: seen.weights[name] + seen.updates[0][name] for name in seen.weights}
    save_file(dict(seen.weights), tmp_path / "before.safetensors")
    save_file(after, tmp_path / "after.safetensors")
    save_file(dict(seen.updates[0]), tmp_path / "difference.safetensors")
    fields = {
        "model": mlp(), "picture_shape": (3, 16, 16), "training": seen.training, "loss": cross_entropy
    }  # fmt: skip
    start = tmp_path / "before.safetensors"
    from_after = Observation.from_safetensors(start, [tmp_path / "after.safetensors"], "after", **fields)
    direct = Observation.from_safetensors(
        start, [tmp_path / "difference.safetensors"], "difference", **fields
    )
    for name, tensor in seen.updates[0].items():
        assert torch.equal(direct.updates[0][name], tensor)
        assert torch.allclose(from_after.updates[0][name], tensor, atol=1e-7)
    whole = (tmp_path / "after.safetensors").read_bytes()
    for kept in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:kept])
        with pytest.raises(AttackError, match=r"cut\.safetensors: not a whole safetensors file"):
            Observation.from_safetensors(start, [tmp_path / "cut.safetensors"], "after", **fields)
    with pytest.raises(AttackError, match=r"none\.safetensors"):
        Observation.from_safetensors(tmp_path / "none.safetensors", [], "after", **fields)
    with pytest.raises(AttackError, match="'after' or 'difference'"):
        Observation.from_safetensors(start, [], "before", **fields)
    with pytest.raises(AttackError, match="2 answers need 1 later_weights"):
        Observation.from_safetensors(start, [tmp_path / "after.safetensors"] * 2, "after", **fields)
    with pytest.raises(AttackError, match="every trained tensor is zero"):
        Observation.from_safetensors(start, [start], "after", **fields)


def test_a_difference_names_what_does_not_fit():
    before = {"a": torch.zeros(2)}
    with pytest.raises(AttackError, match="'b' is in the answer"):
        difference(before, {"b": torch.zeros(2)})
    with pytest.raises(AttackError, match=r"'a' is \(3,\) in the answer"):
        difference(before, {"a": torch.zeros(3)})


def test_the_observation_keeps_its_own_copies(observe, smooth_pictures, mlp):
    model, update = mlp(), {}
    seen = observe(model, smooth_pictures(1), torch.tensor([1]))
    update.update({n: t.clone() for n, t in seen.updates[0].items()})
    again = replace(seen, model=model, updates=(update,))
    update["1.bias"].zero_()
    model[1].weight.data.zero_()
    assert again.updates[0]["1.bias"].any()
    assert again.model[1].weight.any()


def test_normalisation_is_undone(normalisation, smooth_pictures):
    pictures = smooth_pictures(2)
    inputs = normalisation.normalise(pictures)
    assert torch.allclose(inputs[:, 1], (pictures[:, 1] - 0.45) / 0.22)
    assert torch.allclose(normalisation.denormalise(inputs), pictures, atol=1e-6)
    assert torch.allclose(normalisation.normalise(pictures[None])[0], inputs)
    with pytest.raises(AttackError, match="deviations"):
        Normalisation((0.5,), (0.0,))


PLATFORM = ThreatModel(
    "platform",
    {
        Capability.SEES_UPDATE: "it receives every reply",
        Capability.KNOWS_TRAINING: "it sent the settings",
        Capability.KNOWS_BATCH_SIZE: "it sent the settings",
    },
    withheld={Capability.KNOWS_LABELS: "styles never leave the artist"},
)


def test_a_threat_model_grants_or_refuses_with_its_reason(seen):
    evidence = conduct(AnalyticInversion(), seen, PLATFORM, Budget(), 0)
    assert evidence.pictures is not None
    buyer = ThreatModel("buyer", {Capability.KNOWS_BATCH_SIZE: "it is published"})
    with pytest.raises(
        AttackError, match=r"analytic inversion needs SEES_UPDATE .*: the buyer is not given it"
    ):
        conduct(AnalyticInversion(), seen, buyer, Budget(), 0)
    knows = replace(seen, targets=torch.tensor([1, 2]))
    with pytest.raises(
        AttackError, match=r"holds more than the platform has, KNOWS_LABELS .*styles never leave"
    ):
        conduct(AnalyticInversion(), knows, PLATFORM, Budget(), 0)
    told = ThreatModel("outsider", {Capability.SEES_UPDATE: "it listens"})
    with pytest.raises(AttackError, match="KNOWS_BATCH_SIZE"):
        conduct(AnalyticInversion(), seen, told, Budget(), 0)
    public = replace(seen, public_pictures=torch.rand(2, 3, 16, 16))
    with pytest.raises(AttackError, match="HAS_PUBLIC_SET"):
        conduct(AnalyticInversion(), public, PLATFORM, Budget(), 0)


class Reads:
    """Says what it was given, and asks for nothing."""

    name, requires = "reader", frozenset()

    def run(self, observation, budget, seed):
        t = observation.training
        told = "nothing" if t is None else f"{t.clip_norm} {t.noise_std}"
        return Evidence("reader", 0.0, True, notes=(f"{told} {observation.prototype_noise}",))


def test_an_observation_may_hold_no_more_than_was_granted(seen):
    """Each capability by itself: without it refused, with it run."""
    prototypes = Observation(
        seen.model, seen.weights, (3, 16, 16), prototypes={"ink": torch.ones(1, 3)},
        counts={"ink": torch.tensor([2])},
    )  # fmt: skip
    needed = {
        "update": (seen, {Capability.SEES_UPDATE, Capability.KNOWS_TRAINING, Capability.KNOWS_BATCH_SIZE}),
        "card": (prototypes, {Capability.SEES_PROTOTYPE, Capability.KNOWS_COUNTS}),
    }
    for held, capabilities in needed.values():
        assert held.held() == capabilities
        for missing in capabilities:
            granted = dict.fromkeys(capabilities - {missing}, "a reason")
            with pytest.raises(AttackError, match=f"holds more than the x has, {missing.name}"):
                conduct(Reads(), held, ThreatModel("x", granted), Budget(), 0)
        conduct(Reads(), held, ThreatModel("x", dict.fromkeys(capabilities, "a reason")), Budget(), 0)
    of_all = {Capability.SEES_AGGREGATE, Capability.KNOWS_TRAINING, Capability.KNOWS_BATCH_SIZE}
    conduct(Reads(), seen, ThreatModel("x", dict.fromkeys(of_all, "a reason")), Budget(), 0)


def test_an_adversary_who_does_not_know_the_defence_does_not_get_it(seen):
    defended = replace(seen, training=replace(seen.training, clip_norm=0.5, noise_std=0.1))
    found = conduct(Reads(), defended, PLATFORM, Budget(), 0)
    assert found.notes == ("None 0.0 0.0", "the platform does not know the clip and the noise")
    knows = replace(
        PLATFORM, capabilities={**PLATFORM.capabilities, Capability.KNOWS_DEFENCE: "it is published"}
    )
    assert conduct(Reads(), defended, knows, Budget(), 0).notes == ("0.5 0.1 0.0",)
    card = Observation(
        seen.model, seen.weights, (3, 16, 16), prototypes={"ink": torch.ones(1, 3)}, prototype_noise=0.2
    )
    buyer = ThreatModel("buyer", {Capability.SEES_PROTOTYPE: "cards are published"})
    assert conduct(Reads(), card, buyer, Budget(), 0).notes[0] == "nothing 0.0"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_updates_in_other_floats_are_brought_to_the_models(dtype, seen):
    other = replace(seen, updates=({n: t.to(dtype) for n, t in seen.updates[0].items()},))
    for name, tensor in other.updates[0].items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, seen.updates[0][name].to(dtype).float())
    half = replace(seen, weights={n: t.to(dtype) for n, t in seen.weights.items()})
    assert {t.dtype for t in half.weights.values()} == {torch.float32}


def test_whole_numbers_arrays_and_half_models_are_refused_by_name(seen, mlp):
    with pytest.raises(AttackError, match=r"'1.bias' is torch.int64, not floating"):
        changed(seen, "1.bias", torch.ones(64, dtype=torch.int64))
    with pytest.raises(AttackError, match=r"'1.bias' is a ndarray, not a torch tensor"):
        changed(seen, "1.bias", seen.updates[0]["1.bias"].numpy())
    with pytest.raises(AttackError, match="mapping from names"):
        replace(seen, updates=([1, 2],))
    with pytest.raises(AttackError, match=r"model: tensor '1.weight' is torch.float16; .* model.float\(\)"):
        replace(seen, model=mlp().half())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_wrappers_prefix_is_named(prefix, seen, mlp):
    with pytest.raises(AttackError, match=f"update of round 0: the names in it begin with '{prefix}'"):
        replace(seen, updates=({prefix + n: t for n, t in seen.updates[0].items()},))
    wrapped = nn.Sequential()
    wrapped.add_module(prefix[:-1], mlp())
    with pytest.raises(AttackError, match=f"weights: the names in the model begin with '{prefix}'"):
        replace(seen, model=wrapped)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(12, 12), nn.Linear(12, 12)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.relu(self.a(x.flatten(1))))


def test_tied_tensors_go_by_one_name_and_replay(observe):
    pictures, targets = torch.rand(2, 3, 2, 2), torch.tensor([1, 5])
    seen = observe(Tied(), pictures, targets)
    assert set(seen.weights) == set(seen.updates[0]) == {"a.weight", "a.bias", "b.bias"}
    assert replay(seen, pictures, targets).holds
    broken = {**Tied().state_dict(), "b.weight": torch.zeros(12, 12)}
    with pytest.raises(AttackError, match=r"'b.weight' is tied to 'a.weight' and differs"):
        replace(seen, weights=broken)


def test_a_round_without_training_is_allowed_beside_others(seen):
    nothing = {n: torch.zeros_like(t) for n, t in seen.updates[0].items()}
    later = (seen.weights,)
    both = replace(seen, updates=(seen.updates[0], nothing), later_weights=later)
    assert not both.updates[1]["1.weight"].any()
    with pytest.raises(AttackError, match="each of 2 rounds: every trained tensor is zero"):
        replace(seen, updates=(nothing, nothing), later_weights=later)


def test_settings_that_are_no_numbers_are_refused(seen):
    for mean, deviation in ((float("nan"), 1.0), (0.0, float("nan")), (0.0, float("inf"))):
        with pytest.raises(AttackError, match="finite deviations"):
            Normalisation((mean,) * 3, (deviation,) * 3)
    with pytest.raises(AttackError, match="batch_size must be a whole number"):
        LocalTraining(0.1, batch_size=1.0)
    with pytest.raises(AttackError, match="none is named"):
        replace(seen, prototypes={})
    with pytest.raises(AttackError, match="all zero"):
        replace(seen, prototypes={"ink": torch.zeros(1, 3)})
    with pytest.raises(AttackError, match="must be floating"):
        replace(seen, prototypes={"ink": torch.ones(1, 3, dtype=torch.int64)})
    with pytest.raises(AttackError, match="must be floating and finite"):
        replace(seen, public_pictures=torch.ones(2, 3, 16, 16, dtype=torch.uint8))


@pytest.mark.parametrize("targets", [torch.tensor([1.0, 2.0]), torch.tensor([1, 30])], ids=["float", "range"])
def test_targets_that_the_loss_cannot_take_are_named(targets, seen, smooth_pictures):
    with pytest.raises(AttackError, match="loss: it cannot take targets"):
        simulate(seen, smooth_pictures(2), targets)
    with pytest.raises(AttackError, match="loss: it cannot take targets"):
        inverting_gradients().run(replace(seen, targets=targets), Budget(1), 0)


def test_momentum_echoes_and_noise_adds_up_over_steps():
    training = LocalTraining(0.5, steps=3, epochs=3, momentum=0.5, noise_std=2.0)
    assert training.echoes == (1.75, 1.5, 1.0)
    assert training.update_noise == pytest.approx(0.5 * 2.0 * (1.75**2 + 1.5**2 + 1) ** 0.5)
    draws = torch.Generator().manual_seed(0)
    noise, velocity, moved = 2 * torch.randn(3, 100_000, generator=draws), 0.0, 0.0
    for step in noise:
        velocity = 0.5 * velocity + step
        moved = moved - 0.5 * velocity
    # The deviation of 100,000 draws is known to 0.2 %.
    assert float(moved.std()) == pytest.approx(training.update_noise, rel=0.01)


def test_a_capability_needs_a_reason_and_is_not_both_given_and_withheld():
    with pytest.raises(AttackError, match="say why for SEES_UPDATE"):
        ThreatModel("x", {Capability.SEES_UPDATE: " "})
    with pytest.raises(AttackError, match="both given and withheld"):
        ThreatModel("x", {Capability.SEES_UPDATE: "a"}, {Capability.SEES_UPDATE: "b"})


def test_evidence_and_budgets_out_of_range_are_refused():
    with pytest.raises(AttackError, match=r"finite and in \[0, 1\]"):
        Evidence("x", 0.0, True, pictures=torch.full((1, 3, 4, 4), 1.5))
    with pytest.raises(AttackError, match="4-D"):
        Evidence("x", 0.0, True, pictures=torch.rand(3, 4, 4))
    with pytest.raises(AttackError, match="at least 1"):
        Budget(steps=0)
    with pytest.raises(AttackError, match="seconds"):
        Budget(seconds=0)


OPTIONAL = {"opacus", "pandas", "pyarrow"}
"""Imported inside functions alone, by those who have them."""


def test_attacks_import_nothing_of_the_product():
    """Read, not run: every import statement of the package, at the top or inside a function."""
    for path in Path(attacks.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            allowed = {*OPTIONAL, "attacks", "torch", "numpy", "scipy", "PIL", "matplotlib", "safetensors"}
            for name in names:
                top = name.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path}: {name}"

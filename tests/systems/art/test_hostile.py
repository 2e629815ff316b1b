"""Artists and platforms that send anything at all."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord

import fedstyle_secure
from fedstyle_secure.engines import local
from fedstyle_secure.errors import FederationError, PrivacyError
from fedstyle_secure.federation import strategy
from fedstyle_secure.federation.artist import Studio
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.clipping import SHARED_GRID, to_grid
from fedstyle_secure.privacy.dp_sgd import DPTrainer, record_rows
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import studio_home
from fedstyle_secure.system import plan_of, system_bound

IN_CLEAR = {
    "secure_sum": {"enabled": False},
    "privacy": {"noise_multiplier": 1.0, "noise": "own"},
    "run": {"system": "art", "rounds": 2, "min_artists": 2},
}


def sent_by(artist, change, monkeypatch):
    """What an artist's updates become on their way: `change(array, round)` of each tensor."""
    real = local.LocalGrid._handle

    def handle(self, message):
        reply = real(self, message)
        has_update = reply.has_content() and "update" in reply.content
        if has_update and reply.content["reply"]["artist"] == artist:
            number, update = message.content["round"]["number"], reply.content["update"]
            made = ((name, Array(change(array.numpy(), number))) for name, array in update.items())
            reply.content["update"] = ArrayRecord(OrderedDict(made))
        return reply

    monkeypatch.setattr(local.LocalGrid, "_handle", handle)


@pytest.mark.long
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_an_update_that_is_no_number_costs_its_artist_the_round_alone(settings, tmp_path, monkeypatch, value):
    sent_by("neon-1", lambda array, number: np.full_like(array, value), monkeypatch)
    run = fedstyle_secure.train(settings(**IN_CLEAR), tmp_path / "runs" / "run").folder
    for line in run.metrics()[1:]:
        assert line["replies"] == 2
        assert len(line["declined"]) == 1
        assert "artist 'neon-1': update: tensor" in line["declined"][0]


@pytest.mark.long
@pytest.mark.parametrize("optimiser", ["adam", "mean"])
def test_an_update_beyond_all_measure_ends_the_run_by_name_and_not_in_a_product_that_nobody_opens(
    settings, tmp_path, monkeypatch, optimiser
):
    """Each value is one that a reply may have; what they lead to is none that anybody takes."""
    config = settings(**IN_CLEAR, training={"expected_pictures": 6, "server_optimizer": optimiser})
    out = tmp_path / "runs" / "run"
    with monkeypatch.context() as patched:
        sent_by("neon-1", lambda array, number: array + np.float32(9e5 * (number == 2)), patched)
        with pytest.raises(FederationError, match=r"round 2: .* values beyond 1000 .* artist 'neon-1'"):
            fedstyle_secure.train(config, out)
    assert not RunFolder(out).finished
    # Nobody pays twice where the run goes on with what was released.
    fedstyle_secure.train(config, out, resume=True)
    for artist in open_gallery(config.gallery).artists:
        home = studio_home(out.parent / "studios", config.gallery, artist)
        assert [entry.round for entry in Ledger(home / "ledger.jsonl").entries] == [1, 2]


@pytest.mark.long
@pytest.mark.parametrize("summed", [True, False])
def test_whoever_led_a_round_astray_is_named_only_where_each_ones_part_was_seen(
    settings, tmp_path, monkeypatch, summed
):
    """Of a sum it cannot be known whose part it was."""
    real = strategy.take

    def take(*given):
        taken = real(*given)
        far = np.float32(2000 * bool(taken.sums))
        beyond = {name: array + far for name, array in taken.state.trained.items()}
        return replace(taken, state=replace(taken.state, trained=beyond))

    monkeypatch.setattr(strategy, "take", take)
    config = settings() if summed else settings(**IN_CLEAR)
    with pytest.raises(FederationError, match=r"leads where no artist answers: .* values beyond") as raised:
        fedstyle_secure.train(config, tmp_path / "runs" / "run")
    assert any(name in str(raised.value) for name in open_gallery(config.gallery).artists) != summed
    assert ("the largest value is" in str(raised.value)) != summed


def asked(settings, tmp_path):
    """A system, its first state of a round with updates, an artist's portfolio and studio."""
    config = settings()
    gallery, system = open_gallery(config.gallery), system_bound(config)
    portfolio, plan = gallery.portfolio(gallery.artists[0]), plan_of(config, 3)
    studio = Studio(tmp_path / "home", "run", system, plan, 3, portfolio, str)
    return system, replace(system.learn([]), round=1), portfolio, studio


def weights(state, kind):
    rng = np.random.default_rng(0)
    made = {
        "largest": lambda shape: rng.choice([-1000.0, 1000.0], shape),
        "wide": lambda shape: np.clip(rng.normal(size=shape) * 10 ** rng.uniform(-3, 3), -1000, 1000),
    }[kind]
    return replace(
        state, trained={name: made(array.shape).astype(np.float32) for name, array in state.trained.items()}
    )


@pytest.mark.parametrize("kind", ["largest", "wide"])
def test_whatever_weights_are_sent_a_work_moves_the_sum_by_its_clipped_row_and_no_more(
    settings, tmp_path, kind
):
    system, state, portfolio, studio = asked(settings, tmp_path)
    state = weights(state, kind)
    plan = plan_of(system.config, 3)
    model = system.model(state)
    records = system.records(model, state, "a", system.inputs(model, portfolio), portfolio)
    loss = system.loss(model, state)
    rows = list(record_rows(model, loss, records.inputs, records.targets))
    # At the largest weights that are let in every gradient overflows; such a work counts as zero.
    assert all(np.isfinite(row).all() == (kind == "wide") for row in rows)

    def total(keep):
        trainer = DPTrainer(model, loss, plan.sgd, 1.0)
        return trainer.gradient_sum(records.inputs[keep], records.targets[keep], SHARED_GRID)

    everyone = np.arange(len(records))
    moved = total(everyone) - total(everyone[1:])
    assert np.array_equal(moved, to_grid(rows[0], plan.sgd.clip_norm, SHARED_GRID))
    assert 0 <= int((moved * moved).sum()) <= SHARED_GRID**2
    assert bool(moved.any()) == (kind == "wide")
    # The artist answers, as for any other weights, and pays for it.
    assert set(studio.answer(state, offered=True).arrays) == {"update"}
    assert [entry.round for entry in Ledger(tmp_path / "home" / "ledger.jsonl").entries] == [1]


def test_one_round_gives_one_release_whatever_weights_it_is_asked_with_again(settings, tmp_path):
    _, state, _, studio = asked(settings, tmp_path)
    first = studio.answer(state, offered=True).arrays["update"]
    again = studio.answer(state, offered=True).arrays["update"]
    assert all(np.array_equal(first[name], again[name]) for name in first)
    for other in (weights(state, "wide"), replace(state, texts={**state.texts, "autoencoder": ("",)})):
        with pytest.raises(PrivacyError, match="round 1 was answered before, to another request"):
            studio.answer(other, offered=True)
    for number in (3, 10**9):
        with pytest.raises(FederationError, match="is not in the plan's 3"):
            studio.answer(replace(state, round=number), offered=True)
    assert len(Ledger(tmp_path / "home" / "ledger.jsonl").entries) == 1

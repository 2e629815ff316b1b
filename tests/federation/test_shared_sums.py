"""Sums with one noise through the whole of a run: what is opened, for whom, and what it is refused for."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

import fedstyle_secure
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.federation import local_training
from fedstyle_secure.federation.groups import CROWD, held_counts, weight_stands_out
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.clipping import SHARED_GRID
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.privacy.shared_noise import SharedNoise
from fedstyle_secure.studios import studio_home, studios_root
from fedstyle_secure.system import State, system_bound

SETTINGS = (
    *("gallery.artists=5", "gallery.public_artists=3", "gallery.pictures=12", "gallery.size=32"),
    *("style.dim=8", "style.practice_artists=0", "styles.count=3", "styles.min_contributors=2"),
    *("run.rounds=2", "training.expected_pictures=9", "privacy.noise_multiplier=2", "metrics.releases=1"),
)


@pytest.fixture(scope="module")
def config():
    return fedstyle_secure.Config().override(SETTINGS)


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return fedstyle_secure.train(config, tmp_path_factory.mktemp("shared") / "runs" / "run").folder


def entries_of(run, artist):
    config = run.config()
    home = studio_home(studios_root(config, run), config.gallery, artist)
    return Ledger(home / "ledger.jsonl").entries


def test_every_sum_has_one_noise_and_the_ledger_says_among_whom(config, run):
    entries = entries_of(run, "impasto-1")
    assert [e.kind for e in entries] == ["card", "prototypes", "scatter", "update", "update", "metrics"]
    by_kind = {e.kind: e for e in entries}
    assert by_kind["card"].parameters["shared"] is None
    # Five artists: a cohort of four, one of whom may collude.
    told = {"honest": 3, "cohort": 4, "artists": 5, "records": 36}
    assert all(e.parameters["shared"] == told for e in entries if e.kind != "card")
    for e in entries:
        assert e.artwork_cost == SampledGaussian(e.parameters["noise_multiplier"])
        assert e.artist_cost is None
    for line, name in zip(
        run.metrics(), ("prototypes", "scatter", "update", "update", "metrics"), strict=False
    ):
        assert name in line["releases"]


def test_a_sum_with_one_noise_is_the_same_sealed_and_in_clear(config, run, tmp_path, monkeypatch):
    """What the opener opened is, to the bit, the sum of what artists' studios released."""
    from fedstyle_secure.federation import summing

    sealed, opened = [], []
    real_share, real_open = SharedNoise.share, summing.Counter.open

    def share(self, total, noise_multiplier, most=None, read=None):
        made = real_share(self, total, noise_multiplier, most)
        sealed.append(made)
        return made

    def opening(self, attempt, wanted):
        found = real_open(self, attempt, wanted)
        opened.append(found.total)
        return found

    monkeypatch.setattr(SharedNoise, "share", share)
    monkeypatch.setattr(summing.Counter, "open", opening)
    fedstyle_secure.train(config, tmp_path / "run")
    assert len(opened) == 5
    for total in opened:
        of_round, sealed = sealed[:5], sealed[5:]
        assert np.array_equal(np.sum(of_round, axis=0), total)
    assert not sealed


def test_the_step_is_that_of_the_mean_clipped_gradient(config):
    """Decoded, a sum of gradients is what own noise would have sent as updates, but for the noise."""
    clear = config.override(["privacy.noise=own", "privacy.noise_multiplier=0", "style.rank=8"])
    system, gallery = system_bound(config), open_gallery(config.gallery)
    public = [gallery.portfolio(name) for name in gallery.public_artists]
    portfolio = gallery.portfolio(gallery.artists[0])
    state = replace(system.learn(public), round=2)
    model = system.model(state)
    records = system.records(model, state, portfolio.artist, system.inputs(model, portfolio), portfolio)
    plan = solve(config, system.kinds(), 5)
    layouts = Layouts(config, plan, system.forms(state), 5)
    exact = np.array([0])

    def share(self, total, noise_multiplier, most=None, read=None):
        exact.resize(total.shape, refcheck=False)
        exact[:] = total
        return total

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedNoise, "share", share)
        made = local_training.gradient_share(system, model, state, records, plan.sgd)
    summed = layouts.summed(2)
    decoded = summed.decode(summed.encode({"update": made}))["update"]["head.core"]
    own = system_bound(clear)
    sgd = solve(clear, own.kinds(), 5).sgd
    rate = config.learning_rate / clear.learning_rate
    update = local_training.train(own, own.model(state), state, records, sgd, np.random.default_rng(0))
    # Rows are cut to the grid: by less than a step each.
    step = config.learning_rate / 9 * len(records) / SHARED_GRID
    assert np.abs(decoded - rate * update["head.core"]).max() <= step * 1.01
    assert np.abs(decoded).max() > 100 * step


def test_what_holds_one_noise_is_opened_for_a_whole_cohort_only(config):
    system = system_bound(config)
    plan = solve(config, system.kinds(), 5)
    gallery = open_gallery(config.gallery)
    state = system.learn([gallery.portfolio(name) for name in gallery.public_artists])
    layouts = Layouts(config, plan, system.forms(state), 5)
    for number in range(plan.rounds):
        terms = layouts.summed(number).terms
        assert terms.k_min == terms.noise.n_min == 4
        assert terms.groups is None


@pytest.mark.long
def test_a_cohort_that_is_counted_too_large_is_refused(config, tmp_path, monkeypatch):
    """A platform whose plan counts on more shares than there are: no artist seals, and no opener signs."""
    from fedstyle_secure.federation.summing import Counter

    real = Counter.attempt

    def attempt(self, wanted, *rest):
        terms = wanted.terms
        weak = replace(terms, k_min=2, noise=replace(terms.noise, n_min=2))
        return real(self, replace(wanted, terms=weak), *rest)

    monkeypatch.setattr(Counter, "attempt", attempt)
    found = fedstyle_secure.train(config.override(["run.rounds=1"]), tmp_path / "run")
    for line in found.folder.metrics():
        assert line["sum"]["artists"] == 0
        assert "205" in line["sum"]["why"]


@pytest.mark.parametrize("setting", ["training.sampling_rate=0.5", "training.local_steps=2"])
def test_more_than_one_step_of_all_records_is_refused(config, setting):
    system = system_bound(config.override([setting]))
    with pytest.raises(ConfigError, match="updates with shared noise take one step of all records"):
        solve(system.config, system.kinds(), 5)
    own = system_bound(config.override([setting, "privacy.noise=own"]))
    assert solve(own.config, own.kinds(), 5).kinds["update"].shared is None


def test_noise_is_not_shared_where_shares_would_be_seen(config):
    system = system_bound(config.override(["secure_sum.enabled=false", "privacy.noise=shared"]))
    with pytest.raises(ConfigError, match="a share that is seen by itself protects nobody"):
        solve(system.config, system.kinds(), 5)
    auto = system_bound(config.override(["secure_sum.enabled=false"]))
    assert not any(kind.shared for kind in solve(auto.config, auto.kinds(), 5).kinds.values())


def test_an_artist_weighs_one_at_most_in_a_style():
    """One artist with a thousand pictures of a style is one contributor, and is not taken for two."""
    count, length, groups = 100, 4, 3
    total = np.zeros(groups * length, np.int64)
    total[length - 1] = 1000 * count
    held = held_counts(groups, len(total), count, 10**6)
    alone = np.clip(total, -held, held)
    assert alone[length - 1] == CROWD * count
    assert not weight_stands_out(alone, groups, CROWD * count, 0.0, 2).any()
    assert weight_stands_out(2 * alone, groups, CROWD * count, 0.0, 2).tolist() == [True, False, False]
    # Noise that could make two of one keeps a style unused.
    assert not weight_stands_out(2 * alone, groups, CROWD * count, CROWD * count / 4, 2).any()


def test_noise_of_sums_is_one_over_the_root_of_n(config):
    """The same budget, with N noises or with one: they differ by the root of the honest shares."""
    kinds = {}
    for noise in ("own", "shared"):
        system = system_bound(
            config.override([f"privacy.noise={noise}", "style.scatter=off", "style.rank=8"])
        )
        kinds[noise] = solve(system.config, system.kinds(), 5)
    own, shared = (kinds[n].deviation("prototypes") for n in ("own", "shared"))
    z = [kinds[n].kinds["prototypes"].mechanism.noise_multiplier for n in ("own", "shared")]
    assert own / z[0] == pytest.approx(shared / z[1] * math.sqrt(3), rel=1e-6)


def test_the_base_follows_from_the_sum_of_second_moments(config, run):
    """Round by round: the scatter moves the base and training moves the core, and nothing else."""
    state = State.load(run.product_file)
    assert not np.array_equal(state.public["head.base"], np.eye(8))
    assert np.abs(state.trained["head.core"]).max() > 0
    moved = [line["encoder_moved"] > 0 for line in run.metrics()]
    assert moved == [False, False, True, True, False]
    assert list(itertools.accumulate(line["update_kept"] is not None for line in run.metrics()))[-1] == 2

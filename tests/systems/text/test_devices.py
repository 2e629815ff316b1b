"""Recognisers that learn on a device, and a run whose releases do not."""

import numpy as np
import pytest
import torch

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.devices import CPU
from fedstyle_secure.federation import local_training
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.system import State
from fedstyle_secure.systems.text import measure, personal, system
from fedstyle_secure.systems.text.own import trained_on
from fedstyle_secure.systems.text.recogniser.charset import Charset
from fedstyle_secure.systems.text.recogniser.network import Recogniser
from fedstyle_secure.systems.text.recogniser.start import pooled, weights


def test_an_own_recogniser_is_the_same_on_a_device(pretended):
    config = system.TextConfig.from_dict({"run": {"system": "text"}, "gallery": {"pictures": 12}})
    gallery = open_gallery(config.gallery)
    charset = Charset(config.text.charset)
    crops, targets = pooled(charset, [gallery.portfolio(gallery.artists[0])])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shared = Recogniser(charset.classes)
    text = config.text.model_copy(update={"personal": "all", "personal_epochs": 1})
    here = weights(trained_on(shared, text, crops, targets, CPU))
    with pretended.elsewhere() as away:
        there = weights(trained_on(shared, text, crops, targets, pretended.ELSEWHERE))
    assert away.operations > 100
    assert any(not np.array_equal(array, here[name]) for name, array in weights(shared).items())
    for name, array in here.items():
        assert np.abs(array - there[name]).max() <= 1e-5


@pytest.mark.long
def test_no_release_is_computed_on_the_device_that_a_run_names(pretended, monkeypatch, tmp_path):
    """Public learning and what a run is compared with are; the product is the same as on the CPU."""
    base = {
        "run": {"system": "text", "rounds": 1, "device": "auto"},
        "gallery": {"artists": 2, "public_artists": 1, "pictures": 8},
        "text": {"practice_epochs": 0, "public_epochs": 1, "compare_epochs": 1},
        "privacy": {"dp": "off"},
    }
    here = fedstyle_secure.train(Config.from_dict(base), tmp_path / "here").folder
    train, during = local_training.train, []
    for module in (system, measure, personal):
        monkeypatch.setattr(module, "device_named", lambda name: pretended.ELSEWHERE)
    with pretended.elsewhere() as away:

        def watched(*args, **kwargs):
            before = away.operations
            found = train(*args, **kwargs)
            during.append(away.operations - before)
            return found

        monkeypatch.setattr(local_training, "train", watched)
        there = fedstyle_secure.train(Config.from_dict(base), tmp_path / "there").folder
        assert away.operations > 100
    assert during == [0, 0]
    products = [State.load(run.product_file).trained for run in (here, there)]
    for name, array in products[0].items():
        assert np.abs(array - products[1][name]).max() <= 1e-5

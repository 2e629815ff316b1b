"""The public start: what comes with the package, and alphabets that it was not made for."""

from importlib.resources import files

import numpy as np
import pytest
import torch

from fedstyle_secure.config import Config
from fedstyle_secure.files import read_arrays
from fedstyle_secure.systems.text.recogniser import start
from fedstyle_secure.systems.text.recogniser.charset import LONGEST, Charset
from fedstyle_secure.systems.text.recogniser.fitting import fit
from fedstyle_secure.systems.text.recogniser.network import Recogniser


def test_the_start_that_comes_with_the_package_is_of_these_sources():
    """Else everybody would wait minutes for it, without a word."""
    text = Config.from_dict({"run": {"system": "text"}}).text
    path = files("fedstyle_secure.systems.text.recogniser") / start.SHIPPED
    assert read_arrays(path)[1]["recipe"] == start.recipe(Charset(text.charset), text.practice_epochs), (
        "run `python benchmarks/text_start.py`"
    )


@pytest.mark.parametrize(("letters", "learns"), [("0123456789", True), ("\N{EURO SIGN}", False)])
def test_an_alphabet_without_some_letters_practises_on_what_it_can_read(monkeypatch, letters, learns):
    monkeypatch.setattr(start, "_ARTISTS", 1)
    monkeypatch.setattr(start, "_WORDS", 400)
    begun, done = (start.practise(Charset(letters), epochs) for epochs in (0, 1))
    moved = any(not np.array_equal(begun[name], done[name]) for name in begun)
    assert moved == learns


@pytest.mark.parametrize(("crops", "epochs"), [(0, 3), (1, 1), (2, 2), (1, 10), (33, 5)])
def test_few_steps_train_too(crops, epochs):
    """Ten steps divided by zero, as an artist has of 129 to 160 crops and two passes over them."""
    torch.manual_seed(0)
    model, rate = Recogniser(2), 1e-3
    before = [p.detach().clone() for p in model.parameters()]
    targets = torch.zeros(crops, 1 + LONGEST, dtype=torch.int64)
    targets[:, :2] = 1
    fit(model, torch.randn(crops, 1, 32, 128), targets, epochs, rate, seed=0)
    moved = max(float((p.detach() - b).abs().max()) for p, b in zip(model.parameters(), before, strict=True))
    assert moved > rate / 100 if crops else moved == 0

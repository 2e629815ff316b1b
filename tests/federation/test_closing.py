"""What artists and opener sign is bound to the settings that each of them knows."""

import pytest

import fedstyle_secure
from fedstyle_secure.config import PLACES, Config
from fedstyle_secure.engines import local
from fedstyle_secure.errors import FederationError
from fedstyle_secure.federation import desk as desk_module
from fedstyle_secure.secure_sum.codes import Code


def test_every_setting_but_places_is_in_the_digest():
    config = Config().override(["gallery.source=folder"])
    other = {
        "run.folder": "x", "run.studios": "x", "gallery.path": "x", "cards.consent": "none",
        "privacy.target_epsilon": 1.0, "run.rounds": 3, "secure_sum.bits": 8, "privacy.unit": "artist",
    }  # fmt: skip
    for key, value in other.items():
        changed = Config.from_flat(config.to_flat() | {key: value})
        assert (changed.digest() == config.digest()) == (key in PLACES), key
    assert Config.from_flat(config.to_flat()).digest() == config.digest()


def test_a_manifest_of_other_settings_is_refused_before_a_byte_leaves(tiny, tmp_path, monkeypatch):
    """An opener who was told another target than the artists: the terms are the same, what they follow from
    is not."""
    seen = []
    real, handle = desk_module.Desk.__init__, local.LocalGrid._handle

    def told_otherwise(self, root, run, homes, config, plan):
        real(self, root, run, homes, config.override(["privacy.target_epsilon=0.3"]), plan)

    def tap(self, message):
        reply = handle(self, message)
        seen.append(reply)
        return reply

    monkeypatch.setattr(desk_module.Desk, "__init__", told_otherwise)
    monkeypatch.setattr(local.LocalGrid, "_handle", tap)
    with pytest.raises(FederationError, match=f"code {Code.SETTINGS.value}"):
        fedstyle_secure.train(tiny, tmp_path / "run")
    assert not any(reply.has_content() and "upload" in reply.content for reply in seen)


def test_a_run_that_its_opener_does_not_close_is_not_finished(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(desk_module.Desk, "close", lambda self, record: 1 / 0)
    with pytest.raises(FederationError, match="the end: the opener refuses: code 199"):
        fedstyle_secure.train(tiny, tmp_path / "run")
    monkeypatch.undo()
    run = fedstyle_secure.train(tiny, tmp_path / "run", resume=True)
    assert run.folder.finished

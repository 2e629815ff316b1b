"""A scene is of the run that it says: its gallery, and training that can be done again."""

import numpy as np
import pytest

from fedstyle_secure.audit import scene as scenes
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.errors import AuditError

SETTINGS = AuditSettings(processes=1)
SMALL = (
    "gallery.artists=4", "gallery.public_artists=4", "gallery.pictures=12", "gallery.size=32", "style.dim=16",
    "style.practice_artists=0", "styles.count=3", "run.rounds=2", "training.expected_pictures=9",
    "training.sampling_rate=0.5", "training.local_steps=2", "audit.record=all", "style.views=2",
    "secure_sum.enabled=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def plain(train_run):
    return Scene(train_run(*SMALL, "privacy.dp=off"), SETTINGS)


def _same(scene):
    """Recorded updates beside those that the scene makes again, as one vector each."""
    pairs = []
    for recorded in scene.rounds:
        for artist, reply in recorded.replies.items():
            if "update" in reply.arrays:
                made = scene.remade(recorded.sent, artist)
                pairs.append(tuple(
                    np.concatenate([np.asarray(u[name]).ravel() for name in made])
                    for u in (reply.arrays["update"], made)
                ))  # fmt: skip
    assert len(pairs) == 2 * len(scene.artists)
    return pairs


def test_what_an_artist_trained_on_is_known_to_the_bit_where_there_is_no_noise(plain):
    """Views, styles, anchors, steps and the batches of the seed."""
    for recorded, made in _same(plain):
        assert np.linalg.norm(recorded) > 0
        np.testing.assert_allclose(made, recorded, rtol=1e-4, atol=1e-5 * np.abs(recorded).max())


@pytest.mark.long
@pytest.mark.parametrize("kind", ["gradient", "mislabelled"])
def test_canaries_are_trained_on_again_too(train_run, kind):
    settings = ("privacy.noise_multiplier=0", "privacy.clip_norm=0.1", "audit.canaries=16")
    scene = Scene(train_run(*SMALL, *settings, f"audit.canary_kind={kind}"), SETTINGS)
    for recorded, made in _same(scene):
        np.testing.assert_allclose(made, recorded, rtol=1e-3, atol=1e-4 * np.abs(recorded).max())


def test_another_gallery_than_the_runs_is_refused_with_both_digests(plain, monkeypatch):
    """Else members would be sought that never trained, and the run would look safe."""
    real = scenes.open_gallery
    monkeypatch.setattr(scenes, "open_gallery", lambda section: real(section.model_copy(update={"seed": 99})))
    began = plain.run.manifest()["gallery"]["digest"]
    with pytest.raises(AuditError, match=f"gallery 'atelier' has the digest [0-9a-f]{{64}}.*{began}"):
        Scene(plain.run, SETTINGS)


def test_another_split_of_the_same_pictures_is_refused(plain, monkeypatch):
    """Members and non-members would change places."""
    real = scenes.open_gallery
    monkeypatch.setattr(
        scenes, "open_gallery", lambda section: real(section.model_copy(update={"test_fraction": 0.5}))
    )
    with pytest.raises(AuditError, match="split have changed since"):
        Scene(plain.run, SETTINGS)


def test_draws_of_different_purposes_and_seeds_differ(plain):
    other = Scene(plain.run, SETTINGS.model_copy(update={"seed": 1}))
    draws = {
        scene.rng(purpose).bytes(16)
        for scene in (plain, other)
        for purpose in ("targets", "noise", "batches")
    }
    assert len(draws) == 6
    assert plain.rng("targets").bytes(16) == plain.rng("targets").bytes(16)


def test_views_are_those_of_training_and_the_first_is_the_picture_itself(plain):
    works = plain.works(plain.artists[0], "train")
    views = works.inputs
    assert views.shape[:2] == (len(works), 2)
    np.testing.assert_array_equal(views[:, 0], works.prepared)
    assert not np.allclose(views[:, 1], works.prepared)


@pytest.mark.long
def test_an_attacker_is_told_the_clip_and_the_noise_that_the_artist_used(train_run):
    """By what the artist's own trainer does: lengths of gradients, deviation of the noise of an update."""
    scene = Scene(train_run(*SMALL, "privacy.noise_multiplier=3", "privacy.clip_norm=0.01"), SETTINGS)
    artist, sent = scene.artists[0], scene.first
    works, told = scene.works(artist, "train"), scene.training(1)
    lengths = np.linalg.norm(scene.gradients(sent, artist, works), axis=1)
    np.testing.assert_allclose(lengths, told.clip_norm, rtol=1e-3)  # all are longer
    bare = Scene(scene.run, SETTINGS.model_copy(update={"without": ("noise",)}))
    noisy, clean = (s.update_of_one(sent, artist, works, 0, "test") for s in (scene, bare))
    noise = np.concatenate([(noisy[name] - clean[name]).numpy().ravel() for name in noisy])
    # Steps turn a little with the noise; a deviation of n values is within 5 / sqrt(2 n), falsely 1 in 1e6.
    assert noise.std() == pytest.approx(told.update_noise, rel=0.03 + 5 / np.sqrt(2 * len(noise)))
    undefended = scene.training(1, defended=False)
    assert (undefended.clip_norm, undefended.noise_std) == (None, 0.0)
    assert undefended.views == told.views == 2

"""The style distance tells styles from contents, and the judge names artists of sets."""

import numpy as np
import pytest
import torch

from attacks.errors import AttackError
from attacks.style import ArtistJudge, style_distance, style_statistics
from fedstyle_secure.galleries.atelier import Atelier


def works(names, n=16, size=32):
    gallery = Atelier(artists=len(names), pictures=n, public=2, size=size)
    return [
        torch.from_numpy(gallery.portfolio(f"public-{name}-1").pictures).permute(0, 3, 1, 2) / 255
        for name in names
    ]


@pytest.fixture(scope="module")
def artists():
    return dict(zip(("impasto", "woodcut"), works(("impasto", "woodcut")), strict=True))


def test_works_of_one_artist_are_nearer_than_those_of_another(artists):
    a, b = artists.values()
    reference = torch.cat([a, b])
    nearer = 0
    for k in range(len(a)):
        others = torch.cat([a[:k], a[k + 1 :]])
        own = style_distance(others, a[k].expand_as(others), reference).mean()
        nearer += bool(own < style_distance(b, a[k].expand_as(b), reference).mean())
    assert nearer >= 14
    assert (style_distance(a, a, reference) == 0).all()


def test_mirroring_keeps_the_style_and_blurring_does_not(artists):
    a, b = artists.values()
    reference = torch.cat([a, b])
    blurred = torch.nn.functional.avg_pool2d(a, 3, 1, 1, count_include_pad=False)
    mirrored = style_distance(a.flip(-1), a, reference).mean()
    assert mirrored < style_distance(blurred, a, reference).mean()


def test_statistics_are_those_of_the_definition():
    flat = torch.full((1, 3, 16, 16), 0.25)
    found = style_statistics(flat)
    assert found[0, 0] == pytest.approx(0.25)  # luminance of grey
    assert found[0, 1:15].abs().max() < 1e-6  # no colour, no differences
    assert found.isfinite().all()


def test_the_judge_names_sets_it_has_not_seen(artists):
    judge = ArtistJudge.fit([pictures[:8] for pictures in artists.values()], list(artists))
    for name, pictures in artists.items():
        assert judge.name(pictures[8:]) == name
        assert judge.scores(pictures[8:]).shape == (2,)


def test_what_a_judge_cannot_use_is_refused(artists):
    a, b = artists.values()
    with pytest.raises(AttackError, match="two artists"):
        ArtistJudge.fit([a], ["one"])
    with pytest.raises(AttackError, match="two works"):
        ArtistJudge.fit([a, b[:1]], ["one", "two"])
    with pytest.raises(AttackError, match="16x16"):
        style_statistics(a[..., :8, :8])
    with pytest.raises(AttackError, match="reference"):
        style_distance(a, a, a[:1])


def test_a_sets_scores_are_the_means_of_its_works(artists):
    """One loud work must not name a whole set."""
    judge = ArtistJudge.fit([pictures[:8] for pictures in artists.values()], list(artists))
    a, b = artists.values()
    mixed = torch.cat([a[8:], b[8:10]])
    each = np.stack([judge.scores(one) for one in mixed.split(1)])
    assert np.allclose(judge.scores(mixed), each.mean(0))
    assert not np.allclose(judge.scores(mixed), each.max(0))

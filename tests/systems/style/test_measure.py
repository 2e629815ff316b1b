"""What the experimenter sees of single artists is what their own test pictures say."""

from __future__ import annotations

import numpy as np
import pytest

from fedstyle_secure.fairness import BY_ARTIST
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.system import system_bound


def test_an_artist_with_a_wrong_card_is_not_found_and_the_others_are(tiny):
    system, gallery = system_bound(tiny), open_gallery(tiny.gallery)
    portfolios = [gallery.portfolio(artist) for artist in gallery.artists]
    state = system.learn([gallery.portfolio(artist) for artist in gallery.public_artists])
    assert BY_ARTIST not in system.meter(portfolios)(state, state, {}), "nobody has a card"
    model = system.model(state)
    kind = next(k for k in system.kinds() if k.name == "card")
    for portfolio in portfolios:
        card = model.released(model.prepare(portfolio.pictures)).mean(axis=0)
        turned = -card if portfolio is portfolios[1] else card
        state = system.publish(state, kind, portfolio.artist, {"card": turned})
    found = system.meter(portfolios)(state, state, {})
    told = found[BY_ARTIST]
    assert set(told) == set(gallery.artists)
    assert told[gallery.artists[1]]["share"] == 0
    assert found["artist_top1"] == pytest.approx(np.mean([one["share"] for one in told.values()]))
    assert found["artist_top1"] > 0
    assert [one["label"] for one in told.values()] == [p.labels[0] for p in portfolios]

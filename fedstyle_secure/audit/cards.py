"""Attacks on style cards and prototype sums: means of pictures that are released on purpose."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from attacks.inversion.prototypes import linkage_scores
from attacks.membership.encoder import prototype_tracing
from attacks.membership.scores import MembershipScores
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, guessing, membership
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.views import Item
from fedstyle_secure.errors import AuditError
from fedstyle_secure.federation.vectors import layout_of
from fedstyle_secure.privacy.events import Event
from fedstyle_secure.privacy.mechanisms import GaussianSum
from fedstyle_secure.privacy.noise import gaussian
from fedstyle_secure.style.prototypes import COUNT_SCALE

CARD_MEMBERSHIP = AttackCard(
    "card_membership", "Tracing a style card",
    "Asks of a picture whether it is one of those that an artist's published style card is the mean of.",
    "membership inference", "L1", "artwork", "membership AUC",
)  # fmt: skip
CARD_LINKAGE = AttackCard(
    "card_linkage", "Linking a style card to its artist",
    "Takes the name off a style card and finds the artist again from other pictures of theirs.",
    "exfiltration", "L2", "artist", "artist named rightly",
)  # fmt: skip
SUM_MEMBERSHIP = AttackCard(
    "sum_membership", "Tracing a prototype sum",
    "Asks of a picture whether it is one of those that a prototype sum was made of.",
    "membership inference", "L1", "artwork", "membership AUC",
)  # fmt: skip
SUM_STYLES = AttackCard(
    "sum_styles", "Main style of an artist from a prototype sum",
    "Guesses which of the shared styles most of an artist's pictures belong to.",
    "attribute inference", "L3", "artist", "main style named rightly",
)  # fmt: skip
SINGLED_OUT = AttackCard(
    "singled_out", "A sum of one artist",
    "Gets a sum opened that holds one artist alone, and reads the artist's main style off it.",
    "attribute inference", "L3", "artist", "main style named rightly",
)  # fmt: skip
TAKEN_APART = AttackCard(
    "taken_apart", "Two openings taken apart",
    "Gets a round opened with and without one artist, and reads the main style off the difference.",
    "attribute inference", "L3", "artist", "main style named rightly",
)  # fmt: skip

GRAIN: Mapping[Item, str] = {
    Item.OWN_SUMS: "each artist's own sum",
    Item.OTHERS_SUMS: "the sum without the colluding artists' part",
    Item.TOTAL_SUMS: "the sum over all artists",
}
"""What a view may see of prototype sums, the most telling first."""


def card_membership(scene: Scene) -> Outcome:
    """Tracing of each artist's last published card."""
    started, settings = time.perf_counter(), scene.settings
    sent, noise = scene.last, _card_noise(scene)

    def of(artist: str, card: np.ndarray, deviation: float) -> np.ndarray:
        # How many pictures there are is not public: what the settings expect stands in for it.
        variance = deviation**2 / scene.config.training.expected_pictures
        return _traced(scene, _candidates(scene, artist)[0], card, variance)

    carded = [artist for artist in scene.artists if artist in sent.card_artists]
    if not carded:
        raise AuditError("no audited artist published a card")
    defended = {a: _card(scene, a) for a in carded}
    values = [of(artist, defended[artist], noise) for artist in carded]
    truth = [_members(scene, artist) for artist in carded]
    control = [of(artist, _exact_card(scene, artist), 0.0) for artist in carded]
    how = Setting(CARD_MEMBERSHIP, settings.seed, settings.confidence, time.perf_counter() - started,
                  "closed form")  # fmt: skip
    inside = np.concatenate(truth)
    return membership(
        how, _scores(CARD_MEMBERSHIP, values), inside,
        np.repeat(carded, [len(v) for v in values]), scene.blind_auc,
        Limit(_events(scene, scene.plan.card, len(scene.plan.schedule.cards)), hops=2),
        (_scores(CARD_MEMBERSHIP, control), inside), settings.fpr,
    )  # fmt: skip


def card_linkage(scene: Scene) -> Outcome:
    """Which artist made an unnamed card, from held-out pictures of all artists with a card."""
    started, settings, sent = time.perf_counter(), scene.settings, scene.last
    noise = _card_noise(scene)
    carded = [artist for artist in scene.artists if artist in sent.card_artists]
    if len(carded) < 2:
        raise AuditError("linking needs cards of at least two audited artists")
    encoder = scene.encoder(sent)
    known = [torch.from_numpy(encoder.released(scene.works(a, "test").prepared)).double() for a in carded]

    def right(artist: str, card: np.ndarray, deviation: float) -> bool:
        n, mean = scene.config.training.expected_pictures, torch.from_numpy(card).double()
        scores = linkage_scores(mean, known, n, deviation / n)
        return carded[int(scores.argmax())] == artist

    hits = np.array([right(a, _card(scene, a), noise) for a in carded])
    control = np.array([right(a, _exact_card(scene, a), 0.0) for a in carded])
    how = Setting(
        CARD_LINKAGE, settings.seed, settings.confidence, time.perf_counter() - started, "closed form",
        "a card is published under its artist's name, to be found by",
    )  # fmt: skip
    # The guarantee is an artwork's: it says nothing of what gives an artist away.
    return Outcome((guessing(how, hits, 1 / len(carded), None, control, "artist named rightly"),))


def sum_membership(scene: Scene, grain: Item) -> Outcome:
    """Tracing of a prototype sum, style by style."""
    _require_sums(scene)
    started, settings = time.perf_counter(), scene.settings
    seen = {artist: _sum_seen(scene, artist, grain, defended=True) for artist in scene.artists}
    control = {artist: _sum_seen(scene, artist, Item.OWN_SUMS, defended=False) for artist in scene.artists}

    values, plain = _traced_in(scene, seen), _traced_in(scene, control)
    inside = np.concatenate([_members(scene, artist) for artist in scene.artists])
    how = Setting(
        SUM_MEMBERSHIP, settings.seed, settings.confidence, time.perf_counter() - started, "closed form",
        f"sees {GRAIN[grain]}",
    )  # fmt: skip
    return membership(
        how, _scores(SUM_MEMBERSHIP, values), inside,
        np.repeat(list(scene.artists), [len(v) for v in values]), scene.blind_auc,
        Limit(_sum_events(scene), hops=2), (_scores(SUM_MEMBERSHIP, plain), inside), settings.fpr,
    )  # fmt: skip


def sum_styles(scene: Scene, grain: Item) -> Outcome:
    """The main style of each artist, from what a view sees of prototype sums."""
    return _main_styles(scene, SUM_STYLES, grain, f"sees {GRAIN[grain]}")


def singled_out(scene: Scene) -> Outcome:
    """The main style from a sum that holds one artist."""
    return _main_styles(scene, SINGLED_OUT, Item.OWN_SUMS, "a sum of one artist is the artist's own")


def taken_apart(scene: Scene) -> Outcome:
    """The main style from the difference of two openings."""
    return _main_styles(scene, TAKEN_APART, Item.OWN_SUMS, "the difference is the artist's own sum")


def _main_styles(scene: Scene, card: AttackCard, grain: Item, note: str) -> Outcome:
    _require_sums(scene)
    started, settings = time.perf_counter(), scene.settings
    k = len(scene.first.styles.names)
    truths = {a: np.bincount(scene.works(a, "train").styles, minlength=k) for a in scene.artists}

    def right(artist: str, total: np.ndarray) -> bool:
        counts = total.reshape(k, -1)[:, -1]
        return truths[artist][int(counts.argmax())] == truths[artist].max()

    hits = np.array([right(a, _sum_seen(scene, a, grain, defended=True).total) for a in scene.artists])
    control = np.array(
        [right(a, _sum_seen(scene, a, Item.OWN_SUMS, defended=False).total) for a in scene.artists]
    )
    # Without looking, one names the style that most artists have as their main one; it takes knowing which.
    baseline = float(max(np.mean([t[style] == t.max() for t in truths.values()]) for style in range(k)))
    how = Setting(
        card, settings.seed, settings.confidence, time.perf_counter() - started, "closed form", note
    )
    return Outcome((guessing(how, hits, baseline, None, control, card.metric),))


@dataclass(frozen=True, eq=False)
class _SumSeen:
    """A prototype sum as a view sees it: its values (k * (d + 1),), the noise in each of them, and whether it
    holds other artists too."""

    total: np.ndarray
    deviation: float
    shared: bool


def _sum_seen(scene: Scene, artist: str, grain: Item, *, defended: bool) -> _SumSeen:
    """A release made anew by the run's own mechanism.

    The record holds none of an artist's sealed sums, and a sum over all artists would be a single draw.
    """
    mechanism, roster = scene.plan.prototypes, scene.gallery.artists
    noisy = scene.noise and defended
    one = mechanism.noise_multiplier * mechanism.clip_norm if noisy else 0.0
    own = {artist}
    if grain is Item.TOTAL_SUMS:
        own = set(roster)
    elif grain is Item.OTHERS_SUMS:
        others = [a for a in roster if a != artist]
        helpers = min(scene.settings.colluders, len(others) - 1) if len(others) > 1 else 0
        own = set(roster) - set(others[:helpers])
    mean = scene.plan.shared is not None
    total = np.zeros(scene.rows(scene.works(artist, "train")).shape[1])
    for name in sorted(own):
        rows = scene.rows(scene.works(name, "train"))
        total += rows.mean(axis=0) if mean else replace(mechanism, noise_multiplier=0.0).exact(rows)
    deviation = one * np.sqrt(len(own))
    if mean:
        deviation = _shared_noise(scene, len(total)) if noisy else 0.0
    noise = gaussian(total.shape, deviation, scene.bytes(f"sum {artist} {grain} {defended}"))
    return _SumSeen(total + noise, deviation, len(own) > 1)


def _shared_noise(scene: Scene, size: int) -> float:
    """Deviation of the noise in each value of a sum of mean rows, where the unit is the artist.

    It is made up of all artists' shares; what the smallest cohort's shares have is taken.
    """
    assert scene.plan.shared is not None
    privacy, share = scene.config.privacy, scene.config.share
    layout = layout_of({}, size, privacy.clip_norm, share.sgd, share.prototypes)
    mechanism = scene.plan.shared_for(layout.size)
    return float(mechanism.noise.deviation(mechanism.cohort) * layout.scales()[1])


def _traced_in(scene: Scene, seen: Mapping[str, _SumSeen]) -> list[np.ndarray]:
    """Scores of each artist's pictures: each traced in the mean of its own style.

    The candidates of a style are all that the sum may have been made of: the artist's own pictures where it
    is the artist's, those of all audited artists where it holds others too.
    """
    k = len(scene.first.styles.names)
    scores = {artist: np.zeros(len(_members(scene, artist))) for artist in seen}
    styles = {a: np.concatenate([scene.works(a, w).styles for w in ("train", "test")]) for a in seen}
    vectors = {artist: _released(scene, artist) for artist in seen}
    for artist, one in seen.items():
        blocks = one.total.reshape(k, -1)
        pool = [a for a in seen if a == artist or seen[a].shared]
        for style in range(k):
            count = max(blocks[style, -1] / COUNT_SCALE, 1.0)
            own = styles[artist] == style
            among = np.concatenate([vectors[a][styles[a] == style] for a in pool])
            if own.any() and len(among) > 1:
                mean, variance = blocks[style, :-1] / count, one.deviation**2 / count
                scores[artist][own] = _traced(scene, vectors[artist][own], mean, variance, among)
    return list(scores.values())


def _traced(
    scene: Scene, vectors: np.ndarray, mean: np.ndarray, variance: float, pool: np.ndarray | None = None
) -> np.ndarray:
    """Tracing among candidates of which nobody says who is in, in units of what it gives to strangers.

    Args:
        vectors: Candidates (n, d).
        mean: What was released (d,).
        variance: Of its noise on a coordinate, times the number of its pictures.
        pool: All candidates (m, d); None for `vectors`.
    """
    middle = (vectors if pool is None else pool).mean(axis=0)
    # How pictures of one artist differ is seen in public; where these ones lie, among the candidates.
    elsewhere = scene.public_within + middle
    found = prototype_tracing(vectors, mean, elsewhere, noise_variance=variance).values
    return found / max(
        prototype_tracing(elsewhere, mean, elsewhere, noise_variance=variance).values.std(), 1e-12
    )


def _released(scene: Scene, artist: str) -> np.ndarray:
    return np.concatenate([scene.works(artist, which).released for which in ("train", "test")])


def _candidates(scene: Scene, artist: str) -> tuple[np.ndarray, int]:
    """What cards are means of, under the last encoder: an artist's pictures, and how many trained."""
    encoder = scene.encoder(scene.last)
    parts = [encoder.released(scene.works(artist, which).prepared) for which in ("train", "test")]
    return np.concatenate(parts), len(parts[0])


def _members(scene: Scene, artist: str) -> np.ndarray:
    inside, outside = len(scene.works(artist, "train")), len(scene.works(artist, "test"))
    return np.arange(inside + outside) < inside


def _card(scene: Scene, artist: str) -> np.ndarray:
    """A published card at the length that a mean would have; made anew where noise is assumed to be missing.

    Cards are published with unit length; how long the mean was is guessed from public artists.
    """
    if "noise" in scene.settings.without:
        return _exact_card(scene, artist)
    published = scene.last.cards[scene.last.card_artists.index(artist)]
    signal = np.median(np.linalg.norm(scene.public_means, axis=1))
    noise = _card_noise(scene) / scene.config.training.expected_pictures
    return published * float(np.sqrt(signal**2 + len(published) * noise**2))


def _exact_card(scene: Scene, artist: str) -> np.ndarray:
    candidates, n = _candidates(scene, artist)
    return candidates[:n].mean(axis=0)


def _card_noise(scene: Scene) -> float:
    mechanism = scene.plan.card
    return mechanism.noise_multiplier * mechanism.clip_norm if scene.noise else 0.0


def _events(scene: Scene, mechanism: GaussianSum, releases: int) -> Sequence[Event]:
    event = (mechanism if scene.noise else GaussianSum(mechanism.clip_norm, 0.0)).event("artwork")
    return [event] * releases if event is not None else []


def _sum_events(scene: Scene) -> Sequence[Event]:
    releases = len(scene.plan.schedule.prototypes)
    if scene.plan.shared is not None and scene.noise:
        event = scene.plan.shared.event("artwork")
        return [event] * releases if event is not None else []
    return _events(scene, scene.plan.prototypes, releases)


def _require_sums(scene: Scene) -> None:
    if not scene.plan.schedule.prototypes:
        raise AuditError("this run releases no prototype sums")


def _scores(card: AttackCard, values: Sequence[np.ndarray]) -> MembershipScores:
    return MembershipScores.of(card.name, np.concatenate(values))

"""Attacks on style cards and prototype sums: means of pictures that are released on purpose."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from attacks.inversion.prototypes import linkage_scores
from attacks.membership.encoder import prototype_tracing
from attacks.references import Cited
from fedstyle_secure.audit.findings import MEMBERSHIP
from fedstyle_secure.audit.limits import NO_GUARANTEE, Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, guessing, membership
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.views import Item
from fedstyle_secure.errors import AuditError
from fedstyle_secure.federation.groups import CROWD, contributes, weight_stands_out
from fedstyle_secure.federation.record import RecordedRound
from fedstyle_secure.federation.vectors import VectorLayout, mean_row
from fedstyle_secure.privacy.clipping import GRID
from fedstyle_secure.privacy.events import Event
from fedstyle_secure.privacy.integers import integer_gaussian
from fedstyle_secure.privacy.kinds import SUM
from fedstyle_secure.privacy.mechanisms import GaussianSum
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.secure_sum.manifest import Groups
from fedstyle_secure.secure_sum.suppression import suppress
from fedstyle_secure.system import State
from fedstyle_secure.systems.style.attacks.works import encoder_of, public_spread, records_of, style_of
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.prototypes import COUNT_SCALE, PictureRows, refresh
from fedstyle_secure.systems.style.system import CARD, PROTOTYPES

_TRACING = (
    Cited("sankararaman2009", "the test of one record against a released mean"),
    Cited("dwork2015", "the same for a mean with noise; whitened by public pictures here"),
)
CARD_MEMBERSHIP = AttackCard(
    "card_membership", "Tracing a style card",
    "Asks of a picture whether it is one of those that an artist's published style card is the mean of.",
    "membership inference", "L1", "artwork", MEMBERSHIP, _TRACING,
)  # fmt: skip
CARD_LINKAGE = AttackCard(
    "card_linkage", "Linking a style card to its artist",
    "Takes the name off a style card and finds the artist again from other pictures of theirs.",
    "exfiltration", "L2", "artist", "artist named rightly",
)  # fmt: skip
SUM_MEMBERSHIP = AttackCard(
    "sum_membership", "Tracing a prototype sum",
    "Asks of a picture whether it is one of those that a prototype sum was made of.",
    "membership inference", "L1", "artwork", MEMBERSHIP, _TRACING,
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
    Item.MOVED: "the prototypes that the sum over all artists moved",
}
"""What a view may see of prototype sums, the most telling first."""


_AS_MADE = "cards are read under the weights that they were made with, which whoever kept each round has"


def card_membership(scene: Scene) -> Outcome:
    """Tracing of each artist's last published card."""
    started, settings = time.perf_counter(), scene.settings
    side = CardSide.of(scene)
    carded = [artist for artist in scene.artists if artist in scene.last.texts["cards"]]
    if not carded:
        raise AuditError("no audited artist published a card")

    def of(artist: str, card: np.ndarray, deviation: float) -> np.ndarray:
        # How many pictures there are is not public: what the settings expect stands in for it.
        variance = deviation**2 / scene.config.training.expected_pictures
        return _traced(side.within, side.candidates(artist), card, variance)

    values = [of(artist, side.published(artist), side.noise) for artist in carded]
    truth = [scene.members(artist) for artist in carded]
    control = [of(artist, side.exact(artist), 0.0) for artist in carded]
    how = Setting(CARD_MEMBERSHIP, settings.seed, settings.confidence, time.perf_counter() - started,
                  "closed form", _AS_MADE if scene.images else "")  # fmt: skip
    inside = np.concatenate(truth)
    return membership(
        how, CARD_MEMBERSHIP.scores(values), inside,
        np.repeat(carded, [len(v) for v in values]), scene.blind, Limit(side.events(), hops=2),
        (CARD_MEMBERSHIP.scores(control), inside), settings.fpr,
    )  # fmt: skip


def card_linkage(scene: Scene) -> Outcome:
    """Which artist made an unnamed card, from held-out pictures of all artists with a card."""
    started, settings = time.perf_counter(), scene.settings
    side = CardSide.of(scene)
    carded = [artist for artist in scene.artists if artist in scene.last.texts["cards"]]
    if len(carded) < 2:
        raise AuditError("linking needs cards of at least two audited artists")
    known = [
        torch.from_numpy(side.encoder.released(scene.works(a, "test").prepared)).double() for a in carded
    ]

    def right(artist: str, card: np.ndarray, deviation: float) -> bool:
        n, mean = scene.config.training.expected_pictures, torch.from_numpy(card).double()
        scores = linkage_scores(mean, known, n, deviation / n)
        return carded[int(scores.argmax())] == artist

    hits = np.array([right(a, side.published(a), side.noise) for a in carded])
    control = np.array([right(a, side.exact(a), 0.0) for a in carded])
    how = Setting(
        CARD_LINKAGE, settings.seed, settings.confidence, time.perf_counter() - started, "closed form"
    )
    # The guarantee is an artwork's: it says nothing of what gives an artist away.
    return Outcome((guessing(how, hits, 1 / len(carded), None, control),))


def sum_membership(scene: Scene, grain: Item) -> Outcome:
    """Tracing of a prototype sum, or of the prototypes made of it, style by style."""
    started, settings = time.perf_counter(), scene.settings
    sums = Sums.of(scene)
    artists = sums.audited
    seen = {artist: sums.seen(artist, grain) for artist in artists}
    control = {artist: sums.bare(artist) for artist in artists}

    values, plain = _traced_in(scene, sums, seen), _traced_in(scene, sums, control)
    inside = np.concatenate([scene.members(artist) for artist in artists])
    how = Setting(
        SUM_MEMBERSHIP, settings.seed, settings.confidence, time.perf_counter() - started, "closed form",
        f"sees {GRAIN[grain]}",
    )  # fmt: skip
    return membership(
        how, SUM_MEMBERSHIP.scores(values), inside,
        np.repeat(list(artists), [len(v) for v in values]), scene.blind,
        Limit(sums.events(grain), hops=2), (SUM_MEMBERSHIP.scores(plain), inside), settings.fpr,
    )  # fmt: skip


def sum_styles(scene: Scene, grain: Item) -> Outcome:
    """The main style of each artist, from what a view sees of prototype sums."""
    return _main_styles(scene, SUM_STYLES, grain, f"sees {GRAIN[grain]}")


def singled_out(scene: Scene) -> Outcome:
    """The main style from a sum that holds one artist."""
    return _main_styles(scene, SINGLED_OUT, Item.SUM_OF_ONE, "a sum of one artist is the artist's own")


def taken_apart(scene: Scene) -> Outcome:
    """The main style from the difference of two openings."""
    return _main_styles(
        scene, TAKEN_APART, Item.TWO_OPENINGS,
        "artists send a round's release again as it was, so the difference is the artist's own sum with the "
        "artist's own noise",
    )  # fmt: skip


def _main_styles(scene: Scene, card: AttackCard, grain: Item, note: str) -> Outcome:
    started, settings = time.perf_counter(), scene.settings
    sums = Sums.of(scene)
    k, artists = sums.styles, sums.audited
    assigned = {a: records_of(scene, scene.works(a, "train"), sums.sent).assigned for a in artists}
    truths = {a: np.bincount(own, minlength=k) for a, own in assigned.items()}

    def right(artist: str, total: np.ndarray) -> bool:
        counts = total.reshape(k, -1)[:, -1]
        return bool(truths[artist][int(counts.argmax())] == truths[artist].max())

    hits = np.array([right(a, sums.seen(a, grain).total) for a in artists])
    control = np.array([right(a, sums.bare(a).total) for a in artists])
    # Without looking, one names the style that most artists have as their main one; it takes knowing which.
    baseline = float(max(np.mean([t[style] == t.max() for t in truths.values()]) for style in range(k)))
    how = Setting(
        card, settings.seed, settings.confidence, time.perf_counter() - started, "closed form", note
    )
    return Outcome((guessing(how, hits, baseline, None, control),))


@dataclass(frozen=True, eq=False)
class CardSide:
    """What the last published cards were made with.

    Attributes:
        scene: The run.
        sent: The round's instruction; the product where no round was recorded.
        recorded: Whether it is the round's.
        encoder: As it was then.
        within: How public pictures differ within an artist under it, (m, r).
        length: Of a public artist's mean under it.
    """

    scene: Scene
    sent: State
    recorded: bool
    encoder: StyleEncoder
    within: np.ndarray
    length: float

    @classmethod
    def of(cls, scene: Scene) -> CardSide:
        """Where only a head trains, cards are the same under all weights; else those of their round count."""
        rounds = [r for r in scene.rounds if r.sent.round == max(scene.plan.rounds_of(CARD), default=-1)]
        sent = rounds[0].sent if rounds else scene.last
        within, length = public_spread(scene, sent)
        return cls(scene, sent, bool(rounds), encoder_of(scene, sent), within, length)

    def events(self) -> Sequence[Event]:
        """What cards give away of an artwork, with the weights that they were made with, if those trained."""
        if not self.scene.images:
            return self.scene.costs((CARD,))
        return self.scene.costs(last=self.sent.round if self.recorded else None)

    @property
    def noise(self) -> float:
        """Deviation of the noise in each value of a card."""
        return self.scene.plan.deviation(CARD) if self.scene.noise else 0.0

    def candidates(self, artist: str) -> np.ndarray:
        """What the card may be the mean of: the artist's pictures, those that trained first, (n, r)."""
        parts = [self.encoder.released(self.scene.works(artist, w).prepared) for w in ("train", "test")]
        return np.concatenate(parts)

    def published(self, artist: str) -> np.ndarray:
        """A card at the length that a mean would have; made anew where noise is assumed to be missing.

        Cards are published with unit length; how long the mean was is guessed from public artists.
        """
        if "noise" in self.scene.settings.without:
            return self.exact(artist)
        last = self.scene.last
        card = last.public["cards"][last.texts["cards"].index(artist)]
        noise = self.noise / self.scene.config.training.expected_pictures
        found: np.ndarray = card * float(np.sqrt(self.length**2 + len(card) * noise**2))
        return found

    def exact(self, artist: str) -> np.ndarray:
        """A card without noise (r,)."""
        return np.asarray(self.candidates(artist)[: len(self.scene.works(artist, "train"))].mean(axis=0))


@dataclass(frozen=True, eq=False)
class Seen:
    """A prototype sum as a view sees it.

    Attributes:
        total: Its values (k * (d + 1),), at the scale of a sum over pictures.
        deviation: Of the noise in each of them.
        shared: Whether it holds other artists too.
    """

    total: np.ndarray
    deviation: float
    shared: bool


@dataclass(frozen=True, eq=False)
class Sums:
    """The artists' prototype sums of the run's first release of them, made anew.

    The record holds none of an artist's sealed sums, and a sum over all artists would be a single draw. Where
    sums left in clear and were recorded, those are taken. Where the unit is the artist, an artist releases
    the mean of its rows with a share of noise: it is read times the pictures that are expected.

    Attributes:
        scene: The run.
        sent: What artists were sent in that round; the product where no round was recorded.
        exact: Each artist's own sum without noise, (k * (d + 1),), of those who took part.
        came: Sums that came in clear.
        silent: Canary artists, who give noise to the sum and no pictures.
        deviation: Of one artist's noise in each value.
    """

    scene: Scene
    sent: State
    exact: Mapping[str, np.ndarray]
    came: Mapping[str, np.ndarray]
    silent: int
    deviation: float

    @classmethod
    def of(cls, scene: Scene) -> Sums:
        """Raises AuditError where the run releases no prototype sums."""
        if not scene.plan.rounds_of(PROTOTYPES):
            raise AuditError(
                "this run releases no prototype sums, and no attack here reads sums of updates only"
            )
        first = min(scene.plan.rounds_of(PROTOTYPES))
        line = next(line for line in scene.run.metrics() if line["round"] == first)
        took = set(line["released_by"])
        artists = [artist for artist in scene.gallery.artists if artist in took]
        if not set(artists) & set(scene.artists):
            raise AuditError("no audited artist took part in the round of the prototype sums")
        recorded = next((r for r in scene.rounds if r.sent.round == first), None)
        sent = scene.last if recorded is None else recorded.sent
        exact = {artist: _exact_sum(scene, sent, artist) for artist in artists}
        came = {} if recorded is None or scene.config.secure_sum.enabled else _came(scene, recorded)
        return cls(scene, sent, exact, came, len(took - set(artists)), _own_deviation(scene))

    @property
    def styles(self) -> int:
        """How many."""
        return len(self.sent.texts["styles"])

    @cached_property
    def spread(self) -> tuple[np.ndarray, float]:
        """How public pictures differ within an artist, and how long an artist's mean is (`public_spread`)."""
        return public_spread(self.scene, self.scene.first)

    @property
    def audited(self) -> tuple[str, ...]:
        """The audited artists that are in it."""
        return tuple(artist for artist in self.scene.artists if artist in self.exact)

    def events(self, grain: Item) -> Sequence[Event]:
        """What a view's sums give away of an artwork.

        Where noise is shared, all that covers a sum is noise in as many shares as the plan counts on.
        """
        by_artist, by_artwork = self.scene.plan.shared, self.scene.plan.kinds[PROTOTYPES].shared
        honest = by_artwork.honest if by_artwork is not None else 0
        honest = by_artist.noise.honest if by_artist is not None else honest
        if self._shares(self._inside(self.audited[0], grain), grain) < honest:
            return [NO_GUARANTEE]
        # The product's prototypes, which stand in for what was not recorded, are made of everything.
        return self.scene.costs((PROTOTYPES,) if self.sent.round < self.scene.last.round else None)

    def bare(self, artist: str) -> Seen:
        """An artist's own sum without any defence."""
        return Seen(self.exact[artist], 0.0, False)

    def seen(self, artist: str, grain: Item) -> Seen:
        """What a view sees of an artist's sum.

        Args:
            artist: Whose pictures are looked for.
            grain: What the view holds. A sum of one, and the difference of two openings, are an artist's own
                sum with that artist's own noise: no more noise is in them, whatever a whole sum has.
        """
        read = self.scene.bytes(f"sum {artist} {grain}")
        inside = self._inside(artist, grain)
        shares = self._shares(inside, grain)
        deviation = self.deviation * float(np.sqrt(shares))
        together = grain in (Item.OTHERS_SUMS, Item.TOTAL_SUMS, Item.MOVED)
        if not together and artist in self.came and "noise" not in self.scene.settings.without:
            return Seen(self.came[artist], deviation, False)
        total = np.sum([self.exact[name] for name in inside], axis=0)
        total = total + _noise(total.shape, deviation, read)
        if not together:
            return Seen(total, deviation, False)
        blocks = total.reshape(self.styles, -1)
        if self.scene.plan.shared is None:
            own = np.stack([sums.reshape(self.styles, -1)[:, -1] for sums in self.exact.values()])
            counts = own + _noise(own.shape, self.deviation, read)
            among = np.isin(list(self.exact), inside)
            if self._one_noise:
                # An artist's count is held to what makes it one contributor; nobody says who contributes.
                whole = CROWD * COUNT_SCALE
                held = np.minimum(own, whole)[among].sum(axis=0)
                blocks[:, -1] = held + _noise(held.shape, deviation, read)
                least = self.scene.plan.kinds[PROTOTYPES].least
                kept = weight_stands_out(total, self.styles, whole, deviation, least)
            else:
                blocks[:, -1] = counts[among].sum(axis=0)
                kept = self._kept(counts)
                blocks[~kept] = 0.0
        else:
            kept = self._stands_out(total, deviation)
        if grain is Item.MOVED:
            return Seen(self._prototypes(total, deviation, kept), deviation, True)
        return Seen(total, deviation, len(inside) > 1)

    def _inside(self, artist: str, grain: Item) -> list[str]:
        """Artists whose pictures are in what a view sees."""
        if grain in (Item.TOTAL_SUMS, Item.MOVED):
            return list(self.exact)
        if grain is Item.OTHERS_SUMS:
            others = [name for name in self.exact if name != artist]
            return [artist, *others[self.scene.settings.colluders :]]
        return [artist]

    def _shares(self, inside: Sequence[str], grain: Item) -> int:
        """Artists whose noise is in it. Canary artists are the last to collude."""
        if grain in (Item.TOTAL_SUMS, Item.MOVED):
            return len(inside) + self.silent
        if grain is Item.OTHERS_SUMS:
            told = self.scene.settings.colluders - (len(self.exact) - len(inside))
            return len(inside) + max(self.silent - told, 0)
        return 1

    @property
    def _one_noise(self) -> bool:
        """Whether a sum of the unit artwork holds one noise."""
        return self.scene.plan.kinds[PROTOTYPES].shared is not None

    def _kept(self, counts: np.ndarray) -> np.ndarray:
        """Styles that enough artists contribute to, bool (k,), from each artist's noisy counts (n, k)."""
        least = self.scene.plan.kinds[PROTOTYPES].least
        among = self.scene.roster_length
        there = [contributes(row, self.styles, COUNT_SCALE, self.deviation, among) for row in counts]
        crowd = np.sum(there, axis=0, dtype=np.int64)
        if not self.scene.config.secure_sum.enabled:
            return np.asarray(crowd >= least)
        groups = Groups(self.styles, 1, least)
        return suppress(np.r_[np.zeros(self.styles, np.int64), crowd], groups)[1]

    def _stands_out(self, total: np.ndarray, deviation: float) -> np.ndarray:
        """Styles that the platform uses where the unit is the artist; whoever opens the sum sees all."""
        expected = self.scene.config.training.expected_pictures
        least = self.scene.plan.kinds[PROTOTYPES].least
        return weight_stands_out(total / expected, self.styles, COUNT_SCALE, deviation / expected, least)

    def _prototypes(self, total: np.ndarray, deviation: float, kept: np.ndarray) -> np.ndarray:
        """What the product tells of a sum: a direction a style; its length and its count are guessed."""
        moved = refresh(style_of(self.scene).styles(self.sent), total, deviation, kept).prototypes
        pictures = self.scene.config.training.expected_pictures * len(self.exact) / self.styles
        _, length = self.spread
        counts = np.full((self.styles, 1), COUNT_SCALE * pictures)
        return np.concatenate([moved * length * pictures, counts], axis=1).reshape(-1)


def _exact_sum(scene: Scene, sent: State, artist: str) -> np.ndarray:
    records = records_of(scene, scene.works(artist, "train"), sent)
    rows = PictureRows(records.vectors, records.assigned, len(sent.texts["styles"]))
    if scene.plan.shared is None:
        return _mechanism(scene).exact(rows)
    layout, noise = _layout(scene), scene.layouts.shared(_first(scene)).noise
    vector = noise.exact(layout.join({PROTOTYPES: mean_row(rows)}))
    return _sums(layout.split(vector)) * scene.config.training.expected_pictures


def _mechanism(scene: Scene) -> GaussianSum:
    """Of a sum, without noise."""
    mechanism = scene.plan.kinds[PROTOTYPES].mechanism
    assert isinstance(mechanism, GaussianSum)
    return replace(mechanism, noise_multiplier=0.0)


def _came(scene: Scene, recorded: RecordedRound) -> dict[str, np.ndarray]:
    """Own sums as they came in clear, by artist."""
    found = {}
    for artist, reply in recorded.replies.items():
        if PROTOTYPES in reply.arrays:
            found[artist] = _sums(reply.arrays).astype(np.float64)
        elif SUM in reply.arrays:
            decoded = scene.layouts.shared(_first(scene)).noise.decode(reply.arrays[SUM][SUM])
            row = _sums(_layout(scene).split(decoded))
            found[artist] = row * scene.config.training.expected_pictures
    return found


def _sums(arrays: Mapping[str, Mapping[str, np.ndarray]]) -> np.ndarray:
    return arrays[PROTOTYPES]["sums"]


def _own_deviation(scene: Scene) -> float:
    """Deviation of one artist's noise in each value of a sum, as `Sums` scales it."""
    if not scene.noise:
        return 0.0
    if scene.plan.shared is None:
        return scene.plan.deviation(PROTOTYPES)
    one = scene.layouts.shared(_first(scene)).noise.deviation(1)
    return one * _layout(scene).scale(PROTOTYPES) * scene.config.training.expected_pictures


def _layout(scene: Scene) -> VectorLayout:
    """Of an artist's vector in the first round with prototypes."""
    return scene.layouts.vector(_first(scene))


def _first(scene: Scene) -> int:
    return min(scene.plan.rounds_of(PROTOTYPES))


def _traced_in(scene: Scene, sums: Sums, seen: Mapping[str, Seen]) -> list[np.ndarray]:
    """Scores of each artist's pictures: each traced in the mean of its own style.

    The candidates of a style are all that the sum may have been made of: the artist's own pictures where it
    is the artist's, those of all audited artists where it holds others too.
    """
    k = sums.styles
    within, _ = sums.spread
    scores = {artist: np.zeros(len(scene.members(artist))) for artist in seen}
    works = {a: [scene.works(a, which) for which in ("train", "test")] for a in seen}
    records = {a: [records_of(scene, part, sums.sent) for part in works[a]] for a in seen}
    assigned = {a: np.concatenate([part.assigned for part in parts]) for a, parts in records.items()}
    vectors = {a: np.concatenate([part.vectors for part in parts]) for a, parts in records.items()}
    for artist, one in seen.items():
        blocks = one.total.reshape(k, -1)
        pool = [a for a in seen if a == artist or one.shared]
        for style in range(k):
            count = max(blocks[style, -1] / COUNT_SCALE, 1.0)
            own = assigned[artist] == style
            among = np.concatenate([vectors[a][assigned[a] == style] for a in pool])
            # A style that was dropped says nothing.
            if own.any() and len(among) > 1 and blocks[style].any():
                mean, variance = blocks[style, :-1] / count, one.deviation**2 / count
                traced = _traced(within, vectors[artist][own], mean, variance, among)
                scores[artist][own] = traced
    return list(scores.values())


def _traced(
    within: np.ndarray,
    vectors: np.ndarray,
    mean: np.ndarray,
    variance: float,
    pool: np.ndarray | None = None,
) -> np.ndarray:
    """Tracing among candidates of which nobody says who is in, in units of what it gives to strangers.

    Args:
        within: How public pictures differ within an artist (m, d).
        vectors: Candidates (n, d).
        mean: What was released (d,).
        variance: Of its noise on a coordinate, times the number of its pictures.
        pool: All candidates (p, d); None for `vectors`.
    """
    middle = (vectors if pool is None else pool).mean(axis=0)
    # How pictures of one artist differ is seen in public; where these ones lie, among the candidates.
    elsewhere = within + middle
    found, strangers = (
        prototype_tracing(rows, mean, elsewhere, noise_variance=variance).values
        for rows in (vectors, elsewhere)
    )
    scaled: np.ndarray = found / max(strangers.std(), 1e-12)
    return scaled


def _noise(shape: tuple[int, ...], deviation: float, read: ByteSource) -> np.ndarray:
    """Noise as an artist draws it."""
    return integer_gaussian(shape, deviation * GRID, read) / GRID

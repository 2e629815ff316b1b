"""All rivals on one gallery: tuned on public artists, judged on private ones, held against the product."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.idle import idle
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.rivals.budget import Budget
from fedstyle_secure.systems.style.rivals.catalogue import HISTOGRAM, PRODUCT, RIVALS, Rival
from fedstyle_secure.systems.style.rivals.central import colour_histogram
from fedstyle_secure.systems.style.rivals.product import Product
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings, base_grid, told
from fedstyle_secure.systems.style.rivals.task import Found, Task, private_task
from fedstyle_secure.systems.style.rivals.tuning import practice, tuned
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.systems.style.system import StyleSystem

OnStep = Callable[[str], None]
NO_GUARANTEE = "none"


@dataclass(frozen=True)
class Gap:
    """A mean over held-out pictures, and its standard error over them."""

    mean: float
    error: float


@dataclass(frozen=True)
class Row:
    """A method's line.

    Attributes:
        method: Its name.
        artist_top1: Share of held-out pictures whose own artist's card is nearest; None: nobody is found.
        artist_map: Mean of 1 / rank of the own artist.
        top1_gap, map_gap: The same less FedStyle's, picture by picture.
        leaks: Mean cosine between what is published of an artist and its true mean; None: the pictures are.
        gives: What an artist gives away.
        guarantee: Of that, in words.
        draws: That figures are averaged over.
        pictures: Held out.
        chosen: Settings that were tuned, by name.
    """

    method: str
    artist_top1: Gap | None
    artist_map: Gap | None
    top1_gap: Gap | None
    map_gap: Gap | None
    leaks: float | None
    gives: str
    guarantee: str
    draws: int
    pictures: int
    chosen: dict[str, float] = field(default_factory=dict)


def over_pictures(values: np.ndarray) -> Gap:
    """Mean and standard error of values (draws, pictures), two pictures at least, first averaged over draws:
    the pictures are what is drawn at random, draws of noise only blur each of them.

    Example:
        >>> gap = over_pictures(np.array([[1.0, 0.0, 1.0, 0.0]]))
        >>> gap.mean, round(gap.error, 3)
        (0.5, 0.289)
    """
    each = values.mean(axis=0)
    return Gap(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))))


def row(
    name: str,
    found: Sequence[Found],
    product: Sequence[Found],
    gives: str,
    guarantee: str,
    chosen: dict[str, float],
) -> Row:
    """A line of the table.

    Args:
        name: The method's.
        found: What it answered in each draw.
        product: What the product did.
        gives: What an artist gives away.
        guarantee: Of that.
        chosen: What was tuned.
    """
    tops, precisions = _figures(found)
    base_tops, base_precisions = _figures(product)
    known = [one.leaks for one in found if one.leaks is not None]
    mine = name != PRODUCT and tops is not None and base_tops is not None
    return Row(
        method=name,
        artist_top1=None if tops is None else over_pictures(tops),
        artist_map=None if precisions is None else over_pictures(precisions),
        top1_gap=over_pictures(_paired(tops, base_tops)) if mine else None,
        map_gap=over_pictures(_paired(precisions, base_precisions)) if mine else None,
        leaks=float(np.mean(known)) if known else None,
        gives=gives,
        guarantee=guarantee,
        draws=len(found),
        pictures=0 if tops is None else tops.shape[1],
        chosen=chosen,
    )


@dataclass(frozen=True, eq=False)
class Choices:
    """All that is chosen before a private picture is opened.

    Attributes:
        config: The settings of the product's run.
        public: The platform's portfolios.
        encoder: What rivals' features come from.
        prototypes: float32 (k, d), of the shared styles.
        conditions: What all rivals share.
        rivals: Each rival's settings, and those of them that were tuned, by its name.
    """

    config: StyleConfig
    public: Sequence[Portfolio]
    encoder: StyleEncoder
    prototypes: np.ndarray
    conditions: Conditions
    rivals: Mapping[str, tuple[Settings, dict[str, float]]]


def tune(config: StyleConfig, public: Sequence[Portfolio], artists: int, on_step: OnStep) -> Choices:
    """Choose every rival's settings on public and procedural artists, for so many private ones."""
    on_step("learning from the public set")
    system = StyleSystem(config)
    state = system.learn(public)
    encoder, prototypes = system.model(state), state.public["prototypes"]
    on_step("practising on public and procedural artists")
    rehearsed = practice(config, encoder, public, prototypes, artists)
    conditions = Conditions.of(config, Budget.of(config), artists)
    chosen = {}
    for rival in RIVALS:
        on_step(f"tuning {rival.name}")
        chosen[rival.name] = _choice(rival, config, rehearsed, conditions)
    return Choices(config, public, encoder, prototypes, conditions, chosen)


def judge(
    choices: Choices, portfolios: list[Portfolio], draws: int, on_step: OnStep = lambda text: None
) -> dict[str, list[Found]]:
    """What the product and every rival, in the catalogue's order, answer on private portfolios, by name."""
    product = Product(choices.config, portfolios, choices.public)
    found: dict[str, list[Found]] = {PRODUCT: []}
    for draw in range(draws):
        on_step(f"playing {PRODUCT}, {draw + 1} of {draws}")
        found[PRODUCT].append(product.found(draw))
    task = private_task(choices.encoder, portfolios, choices.public, choices.prototypes)
    for rival in RIVALS:
        on_step(f"running {rival.name}")
        found[rival.name] = _drawn(rival, task, choices.rivals[rival.name][0], choices.conditions, draws)
    return found


def compare(config: Config, draws: int, on_step: OnStep = lambda text: None) -> list[Row]:
    """Tune and run every method.

    All are simulated in this process on prepared features: no Flower and no ciphertexts. Choices are made
    before a private picture is opened.

    Args:
        config: Of a run of style search.
        draws: Of noise; without privacy, seeds of the product's run. >= 1.
        on_step: Told what is done next.

    Returns:
        The product's line first, then the rivals' in the catalogue's order.

    Raises:
        ConfigError: The settings describe no run in which artists are found by cards and a head; names it.
        GalleryError: The gallery cannot be used, or holds nothing out.
    """
    style = _checked(config)
    system, gallery = StyleSystem(style), open_gallery(style.gallery)
    system.require_learnable()
    system.check(gallery.artists)
    for sentence in idle(style):
        logging.getLogger("fedstyle_secure").warning(sentence)
    public = [gallery.portfolio(name) for name in gallery.public_artists]
    choices = tune(style, public, len(gallery.artists), on_step)
    on_step("opening the private portfolios")
    portfolios = [gallery.portfolio(name) for name in gallery.artists]
    if sum(int(p.test.sum()) for p in portfolios) < 2:
        raise GalleryError("private artists hold out fewer than two pictures, so nothing can be compared")
    found = judge(choices, portfolios, draws, on_step)
    product, guarantee = found[PRODUCT], _guarantee(style)
    rows = [row(PRODUCT, product, product, "updates, sums of styles, a card", guarantee, {})]
    for rival in RIVALS:
        words = guarantee if rival.covered else NO_GUARANTEE
        chosen = choices.rivals[rival.name][1]
        rows.append(row(rival.name, found[rival.name], product, rival.gives, words, chosen))
    on_step(HISTOGRAM)
    return [*rows, _histogram_row(portfolios, product)]


def _drawn(rival: Rival, task: Task, settings: Settings, conditions: Conditions, draws: int) -> list[Found]:
    # Without noise every draw is the same.
    noisy = rival.covered and conditions.budget.scale > 0
    return [rival.method(task, settings, conditions.drawn(draw)) for draw in range(draws if noisy else 1)]


def _choice(
    rival: Rival, config: StyleConfig, task: Task, conditions: Conditions
) -> tuple[Settings, dict[str, float]]:
    values = (base_grid(config) if rival.steps else {}) | dict(rival.grid)
    if not values:
        return Settings(), {}
    settings = tuned(task, rival.method, conditions, values)
    return settings, told(settings, values)


def _histogram_row(portfolios: list[Portfolio], product: Sequence[Found]) -> Row:
    found, chosen = colour_histogram(portfolios)
    return row(HISTOGRAM, [found], product, "its pictures", NO_GUARANTEE, chosen)


def _guarantee(config: StyleConfig) -> str:
    privacy = config.privacy
    if privacy.dp == "off":
        return NO_GUARANTEE
    return f"epsilon {privacy.target_epsilon:g} an artwork"


def _checked(config: Config) -> StyleConfig:
    if not isinstance(config, StyleConfig):
        raise ConfigError(f"run.system = {config.run.system!r}: rivals are of style search alone")
    if config.privacy.unit == "artist":
        raise ConfigError('privacy.unit = "artist": rivals find artists by their cards, and there are none')
    if config.cards.consent != ("all",):
        raise ConfigError('cards.consent must be "all": rivals are asked for every artist')
    if config.style.train in ("norms", "all"):
        raise ConfigError(f"style.train = {config.style.train!r}: rivals train a linear head alone")
    if config.privacy.dp == "on" and config.privacy.noise_multiplier != "auto":
        raise ConfigError(
            f"privacy.noise_multiplier = {config.privacy.noise_multiplier:g}: rivals split a total epsilon; "
            'leave it "auto" and set privacy.target_epsilon'
        )
    return config


def _figures(found: Sequence[Found]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Whether each picture's own artist came first, and 1 / its rank: float64 (draws, pictures)."""
    ranks = [one.ranks for one in found if one.ranks is not None]
    if not ranks:
        return None, None
    stacked = np.stack(ranks)
    return (stacked == 1).astype(np.float64), 1 / stacked


def _paired(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray:
    assert one is not None
    assert other is not None
    difference: np.ndarray = (one.mean(axis=0) - other.mean(axis=0))[None]
    return difference

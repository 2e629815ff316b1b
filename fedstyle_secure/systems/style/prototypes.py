"""Shared styles: the vocabulary, an artist's sums per style, and the prototypes made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.privacy.alone import one_at_a_time
from fedstyle_secure.privacy.shrinkage import signal_share

COUNT_SCALE = 0.5
"""Weight of the count beside the unit embedding in a picture's row; the row's L2 norm is sqrt(1.25)."""

MOST_STYLES = 1000
"""Labels that a public set may have. A platform could else choose so many that an artist's machine fails
beyond some number of pictures, and read that number off the refusal."""

ROW_NORM = float(np.sqrt(1 + COUNT_SCALE**2))


@dataclass(frozen=True)
class Styles:
    """The shared styles.

    Attributes:
        names: One name a style.
        prototypes: float32 unit vectors, shape (k, d).
        by_label: Whether a picture's style is its label; else the nearest prototype.
    """

    names: tuple[str, ...]
    prototypes: np.ndarray
    by_label: bool

    def assign(self, embeddings: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
        """Style index of each picture, by itself: int64 (n,).

        A picture whose label is not among the styles counts for the nearest prototype, as one without a
        label does: to decline instead would tell the platform which labels an artist has.

        Args:
            embeddings: Unit vectors, shape (n, d).
            labels: n labels; used where styles are labels.
        """
        prototypes = torch.tensor(self.prototypes, dtype=torch.float32)
        rows = torch.tensor(embeddings, dtype=torch.float32)
        nearest = one_at_a_time(lambda one: (one @ prototypes.T).argmax(dim=1), rows).numpy()
        if not self.by_label:
            return nearest
        index = {name: i for i, name in enumerate(self.names)}
        return np.array(
            [index.get(label, near) for label, near in zip(labels, nearest, strict=True)], np.int64
        )


def styles_from_labels(embeddings: np.ndarray, labels: tuple[str, ...]) -> Styles:
    """One style a label of the public set; its prototype is the mean direction.

    Raises:
        ConfigError: The public pictures carry no labels.
    """
    names = tuple(sorted(set(labels) - {""}))
    if not names:
        raise ConfigError('styles.source = "labels" needs style labels; use "vocabulary" for this gallery')
    if len(names) > MOST_STYLES:
        raise ConfigError(
            f'styles.source = "labels": the public set has {len(names)} labels, more than {MOST_STYLES}; '
            'use "vocabulary"'
        )
    column = np.array(labels)
    means = np.stack([embeddings[column == name].mean(axis=0) for name in names])
    return Styles(names, unit(means), by_label=True)


def styles_from_vocabulary(embeddings: np.ndarray, count: int, seed: int) -> Styles:
    """`count` anchors by k-means on the unit sphere of the public set's embeddings.

    Raises:
        ConfigError: There are fewer public pictures than styles.
    """
    from sklearn.cluster import KMeans

    if len(embeddings) < count:
        raise ConfigError(f"styles.count = {count} is more than the {len(embeddings)} public pictures")
    centres = KMeans(count, n_init=4, random_state=seed).fit(embeddings).cluster_centers_
    return Styles(tuple(f"style-{i + 1:02d}" for i in range(count)), unit(centres), by_label=False)


@dataclass(frozen=True, eq=False)
class PictureRows:
    """Each picture's row of the prototype sum: its released vector and a scaled count, in its style's block.

    Every row has an L2 norm of at most ROW_NORM, and every artist's sum has the same layout and length,
    whatever styles it has. Rows are made one at a time, so that memory does not grow with the pictures.

    Attributes:
        vectors: Length at most 1, shape (n, d).
        assigned: int64 (n,), style of each picture.
        styles: Number of styles k.
    """

    vectors: np.ndarray
    assigned: np.ndarray
    styles: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, k * (d + 1))."""
        n, d = self.vectors.shape
        return n, self.styles * (d + 1)

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[np.ndarray]:
        """float64 rows (k * (d + 1),)."""
        d = self.vectors.shape[1]
        for vector, style in zip(self.vectors, self.assigned, strict=True):
            row = np.zeros((self.styles, d + 1))
            row[style, :d] = vector
            row[style, d] = COUNT_SCALE
            yield row.ravel()


def picture_rows(vectors: np.ndarray, assigned: np.ndarray, styles: int) -> np.ndarray:
    """All rows of `PictureRows` as one array, float64 (n, k * (d + 1))."""
    rows = PictureRows(vectors, assigned, styles)
    return np.array(list(rows)).reshape(rows.shape)


def refresh(styles: Styles, total: np.ndarray, noise_std: float, kept: np.ndarray) -> Styles:
    """Move prototypes toward the sum over artists, as far as the noise allows (`signal_share`).

    Args:
        styles: Current styles.
        total: float (k * (d + 1),), sum over artists.
        noise_std: Deviation of the noise in each value of it; 0 where there is none.
        kept: bool (k,), styles with enough contributors; the others stay where they are.
    """
    k, d = styles.prototypes.shape
    vectors = np.asarray(total, np.float64).reshape(k, d + 1)[:, :d]
    share = np.where(kept, signal_share(vectors, noise_std), 0.0)[:, None]
    moved = (1 - share) * styles.prototypes + share * unit(vectors)
    return Styles(styles.names, unit(moved), styles.by_label)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)

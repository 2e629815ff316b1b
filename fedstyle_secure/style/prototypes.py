"""Shared styles: the vocabulary, an artist's sums per style, and the prototypes made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.privacy.shrinkage import signal_share

COUNT_SCALE = 0.5
"""Weight of the count beside the unit embedding in a picture's row; the row's L2 norm is sqrt(1.25)."""

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
        """Style index of each picture: int64 (n,).

        A picture whose label is not among the styles counts for the nearest prototype, as one without a
        label does: to decline instead would tell the platform which labels an artist has.

        Args:
            embeddings: Unit vectors, shape (n, d).
            labels: n labels; used where styles are labels.
        """
        nearest = np.asarray((embeddings @ self.prototypes.T).argmax(axis=1), dtype=np.int64)
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


def picture_rows(vectors: np.ndarray, assigned: np.ndarray, styles: int) -> np.ndarray:
    """Each picture's row of the prototype sum: its released vector and a scaled count, in its style's block.

    Every row has an L2 norm of at most ROW_NORM, and every artist's sum has the same layout and length,
    whatever styles it has.

    Args:
        vectors: Length at most 1, shape (n, d).
        assigned: int64 (n,), style of each picture.
        styles: Number of styles k.

    Returns:
        float64, shape (n, k * (d + 1)).
    """
    n, d = vectors.shape
    rows = np.zeros((n, styles, d + 1))
    picture = np.arange(n)
    rows[picture, assigned, :d] = vectors
    rows[picture, assigned, d] = COUNT_SCALE
    return rows.reshape(n, styles * (d + 1))


def refresh(styles: Styles, sums: np.ndarray, noise_std: float, min_contributors: int) -> Styles:
    """Move the prototypes toward the artists' sums, as far as the noise allows.

    A style moves only if at least `min_contributors` artists contribute to it: artists whose count
    stands out of the noise by two deviations. How far follows from the known noise (`signal_share`).

    Args:
        styles: Current styles.
        sums: float32, shape (artists, k * (d + 1)), each artist's released sum.
        noise_std: Deviation of the noise in each value of a sum; 0 where there is none.
        min_contributors: Artists that a prototype needs.
    """
    k, d = styles.prototypes.shape
    blocks = np.asarray(sums, dtype=np.float64).reshape(len(sums), k, d + 1)
    counts = blocks[:, :, d] / COUNT_SCALE
    present = counts > max(0.5, 2 * noise_std / COUNT_SCALE)
    total = blocks[:, :, :d].sum(axis=0)
    kept = signal_share(total, noise_std * np.sqrt(len(sums)))
    kept = np.where(present.sum(axis=0) >= min_contributors, kept, 0.0)[:, None]
    moved = (1 - kept) * styles.prototypes + kept * unit(total)
    return Styles(styles.names, unit(moved), styles.by_label)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)

"""Is the embedded gallery solved by colour alone? The trained encoder beside a colour-histogram classifier.

The classifier is given every advantage: all training pictures of all artists in one place, no privacy,
and the best of three regularisations on the test pictures. Prints one JSON line.
"""

from __future__ import annotations

import json
import tempfile

import numpy as np
from sklearn.linear_model import LogisticRegression

import fedstyle_secure

BINS = 8


def histograms(pictures: np.ndarray) -> np.ndarray:
    """Roots of joint RGB histograms: uint8 (n, s, s, 3) to float64 (n, BINS**3)."""
    codes = (pictures.astype(np.int64) * BINS // 256) @ np.array([BINS * BINS, BINS, 1])
    counts = np.stack([np.bincount(code.ravel(), minlength=BINS**3) for code in codes])
    return np.sqrt(counts / counts.sum(axis=1, keepdims=True))


def main() -> None:
    """Train and compare on the demo's gallery."""
    config = fedstyle_secure.Config()
    gallery = fedstyle_secure.open_gallery(config.gallery)
    portfolios = [gallery.portfolio(artist) for artist in gallery.artists]
    train = np.concatenate([histograms(p.train_pictures) for p in portfolios])
    test = np.concatenate([histograms(p.test_pictures) for p in portfolios])
    train_of = np.repeat(np.arange(len(portfolios)), [len(p.train_pictures) for p in portfolios])
    test_of = np.repeat(np.arange(len(portfolios)), [len(p.test_pictures) for p in portfolios])
    colour = max(
        float(LogisticRegression(C=c, max_iter=2000).fit(train, train_of).score(test, test_of))
        for c in (1.0, 10.0, 100.0)
    )
    with tempfile.TemporaryDirectory() as folder:
        run = fedstyle_secure.train(config, f"{folder}/run")
    encoder = run.summary["utility"]["artist_top1"]
    line = {
        "benchmark": "shortcut",
        "artists": len(portfolios),
        "chance": round(1 / len(portfolios), 3),
        "colour_histogram_top1": round(colour, 3),
        "encoder_top1": round(encoder, 3),
        "epsilon_artwork_max": round(run.summary["privacy"]["epsilon_artwork_max"], 2),
        "margin": round(encoder - colour, 3),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()

"""What reports call the parts and the figures of style search."""

from __future__ import annotations

from fedstyle_secure.words import Figure, Headline, Words

WORDS = Words(
    does="a shared model that finds artists by the style of a picture",
    model="encoder",
    kinds={
        "update": "model update",
        "card": "style card",
        "prototypes": "prototype sum",
        "scatter": "second moment sum",
        "metrics": "noisy counts",
    },
    records="pictures",
    moved="prototype",
    purpose="to be found by",
    consents={"style card": "cards.consent"},
    thresholds=("styles.min_contributors",),
    told=(
        "style.encoder", "style.train", "styles.source", "styles.count", "cards.consent", "cards.releases",
        "prototypes.releases", "metrics.releases",
    ),
    figures=(
        Figure(
            "artist_top1", "number", "share", "Test pictures whose own artist is ranked first.",
            "own artist found first, share of held-out pictures",
        ),
        Figure(
            "artist_macro_f1", "number", "share", "F1 of the first rank, artists weighing equally.",
            "the same with every artist weighing equally",
        ),
        Figure(
            "artist_map", "number", "share", "Mean of 1 / rank of the own artist.",
            "mean of one over the rank",
        ),
        Figure("queries", "whole", "pictures", "Test pictures.", "held-out pictures"),
        Figure(
            "candidates", "whole", "artists", "Artists to be found among.", "artists to choose from",
        ),
        Figure(
            "baseline_top1", "number", "share", "Top-1 before any private training, with the same cards.",
            "own artist found first before any private training",
        ),
        Figure(
            "style_cosine", "number", "cosine", "Noisy style sums with the true ones, in runs without cards.",
            "cosine of noisy style sums with the true ones, in runs without cards",
        ),
        Figure(
            "style_top1", "number", "share", "Test pictures nearest to their own style's prototype.",
            "own style's prototype nearest, share of held-out pictures",
        ),
        Figure(
            "style_baseline_top1", "number", "share", "The same with public prototypes.",
            "the same with public prototypes",
        ),
    ),
    headlines=(
        Headline(
            "artist_top1",
            "baseline_top1",
            "test pictures with own artist ranked first (share)",
            missing="No artist has a card in this run, or none of those has a held-out picture to be "
            "found by.",
            choices="candidates",
        ),
        Headline(
            "style_top1", "style_baseline_top1", "test pictures with own style ranked first (share)"
        ),
    ),
    glossary={
        "card": (
            "style card",
            "The noised mean of one artist's embeddings, published under the artist's name so that buyers "
            "find it.",
        ),
        "embedding": (
            "embedding",
            "A list of numbers that the encoder makes of a picture; near means alike in style.",
        ),
        "encoder": ("encoder", "The shared model: it turns a picture into an embedding."),
        "prototype": ("prototype", "The mean embedding of a style, summed over several artists."),
    },
)  # fmt: skip

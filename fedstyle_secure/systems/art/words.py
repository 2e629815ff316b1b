"""What reports call the parts and the figures of private AI art."""

from __future__ import annotations

from fedstyle_secure.words import Figure, Headline, Words

WORDS = Words(
    does="a shared model that draws pictures",
    model="diffusion model",
    kinds={"update": "model update"},
    purpose="no release of private AI art bears a name",
    told=("art.backbone_sha256", "art.rank", "art.draws", "training.server_optimizer"),
    figures=(
        Figure(
            "explained", "number", "share",
            "Of what is to be predicted of held-out works: share of its energy that is predicted.",
            "how much of held-out works under noise the model predicts",
        ),
        Figure(
            "baseline_explained", "number", "share", "The same before any private training.",
            "the same before any private training",
        ),
        Figure(
            "denoising_loss", "number", "", "Mean square error of the prediction of held-out works.",
            "mean square error of the prediction of held-out works",
        ),
        Figure(
            "baseline_denoising_loss", "number", "", "The same before any private training.",
            "mean square error before any private training",
        ),
        Figure("works", "whole", "pictures", "Held-out works.", "held-out works"),
        Figure(
            "update_values", "whole", "numbers", "Numbers in an artist's update.",
            "numbers in an artist's update",
        ),
    ),
    headlines=(
        Headline("explained", "baseline_explained", "predicted of held-out works under noise (share)"),
    ),
    glossary={
        "adapter": (
            "personal adapter",
            "A small part that an artist trains alone and keeps; with it the model draws as the artist "
            "does.",
        ),
        "backbone": ("backbone", "The public part of the model, trained before any artist took part."),
        "diffusion": (
            "diffusion model",
            "The shared model: it learns to take noise off pictures, and so draws new ones out of noise.",
        ),
    },
)  # fmt: skip

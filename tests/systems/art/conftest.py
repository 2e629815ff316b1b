"""A tiny backbone, and a run over it, that several tests share."""

import pytest
import torch

import fedstyle_secure
from fedstyle_secure.config import Config

pytest.importorskip("diffusers", reason="needs the extra `art`")
pytest.importorskip("peft", reason="needs the extra `art`")

NAMES = ("mosaic", "poster")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A folder in diffusers' format: 32 pixels, two conditions, attention in the middle, random weights."""
    from fedstyle_secure.systems.art.backbone.folder import save
    from fedstyle_secure.systems.art.backbone.network import Denoiser, Shape, new_scheduler, new_unet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        unet = new_unet(Shape(32, (16, 16)), len(NAMES))
    folder = tmp_path_factory.mktemp("backbone") / "tiny"
    save(Denoiser(unet, new_scheduler(), NAMES), folder, {"made": "by a test"})
    return folder


@pytest.fixture(scope="session")
def settings(small):
    """Of three artists and two rounds, with other values in some sections."""
    from fedstyle_secure.systems.art.backbone.folder import backbone

    base = {
        "run": {"system": "art", "rounds": 2},
        "gallery": {"artists": 3, "public_artists": 2, "pictures": 8},
        "art": {
            "backbone": str(small), "backbone_sha256": backbone(str(small)).digest, "rank": 2,
            "draws": 2, "steps": 4, "adapter_rank": 2, "adapter_steps": 12,
            "adapter_batch": 4,
        },
        "training": {"expected_pictures": 6},
        "privacy": {"noise_multiplier": 1.0},
        "audit": {"record": "all"},
    }  # fmt: skip

    def changed(**sections):
        return Config.from_dict({**base, **{k: base.get(k, {}) | v for k, v in sections.items()}})

    return changed


@pytest.fixture(scope="session")
def art_run(settings, tmp_path_factory):
    """Trained once, with shared noise and encrypted sums."""
    root = tmp_path_factory.mktemp("art")
    return fedstyle_secure.train(settings(), root / "runs" / "run").folder

"""Backbones that draw in codes and are asked in words: a Stable Diffusion's folder, here a tiny one."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import fedstyle_secure
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.files import read_arrays, write_arrays
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.dp_sgd import record_rows
from fedstyle_secure.system import system_bound
from fedstyle_secure.systems.art.adapters import adapt
from fedstyle_secure.systems.art.backbone.folder import backbone
from fedstyle_secure.systems.art.backbone.latent import code_shape, codes, drawings
from fedstyle_secure.systems.art.drawing import generate
from fedstyle_secure.systems.art.influence import left_out
from fedstyle_secure.systems.art.system import finished

from .test_training import pictures, spread_out

WORDS = ("neon", "ornament")
SIDE, TOKENS, WIDTH = 8, 6, 16


@pytest.fixture(scope="session")
def worded(tmp_path_factory):
    """A folder as diffusers writes a Stable Diffusion: codes (4, 8, 8) of pictures of 32 pixels."""
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("backbone") / "worded"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        unet = UNet2DConditionModel(
            sample_size=SIDE, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=WIDTH,
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=4, norm_num_groups=4,
        )  # fmt: skip
        coder = AutoencoderKL(
            block_out_channels=(4, 4, 4), down_block_types=("DownEncoderBlock2D",) * 3, norm_num_groups=2,
            up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, sample_size=4 * SIDE,
        )  # fmt: skip
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=32, hidden_size=WIDTH, intermediate_size=16, num_hidden_layers=1, bos_token_id=0,
                eos_token_id=1, num_attention_heads=2, max_position_embeddings=TOKENS,
            )
        )  # fmt: skip
    unet.save_pretrained(folder / "unet")
    coder.save_pretrained(folder / "vae")
    text.save_pretrained(folder / "text_encoder")
    noise = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    PNDMScheduler(**noise, skip_prk_steps=True).save_pretrained(folder / "scheduler")
    place = folder / "tokenizer"
    place.mkdir()
    letters = sorted(set("".join(WORDS)))
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{one}</w>" for one in letters)]
    (place / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (place / "merges.txt").write_text("#version: 0.2\n")
    (place / "tokenizer_config.json").write_text(json.dumps({"model_max_length": TOKENS}))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


@pytest.fixture(scope="session")
def asked(worded, settings):
    """Settings of a run over it, with two of its artists' schools as words."""
    told = backbone(str(worded), WORDS).digest

    def changed(**sections):
        art = {"backbone": str(worded), "backbone_sha256": told, "prompts": ", ".join(WORDS)}
        sections["art"] = {"rank": 2, "draws": 2, "steps": 4, "adapter_rank": 2, "adapter_steps": 4,
                           "adapter_batch": 2} | art | sections.get("art", {})  # fmt: skip
        return settings(**sections)

    return changed


def test_it_is_what_its_parts_are(worded):
    """Words by diffusers' own text encoder, codes and pictures by its own autoencoder."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel, CLIPTokenizer

    model = backbone(str(worded), WORDS).build()
    assert (model.names, model.nothing, model.size, model.steps) == (WORDS, 2, 4 * SIDE, 1000)
    assert code_shape(model) == (4, SIDE, SIDE)
    tokenizer = CLIPTokenizer.from_pretrained(str(worded / "tokenizer"))
    encoder = CLIPTextModel.from_pretrained(str(worded / "text_encoder"))
    with torch.no_grad():
        for word, told in zip((*WORDS, ""), model.asked, strict=True):
            tokens = tokenizer(word, padding="max_length", truncation=True, return_tensors="pt").input_ids
            torch.testing.assert_close(encoder(tokens).last_hidden_state[0], told, rtol=1e-4, atol=1e-5)
        coder = AutoencoderKL.from_pretrained(str(worded / "vae"))
        shown = torch.from_numpy(pictures(3)).permute(0, 3, 1, 2).float() / 127.5 - 1
        naive = coder.encode(shown).latent_dist.mean * coder.config.scaling_factor
        found = codes(model, pictures(3))
        torch.testing.assert_close(found, naive, rtol=1e-4, atol=1e-5)
        back = coder.decode(naive / coder.config.scaling_factor).sample.permute(0, 2, 3, 1)
    whole = ((back.clamp(-1, 1) + 1) * 127.5).round()
    assert (drawings(model, found).float() - whole).abs().max() <= 1
    assert not any(p.requires_grad for p in model.autoencoder.parameters())


def test_a_code_hangs_on_its_picture_alone(worded):
    model, many = backbone(str(worded), WORDS).build(), pictures(4)
    assert torch.equal(codes(model, many[[2, 0]]), codes(model, many)[[2, 0]])
    assert codes(model, many[:0]).shape == (0, 4, SIDE, SIDE)


def test_words_steer_what_is_predicted_and_belong_to_the_digest(worded):
    found = backbone(str(worded), WORDS)
    model = found.build()
    noisy = torch.randn(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        told = [model(noisy, torch.tensor([500]), torch.tensor([i])) for i in range(3)]
    assert not torch.allclose(told[0], told[1])
    assert not torch.allclose(told[0], told[2])
    digests = {backbone(str(worded), words).digest for words in ((), WORDS[:1], WORDS, WORDS[::-1])}
    assert len(digests) == 4
    assert found.digest in digests


def test_a_works_row_is_the_mean_over_its_looks_one_at_a_time(asked):
    config = asked()
    gallery, system = open_gallery(config.gallery), system_bound(config)
    state, portfolio = system.learn([]), gallery.portfolio("neon-1")
    model = spread_out(system.model(state))
    records = system.records(model, state, "a", system.inputs(model, portfolio), portfolio)
    assert records.inputs.shape[1:] == (2, 9, SIDE, SIDE)
    assert (records.inputs[:, :, -1, 0, 1] == WORDS.index("neon")).all()
    rows = list(record_rows(model, system.loss(model, state), records.inputs[:2], records.targets[:2]))
    trained = [p for p in model.parameters() if p.requires_grad]
    for row, views in zip(rows, records.inputs[:2], strict=True):
        naive = torch.zeros(row.size, dtype=torch.float64)
        for view in views:
            parts = torch.autograd.grad(
                model(view[None]).square().mean(), trained, allow_unused=True, materialize_grads=True
            )
            naive += torch.cat([p.flatten() for p in parts]).double() / len(views)
        assert np.linalg.norm(row - naive.numpy()) < 1e-4 * np.linalg.norm(naive.numpy())


def test_artists_hold_every_bit_of_it_to_what_was_agreed(asked):
    system = system_bound(asked())
    state = system.learn([])
    system.admit(state, 3)
    parts = {"denoiser.asked", "denoiser.autoencoder.encoder.conv_in.weight", "denoiser.unet.conv_in.weight"}
    assert parts <= set(state.fixed)
    for name in parts:
        other = {**state.fixed, name: state.fixed[name] + np.float32(1e-3)}
        with pytest.raises(FederationError, match="another backbone than was agreed to"):
            system.admit(replace(state, fixed=other), 3)
    texts = {**state.texts, "autoencoder": ()}
    with pytest.raises(FederationError, match="whose autoencoder is not one text"):
        system.admit(replace(state, texts=texts), 3)


@pytest.mark.long
def test_a_run_trains_adapts_draws_and_tells_influence(asked, tmp_path):
    """From settings to a sheet. With little noise, or nothing of so small a run would be kept."""
    run = fedstyle_secure.train(asked(privacy={"noise_multiplier": 0.05}), tmp_path / "runs" / "run").folder
    summary = run.summary()
    assert summary["secure_sum"]["exact"] is True
    assert summary["utility"]["explained"] is not None
    _, model = finished(run)
    start = backbone(str(asked().art.backbone), WORDS).build()
    moved = [
        name
        for name, p in model.unet.state_dict().items()
        if not torch.equal(p, start.unet.state_dict()[name])
    ]
    assert moved
    assert torch.equal(model.asked, start.asked)
    adapt(run, "neon-1")
    sheet = generate(run, 2, 7, artist="neon-1", condition="ornament")
    assert [half.shape for half in sheet.halves] == [(2, 32, 32, 3)] * 2
    assert not np.array_equal(*sheet.halves)
    again = generate(run, 2, 7, artist="neon-1", condition="ornament")
    assert np.array_equal(sheet.halves[1], again.halves[1])
    (said,) = left_out(run, ["neon-1"])
    assert said.without > 0


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _pickled(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def _not_a_number(folder):
    path = folder / "diffusion_pytorch_model.safetensors"
    arrays = read_arrays(path)[0]
    name = sorted(arrays)[0]
    path.unlink()
    write_arrays(path, {**arrays, name: np.full_like(arrays[name], np.nan)}, {})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: shutil.rmtree(f / "vae"), "a network of codes needs its autoencoder"),
        (lambda f: shutil.rmtree(f / "tokenizer"), "tokenizer: is not there"),
        (lambda f: shutil.rmtree(f / "text_encoder"), "text_encoder: is not there"),
        (lambda f: _pickled(f / "text_encoder"), "its words cannot be told"),
        (lambda f: (f / "tokenizer" / "vocab.json").write_text("{"), "its words cannot be told"),
        (lambda f: _not_a_number(f / "vae"), "no numbers"),
        (lambda f: changed(f / "vae" / "config.json", _class_name="VQModel"), "'VQModel'; valid is one of"),
        (lambda f: changed(f / "vae" / "config.json", latent_channels=8), "tensor .* has shape"),
        (lambda f: changed(f / "unet" / "config.json", class_embed_type="identity"), "time and words alone"),
        (lambda f: changed(f / "unet" / "config.json", sample_size=10**6), "makes pictures of 4000000"),
    ],
)  # fmt: skip
def test_what_is_none_is_one_line(worded, tmp_path, spoil, says):
    folder = tmp_path / "spoilt"
    shutil.copytree(worded, folder)
    spoil(folder)
    with pytest.raises(ConfigError, match=says) as caught:
        backbone(str(folder), WORDS)
    assert "\n" not in str(caught.value)[:200]


def test_words_for_a_backbone_of_pixels_are_refused(small):
    with pytest.raises(ConfigError, match="takes no words; it has conditions of its own: mosaic, poster"):
        backbone(str(small), WORDS)
    with pytest.raises(ConfigError, match=r"art\.prompts: this backbone takes no words"):
        backbone("", WORDS)

"""Backbones: noise by its formula, folders in diffusers' format, what is refused, drawing."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.systems.art.backbone.folder import backbone, save
from fedstyle_secure.systems.art.backbone.network import (
    Denoiser,
    Shape,
    as_pictures,
    as_tensor,
    even_times,
    new_scheduler,
    new_unet,
)
from fedstyle_secure.systems.art.backbone.sampling import Drawing, drawn, first_noise, solve


def pictures(number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_noise_and_what_is_wanted_are_diffusers_own(small, kind):
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=kind)
    model = Denoiser(backbone(str(small)).build().unet, scheduler, ("mosaic", "poster"))
    clean, time = as_tensor(pictures(5)), torch.tensor([0, 1, 500, 998, 999])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(
        model.noised(clean, noise, time), scheduler.add_noise(clean, noise, time), atol=1e-6
    )
    wanted = {
        "epsilon": noise, "sample": clean, "v_prediction": scheduler.get_velocity(clean, noise, time),
    }[kind]  # fmt: skip
    assert torch.allclose(model.wanted(clean, noise, time), wanted, atol=1e-6)


def test_a_model_that_knows_the_picture_draws_it(small):
    """The solver against the one distribution whose ideal prediction is known: a single picture."""
    model, (clean,) = backbone(str(small)).build(), as_tensor(pictures(1))

    def ideal(noisy, time):
        kept = model.scheduler.alphas_cumprod[time][:, None, None, None]
        noise = (noisy - kept.sqrt() * clean) / (1 - kept).sqrt()
        return kept.sqrt() * noise - (1 - kept).sqrt() * clean

    made = solve(model, ideal, first_noise(model, 3, seed=0), steps=8)
    assert np.abs(made.astype(int) - pictures(1).astype(int)).max() <= 2


def test_pictures_survive_as_tensors():
    assert np.array_equal(as_pictures(as_tensor(pictures(4))).numpy(), pictures(4))
    ends = as_pictures(torch.tensor([-9.0, 9.0]).reshape(2, 1, 1, 1).expand(2, 3, 32, 32)).numpy()
    assert ends[0].max() == 0
    assert ends[1].min() == 255


def test_times_are_one_from_each_stretch():
    for number in (1, 3, 8, 1000):
        times = even_times(number, 1000, torch.Generator().manual_seed(number))
        middles = (np.arange(number) + 0.5) * 1000 / number
        assert np.abs(times.numpy() - middles).max() <= 500 / number + 1


def test_a_picture_hangs_on_its_seed_and_not_on_how_many_there_are(small):
    model, drawing = backbone(str(small)).build(), Drawing(4, 2.0)
    few, many = (drawn(model, [0] * n, drawing, seed=5) for n in (2, 3))
    assert np.abs(few.astype(int) - many[:2].astype(int)).max() <= 1
    assert not np.array_equal(few[0], few[1])
    assert not np.array_equal(drawn(model, [0], drawing, seed=6)[0], few[0])
    assert drawn(model, [], drawing, seed=5).shape == (0, 32, 32, 3)


def test_guidance_of_one_is_the_condition_itself_and_of_more_leads_away_from_none(small):
    from fedstyle_secure.systems.art.backbone.sampling import asked

    model = backbone(str(small)).build()
    noisy, time = first_noise(model, 2, seed=1), torch.tensor([300, 700])
    with torch.no_grad():
        told, none = (model(noisy, time, torch.full((2,), c)) for c in (0, model.nothing))
        for guidance in (1.0, 3.0):
            found = asked(model, torch.tensor([0, 0]), guidance)(noisy, time)
            assert torch.allclose(found, none + guidance * (told - none), atol=1e-5)


def test_a_folder_comes_back_in_half_precision_and_its_digest_follows_its_bytes(small, tmp_path):
    model = backbone(str(small)).build()
    assert model.names == ("mosaic", "poster")
    assert (model.size, model.nothing, model.steps) == (32, 2, 1000)
    save(model, tmp_path / "again", {"made": "by a test"})
    assert backbone(str(tmp_path / "again")).digest == backbone(str(small)).digest
    twin = backbone(str(tmp_path / "again")).build().state_dict()
    assert all(torch.equal(value, twin[name]) for name, value in model.state_dict().items())
    weights = tmp_path / "again" / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert backbone(str(tmp_path / "again")).digest != backbone(str(small)).digest


def test_two_backbones_share_no_weight(small):
    one, other = backbone(str(small)).build(), backbone(str(small)).build()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert any(p.any() for p in other.parameters())
    assert any(p.any() for p in backbone(str(small)).build().parameters())


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def weighed(folder, change):
    """Replace a tensor of a folder's weights, or more of them."""
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    arrays = load_file(path)
    arrays["conv_in.weight"] = change(arrays["conv_in.weight"]).contiguous()
    save_file(arrays, path)


UNET, SCHEDULE = "unet/config.json", "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda f: weighed(f, lambda t: t * float("nan")),
            r"'conv_in\.weight' has values that are no numbers",
        ),
        (
            lambda f: weighed(f, lambda t: t.double() + 1e300),
            r"'conv_in\.weight' has values that are no numb",
        ),
        (lambda f: weighed(f, lambda t: t.float() + 1e30), "what it makes of noise is not of numbers"),
        (lambda f: weighed(f, lambda t: t.long()), r"'conv_in\.weight' is of int64; valid are floats"),
        (lambda f: weighed(f, lambda t: t.to(torch.complex64)), "is of complex64; valid are floats"),
        (lambda f: weighed(f, lambda t: t.bfloat16()), "cannot be read: data type 'bfloat16'"),
        (lambda f: changed(f / UNET, block_out_channels=[2**20, 2**20]), "and by its settings"),
        (lambda f: changed(f / UNET, norm_num_groups=0), "no backbone in diffusers' format"),
        (lambda f: changed(f / UNET, attention_head_dim=0), "no backbone in diffusers' format"),
        (lambda f: changed(f / UNET, norm_eps=float("nan")), "what it makes of noise is not of numbers"),
        (lambda f: changed(f / UNET, sample_size=10**9), "makes pictures of 2000000000 pixels; valid: up to"),
        (lambda f: changed(f / SCHEDULE, trained_betas=[float("nan")] * 1000), "is not of numbers"),
        (lambda f: changed(f / SCHEDULE, trained_betas=[0.1, 0.2]), "takes no pictures"),
        (lambda f: changed(f / SCHEDULE, beta_schedule="linear", beta_end=9.0), "is not of numbers"),
        (lambda f: changed(f / SCHEDULE, num_train_timesteps=0), "has 0 steps .* valid: 1 to"),
        (lambda f: changed(f / SCHEDULE, prediction_type="flow"), "predicts 'flow'; valid:"),
        (lambda f: changed(f / SCHEDULE, _class_name="FlowMatch"), "schedule is a 'FlowMatch'; valid is one"),
        (
            lambda f: changed(f / "model_index.json", id2label={"0": "a", "1": "a"}),
            "id2label is empty, there",
        ),
        (lambda f: changed(f / "model_index.json", id2label={"0": "a", "1": ""}), "id2label is empty, there"),
        (lambda f: changed(f / "model_index.json", id2label={"0": "a", "1": "b\n"}), "or not printable"),
        (lambda f: (f / "model_index.json").unlink(), r"model_index\.json: is not there"),
        (lambda f: shutil.rmtree(f / "unet"), r"config\.json: is not there"),
        (lambda f: (f / "model_index.json").write_text("{"), "no backbone in diffusers' format"),
        (
            lambda f: changed(f / "model_index.json", id2label={"0": "one"}),
            "no backbone in diffusers' format",
        ),
        (lambda f: changed(f / "unet" / "config.json", _class_name="VQModel"), "'VQModel'; valid is one of"),
        (lambda f: changed(f / "unet" / "config.json", block_out_channels=[16, 24]), "no backbone in"),
        (
            lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x80" * 99),
            "no backbone in diffusers' format",
        ),
    ],
)
def test_what_is_no_backbone_is_one_line(small, tmp_path, spoil, says):
    folder = tmp_path / "spoilt"
    shutil.copytree(small, folder)
    spoil(folder)
    with pytest.raises(ConfigError, match=says) as caught:
        backbone(str(folder))
    assert "\n" not in str(caught.value)[:200]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("schedule", "num_train_timesteps", 10**15),
        ("schedule", "num_train_timesteps", 0),
        ("network", "layers_per_block", 10**9),
        ("network", "transformer_layers_per_block", [1, [10**9]]),
        ("network", "reverse_transformer_layers_per_block", [[10**9], [1]]),
    ],
)
def test_what_a_run_says_of_its_backbone_takes_no_time_and_no_memory_beyond_its_weights(
    small, text, key, value
):
    """Artists build it of what a platform sends."""
    found = backbone(str(small))
    told = json.dumps(json.loads(getattr(found.blueprint, text)) | {key: value})
    with pytest.raises(ConfigError, match=f"{key} is {10**9 if 'layers' in key else value}"):
        replace(found, blueprint=replace(found.blueprint, **{text: told})).build()


def test_a_network_that_takes_no_pictures_is_refused():
    unet = new_unet(Shape(32, (16, 16)), 2)
    with pytest.raises(ConfigError, match="has 3 conditions for 1 names"):
        Denoiser(unet, new_scheduler(), ("one",))
    from diffusers import UNet2DModel

    odd = UNet2DModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="takes 4 channels"):
        Denoiser(odd, new_scheduler(), ())


def test_a_network_without_conditions_is_asked_for_nothing(tmp_path):
    """Any unconditional model of diffusers, in squares of one pixel."""
    from diffusers import UNet2DModel

    unet = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    model = Denoiser(unet, DDPMScheduler(), ())
    save(model, tmp_path / "plain", {})
    again = backbone(str(tmp_path / "plain")).build()
    assert (again.size, again.names, again.nothing) == (16, (), 0)
    assert drawn(again, [0], Drawing(3, 2.0), seed=0).shape == (1, 16, 16, 3)


def test_no_value_is_dropped_by_chance(small, tmp_path):
    """Networks that were trained with dropout say so in their settings: a work's gradient hung on chance."""
    folder = tmp_path / "dropping"
    shutil.copytree(small, folder)
    changed(folder / "unet" / "config.json", dropout=0.5)
    model, noise = backbone(str(folder)).build().train(), torch.ones(2, 3, 32, 32)
    asked = torch.tensor([500, 500]), torch.tensor([0, 0])
    with torch.no_grad():
        assert torch.equal(model(noise, *asked), model(noise, *asked))

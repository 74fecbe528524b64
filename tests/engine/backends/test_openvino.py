"""Networks that OpenVINO computes give what torch gives, for every call that pipelines make."""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModelWithProjection

from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.checkpoints.weights import find_weights
from sdcli.engine.backends.converted_forward import is_converted, on_torch
from sdcli.engine.backends.networks import find_network
from sdcli.engine.backends.openvino_pipeline import run_on_openvino
from sdcli.engine.backends.openvino_runtime import load_openvino, write_model
from sdcli.errors import ModelError
from tests.xl_models import write_xl_model

# Importing it here would import its telemetry, too.
if find_spec("openvino") is None:
    pytest.skip("OpenVINO is not installed", allow_module_level=True)

CLASSES = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder_2": CLIPTextModelWithProjection,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small model of Stable Diffusion XL on torch and on OpenVINO, from the same files."""
    root = tmp_path_factory.mktemp("openvino")
    folder = write_xl_model(root / "xl")
    plain, converted = (
        SimpleNamespace(
            **{name: cls.from_pretrained(folder / name) for name, cls in CLASSES.items()}
        )
        for _ in range(2)
    )
    files = {name: find_weights(folder / name, name, None) for name in CLASSES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        told: list[str] = []
        run_on_openvino(vars(converted), files, torch.float32, told.append)
    return SimpleNamespace(plain=plain, converted=converted, files=files, root=root, told=told)


def near(left: torch.Tensor, right: torch.Tensor) -> bool:
    assert left.dtype == right.dtype
    return torch.allclose(left, right, rtol=0, atol=2e-4 * float(right.abs().max()))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


# Sides that are odd somewhere on the way down, as well as those that are not; and of a refiner.
CALLS = [(1, 8, 8, 77, 6), (2, 16, 8, 77, 6), (3, 5, 7, 154, 6), (2, 9, 10, 77, 5)]


@pytest.mark.sample(2)
@pytest.mark.parametrize(("rows", "height", "width", "tokens", "ids"), CALLS)
@torch.no_grad()
def test_the_unet_takes_any_number_of_rows_any_size_and_any_length(
    models, rows, height, width, tokens, ids
):
    config = models.plain.unet.config
    own = config.projection_class_embeddings_input_dim - ids * config.addition_time_embed_dim
    sample = noise(rows, 4, height, width)
    options = {
        "encoder_hidden_states": noise(rows, tokens, config.cross_attention_dim),
        "added_cond_kwargs": {"text_embeds": noise(rows, own), "time_ids": noise(rows, ids) * 64},
        "timestep_cond": None,
        "cross_attention_kwargs": None,
    }
    for time in (torch.tensor(999), torch.tensor(3.25), 7, torch.full((rows,), 41.5)):
        expected = models.plain.unet(sample, time, **options, return_dict=False)[0]
        got = models.converted.unet(sample, time, **options, return_dict=False)
        assert near(got[0], expected), time
    assert near(models.converted.unet(sample, time, **options).sample, expected)


@torch.no_grad()
def test_a_call_of_inputs_that_were_not_converted_runs_on_torch(models):
    unet = models.converted.unet
    rows = noise(1, 4, 8, 8)
    options = {
        "encoder_hidden_states": noise(1, 77, unet.config.cross_attention_dim),
        "added_cond_kwargs": {"text_embeds": noise(1, 24), "time_ids": noise(1, 6)},
        "mid_block_additional_residual": noise(1, 32, 4, 4),
        "down_block_additional_residuals": [noise(1, 16, 8, 8)] * 2
        + [noise(1, 16, 4, 4), noise(1, 32, 4, 4)],
    }
    expected = models.plain.unet(rows, 5, **options).sample
    assert torch.equal(unet(rows, 5, **options).sample, expected)


@torch.no_grad()
def test_the_vae_decodes_whole_images_and_tiles(models):
    plain, converted = models.plain.vae, models.converted.vae
    latents = noise(2, 4, 9, 12)
    assert near(converted.decode(latents).sample, plain.decode(latents).sample)
    for vae in (plain, converted):
        vae.enable_tiling()
        vae.tile_latent_min_size, vae.tile_sample_min_size = 8, 64
    tiled = converted.decode(latents).sample
    assert near(tiled, plain.decode(latents).sample)
    # The encoder stays on torch.
    assert torch.equal(
        converted.encode(tiled).latent_dist.mean, plain.encode(tiled).latent_dist.mean
    )


@torch.no_grad()
def test_the_text_encoder_returns_all_its_states(models):
    plain, converted = models.plain.text_encoder_2, models.converted.text_encoder_2
    ids = torch.randint(0, 40, (2, 77), generator=torch.Generator().manual_seed(1))
    expected, got = (m(ids, output_hidden_states=True) for m in (plain, converted))
    assert near(got[0], expected[0])
    assert near(got.last_hidden_state, expected.last_hidden_state)
    assert len(got.hidden_states) == len(expected.hidden_states)
    assert all(map(near, got.hidden_states, expected.hidden_states))
    for options in ({"attention_mask": torch.ones(2, 77)}, {}):
        text = ids if options else ids[:, :60]
        assert torch.equal(converted(text, **options)[0], plain(text, **options)[0])


@torch.no_grad()
def test_a_block_on_torch_sees_the_hooks_of_layers(models):
    encoder, calls = models.converted.text_encoder_2, []
    handle = encoder.get_input_embeddings().register_forward_hook(lambda *_: calls.append(1))
    ids = torch.zeros(1, 77, dtype=torch.int64)
    encoder(ids)
    assert calls == []
    with on_torch(encoder):
        encoder(ids)
    handle.remove()
    assert (calls, is_converted(encoder)) == ([1], True)


@torch.no_grad()
def test_equal_calls_give_equal_bits_and_no_result_changes_later(models):
    latents = noise(1, 4, 8, 8)
    first = models.converted.vae.decoder(latents)
    kept = first.clone()
    models.converted.vae.decoder(noise(1, 4, 8, 8) + 1)
    assert torch.equal(first, kept)
    assert torch.equal(models.converted.vae.decoder(latents), kept)


def test_a_second_process_would_find_the_files(models, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(models.root / "cache"))
    again = {"vae": AutoencoderKL.from_pretrained(models.root / "xl" / "vae")}
    files = sorted((models.root / "cache").rglob("model.*"))
    before = [(path, path.stat().st_mtime_ns) for path in files]
    assert len(files) == 2 * len(CLASSES)
    told: list[str] = []
    run_on_openvino(again, models.files, torch.float32, told.append)
    # Converting takes long, and is told: once for each network, of which the console prints one.
    assert (told, len(models.told), len(set(models.told))) == ([], len(CLASSES), 1)
    assert [(path, path.stat().st_mtime_ns) for path in files] == before
    latents = noise(1, 4, 8, 8)
    with torch.no_grad():
        decoded = [vae.decoder(latents) for vae in (again["vae"], models.converted.vae)]
    assert torch.equal(*decoded)


@torch.no_grad()
def test_a_damaged_file_of_the_hub_does_not_count_as_what_its_name_says(
    models, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    latents = noise(1, 4, 8, 8)
    for folder in ("damaged", "whole"):
        decoder = torch.nn.Conv2d(4, 3, 1)
        blob = tmp_path / folder / "blobs" / ("ab" * 32)
        blob.parent.mkdir(parents=True)
        blob.write_bytes(decoder.weight.numpy().tobytes())
        vae = SimpleNamespace(decoder=decoder, config=models.plain.vae.config)
        expected = decoder(latents)
        files = {"vae": WeightFiles(path=blob, files=(blob,))}
        run_on_openvino({"vae": vae}, files, torch.float32)
        assert near(decoder(latents), expected)


def test_openvino_reports_nothing_over_the_network(models, monkeypatch, tmp_path):
    ovc = "openvino.tools.ovc"
    stub = importlib.import_module(f"{ovc}.telemetry_stub")
    modules = [sys.modules[f"{ovc}.{name}"] for name in ("convert_impl", "telemetry_utils")]
    assert all(module.tm is stub for module in modules)
    reports = []

    class Telemetry(stub.Telemetry):
        def send_event(self, *event: Any, **_: Any) -> None:
            reports.append(event)

    # As in a program that has imported OpenVINO before.
    for module in modules:
        monkeypatch.setattr(module, "tm", SimpleNamespace(Telemetry=Telemetry))
    decoder = torch.nn.Conv2d(4, 3, 1)
    network = find_network("vae", SimpleNamespace(decoder=decoder, config=models.plain.vae.config))
    assert network is not None
    path = tmp_path / "model.xml"
    write_model(network, torch.float32, path)
    assert (path.exists(), reports) == (True, [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_openvino().convert_model(decoder, example_input=noise(1, 4, 8, 8))
    assert reports


def test_a_network_that_cannot_be_converted_is_an_error_in_one_line(models, tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, sample: torch.Tensor) -> Any:
            raise ValueError("an odd network")

    vae = SimpleNamespace(decoder=Odd(), config=models.plain.vae.config)
    network = find_network("vae", vae)
    assert network is not None
    with pytest.raises(ModelError, match="OpenVINO cannot convert this VaeDecoder") as raised:
        write_model(network, torch.float32, Path(tmp_path, "a", "b", "model.xml"))
    assert raised.value.hint == "use --backend torch"


@torch.no_grad()
def test_bfloat16_is_close_and_half_as_large(models, monkeypatch, tmp_path):
    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no instructions for bfloat16")
    decoder = torch.nn.Conv2d(4, 512, 3)
    file = tmp_path / "weights"
    file.write_bytes(decoder.weight.numpy().tobytes())
    latents = noise(1, 4, 8, 8)
    exact = decoder(latents)
    sizes = []
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(dtype)))
        vae = SimpleNamespace(decoder=decoder, config=models.plain.vae.config)
        with on_torch(decoder):
            run_on_openvino({"vae": vae}, {"vae": WeightFiles(path=file, files=(file,))}, dtype)
            difference = float((decoder(latents) - exact).abs().max() / exact.abs().max())
        assert (difference > 1e-4, difference < 0.05) == (dtype == torch.bfloat16, True)
        [data] = (tmp_path / str(dtype)).rglob("model.bin")
        sizes.append(data.stat().st_size)
    assert 0.4 < sizes[1] / sizes[0] < 0.6

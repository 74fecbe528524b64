"""LoRAs of every format in every component, against changes by hand; removal without a trace."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdcli.checkpoints.adapters.lora_file import match_to_model
from sdcli.checkpoints.adapters.model_layers import read_layers
from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine import load
from sdcli.engine.adapters.lora import applied_loras
from sdcli.errors import CorruptError, ModelError, NumericsError
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from tests.jobs import make_job
from tests.loras import KOHYA, NAMINGS, WrittenLora, write_kohya, write_named
from tests.xl_models import write_xl_model

MODELS = ("embedded", "xl")


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    xl = write_xl_model(tmp_path_factory.mktemp("models") / "xl")
    specs = {"embedded": PipelineSpec(device="cpu", dtype="float32")}
    specs["xl"] = PipelineSpec(model=str(xl), device="cpu", dtype="float32")
    return {name: load(spec) for name, spec in specs.items()}


def job_of(*uses: tuple[Path, str]) -> Job:
    """A job with LoRAs and their weights."""
    return make_job(
        lora=";".join(f"{path}:{weights}" for path, weights in uses),
        lora_sha256=";".join(f"{sha256(path)}:{weights}" for path, weights in uses),
    )


def parameters_of(loaded: Any) -> dict[tuple[str, str], torch.Tensor]:
    """Copies of all parameters of the UNet and the text encoders."""
    names = ("unet", "text_encoder", "text_encoder_2")
    components = {n: getattr(loaded.pipeline, n, None) for n in names}
    return {
        (component, name): value.detach().clone()
        for component, network in components.items()
        if network is not None
        for name, value in network.named_parameters()
    }


def changes_of(loaded: Any, job: Job) -> dict[tuple[str, str], torch.Tensor]:
    """What the job's LoRAs add to each parameter that they change."""
    before = parameters_of(loaded)
    with applied_loras(loaded, job):
        during = parameters_of(loaded)
    after = parameters_of(loaded)
    assert all(torch.equal(before[key], after[key]) for key in before)
    return {key: during[key] - before[key] for key in before if not before[key].equal(during[key])}


def assert_same(made: dict[Any, torch.Tensor], expected: dict[Any, torch.Tensor]) -> None:
    assert made.keys() == expected.keys()
    for key, change in expected.items():
        error = (made[key] - change).norm() / change.norm()
        # The weights are stored in float32, whose rounding is relative to them.
        assert error < 5e-6, (key, float(error))


@pytest.mark.sample(5)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KOHYA)
def test_every_kind_changes_what_its_definition_says(
    pipelines: dict[str, Any], model: str, kind: str, tmp_path: Path
) -> None:
    loaded = pipelines[model]
    written = write_kohya(loaded.pipeline, kind)
    path = written.save(tmp_path / "a.safetensors")
    made = changes_of(loaded, job_of((path, "1")))
    components = {component for component, _ in made}
    assert components == (
        {"unet", "text_encoder"} | ({"text_encoder_2"} if model == "xl" else set())
    )
    assert_same(made, written.changes)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_finds_its_layers(
    pipelines: dict[str, Any], model: str, naming: str, tmp_path: Path
) -> None:
    loaded = pipelines[model]
    written = write_named(loaded.pipeline, naming)
    assert written.changes
    path = written.save(tmp_path / "a.safetensors")
    assert_same(changes_of(loaded, job_of((path, "1"))), written.changes)


def test_names_of_the_original_code_are_those_layers(
    pipelines: dict[str, Any], tmp_path: Path
) -> None:
    # With one transformer and one layer a level, the second level begins at input block 3.
    loaded = pipelines["embedded"]
    diffusers = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"
    weight = loaded.pipeline.unet.get_submodule(diffusers).weight
    up, down = torch.randn(weight.shape[0], 2), torch.randn(2, weight.shape[1])
    for key in (
        "lora_unet_input_blocks_3_1_transformer_blocks_0_attn2_to_q",
        "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.attn2.to_q",
    ):
        tensors = {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
        path = WrittenLora(tensors=tensors).save(tmp_path / f"{len(key)}.safetensors")
        made = changes_of(loaded, job_of((path, "1")))
        assert_same(made, {("unet", f"{diffusers}.weight"): up @ down})


def test_a_bias_and_a_norm_are_changed_by_full_differences(
    pipelines: dict[str, Any], tmp_path: Path
) -> None:
    loaded = pipelines["embedded"]
    norm, conv = "up_blocks.0.resnets.0.norm1", "up_blocks.0.resnets.0.conv1"
    unet = loaded.pipeline.unet
    expected = {
        ("unet", f"{norm}.weight"): torch.randn_like(unet.get_parameter(f"{norm}.weight")),
        ("unet", f"{norm}.bias"): torch.randn_like(unet.get_parameter(f"{norm}.bias")),
        ("unet", f"{conv}.bias"): torch.randn_like(unet.get_parameter(f"{conv}.bias")),
    }
    ends = ((norm, "w_norm"), (norm, "b_norm"), (conv, "diff_b"))
    keys = [f"lora_unet_{layer.replace('.', '_')}.{end}" for layer, end in ends]
    tensors = dict(zip(keys, expected.values(), strict=True))
    path = WrittenLora(tensors=tensors).save(tmp_path / "a.safetensors")
    assert_same(changes_of(loaded, job_of((path, "1"))), expected)


def test_alphas_beside_the_tensors_count(pipelines: dict[str, Any], tmp_path: Path) -> None:
    loaded = pipelines["embedded"]
    written = write_named(loaded.pipeline, "Diffusers")
    written.metadata = {
        "lora_adapter_metadata": '{"unet.lora_alpha": 8, "text_encoder.lora_alpha": 2}'
    }
    path = written.save(tmp_path / "a.safetensors")
    factors = {"unet": 2.0, "text_encoder": 0.5}
    expected = {key: change * factors[key[0]] for key, change in written.changes.items()}
    assert_same(changes_of(loaded, job_of((path, "1"))), expected)
    folder = tmp_path / "peft"
    folder.mkdir()
    written = write_named(loaded.pipeline, "PEFT")
    path = written.save(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"lora_alpha": 4, "use_rslora": true}')
    expected = {key: change * 2 for key, change in written.changes.items()}
    assert_same(changes_of(loaded, job_of((path, "1"))), expected)


def test_weights_of_the_unet_and_of_the_text_encoder(
    pipelines: dict[str, Any], tmp_path: Path
) -> None:
    loaded = pipelines["embedded"]
    written = write_kohya(loaded.pipeline)
    path = written.save(tmp_path / "a.safetensors")
    factors = {"unet": -0.5, "text_encoder": 0.25}
    expected = {key: change * factors[key[0]] for key, change in written.changes.items()}
    assert_same(changes_of(loaded, job_of((path, "-0.5:0.25"))), expected)
    of_unet = {key: change for key, change in written.changes.items() if key[0] == "unet"}
    assert_same(changes_of(loaded, job_of((path, "1:0"))), of_unet)
    assert changes_of(loaded, job_of((path, "0"))) == {}


def test_several_add_up(pipelines: dict[str, Any], tmp_path: Path) -> None:
    loaded = pipelines["embedded"]
    first, second = (write_kohya(loaded.pipeline, "kohya", seed) for seed in (1, 2))
    paths = [w.save(tmp_path / f"{i}.safetensors") for i, w in enumerate((first, second))]
    expected = {key: 0.7 * c + 0.3 * second.changes[key] for key, c in first.changes.items()}
    made = changes_of(loaded, job_of((paths[0], "0.7"), (paths[1], "0.3")))
    assert_same(made, expected)


@pytest.fixture
def broken_run(pipelines: dict[str, Any], tmp_path: Path) -> Iterator[tuple[Any, Job]]:
    loaded = pipelines["embedded"]
    path = write_kohya(loaded.pipeline).save(tmp_path / "a.safetensors")
    before = parameters_of(loaded)
    yield loaded, job_of((path, "1"))
    after = parameters_of(loaded)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_an_error_in_the_run_restores_the_weights(broken_run: tuple[Any, Job]) -> None:
    loaded, job = broken_run
    with pytest.raises(KeyboardInterrupt), applied_loras(loaded, job):
        raise KeyboardInterrupt


def test_the_original_tensors_come_back_themselves(broken_run: tuple[Any, Job]) -> None:
    loaded, job = broken_run
    weight = loaded.pipeline.unet.conv_in.weight
    storages = {id(p): p.data_ptr() for p in loaded.pipeline.unet.parameters()}
    with applied_loras(loaded, job):
        assert loaded.pipeline.unet.conv_in.weight is weight
    assert storages == {id(p): p.data_ptr() for p in loaded.pipeline.unet.parameters()}


def test_a_layer_that_cannot_be_read_restores_those_before(
    pipelines: dict[str, Any], tmp_path: Path
) -> None:
    loaded = pipelines["embedded"]
    written = write_kohya(loaded.pipeline)
    name = sorted(name for name in written.tensors if name.endswith("lora_up.weight"))[-1]
    written.tensors[name][0, 0] = float("nan")
    path = written.save(tmp_path / "a.safetensors")
    before = parameters_of(loaded)
    with (
        pytest.raises(CorruptError, match=f"{name} has values that are not finite"),
        applied_loras(loaded, job_of((path, "1"))),
    ):
        raise AssertionError("it ran")
    after = parameters_of(loaded)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_tensors_that_do_not_fit_together_are_named(
    pipelines: dict[str, Any], tmp_path: Path
) -> None:
    loaded = pipelines["embedded"]
    written = write_kohya(loaded.pipeline, "LoHa")
    name = next(name for name in written.tensors if name.endswith("hada_w1_b"))
    written.tensors[name] = torch.randn(3, 5)
    path = written.save(tmp_path / "a.safetensors")
    with (
        pytest.raises(CorruptError, match="its tensors do not fit together"),
        applied_loras(loaded, job_of((path, "1"))),
    ):
        raise AssertionError("it ran")


def test_a_file_that_changed_after_planning_is_refused(
    pipelines: dict[str, Any], tmp_path: Path
) -> None:
    loaded = pipelines["embedded"]
    path = write_kohya(loaded.pipeline).save(tmp_path / "a.safetensors")
    job = job_of((path, "1"))
    write_kohya(loaded.pipeline, "LoHa").save(path)
    with (
        pytest.raises(ModelError, match="has changed since this run was planned"),
        applied_loras(loaded, job),
    ):
        raise AssertionError("it ran")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rounds_the_sum_once(tmp_path: Path, dtype: str) -> None:
    loaded = load(PipelineSpec(device="cpu", dtype=dtype))
    written = write_kohya(loaded.pipeline)
    path = written.save(tmp_path / "a.safetensors")
    before = parameters_of(loaded)
    with applied_loras(loaded, job_of((path, "1"))):
        during = parameters_of(loaded)
    for key, change in written.changes.items():
        expected = (before[key].float() + change.float()).to(before[key].dtype)
        # The sums by hand may differ in the last bit of float32 before they are rounded.
        assert (during[key] != expected).float().mean() < 0.01
        assert torch.allclose(during[key].float(), expected.float(), rtol=1e-2, atol=1e-3)


def test_a_sum_that_overflows_names_the_lora(tmp_path: Path) -> None:
    loaded = load(PipelineSpec(device="cpu", dtype="float16"))
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"
    weight = loaded.pipeline.unet.get_submodule(name).weight
    key = f"lora_unet_{name.replace('.', '_')}"
    tensors = {
        f"{key}.lora_up.weight": torch.full((weight.shape[0], 1), 300.0),
        f"{key}.lora_down.weight": torch.full((1, weight.shape[1]), 300.0),
    }
    path = WrittenLora(tensors=tensors).save(tmp_path / "large.safetensors")
    before = parameters_of(loaded)
    with (
        pytest.raises(NumericsError, match=r"large\.safetensors.*too large for float16") as caught,
        applied_loras(loaded, job_of((path, "1"))),
    ):
        raise AssertionError("it ran")
    assert "--dtype float32" in str(caught.value.hint)
    after = parameters_of(loaded)
    assert all(torch.equal(before[key], after[key]) for key in before)
    # At half of the weight it fits.
    with applied_loras(loaded, job_of((path, "0.5"))):
        assert torch.isfinite(weight).all()


def test_the_layers_of_a_model_that_has_changed_are_read_again(tmp_path: Path) -> None:
    folder = shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    spec = PipelineSpec(model=str(folder), device="cpu")
    key = "lora_unet_added"
    tensors = {
        f"{key}.lora_up.weight": torch.ones(2, 1), f"{key}.lora_down.weight": torch.ones(1, 2),
        "lora_unet_conv_in.diff": torch.ones_like(load_file(file)["conv_in.weight"]),
    }  # fmt: skip
    path = WrittenLora(tensors=tensors).save(tmp_path / "a.safetensors")
    assert len(match_to_model(path, sha256(path), spec).layers) == 1
    save_file({**load_file(file), "added.weight": torch.ones(2, 2)}, file, {"format": "pt"})
    assert ("unet", "added") in read_layers(spec).shapes
    assert len(match_to_model(path, sha256(path), spec).layers) == 2

"""Models in single files: equal to their source and to Diffusers' `from_single_file`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.single_file.model import SingleFileModel, open_single_file
from sdcli.checkpoints.weights import find_weights
from sdcli.engine.loading.components import load_component
from sdcli.engine.loading.defective_weights import defective_weights_error
from sdcli.errors import CorruptError, ModelError, SdcliError
from sdcli.pipeline_spec import PipelineSpec
from tests.checkpoints.single_file.original_layout import (
    State,
    ema_twins,
    original_unet,
    save,
    with_prefix,
)
from tests.checkpoints.single_file.tiny_models import (
    CLASSES,
    SUPPORTED,
    build,
    tensors,
    tiny_configs,
    write_configs,
)

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
UNET = "model.diffusion_model."


class Source:
    """A tiny model of a family: its parts, and a folder with their configurations."""

    def __init__(self, family: str, folder: Path) -> None:
        self.family = family
        configs = tiny_configs(family)
        self.models = build(configs)
        self.config = write_configs(folder / "config", family, configs)
        self.state = tensors(family, self.models)

    def write(self, path: Path, change: Callable[[State], State] = dict, **metadata: str) -> Path:
        return save(change(dict(self.state)), path, **metadata)

    def open(self, path: Path, **changes: Any) -> SingleFileModel:
        spec = PipelineSpec(**{"model": str(path), "model_config": str(self.config)} | changes)
        single_file = open_single_file(spec)
        assert single_file
        return single_file


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Source]:
    known: dict[str, Source] = {}

    def find(family: str) -> Source:
        if family not in known:
            known[family] = Source(family, tmp_path_factory.mktemp(family))
        return known[family]

    return find


def load(single_file: SingleFileModel, name: str, dtype: torch.dtype = torch.float32) -> Any:
    config_file = single_file.folder / name / "config.json"
    config = read_config(config_file, name.removesuffix("_2"))
    weights = single_file.weights(name)
    return load_component(name, CLASSES[name], config_file, config, weights, dtype)


def assert_equal(model: Any, expected: Mapping[str, torch.Tensor]) -> None:
    state = model.state_dict()
    assert state.keys() == expected.keys()
    assert [name for name in state if not torch.equal(state[name], expected[name])] == []


def converted(state: Mapping[str, torch.Tensor], *dtypes: torch.dtype) -> State:
    for dtype in dtypes:
        state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}
    return dict(state)


@pytest.mark.sample(3)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", SUPPORTED)
def test_every_component_equals_its_source(
    tmp_path: Path, sources: Any, family: str, dtype: str
) -> None:
    source = sources(family)
    stored = DTYPES[dtype]
    path = source.write(tmp_path / "a.safetensors", lambda state: converted(state, stored))
    single_file = source.open(path)
    for name, model in source.models.items():
        expected = converted(model.state_dict(), stored, torch.float32)
        assert_equal(load(single_file, name), expected)
        assert_equal(load(single_file, name, stored), converted(model.state_dict(), stored))
    assert single_file.load_notes == ()


@pytest.mark.sample(2)
# Diffusers recognises the others by the width of their text encoder, 1024.
@pytest.mark.parametrize("family", ["sd1", "sd1-inpaint", "sdxl", "sdxl-refiner"])
def test_every_component_equals_that_of_from_single_file(
    tmp_path: Path, sources: Any, family: str
) -> None:
    import diffusers

    source = sources(family)
    path = source.write(tmp_path / "a.safetensors")
    index = read_json(source.config / "model_index.json")
    plain = getattr(diffusers, index["_class_name"]).from_single_file(
        str(path), config=str(source.config), local_files_only=True, dtype=torch.float32
    )
    single_file = source.open(path)
    for name in source.models:
        assert_equal(load(single_file, name), getattr(plain, name).state_dict())


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@pytest.fixture
def sd1(sources: Any) -> Source:
    source: Source = sources("sd1")
    return source


def rename(state: State, old: str, new: str) -> State:
    return {
        new + name.removeprefix(old) if name.startswith(old) else name: tensor
        for name, tensor in state.items()
    }


def without(state: State, *prefixes: str) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}


CLIP = "cond_stage_model.transformer."
RENAMED: dict[str, Callable[[State], State]] = {
    "NovelAI's names": lambda state: rename(state, f"{CLIP}text_model.", CLIP),
    "vae. prefix": lambda state: rename(state, "first_stage_model.", "vae."),
    "matrices in the VAE": lambda state: {
        name: t[:, :, 0, 0] if ".attn_1." in name and t.ndim == 4 else t
        for name, t in state.items()
    },
    "EMA": lambda state: state | ema_twins(state),
    "markers": lambda state: state | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)},
    "extra": lambda state: state | {f"{UNET}stray": torch.zeros(2), "alone": torch.zeros(3)},
}


@pytest.mark.sample(3)
@pytest.mark.parametrize("change", RENAMED.values(), ids=list(RENAMED))
def test_other_names_and_additions_change_nothing(
    tmp_path: Path, sd1: Source, change: Callable[[State], State]
) -> None:
    single_file = sd1.open(sd1.write(tmp_path / "a.safetensors", change))
    for name, model in sd1.models.items():
        assert_equal(load(single_file, name), model.state_dict())


def test_additions_are_named(tmp_path: Path, sd1: Source) -> None:
    single_file = sd1.open(sd1.write(tmp_path / "a.safetensors", RENAMED["extra"]))
    [note] = single_file.load_notes
    assert "1 tensor of no part of the model ignored" in note
    # Those of a part count once that part is used: --vae may replace it.
    single_file.weights("unet")
    [note] = single_file.load_notes
    assert "2 tensors of no part of the model ignored" in note
    assert "alone" in note
    assert f"{UNET}stray" in note
    [note] = sd1.open(sd1.write(tmp_path / "b.safetensors", RENAMED["EMA"])).load_notes
    assert "the plain weights are used" in note
    [note] = sd1.open(sd1.write(tmp_path / "c.safetensors", RENAMED["markers"])).load_notes
    assert "v_pred: v_prediction; epsilon of --model-config is used" in note


def test_a_yaml_file_that_comes_later_counts(tmp_path: Path, sd1: Source) -> None:
    path = sd1.write(tmp_path / "a.safetensors")
    assert sd1.open(path).notes == ()
    path.with_suffix(".yaml").write_text("parameterization: v")
    [note] = sd1.open(path).notes
    assert "a.yaml says so: v_prediction; epsilon of --model-config is used" in note


@pytest.mark.parametrize("layout", ["original", "original without prefix", "diffusers"])
def test_a_file_with_only_the_unet_takes_the_rest_from_the_folder(
    tmp_path: Path, sd1: Source, layout: str
) -> None:
    state = sd1.models["unet"].state_dict()
    renamed = original_unet(state, 2)
    files = {
        "original": with_prefix(UNET, renamed),
        "original without prefix": renamed,
        "diffusers": state,
    }
    path = save(files[layout], tmp_path / "a.safetensors")
    assert_equal(load(sd1.open(path), "unet"), state)
    with pytest.raises(ModelError, match="contains no text encoder"):
        open_single_file(PipelineSpec(model=str(path), model_config=str(sd1.config))).weights(
            "text_encoder"
        )
    complete = tmp_path / "complete"
    shutil.copytree(sd1.config, complete)
    sd1.models["text_encoder"].save_pretrained(complete / "text_encoder")
    single_file = sd1.open(path, model_config=str(complete))
    text = complete / "text_encoder"
    assert single_file.weights("text_encoder") == find_weights(text, "text_encoder", None)


def test_eight_bits_are_widened(tmp_path: Path, sd1: Source) -> None:
    kind = torch.float8_e4m3fn
    path = sd1.write(tmp_path / "a.safetensors", lambda state: converted(state, kind))
    expected = converted(sd1.models["unet"].state_dict(), kind, torch.float16)
    assert_equal(load(sd1.open(path), "unet", torch.float16), expected)


def break_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    return lambda state: state | {name: change(state[name].clone())}


def fill(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[3] = value
        return tensor

    return change


BIAS, WEIGHT = f"{UNET}out.0.bias", f"{UNET}input_blocks.1.0.in_layers.2.weight"
BROKEN: dict[str, tuple[Callable[[State], State], str, str]] = {
    "missing": (lambda s: without(s, BIAS), "unet", f"lacks {BIAS}"),
    "many missing": (
        lambda s: without(s, f"{UNET}middle_block."),
        "unet",
        "and 43 more",
    ),
    "missing in the text encoder": (
        lambda s: without(s, f"{CLIP}text_model.final_layer_norm.bias"),
        "text_encoder",
        "lacks cond_stage_model.transformer.text_model.final_layer_norm.bias",
    ),
    "shape": (
        break_tensor(WEIGHT, lambda t: t[:, :, :1]),
        "unet",
        f"{WEIGHT} has the shape (16, 16, 1, 3), but the model needs (16, 16, 3, 3)",
    ),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=list(BROKEN))
def test_broken_tensors_are_named(tmp_path: Path, sd1: Source, case: Any) -> None:
    change, component, message = case
    single_file = sd1.open(sd1.write(tmp_path / "a.safetensors", change))
    with pytest.raises(CorruptError) as caught:
        load(single_file, component)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.sample(1)
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 1e6])
def test_weights_that_are_not_numbers_are_found(tmp_path: Path, sd1: Source, value: float) -> None:
    single_file = sd1.open(sd1.write(tmp_path / "a.safetensors", break_tensor(WEIGHT, fill(value))))
    errors = []
    for dtype in (torch.float32, torch.float16):
        models = {name: load(single_file, name, dtype) for name in ("text_encoder", "unet")}
        files = {name: single_file.weights(name) for name in models}
        errors.append(defective_weights_error(models, files))
    if value == 1e6:
        assert errors[0] is None
        assert errors[1]
        assert f"{WEIGHT} has values that are too large for float16" in errors[1].message
        return
    for error in errors:
        assert error
        assert f"{WEIGHT} has NaN or infinite values" in error.message


def test_tensors_that_need_no_conversion_are_the_pages_of_the_file(
    tmp_path: Path, sd1: Source
) -> None:
    path = sd1.write(tmp_path / "a.safetensors")
    unet = load(sd1.open(path), "unet")
    # Written in place, the file shows through the weights that were loaded before.
    with path.open("r+b") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        file.seek(start)
        file.write(bytes(path.stat().st_size - start))
    assert all(not parameter.any() for parameter in unet.parameters())


def test_what_no_file_can_be_is_refused(tmp_path: Path, sd1: Source) -> None:
    path = sd1.write(tmp_path / "a.safetensors")
    with pytest.raises(SdcliError, match="not a model of a known family"):
        open_single_file(PipelineSpec(model=str(path)))
    with pytest.raises(ModelError, match="is not a folder"):
        sd1.open(path, model_config=str(path))
    with pytest.raises(SdcliError, match="no variants"):
        sd1.open(path, variant="fp16")

"""Models of records: named without their paths, and found again by hash or name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.locate import Kind
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.recorded import locate_recorded, recorded_name
from sdcli.checkpoints.weights import find_weights
from sdcli.errors import ModelError
from sdcli.pipeline_spec import PipelineSpec

UNET = sha256(find_weights(EMBEDDED_FOLDER / "unet", "unet", None).path)
VAE = sha256(find_weights(EMBEDDED_FOLDER / "vae", "vae", None).path)
SNAPSHOT = "/cache/models--owner--some-model/snapshots/0123abc"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and cache of the hub."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("kind", "name", "recorded"),
    [
        ("model", "embedded", "embedded"),
        ("model", "owner/model", "owner/model"),
        ("model", "/home/me/secret/my-model", "my-model"),
        ("model", "/home/me/my-model/", "my-model"),
        ("model", "~/my-model", "my-model"),
        ("model", "~nouser-at-all/my-model", "my-model"),
        ("model", "./models/my-model", "my-model"),
        ("model", "../my-model", "my-model"),
        ("model", ".", "here"),
        ("model", SNAPSHOT, "owner/some-model"),
        ("VAE", "tiny", "tiny"),
        ("VAE", "taesd", "taesd"),
        ("VAE", "/home/me/vae.safetensors", "vae.safetensors"),
        ("VAE", f"{SNAPSHOT}/vae", "owner/some-model"),
    ],
)
def test_names_have_no_folders(kind: Kind, name: str, recorded: str) -> None:
    assert recorded_name(name, kind) == recorded


def test_an_existing_relative_path_is_no_hub_id(tmp_path: Path) -> None:
    (tmp_path / "here" / "models" / "mine").mkdir(parents=True)
    assert recorded_name("models/mine", "model") == "mine"


def place(path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED_FOLDER, path))


def other_model(path: Path) -> Path:
    """A model of other weights, as far as the search can see."""
    weights = find_weights(place(path) / "unet", "unet", None).path
    weights.write_bytes(weights.read_bytes() + b" ")
    return path


def locate(name: str, weights: dict[str, Any], folder: Path) -> Path:
    spec = PipelineSpec(model=name)
    record = {"request": {"model": name}, "weights": weights}
    return Path(locate_recorded(spec, record, folder).model)


PLACES = ["here", "images", "", "cache/models--owner--mine/snapshots/0123"]


@pytest.mark.parametrize("place_name", PLACES)
@pytest.mark.parametrize("name", ["mine", "/gone/mine"])
@pytest.mark.parametrize("weights", [{"unet": UNET}, {}])
def test_a_model_is_found_by_name(
    place_name: str, name: str, weights: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    folder = tmp_path / place_name
    folder = place(folder if "cache" in place_name else folder / "mine")
    if "cache" in place_name and not weights:
        with pytest.raises(ModelError):
            locate(name, weights, tmp_path / "images")
    else:
        assert locate(name, weights, tmp_path / "images").resolve() == folder


@pytest.mark.parametrize("place_name", PLACES)
def test_a_renamed_model_is_found_by_its_weights(place_name: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    folder = tmp_path / place_name
    folder = place(folder if "cache" in place_name else folder / "renamed")
    if "cache" in place_name:
        blobs = folder.parents[1] / "blobs"
        blobs.mkdir()
        (blobs / UNET).touch()
    other_model(tmp_path / "images" / "mine")
    assert locate("another", {"unet": UNET}, tmp_path / "images").resolve() == folder


def test_the_weights_come_before_the_name(tmp_path: Path) -> None:
    other_model(tmp_path / "here" / "mine")
    folder = place(tmp_path / "images" / "mine")
    assert locate("mine", {"unet": UNET}, tmp_path / "images").resolve() == folder
    shutil.rmtree(folder)
    assert locate("mine", {"unet": UNET}, tmp_path / "images") == Path("mine")


def test_what_the_user_chose_stays(tmp_path: Path) -> None:
    place(tmp_path / "here" / "mine")
    record = {"request": {"model": "mine"}, "weights": {"unet": UNET}}
    for name in ("gone", "embedded", "owner/model"):
        assert locate_recorded(PipelineSpec(model=name), record, tmp_path).model == name


@pytest.mark.parametrize("weights", [{"vae": VAE}, None, {"vae": 5}])
def test_a_vae_is_found_beside_the_file(weights: object, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    source = find_weights(EMBEDDED_FOLDER / "vae", "vae", None).path
    vae = Path(shutil.copy(source, tmp_path / "images" / "my-vae.safetensors"))
    name = "/gone/my-vae.safetensors"
    record = {"request": {"model": "embedded", "vae": name}, "weights": weights}
    spec = PipelineSpec(vae=name)
    assert locate_recorded(spec, record, tmp_path / "images").vae == str(vae)


@pytest.mark.parametrize("name", ["x" * 5000, "a/../../b", "a\nb", "a//b", "/proc/1/gone"])
def test_no_name_is_too_odd_to_be_named_as_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not on this machine"):
        locate(name, {"unet": "0" * 64}, tmp_path)


def test_a_model_that_is_nowhere_is_named_with_its_hash(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=UNET) as caught:
        locate("mine", {"unet": UNET}, tmp_path / "images")
    assert caught.value.exit_code == 3
    assert "--model PATH" in str(caught.value.hint)


@pytest.mark.parametrize("place_name", ["embedded", "beside"])
def test_a_vae_is_found_inside_a_model(place_name: str, tmp_path: Path) -> None:
    """A file in a model's folder may have been given, whose name says nothing."""
    name = "diffusion_pytorch_model.safetensors"
    sha = VAE
    if place_name == "beside":
        weights = find_weights(place(tmp_path / "images" / "mine") / "vae", "vae", None).path
        weights.write_bytes(weights.read_bytes() + b" ")
        sha = sha256(weights)
    record = {"request": {"model": "embedded", "vae": name}, "weights": {"vae": sha}}
    located = locate_recorded(PipelineSpec(vae=name), record, tmp_path / "images").vae
    expected = EMBEDDED_FOLDER / "vae" if place_name == "embedded" else tmp_path / "images/mine"
    assert Path(str(located)) == expected

"""Fetching models from folders, the cache and a hub on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.checkpoints.adapters.controlnet_file import find_controlnet
from sdcli.checkpoints.adapters.image_encoder import encoder_name, find_image_encoder
from sdcli.checkpoints.adapters.ip_adapter_file import find_ip_adapter
from sdcli.checkpoints.adapters.lora_names import find_lora
from sdcli.checkpoints.download_selection import needed_files
from sdcli.checkpoints.hub import fetch_model, fetch_text_encoder, fetch_vae
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.errors import CorruptError, ModelError, UnsafeError, UsageError
from sdcli.pipeline_spec import PipelineSpec
from tests.checkpoints.hub_server import REPO, HubServer, read_files, serving

UNET = "unet/diffusion_pytorch_model.safetensors"

CONFIGS = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "vae/config.json",
]
REPOSITORY = [
    *CONFIGS,
    "README.md",
    "safety_checker/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder/pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "v1-5-pruned.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
]


def test_only_the_needed_files_are_selected() -> None:
    assert sorted(needed_files(REPOSITORY, None)) == sorted(
        [
            *CONFIGS,
            "text_encoder/model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ]
    )


def test_the_variant_is_selected_where_it_exists() -> None:
    weights = [name for name in needed_files(REPOSITORY, "fp16") if name.endswith(".safetensors")]
    assert sorted(weights) == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_the_files_of_a_repository_with_only_a_vae() -> None:
    names = ["config.json", "diffusion_pytorch_model.safetensors", "taesd.pth", "README.md"]
    assert needed_files(names, None) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_the_embedded_model_and_a_folder_are_used_in_place(tmp_path: Path) -> None:
    assert fetch_model(PipelineSpec()) == EMBEDDED_FOLDER
    assert fetch_model(PipelineSpec(model=str(tmp_path))) == tmp_path
    assert fetch_vae(PipelineSpec(), EMBEDDED_FOLDER) == EMBEDDED_FOLDER / "vae"
    assert fetch_vae(PipelineSpec(vae="tiny"), EMBEDDED_FOLDER) == EMBEDDED_FOLDER / "vae_tiny"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and a hub that is unreachable."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


@pytest.mark.parametrize("offline", [True, False])
def test_an_id_comes_from_the_cache_if_the_hub_is_unreachable(cache: Path, offline: bool) -> None:
    spec = PipelineSpec(model="someone/emoji", offline=offline)
    with pytest.raises(ModelError) as caught:
        fetch_model(spec)
    assert caught.value.code == "model.offline"
    assert "sdcli models pull someone/emoji" in (caught.value.hint or "")
    home = cache / "models--someone--emoji"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    snapshot = home / "snapshots" / ("0" * 40)
    shutil.copytree(EMBEDDED_FOLDER, snapshot)
    assert fetch_model(spec) == snapshot


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub on this machine that holds the embedded model."""
    from huggingface_hub import constants

    with serving(HubServer(read_files(EMBEDDED_FOLDER))) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            server.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield server


def test_an_id_is_downloaded_once_and_without_needless_files(hub: HubServer) -> None:
    spec = PipelineSpec(model=REPO)
    folder = fetch_model(spec)
    for name in ("model_index.json", UNET):
        assert (folder / name).read_bytes() == (EMBEDDED_FOLDER / name).read_bytes()
    assert not any(name.startswith("vae_tiny/") for name in hub.requested_files())
    hub.requests.clear()
    assert fetch_model(spec) == folder
    assert fetch_model(replace(spec, offline=True)) == folder
    assert hub.requested_files() == []


def fetch_chosen_text_encoder(repo: str) -> Path | None:
    return fetch_text_encoder(PipelineSpec(text_encoder=repo))


def fetch_chosen_vae(repo: str) -> Path:
    return fetch_vae(PipelineSpec(vae=repo), EMBEDDED_FOLDER)


def fetch_chosen_controlnet(repo: str) -> Path:
    return find_controlnet(repo, PipelineSpec())


@pytest.mark.parametrize(
    ("fetch", "part", "folders"),
    [
        (fetch_chosen_controlnet, "controlnet", {"controlnet"}),
        (fetch_chosen_text_encoder, "text_encoder", {"text_encoder", "tokenizer"}),
        (fetch_chosen_vae, "vae", {"vae"}),
    ],
)
def test_of_a_model_in_place_of_a_part_only_that_part_is_downloaded(
    hub: HubServer, fetch: Callable[[str], Path], part: str, folders: set[str]
) -> None:
    # Pickles of other parts do not matter.
    hub.files = {name.replace(UNET, f"{UNET}.bin"): data for name, data in hub.files.items()}
    names = ("config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    hub.files |= {f"controlnet/{name}": name.encode() for name in names}
    path = fetch(REPO)
    assert path.name == part
    sent = {name for name in hub.requested_files() if "/" in name}
    assert {name.partition("/")[0] for name in sent} == folders
    assert f"{part}/config.json" in sent
    hub.statuses = {"/": 503}
    assert fetch(REPO) == path


@pytest.mark.parametrize(
    "spec",
    [
        PipelineSpec(model=REPO, model_config="folder"),
        PipelineSpec(model=REPO, prediction_type="epsilon"),
        PipelineSpec(model=REPO, refiner=REPO, refiner_config="folder"),
    ],
)
def test_options_of_single_files_are_refused_before_the_download(
    hub: HubServer, spec: PipelineSpec
) -> None:
    with pytest.raises(UsageError, match="is not a single file"):
        fetch_defaults(spec)
    assert hub.requests == []


LORAS = ("pytorch_lora_weights.safetensors", "other.safetensors", "a[1].safetensors")


def test_the_file_of_a_lora_is_chosen_among_all(hub: HubServer) -> None:
    hub.files = {name: name.encode() for name in LORAS}
    for name in (LORAS[2], LORAS[1]):
        assert find_lora(f"{REPO}/{name}", None, offline=False).read_text() == name
        hub.statuses = {"/": 503}
        assert find_lora(f"{REPO}/{name}", None, offline=False).name == name
        hub.statuses = {}
    # Those of the cache are not all.
    assert find_lora(REPO, None, offline=False).name == LORAS[0]
    hub.statuses = {"/": 503}
    assert find_lora(REPO, None, offline=False).name == LORAS[0]


@pytest.mark.parametrize("offline", [True, False])
def test_a_cached_lora_is_that_of_the_newest_version(cache: Path, offline: bool) -> None:
    home = cache / "models--someone--style"
    for commit in ("a", "b", "c"):
        (home / "snapshots" / commit).mkdir(parents=True)
        (home / "snapshots" / commit / "style.safetensors").touch()
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("b")
    assert find_lora("someone/style", None, offline=offline).parent.name == "b"


@pytest.mark.parametrize(
    "variables",
    [
        {"HF_HUB_CACHE": "~/models"},
        {"HF_HUB_CACHE": "$FOLDER/models"},
        {"HF_HOME": "~/hf/$FOLDER"},
        {"XDG_CACHE_HOME": "~/cache"},
        {"HUGGINGFACE_HUB_CACHE": "/old"},
        {},
    ],
)
def test_the_cache_is_that_of_huggingface_hub(variables: dict[str, str], tmp_path: Path) -> None:
    code = """if True:
        from huggingface_hub.constants import HF_HUB_CACHE
        from sdcli.inputs.paths import hub_cache
        print(HF_HUB_CACHE, hub_cache(), sep="\\n")"""
    own = {"HOME": str(tmp_path), "FOLDER": "somewhere", "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=own | variables, capture_output=True, text=True
    )
    theirs, ours = ran.stdout.splitlines()
    assert ours == theirs


def test_files_with_another_hash_are_deleted_and_downloaded_again(hub: HubServer) -> None:
    spec = PipelineSpec(model=REPO)
    for name in (UNET, "tokenizer/vocab.json"):
        hub.damaged = {name}
        with pytest.raises(CorruptError, match=name) as caught:
            fetch_model(spec)
        assert caught.value.code == "model.download_damaged"
        hub.damaged = set()
        hub.requests.clear()
        folder = fetch_model(spec)
        assert hub.requested_files() == [name]
        assert (folder / name).read_bytes() == (EMBEDDED_FOLDER / name).read_bytes()
        shutil.rmtree(folder.parents[1])


def test_a_repository_with_pickles_only_is_refused_before_the_download(hub: HubServer) -> None:
    pickled = UNET.replace(".safetensors", ".bin")
    hub.files = {n: data for n, data in hub.files.items() if n != UNET} | {pickled: b"x"}
    with pytest.raises(UnsafeError, match="unet as a pickle only") as caught:
        fetch_model(PipelineSpec(model=REPO))
    assert f"sdcli models pull {REPO} --file {pickled}" in (caught.value.hint or "")
    assert hub.requested_files() == []


@pytest.mark.parametrize(
    "fetch", [fetch_chosen_controlnet, fetch_chosen_text_encoder, fetch_chosen_vae]
)
@pytest.mark.parametrize("folder", ["", "part/"])
def test_a_part_with_pickles_only_is_refused_before_the_download(
    hub: HubServer, fetch: Callable[[str], Path], folder: str
) -> None:
    part = {
        fetch_chosen_controlnet: "controlnet/", fetch_chosen_vae: "vae/",
        fetch_chosen_text_encoder: "text_encoder/",
    }[fetch] if folder else ""  # fmt: skip
    hub.files = {f"{part}config.json": b"{}", f"{part}model.bin": b"x", "README.md": b"x"}
    with pytest.raises(UnsafeError, match="as a pickle only") as caught:
        fetch(REPO)
    assert f"--file {part}model.bin" in (caught.value.hint or "")
    assert hub.requested_files() == []


def test_a_whole_model_is_not_downloaded_for_the_controlnet_that_it_lacks(hub: HubServer) -> None:
    fetch_chosen_controlnet(REPO)
    assert set(hub.requested_files()) == {"model_index.json", "sdcli.json"}


def test_the_hub_is_asked_once_for_what_many_prompts_name(hub: HubServer) -> None:
    hub.files = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"x"}
    fetches = (fetch_chosen_controlnet, lambda repo: find_lora(repo, None, offline=False))
    for fetch in fetches:
        path = fetch(REPO)
        asked = list(hub.requests)
        assert fetch(REPO) == path
        assert hub.requests == asked
        shutil.rmtree(path.parent if path.is_file() else path)
        assert fetch(REPO).exists()


@pytest.mark.parametrize(
    ("header", "code"), [("GatedRepo", "model.gated"), ("RepoNotFound", "model.not_found")]
)
def test_gated_and_missing_repositories_are_refused(hub: HubServer, header: str, code: str) -> None:
    hub.statuses, hub.headers = {"/api": 403}, {"X-Error-Code": header}
    with pytest.raises(ModelError) as caught:
        fetch_model(PipelineSpec(model=REPO))
    assert caught.value.code == code


def test_a_whole_model_can_stand_in_for_its_vae(tmp_path: Path) -> None:
    assert fetch_vae(PipelineSpec(vae=str(EMBEDDED_FOLDER)), tmp_path) == EMBEDDED_FOLDER / "vae"


@pytest.mark.parametrize("vae", ["taesd", "madebyollin/taesd"])
def test_a_known_vae_is_its_repository(cache: Path, vae: str) -> None:
    with pytest.raises(ModelError, match="VAE madebyollin/taesd is not in the local cache"):
        fetch_vae(PipelineSpec(vae=vae, offline=True), EMBEDDED_FOLDER)


FOLDERS = ("", "unet/", "vae/", "text_encoder/", "vae_tiny/", "safety_checker/")
FILES = (
    *("config.json", "model.safetensors", "model.fp16.safetensors", "model.bin"),
    *("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
)
NAMES = st.lists(st.sampled_from([a + b for a in FOLDERS for b in FILES]), unique=True)


@given(NAMES, st.sampled_from([None, "fp16"]))
def test_a_selection_has_no_pickles_and_selects_itself(
    names: list[str], variant: str | None
) -> None:
    selected = needed_files(names, variant)
    assert len(selected) == len(set(selected))
    assert set(selected) <= set(names)
    assert not any(name.endswith(".bin") for name in selected)
    assert sorted(needed_files(selected, variant)) == sorted(selected)


def test_an_ip_adapter_comes_with_the_image_encoder_beside_it(hub: HubServer) -> None:
    files = ("config.json", "model.safetensors", "pytorch_model.bin")
    hub.files = {f"models/image_encoder/{name}": name.encode() for name in files}
    hub.files |= {f"models/{name}": name.encode() for name in ("a.safetensors", "b.safetensors")}
    name = f"{REPO}/models/a.safetensors"
    path = find_ip_adapter(name, PipelineSpec())
    assert path.read_bytes() == b"a.safetensors"
    beside = encoder_name(None, [name])
    assert beside == f"{REPO}/models/image_encoder"
    folder = find_image_encoder(beside, offline=False)
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert not any(name.endswith((".bin", "b.safetensors")) for name in hub.requested_files())
    hub.statuses = {"/": 503}
    assert find_ip_adapter(name, PipelineSpec(offline=True)) == path
    assert find_image_encoder(beside, offline=True) == folder
    hub.statuses = {}
    with pytest.raises(ModelError, match="has no image encoder in models"):
        find_image_encoder(f"{REPO}/models", offline=False)

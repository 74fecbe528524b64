"""Fetching models from folders, the cache and a hub on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.checkpoints.hub import fetch_model, fetch_vae, needed_files
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ModelError
from sdcli.pipeline_spec import PipelineSpec

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

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


@pytest.mark.parametrize("offline", [True, False])
def test_an_id_comes_from_the_cache_if_the_hub_is_unreachable(cache: Path, offline: bool) -> None:
    spec = PipelineSpec(model="someone/emoji", offline=offline)
    with pytest.raises(ModelError) as caught:
        fetch_model(spec)
    assert caught.value.code == "model.offline"
    assert "hf download someone/emoji" in (caught.value.hint or "")
    home = cache / "models--someone--emoji"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    snapshot = home / "snapshots" / ("0" * 40)
    shutil.copytree(EMBEDDED_FOLDER, snapshot)
    assert fetch_model(spec) == snapshot


COMMIT = "1" * 40


class Hub(BaseHTTPRequestHandler):
    """A hub with one repository that has the files of the embedded model."""

    requested_files: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/someone/emoji/tree/"):
            self._send(json.dumps([self._entry(name) for name in self._names()]).encode())
        elif path.startswith("/api/models/someone/emoji"):
            siblings = [{"rfilename": name} for name in self._names()]
            info = {"id": "someone/emoji", "sha": COMMIT, "siblings": siblings}
            self._send(json.dumps(info).encode())
        elif path.startswith("/someone/emoji/resolve/"):
            name = path.split("/", 5)[5]
            Hub.requested_files.append(name)
            self._send((EMBEDDED_FOLDER / name).read_bytes())
        else:
            code = "GatedRepo" if "gated" in path else "RepoNotFound"
            self._send(b"{}", status=403 if "gated" in path else 404, **{"X-Error-Code": code})

    do_HEAD = do_GET  # noqa: N815 - the name in the base class

    def _names(self) -> list[str]:
        files = (path for path in EMBEDDED_FOLDER.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(EMBEDDED_FOLDER)) for path in files)

    def _entry(self, name: str) -> dict[str, object]:
        size = (EMBEDDED_FOLDER / name).stat().st_size
        return {"type": "file", "path": name, "oid": sha1(name.encode()).hexdigest(), "size": size}

    def _send(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        name = self.path.partition("?")[0].split("/", 5)[-1]
        facts = {
            "Content-Length": str(len(data)),
            "ETag": f'"{sha1(name.encode()).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            **headers,
        }
        for key, value in facts.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Print nothing."""


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub on this machine that holds the embedded model."""
    from huggingface_hub import constants

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(Hub, "requested_files", [])
        Thread(target=server.serve_forever, daemon=True).start()
        yield Hub
        server.shutdown()


def test_an_id_is_downloaded_once_and_without_needless_files(hub: type[Hub]) -> None:
    spec = PipelineSpec(model="someone/emoji")
    folder = fetch_model(spec)
    for name in ("model_index.json", "unet/diffusion_pytorch_model.safetensors"):
        assert (folder / name).read_bytes() == (EMBEDDED_FOLDER / name).read_bytes()
    assert not any(name.startswith("vae_tiny/") for name in hub.requested_files)
    hub.requested_files.clear()
    assert fetch_model(spec) == folder
    assert fetch_model(replace(spec, offline=True)) == folder
    assert hub.requested_files == []


@pytest.mark.parametrize(
    ("model", "code"), [("someone/gated", "model.gated"), ("someone/gone", "model.not_found")]
)
def test_gated_and_missing_repositories_are_refused(hub: type[Hub], model: str, code: str) -> None:
    with pytest.raises(ModelError) as caught:
        fetch_model(PipelineSpec(model=model))
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

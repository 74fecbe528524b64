"""Where models are found; none of it needs torch, or a network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from sdcli.checkpoints.hub import fetch_model, fetch_vae, needed_files
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ModelError, UnsafeError
from sdcli.request import PipelineSpec

ROOT = Path(__file__).parents[2]

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


def test_only_what_is_needed_is_downloaded() -> None:
    assert sorted(needed_files(REPOSITORY, None)) == sorted(
        [
            *CONFIGS,
            "text_encoder/model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ]
    )


def test_a_variant_is_taken_where_there_is_one() -> None:
    weights = [name for name in needed_files(REPOSITORY, "fp16") if name.endswith(".safetensors")]
    assert sorted(weights) == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_a_repository_that_is_one_vae() -> None:
    names = ["config.json", "diffusion_pytorch_model.safetensors", "taesd.pth", "README.md"]
    assert needed_files(names, None) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_the_embedded_model_and_folders(tmp_path: Path) -> None:
    assert fetch_model(PipelineSpec()) == EMBEDDED_FOLDER
    assert fetch_model(PipelineSpec(model=str(tmp_path))) == tmp_path
    assert fetch_vae(PipelineSpec(), EMBEDDED_FOLDER) == EMBEDDED_FOLDER / "vae"
    assert fetch_vae(PipelineSpec(vae="tiny"), EMBEDDED_FOLDER) == EMBEDDED_FOLDER / "vae_tiny"


@pytest.mark.parametrize("model", ["./nowhere", "/abs/missing", "nonsense", "a/b/c", "~/none"])
def test_what_is_nowhere_is_told_with_a_hint(model: str) -> None:
    with pytest.raises(ModelError) as caught:
        fetch_model(PipelineSpec(model=model))
    assert caught.value.code == "model.not_found"
    assert caught.value.hint


def test_single_files(tmp_path: Path) -> None:
    for name, error in (("a.ckpt", UnsafeError), ("a.safetensors", ModelError)):
        (tmp_path / name).touch()
        with pytest.raises(error):
            fetch_model(PipelineSpec(model=str(tmp_path / name)))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and a hub that nobody can reach."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


@pytest.mark.parametrize("offline", [True, False])
def test_without_the_hub_an_id_comes_from_the_cache(cache: Path, offline: bool) -> None:
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
    """As much of the hub as a download asks for: what a repository holds, and its files."""

    asked: ClassVar[list[str]] = []

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
            Hub.asked.append(name)
            self._send((EMBEDDED_FOLDER / name).read_bytes())
        else:
            code = "GatedRepo" if "gated" in path else "RepoNotFound"
            self._send(b"{}", status=403 if "gated" in path else 404, **{"X-Error-Code": code})

    do_HEAD = do_GET  # noqa: N815 - the parent's name

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

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Tests are quiet."""


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
        monkeypatch.setattr(Hub, "asked", [])
        Thread(target=server.serve_forever, daemon=True).start()
        yield Hub
        server.shutdown()


def test_an_id_is_downloaded_once_and_only_what_is_needed(hub: type[Hub]) -> None:
    spec = PipelineSpec(model="someone/emoji")
    folder = fetch_model(spec)
    for name in ("model_index.json", "unet/diffusion_pytorch_model.safetensors"):
        assert (folder / name).read_bytes() == (EMBEDDED_FOLDER / name).read_bytes()
    assert not any(name.startswith("vae_tiny/") for name in hub.asked)
    hub.asked.clear()
    assert fetch_model(spec) == folder
    assert fetch_model(replace(spec, offline=True)) == folder
    assert hub.asked == []


@pytest.mark.parametrize(
    ("model", "code"), [("someone/gated", "model.gated"), ("someone/gone", "model.not_found")]
)
def test_what_the_hub_refuses(hub: type[Hub], model: str, code: str) -> None:
    with pytest.raises(ModelError) as caught:
        fetch_model(PipelineSpec(model=model))
    assert caught.value.code == code


_PROBE = """
import sys
from sdcli import engine
from sdcli.checkpoints.hub import fetch_model
from sdcli.request import PipelineSpec
from sdcli.versions import library_versions
fetch_model(PipelineSpec())
library_versions()
loaded = {"torch", "diffusers", "transformers", "huggingface_hub", "numpy"} & set(sys.modules)
assert not loaded, loaded
"""


def test_finding_a_model_imports_no_library() -> None:
    assert subprocess.run([sys.executable, "-c", _PROBE], cwd=ROOT, check=False).returncode == 0


_QUIET = """
from sdcli import engine
from sdcli.request import PipelineSpec
from tests.jobs import make_job
loaded = engine.load(PipelineSpec(device="cpu"))
engine.generate_batch(loaded, [make_job(num_inference_steps=2, prompt="cat " * 90)])
"""


def test_a_whole_run_says_nothing_by_itself() -> None:
    run = subprocess.run([sys.executable, "-c", _QUIET], cwd=ROOT, capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"", b"")

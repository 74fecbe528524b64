"""Where models are found; none of it needs torch, or a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sdcli.catalog.models import EMBEDDED_FOLDER
from sdcli.engine.fetch import fetch, fetch_vae, wanted
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
    assert sorted(wanted(REPOSITORY, None)) == sorted(
        [
            *CONFIGS,
            "text_encoder/model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ]
    )


def test_a_variant_is_taken_where_there_is_one() -> None:
    weights = [name for name in wanted(REPOSITORY, "fp16") if name.endswith(".safetensors")]
    assert sorted(weights) == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_a_repository_that_is_one_vae() -> None:
    names = ["config.json", "diffusion_pytorch_model.safetensors", "taesd.pth", "README.md"]
    assert wanted(names, None) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_the_embedded_model_and_folders(tmp_path: Path) -> None:
    assert fetch(PipelineSpec()) == EMBEDDED_FOLDER
    assert fetch(PipelineSpec(model=str(tmp_path))) == tmp_path
    assert fetch_vae(PipelineSpec(), EMBEDDED_FOLDER) == EMBEDDED_FOLDER / "vae"
    assert fetch_vae(PipelineSpec(vae="tiny"), EMBEDDED_FOLDER) == EMBEDDED_FOLDER / "vae_tiny"


@pytest.mark.parametrize("model", ["./nowhere", "/abs/missing", "nonsense", "a/b/c", "~/none"])
def test_what_is_nowhere_is_told_with_a_hint(model: str) -> None:
    with pytest.raises(ModelError) as caught:
        fetch(PipelineSpec(model=model))
    assert caught.value.code == "model.not_found"
    assert caught.value.hint


def test_single_files(tmp_path: Path) -> None:
    for name, error in (("a.ckpt", UnsafeError), ("a.safetensors", ModelError)):
        (tmp_path / name).touch()
        with pytest.raises(error):
            fetch(PipelineSpec(model=str(tmp_path / name)))


def test_an_id_comes_from_the_cache_when_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    spec = PipelineSpec(model="someone/emoji", offline=True)
    with pytest.raises(ModelError) as caught:
        fetch(spec)
    assert caught.value.code == "model.offline"
    assert "hf download someone/emoji" in (caught.value.hint or "")
    home = tmp_path / "models--someone--emoji"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    snapshot = home / "snapshots" / ("0" * 40)
    shutil.copytree(EMBEDDED_FOLDER, snapshot)
    assert fetch(spec) == snapshot


_PROBE = """
import sys
from sdcli import engine
from sdcli.engine.fetch import fetch
from sdcli.request import PipelineSpec
fetch(PipelineSpec())
engine.versions()
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
engine.generate(loaded, [make_job(num_inference_steps=2, prompt="cat " * 90)])
"""


def test_a_whole_run_says_nothing_by_itself() -> None:
    run = subprocess.run([sys.executable, "-c", _QUIET], cwd=ROOT, capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"", b"")

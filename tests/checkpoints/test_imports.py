"""Reading model files imports none of the large libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SCRIPT = """
import importlib, pkgutil, sys
import sdcli.catalog, sdcli.checkpoints
for package in (sdcli.catalog, sdcli.checkpoints):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.checkpoints.components import read_components
from sdcli.checkpoints.fingerprint import fingerprint
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.latent_rgb import read_latent_rgb_factors
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.vae_selection import select_vae
from sdcli.pipeline_spec import PipelineSpec
from sdcli.versions import library_versions

spec = PipelineSpec()
folder = fetch_model(spec)
resolve_scheduler(read_defaults(folder).scheduler)
assert read_components(folder)
assert read_latent_rgb_factors(folder)
assert select_vae(spec, folder)
assert select_vae(PipelineSpec(vae="tiny"), folder)
assert len(fingerprint(spec)) == 64
assert library_versions()["torch"]

heavy = {"torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "PIL"}
network = {"huggingface_hub", "httpx", "requests"}
assert not (heavy | network) & set(sys.modules), (heavy | network) & set(sys.modules)
"""


def test_describing_the_embedded_model_imports_no_large_library() -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT], cwd=ROOT, check=True)

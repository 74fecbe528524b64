"""The plain Diffusers scripts."""

from __future__ import annotations

import json
import subprocess

import pytest

from sdcli.bench.baselines import BATCH, SAVE_FULL_SIZE_MODEL, SINGLE_IMAGE
from sdcli.bench.measure import python_command
from sdcli.bench.scenarios import SEED, _script_arguments
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults


def test_the_scripts_draw_what_sdcli_draws(run_cli, tmp_path):
    prompts = ["a red star on a blue background", "a cat"]
    args = _script_arguments(EMBEDDED_FOLDER, read_defaults(EMBEDDED_FOLDER))
    args |= {"prompts": prompts, "batch_size": 1, "out": str(tmp_path)}
    plain = subprocess.run(
        python_command("-c", BATCH, json.dumps(args)), capture_output=True, text=True, check=True
    )
    ran = run_cli("generate", *prompts, "--seed", str(SEED), "--device", "cpu", "--json")
    digests = [image["pixels_sha256"] for image in ran.document["images"]]
    assert json.loads(plain.stdout)["pixels_sha256"] == digests


def test_both_scripts_load_the_model_in_the_same_way():
    assert BATCH.startswith(SINGLE_IMAGE.split("image = pipe(")[0])


@pytest.mark.parametrize("script", [BATCH, SAVE_FULL_SIZE_MODEL, SINGLE_IMAGE])
def test_the_scripts_are_valid_python(script):
    compile(script, "script", "exec")

"""Make a model of the size of Stable Diffusion 1.5 for the time of a benchmark."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from sdcli.bench.baselines import SAVE_FULL_SIZE_MODEL
from sdcli.bench.measure import python_command
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER


@contextmanager
def full_size_model() -> Iterator[tuple[str, str]]:
    """Yield a folder for files and the model in it. Both are deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        model = f"{folder}/model"
        args = {"out": model, "tokenizer": str(EMBEDDED_FOLDER / "tokenizer")}
        script = python_command("-c", SAVE_FULL_SIZE_MODEL, json.dumps(args))
        subprocess.run(script, capture_output=True, check=True)
        yield folder, model

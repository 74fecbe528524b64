"""Compute fingerprints of models: hashes that change when a file that is loaded changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from sdcli.checkpoints.file_state import cache_by_files
from sdcli.checkpoints.hub import fetch_model, fetch_vae, refiner_spec
from sdcli.checkpoints.json_files import read_json
from sdcli.checkpoints.model_index import (
    disagreeing_classes,
    find_text_encoders,
    find_tokenizers,
    is_xl,
)
from sdcli.checkpoints.single_file.model import open_single_file
from sdcli.checkpoints.text_encoder import (
    ChosenTextEncoder,
    find_component_weights,
    select_text_encoder,
)
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.checkpoints.weights import find_weights
from sdcli.errors import CorruptError
from sdcli.pipeline_spec import PipelineSpec

_FULL_HASH_BYTES: Final = 1 << 21
"""Size up to which a file is hashed completely."""

# Larger files are sampled, because hashing gigabytes takes seconds. Training changes nearly every
# value of a model, so evenly spaced samples tell two models apart.
_SAMPLE_COUNT: Final = 32
_SAMPLE_BYTES: Final = 1 << 15

_XL_KEYS: Final = ("force_zeros_for_empty_prompt", "requires_aesthetics_score")
"""Keys of model_index.json that decide how prompts and sizes are encoded."""

_SINGLE_FILE: Final = "model.safetensors"
_TEXT_PATTERNS: Final = ("*.json", "*.txt")

# Version 0.1.0 shipped the embedded model with another scheduler file and the same weights. Its
# fingerprints are kept, so that batches begun with 0.1.0 can be resumed.
_EQUIVALENT: Final = {
    "7de3570a08da4bb159e8c63879f884dca6bf875b36d4073eb18b9a52a9533a76": (
        "787c2c43d62d61a8e689232222abc2f0e3cde3bb3c6b7205a0a5372530c63b51"
    ),
    "8a6c78ea66f2eefee6e4de458c5aeae4898d5bee3a94d371bc25af2fd2f62217": (
        "3d25ff9416cbce0743eef8f423023cb561ef9716442fafcb0487932413d3f867"
    ),
}


def fingerprint(spec: PipelineSpec) -> str:
    """Return the fingerprint (64 hex digits) of the files that `spec` loads.

    It depends on the contents of the files, not on their paths. Raises the errors of `fetch_model`
    and `fetch_vae`, and ModelError or UnsafeError if there are no safetensors weights.
    """
    folder = fetch_model(spec)
    digest = _hash_model(spec, folder, fetch_vae(spec, folder))
    if refiner := refiner_spec(spec):
        # The refiner decodes nothing: its own VAE is not loaded.
        return _join(digest, _hash_model(refiner, fetch_model(refiner), None))
    return _EQUIVALENT.get(digest, digest)


def _join(*digests: str) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _hash_model(spec: PipelineSpec, folder: Path, vae: Path | None) -> str:
    single_file, chosen = open_single_file(spec), select_text_encoder(spec, folder)
    if single_file is None and chosen is None:
        return _hash_folders(folder, vae, spec.variant)
    own = ["unet", *find_text_encoders(folder), *(["vae"] if vae == folder / "vae" else [])]
    weights = find_component_weights(spec, folder, own if single_file else (), chosen)
    digest = _hash_files(folder, vae, spec.variant, weights)
    return _join(digest, _hash_description(chosen)) if chosen else digest


def _hash_description(chosen: ChosenTextEncoder) -> str:
    """Return the hash of a text encoder's configuration and of its tokenizer."""
    digest = hashlib.sha256(json.dumps(chosen.config, sort_keys=True).encode())
    for file in _text_files(chosen.tokenizer) if chosen.tokenizer else ():
        digest.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()


@cache_by_files
def _hash_folders(folder: Path, vae: Path | None, variant: str | None) -> str:
    return _hash_files(folder, vae, variant, {})


def _hash_files(
    folder: Path, vae: Path | None, variant: str | None, single_file: Mapping[str, WeightFiles]
) -> str:
    """Return the hash of the files; `single_file` has the weights that `folder` lacks."""
    components = ("unet", *find_text_encoders(folder))
    weight_folders = {name: folder / name for name in components} | ({"vae": vae} if vae else {})
    digest = hashlib.sha256()
    # The order and the header lines are part of the fingerprint: journals store it.
    for component in ("scheduler", *find_tokenizers(folder), *weight_folders):
        path = weight_folders.get(component, folder / component)
        files = _text_files(path)
        if component in weight_folders:
            weights = single_file.get(component) or find_weights(path, component, variant)
            files += weights.files
        for file in files:
            # A single file may have any name.
            name = _SINGLE_FILE if component in single_file and file in weights.files else file.name
            digest.update(f"{component}/{name} {file.stat().st_size}\n".encode())
            for chunk in _sample_chunks(file):
                digest.update(chunk)
    if is_xl(folder):
        index = read_json(folder / "model_index.json")
        digest.update("".join(f"{key} {index.get(key)}\n" for key in _XL_KEYS).encode())
    # The index counts only where it disagrees, so that earlier fingerprints stay as they are. A
    # broken file is an error when the model is loaded.
    with suppress(CorruptError):
        for component, (class_name, _) in disagreeing_classes(folder).items():
            digest.update(f"{component} {class_name}\n".encode())
    return digest.hexdigest()


def _text_files(folder: Path) -> list[Path]:
    # Reading a pipe would wait for its other end.
    return sorted(
        path for pattern in _TEXT_PATTERNS for path in folder.glob(pattern) if path.is_file()
    )


def _sample_chunks(path: Path) -> Iterator[bytes]:
    """Yield the whole file, or evenly spaced samples of a large one, start and end included."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _FULL_HASH_BYTES:
            yield file.read()
            return
        for i in range(_SAMPLE_COUNT):
            file.seek((size - _SAMPLE_BYTES) * i // (_SAMPLE_COUNT - 1))
            yield file.read(_SAMPLE_BYTES)

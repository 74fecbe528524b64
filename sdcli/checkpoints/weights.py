"""Weight files as files: which one to load, whether it is whole, and its hash. No torch here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Thread

from sdcli.checkpoints.safetensors_header import read_header
from sdcli.errors import CorruptError, ModelError, UnsafeError

STEMS: Mapping[str, str] = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
"""What Diffusers and Transformers call the weight file of a component."""

PICKLE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def choose_weight_file(names: Iterable[str], stem: str, variant: str | None) -> str | None:
    """The safetensors file to load among a component's file names, or None.

    The asked variant first, then the plain file (Diffusers' rule for partial variants); a
    component that has only variants gives its first, so that an fp16-only repository just works.
    """
    named = sorted(n for n in names if n.startswith(stem) and n.endswith(".safetensors"))
    wanted = [f"{stem}.{variant}.safetensors"] if variant else []
    for name in (*wanted, f"{stem}.safetensors"):
        if name in named:
            return name
    variants = [n for n in named if n.count(".") == 2 and "non_ema" not in n]
    return variants[0] if variants else None


def variant_of(name: str) -> str | None:
    """`model.fp16.safetensors` -> `fp16`; None for the plain name."""
    parts = name.split(".")
    return parts[1] if len(parts) == 3 else None


def find_weight_file(folder: Path, component: str, variant: str | None) -> Path:
    """The weight file of the component in `folder`, which a VAE may itself be.

    Raises UnsafeError when only pickles are there, ModelError when nothing is.
    """
    if folder.is_file():
        return folder
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    chosen = choose_weight_file(names, STEMS[component], variant)
    if chosen:
        return folder / chosen
    pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
    if pickles:
        raise UnsafeError(
            f"{component}: {folder / pickles[0]} is a pickle, which can run code when loaded",
            code="model.pickle",
            hint="use a model that has .safetensors files, or convert it where you trust it",
        )
    raise ModelError(
        f"{component}: no .safetensors file in {folder}",
        code="model.incomplete",
        hint="download the model again",
    )


def check_weight_file(component: str, path: Path) -> None:
    """Prove from the header alone that the file is whole. Raises CorruptError."""
    try:
        read_header(path)
    except CorruptError as error:
        raise CorruptError(
            f"{component}: {error.message}", code=error.code, hint=error.hint
        ) from error


class WeightHashes:
    """SHA-256 of weight files, computed in a thread beside the denoising.

    A file in the Hugging Face cache is a link to a blob that is named by its hash, so those cost
    nothing; others are hashed once a process.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._digests: dict[str, str] = {}
        self._files = files
        self._thread = Thread(target=self._run, name="sdcli-hashes", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for component, path in self._files.items():
            try:
                self._digests[component] = sha256(path)
            except OSError:  # gone since it was loaded: the record then says nothing of it
                continue

    def result(self) -> dict[str, str]:
        """Component -> hash, waiting for the thread when need be."""
        self._thread.join()
        return dict(self._digests)


def sha256(path: Path) -> str:
    """Hex SHA-256 of the file; cached by path, size and time of change. Raises OSError."""
    blob = path.resolve()
    if _SHA256.fullmatch(blob.name):
        return blob.name
    stat = blob.stat()
    return _sha256(blob, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

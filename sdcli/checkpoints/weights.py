"""Choose, check and hash weight files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Final

from sdcli.checkpoints.safetensors_header import read_header
from sdcli.errors import CorruptError, ModelError, UnsafeError

STEMS: Final[Mapping[str, str]] = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
"""Component -> name of its weight file in Diffusers and Transformers, without suffixes."""

PICKLE_SUFFIXES: Final = (".bin", ".ckpt", ".pt", ".pth")
_SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}")


def choose_weight_file(names: Iterable[str], stem: str, variant: str | None) -> str | None:
    """Return the safetensors file to load among a component's file names, or None.

    The requested variant comes first, then the plain file, which is Diffusers' rule for partial
    variants. A component with variants only gives the first of them, so that a repository with
    nothing but fp16 works without an option.
    """
    candidates = sorted(
        name for name in names if name.startswith(stem) and name.endswith(".safetensors")
    )
    preferred = [f"{stem}.{variant}.safetensors"] if variant else []
    for name in (*preferred, f"{stem}.safetensors"):
        if name in candidates:
            return name
    # non_ema holds the weights for further training, which draw worse. Names with more dots are
    # shards of a file.
    variants = [name for name in candidates if name.count(".") == 2 and "non_ema" not in name]
    return variants[0] if variants else None


def variant_of(name: str) -> str | None:
    """Return the variant in a file name: `fp16` for `model.fp16.safetensors`, None without one."""
    parts = name.split(".")
    return parts[1] if len(parts) == 3 else None


def find_weight_file(path: Path, component: str, variant: str | None) -> Path:
    """Return the weight file of the component in the folder `path`, or `path` if it is a file.

    Raises UnsafeError if there are only pickles, and ModelError if there are no weights.
    """
    if path.is_file():
        return path
    names = [child.name for child in path.iterdir()] if path.is_dir() else []
    name = choose_weight_file(names, STEMS[component], variant)
    if not name:
        raise _missing_weights_error(path, component, names)
    return path / name


def _missing_weights_error(
    folder: Path, component: str, names: Iterable[str]
) -> UnsafeError | ModelError:
    pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
    if pickles:
        return UnsafeError(
            f"{component}: {folder / pickles[0]} is a pickle, which can run code when it is loaded",
            code="model.pickle",
            hint="use a model with .safetensors files, or convert it in a safe environment",
        )
    return ModelError(
        f"{component}: no .safetensors file in {folder}",
        code="model.incomplete",
        hint="download the model again",
    )


def check_weight_file(component: str, path: Path) -> None:
    """Check with the header alone that the file is complete. Raises CorruptError."""
    try:
        read_header(path)
    except CorruptError as error:
        raise CorruptError(
            f"{component}: {error.message}", code=error.code, hint=error.hint
        ) from error


class WeightHashes:
    """SHA-256 hashes of weight files, computed in a background thread.

    Hashing gigabytes takes seconds, which pass during the denoising.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._digests: dict[str, str] = {}
        self._files = files
        # A daemon, so that an interrupted run does not wait for it.
        self._thread = Thread(target=self._run, name="sdcli-hashes", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for component, path in self._files.items():
            try:
                self._digests[component] = sha256(path)
            except OSError:  # deleted after loading: the record then has no hash of it
                continue

    def result(self) -> dict[str, str]:
        """Wait for the thread and return the hash of each component."""
        self._thread.join()
        return dict(self._digests)


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file in hex. Raises OSError.

    Cached by path, size and modification time.
    """
    target = path.resolve()
    # In the Hugging Face cache, a file is a link to a blob that is named after its hash.
    if _SHA256_HEX.fullmatch(target.name):
        return target.name
    stat = target.stat()
    return _hash_file(target, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash_file(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Find the file of a LoRA by its path, its name in a folder, or its Hugging Face id."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from sdcli.checkpoints.adapters.embedded_addons import (
    embedded_hint,
    find_embedded,
    is_embedded_addon,
)
from sdcli.checkpoints.file_state import fetch_once
from sdcli.checkpoints.hub import fetch_files, is_hub_id, list_files
from sdcli.checkpoints.locate import Kind
from sdcli.checkpoints.weight_files import PICKLE_SUFFIXES, convert_hint
from sdcli.errors import ModelError, UnsafeError, did_you_mean, quoted
from sdcli.fields.lora import lora_stem
from sdcli.inputs.paths import expand_user, hub_cache
from sdcli.inputs.regular_file import special_kind
from sdcli.inputs.similar_paths import similar_path_hint

_SUFFIX: Final = ".safetensors"
_USUAL_NAME: Final = "pytorch_lora_weights.safetensors"
_MOST_FILES: Final = 10_000


def find_lora(name: str, folder: str | None, *, offline: bool) -> Path:
    """Return the file of a LoRA. `folder` is the one in which names are looked up.

    Raises UnsafeError for a pickle, and ModelError for a name that is not found.
    """
    if is_embedded_addon(name):
        return find_embedded(name, "LoRA")
    candidates = [expand_user(name)]
    if folder is not None:
        candidates.append(expand_user(folder) / name)
    for path in candidates:
        for spelled in (path, path.with_name(path.name + _SUFFIX)) if path.name else (path,):
            if found := _usable(spelled):
                return found
    if folder is not None and (found := _find_by_stem(name, expand_user(folder))):
        return found
    if repo := hub_file(name):
        return fetch_hub_file(*repo, offline=offline)
    raise _not_found_error(name, folder)


def _usable(path: Path) -> Path | None:
    """The path if it is a file that may be a LoRA. Raises UnsafeError and ModelError."""
    if path.suffix.lower() in PICKLE_SUFFIXES and path.is_file():
        raise UnsafeError(
            f"{path} is a pickle, which can run code when it is loaded",
            code="model.pickle",
            hint=convert_hint(path, path.with_suffix(_SUFFIX)),
        )
    if path.suffix.lower() != _SUFFIX:
        return None
    if special := special_kind(path):
        raise ModelError(f"{path} is {special}, not a LoRA", code="model.not_a_file")
    return path if path.is_file() else None


def _find_by_stem(name: str, folder: Path) -> Path | None:
    """The first file of that name anywhere in a folder, in the order of paths."""
    if "/" in name:
        return None
    # Thousands of prompts may name a LoRA; a file that is new, or gone, is looked for again.
    found = _by_stem(folder.absolute()).get(name)
    if found is None or not found.is_file():
        _by_stem.cache_clear()
        found = _by_stem(folder.absolute()).get(name)
    return found


@lru_cache(maxsize=8)
def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in reversed(_files_in(folder))}


def _files_in(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob(f"*{_SUFFIX}") if path.is_file())
    return sorted(islice(files, _MOST_FILES))


def hub_file(name: str) -> tuple[str, str | None] | None:
    """Split owner/name or owner/name/FILE.safetensors, None for a name that is neither."""
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    if is_hub_id(f"{owner}/{repo}") and (not file or file.endswith(_SUFFIX)):
        return f"{owner}/{repo}", file or None
    return None


def fetch_hub_file(repo: str, file: str | None, *, offline: bool, kind: Kind = "LoRA") -> Path:
    """Return a file of a repository on the hub, from the cache if it is there.

    Raises ModelError for one that is not found.
    """
    # Without a name, the only file in the cache need not be the only one on the hub.
    if cached := _find_cached(repo, file if offline else file or _USUAL_NAME):
        return cached
    if offline:
        raise ModelError(
            f"{kind} {repo} is not in the local cache, and no download was attempted",
            code="model.offline",
            hint="run the command once without --offline",
        )
    return _download(repo, file, kind)


@fetch_once
def _download(repo: str, file: str | None, kind: Kind) -> Path:
    """Return a file of a repository, from the cache if the hub is unreachable."""
    try:
        listed = list_files(repo, kind)
    except ModelError as error:
        if error.code == "model.offline" and (cached := _find_cached(repo, file)):
            return cached
        raise
    names = [name for name in listed if name.endswith(_SUFFIX)]
    chosen = _choose(repo, names, file)
    return fetch_files(repo, [chosen], kind) / chosen


def _find_cached(repo: str, file: str | None) -> Path | None:
    folder = hub_cache() / f"models--{repo.replace('/', '--')}"
    newest = ""
    with suppress(OSError, ValueError):
        newest = (folder / "refs" / "main").read_text("ascii").strip()
    snapshots = (folder / "snapshots").glob("*")
    for snapshot in sorted(snapshots, key=lambda path: (path.name != newest, path.name)):
        files = [str(path.relative_to(snapshot)) for path in _files_in(snapshot)]
        if file in files:
            return snapshot / str(file)
        if file is None and (len(files) == 1 or _USUAL_NAME in files):
            return snapshot / (files[0] if len(files) == 1 else _USUAL_NAME)
    return None


def _choose(repo: str, names: list[str], file: str | None) -> str:
    wanted = file or (names[0] if len(names) == 1 else _USUAL_NAME)
    if wanted in names:
        return wanted
    listed = ", ".join(f"{repo}/{name}" for name in names[:3])
    raise ModelError(
        f"{repo} has no file {file}" if file else f"{repo} has {len(names)} files of weights",
        code="model.not_found",
        hint=f"name one of them: {listed}" if names else "it has no .safetensors file",
    )


def _not_found_error(name: str, folder: str | None) -> ModelError:
    names = [path.stem for path in _files_in(expand_user(folder))] if folder else []
    where = f" or in {folder}" if folder else ""
    return ModelError(
        f"no LoRA at {quoted(name)}{where}",
        code="model.not_found",
        hint=did_you_mean(lora_stem(name), names)
        or embedded_hint(name, "LoRA")
        or similar_path_hint(expand_user(name))
        or ("use a .safetensors file, a Hugging Face id, embedded:flag or embedded:fast"
            + ("" if folder else "; --lora-dir DIR looks names up in a folder")),
    )  # fmt: skip

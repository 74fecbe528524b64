"""List, check and delete the models of the Hugging Face cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.checkpoints.adapters.embedded_addons import is_embedded_addon
from sdcli.checkpoints.file_hashes import hash_again
from sdcli.errors import CorruptError, ModelError, OutputError, did_you_mean
from sdcli.inputs.paths import hub_cache
from sdcli.pipeline_spec import EMBEDDED

if TYPE_CHECKING:
    from huggingface_hub import HFCacheInfo

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class CachedModel:
    """A model of the cache. `path` is the folder of its newest version, `files` are its names.

    `bytes` counts all versions and `accessed` is the time of the last use, in Unix seconds.
    """

    name: str
    path: Path
    revision: str
    bytes: int
    files: tuple[str, ...]
    accessed: float


def list_cached() -> list[CachedModel]:
    """Return the models of the cache by name; none if there is no cache."""
    info = _scan()
    found = [repo for repo in info.repos if repo.repo_type == "model" and repo.revisions]
    models = []
    for repo in sorted(found, key=lambda repo: repo.repo_id.lower()):
        newest = max(repo.revisions, key=lambda r: ("main" in r.refs, r.last_modified))
        folder = newest.snapshot_path
        names = sorted(f.file_path.relative_to(folder).as_posix() for f in newest.files)
        models.append(
            CachedModel(
                name=repo.repo_id,
                path=folder,
                revision=newest.commit_hash,
                bytes=repo.size_on_disk,
                files=tuple(names),
                accessed=repo.last_accessed,
            )
        )
    return models


def cached_snapshot(repo: str) -> Path | None:
    """Return the folder of the version of a repository that is loaded now, None without one.

    The documented layout: importing huggingface_hub to learn it would take half a second.
    """
    folder = hub_cache() / f"models--{repo.replace('/', '--')}"
    with suppress(OSError, ValueError):
        commit = (folder / "refs" / "main").read_text("utf-8").strip()
        if _GIT_SHA1.fullmatch(commit):
            return folder / "snapshots" / commit
    return None


def find_cached(name: str) -> CachedModel:
    """Return a model of the cache. Raises ModelError."""
    models = {model.name: model for model in list_cached()}
    if name not in models:
        raise ModelError(
            f"{name} is not in the cache {hub_cache()}",
            code="model.not_cached",
            hint=(
                "the built-in model and its add-ons are part of sdcli and never in the cache"
                if name == EMBEDDED or is_embedded_addon(name)
                else did_you_mean(name, models) or "sdcli models list"
            ),
        )
    return models[name]


def delete_cached(names: list[str]) -> int:
    """Delete all versions of models from the cache, and return the freed bytes.

    Raises ModelError for a name that the cache does not have, before anything is deleted, and
    OutputError.
    """
    for name in names:
        find_cached(name)
    info = _scan()
    size = 0
    for repo in info.repos:
        if repo.repo_type == "model" and repo.repo_id in names:
            # Of several repositories with the same commit, as copies have, the library would take
            # any: it is shown one at a time.
            only = replace(info, repos=frozenset({repo}))
            strategy = only.delete_revisions(*(r.commit_hash for r in repo.revisions))
            size += strategy.expected_freed_size
            strategy.execute()
    left = sorted({model.name for model in list_cached()} & set(names))
    if left:
        raise OutputError(f"{', '.join(left)} could not be deleted", code="output.unwritable")
    return size


def damaged_files(folder: Path, names: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Yield each file of a downloaded model with its problem: None if its hash is right.

    The hub's hash is the name of the file that the cache keeps the contents in.
    """
    for name in names:
        yield name, file_problem(folder / name)


def file_problem(path: Path) -> str | None:
    """Compare a file of the cache with the hub's hash, and return what is wrong with it."""
    try:
        target = path.resolve(strict=True)
        if _SHA256.fullmatch(target.name):
            expected, actual = target.name, hash_again(target)
        elif _GIT_SHA1.fullmatch(target.name):
            prefix = f"blob {target.stat().st_size}\0".encode()
            sha1 = hashlib.sha1(prefix, usedforsecurity=False)
            expected, actual = target.name, _digest(target, sha1)
        else:
            return None
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None if actual == expected else f"has the hash {actual[:10]}…, not {expected[:10]}…"


def discard_damaged(folder: Path, names: list[str], known: frozenset[Path]) -> None:
    """Delete downloaded files with another hash than the hub's. Raises CorruptError if there are.

    The `known` files were there before, and are not read again.
    """
    damaged = []
    for name in names:
        path = folder / name
        if path.resolve() not in known and file_problem(path):
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            damaged.append(name)
    if damaged:
        raise CorruptError(
            f"{', '.join(damaged)}: the download has another hash than the hub says and was "
            "deleted",
            code="model.download_damaged",
            hint="run the same command again",
        )


def cached_blobs(repo: str) -> frozenset[Path]:
    """Return the files that the cache has of a repository, whatever their names in it."""
    folder = hub_cache() / f"models--{repo.replace('/', '--')}" / "blobs"
    return frozenset(path.resolve() for path in folder.glob("*"))


def _digest(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest()


def _scan() -> HFCacheInfo:
    from huggingface_hub import HFCacheInfo, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return scan_cache_dir(hub_cache())
    except (CacheNotFound, ValueError):
        return HFCacheInfo(
            size_on_disk=0, repos=frozenset(), incomplete_files=frozenset(), warnings=[]
        )
    except OSError as error:
        raise ModelError(
            f"the cache {hub_cache()} cannot be read: {error.strerror or error}",
            code="model.cache",
        ) from error

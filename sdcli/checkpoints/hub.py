"""Fetch models and VAEs by name: local paths, the embedded model and the Hugging Face Hub."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from sdcli.catalog.hub_names import hub_id
from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE, find_known_vae
from sdcli.checkpoints.adapters.embedded_addons import is_embedded_addon
from sdcli.checkpoints.download_selection import refuse_pickles, select_files
from sdcli.checkpoints.hub_cache import cached_blobs, discard_damaged
from sdcli.checkpoints.hub_errors import broken_download_error, refusal_error, unreachable_reason
from sdcli.checkpoints.locate import Kind, find_local, find_tiny_vae, not_found_error
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.single_file.model import (
    open_single_file,
    refuse_refiner_config,
    refuse_single_file_options,
)
from sdcli.checkpoints.weight_files import WEIGHT_SUFFIXES
from sdcli.errors import ModelError, UsageError, did_you_mean, quoted
from sdcli.inputs.paths import expand_user, hub_cache
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec

_TIMEOUT_SECONDS: Final = 10.0
"""Seconds to wait for the hub before falling back to the cache."""

_FILE_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_MAX_PART: Final = 96
_HUB_ID: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)


class _Unreachable(ModelError):
    """A hub that gives no answer; the cache may have the model."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, code="model.offline", hint="try again later")


def fetch_model(spec: PipelineSpec) -> Path:
    """Return the local folder of the model, downloading it if it is a Hugging Face id.

    That of a model in a single file has its configuration only; `find_model_weights` returns the
    weights of both kinds. The cache is used for what was downloaded before, and alone if
    `spec.offline` is set or the hub is unreachable. Raises ModelError if the model is missing,
    gated, unreachable or of an unknown kind, UnsafeError for a pickle, CorruptError for a damaged
    file, and UsageError for an option that is not for this kind of model.
    """
    if is_hub_id(spec.model) and not expand_user(spec.model).exists():
        # Before the download.
        refuse_single_file_options(spec)
    path = EMBEDDED_FOLDER if spec.model == EMBEDDED else _fetch(spec.model, spec, "model")
    if single_file := open_single_file(spec):
        return single_file.folder
    refuse_single_file_options(spec)
    return path


def refiner_spec(spec: PipelineSpec) -> PipelineSpec | None:
    """Return the spec that loads the refiner as a model of its own, None without a refiner."""
    refuse_refiner_config(spec)
    if spec.refiner is None:
        return None
    # A single file has no variants, and what the base model's leaves out is not the refiner's.
    variant = None if expand_user(spec.refiner).is_file() else spec.variant
    return replace(
        spec,
        model=spec.refiner,
        refiner=None,
        text_encoder=None,
        variant=variant,
        model_config=spec.refiner_config,
        refiner_config=None,
        prediction_type=None,
    )


def fetch_vae(spec: PipelineSpec, model_folder: Path) -> Path:
    """Return the VAE to use: a folder with config.json, or a single .safetensors file.

    Raises the errors of `fetch_model`.
    """
    if spec.vae in (None, OWN_VAE):
        return model_folder / "vae"
    if spec.vae == TINY_VAE:
        return find_tiny_vae(spec.model, model_folder)
    known_vae = find_known_vae(spec.vae)
    path = _fetch(known_vae.repo if known_vae else spec.vae, spec, "VAE")
    # A whole model can be given in place of a VAE.
    return path / "vae" if (path / "vae" / "config.json").is_file() else path


def fetch_text_encoder(spec: PipelineSpec) -> Path | None:
    """Return the folder or file of the text encoder that the spec names, None without one.

    Raises the errors of `fetch_model`.
    """
    if spec.text_encoder is None:
        return None
    path = _fetch(spec.text_encoder, spec, "text encoder")
    # A whole model can be given in place of a text encoder.
    own = path / "text_encoder"
    return own if (own / "config.json").is_file() else path


def fetch_controlnet(name: str, spec: PipelineSpec) -> Path:
    """Return the folder or file of a ControlNet. Raises the errors of `fetch_model`."""
    return _fetch(hub_id(name) or name, spec, "ControlNet")


def pull_model(repo: str, variant: str | None) -> Path:
    """Download a model or a VAE, and return its folder. Raises the errors of `fetch_model`."""
    repo = hub_id(repo) or repo
    _check_hub_id(repo)
    return _download(repo, variant, "model", use_cache=False)


def pull_file(repo: str, name: str) -> Path:
    """Download one file of a repository, and return its path. Raises as `fetch_model` does."""
    repo = hub_id(repo) or repo
    _check_hub_id(repo)
    if not name.lower().endswith(WEIGHT_SUFFIXES) or not _FILE_NAME.fullmatch(name):
        raise UsageError(
            f"--file: {quoted(name)} is not the name of a file of weights",
            code="usage.file",
            hint=f"such names end in {', '.join(WEIGHT_SUFFIXES)}",
        )
    names = list_files(repo, "model")
    if name not in names:
        weights = [other for other in names if other.endswith(WEIGHT_SUFFIXES)]
        raise ModelError(
            f"{repo} has no file {name}",
            code="model.not_found",
            hint=did_you_mean(name, weights)
            or f"it has {', '.join(weights)[:200] or 'no weights'}",
        )
    return fetch_files(repo, [name], "model") / name


def is_hub_id(name: str) -> bool:
    """Whether the hub may have a repository of this name."""
    # "folder/model.safetensors" looks like an id, but is a path with a typing mistake.
    return (
        bool(_HUB_ID.fullmatch(name))
        and Path(name).suffix not in (*WEIGHT_SUFFIXES, ".git")
        and not re.search(r"--|\.\.|[-.](/|$)|/[-.]|_/$", name)
        and max(map(len, name.split("/"))) <= _MAX_PART
    )


def _check_hub_id(repo: str) -> None:
    if not is_hub_id(repo):
        raise UsageError(
            f"{quoted(repo)} is not a Hugging Face id",
            code="usage.model",
            hint=(
                "the built-in model and its add-ons are part of sdcli; there is nothing to download"
                if repo == EMBEDDED or is_embedded_addon(repo)
                else "use owner/name"
            ),
        )


def _fetch(name: str, spec: PipelineSpec, kind: Kind) -> Path:
    if path := find_local(name, kind):
        return path
    if not is_hub_id(name):
        raise not_found_error(name, kind)
    if spec.offline:
        return _find_cached(name, kind, "no download was attempted")
    return _download(name, spec.variant, kind)


def _download(repo: str, variant: str | None, kind: Kind, *, use_cache: bool = True) -> Path:
    """Download what is needed of a repository, or with `use_cache` return an earlier download."""
    try:
        listed = list_files(repo, kind)
    except _Unreachable as error:
        if use_cache:
            return _find_cached(repo, kind, str(error))
        raise ModelError(f"{kind} {repo}: {error}", code="model.offline") from error
    names = select_files(listed, variant, kind)
    refuse_pickles(repo, listed, names, kind)
    if not names:
        raise ModelError(
            f"{repo} has no files that sdcli loads",
            code="model.not_a_model",
            hint=f"for a single file, sdcli models pull {repo} --file NAME.safetensors",
        )
    return fetch_files(repo, names, kind)


def list_files(repo: str, kind: Kind) -> list[str]:
    """Return the names of a repository's files on the hub. Raises ModelError, or _Unreachable."""
    # Imported here, because the embedded model and local folders do not need it.
    from huggingface_hub import HfApi

    # huggingface_hub has changed its HTTP client between versions; this is the one it uses.
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    _silence_client()
    try:
        siblings = HfApi().model_info(repo, timeout=_TIMEOUT_SECONDS).siblings or ()
    except (httpx.HTTPError, OSError) as error:
        raise refusal_error(error, repo, kind) or _Unreachable(unreachable_reason(error)) from error
    return [file.rfilename for file in siblings]


def fetch_files(repo: str, names: Sequence[str], kind: Kind) -> Path:
    """Download files of a repository, check their hashes, and return their folder.

    Those that the cache has are not downloaded again. Raises ModelError, CorruptError and
    OutputError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    _silence_client()
    known = cached_blobs(repo)
    try:
        patterns = [glob.escape(name) for name in names]
        folder = Path(snapshot_download(repo, allow_patterns=patterns, cache_dir=hub_cache()))
    except (httpx.HTTPError, OSError) as error:
        raise refusal_error(error, repo, kind) or broken_download_error(
            error, repo, kind
        ) from error
    # It is satisfied with what the cache has if the hub goes away in between.
    if missing := [name for name in names if not (folder / name).exists()]:
        raise ModelError(
            f"{kind} {repo}: the download of {missing[0]} broke off",
            code="model.download",
            hint="run the same command again; files that are complete are kept",
        )
    discard_damaged(folder, list(names), known)
    return folder


def _silence_client() -> None:
    """Keep the client's warnings, and without a terminal its progress bars, off stderr."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not (sys.stderr and sys.stderr.isatty()):
        disable_progress_bars()


def _find_cached(repo: str, kind: Kind, reason: str) -> Path:
    """Return the folder of an earlier download. Raises ModelError if there is none.

    `reason` tells why it is not downloaded now.
    """
    from huggingface_hub import try_to_load_from_cache

    # Not snapshot_download(local_files_only=True): without a network it cannot list the files, and
    # takes a download that was limited to some of them for incomplete.
    for name in ("model_index.json", "config.json"):
        path = try_to_load_from_cache(repo, name, cache_dir=hub_cache())
        # The result is None for an unknown file and a sentinel object for one known to be missing.
        if isinstance(path, str):
            return Path(path).parent
    raise ModelError(
        f"{kind} {repo} is not in the local cache, and {reason}",
        code="model.offline",
        hint=f"download it once while online: sdcli models pull {repo}",
    )

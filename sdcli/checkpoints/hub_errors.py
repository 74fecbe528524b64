"""Translate the errors of the Hugging Face Hub's client into sentences."""

from __future__ import annotations

import errno
import os
from typing import Final

from sdcli.catalog.hub_names import model_name_hint
from sdcli.checkpoints.locate import Kind
from sdcli.errors import ModelError, OutputError, SdcliError
from sdcli.inputs.paths import hub_cache

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def refusal_error(error: Exception, repo: str, kind: Kind) -> SdcliError | None:
    """Return the error of a hub that answers, but does not give the files; None for all others."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    error = _origin(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        return OutputError(
            f"the cache {hub_cache()} has no space left for {repo}",
            code="output.full",
            hint="free some space (`sdcli models list`), or set HF_HUB_CACHE to another disk",
        )
    if isinstance(error, GatedRepoError):  # a subclass of RepositoryNotFoundError
        return ModelError(
            f"{kind} {repo} is gated",
            code="model.gated",
            hint=f"accept its licence at https://huggingface.co/{repo}, then `hf auth login`",
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(
            f"{kind} {repo} does not exist on the hub, or it is private",
            code="model.not_found",
            hint=model_name_hint(repo)
            or "check the spelling; for a private repository run `hf auth login`",
        )
    return _status_error(_status(error), repo, kind)


def unreachable_reason(error: Exception) -> str:
    """Return why the hub was not reached, for a message."""
    error = _origin(error)
    if status := _status(error):
        return f"{_hub()} answers with an error ({status})"
    return f"{_hub()} cannot be reached ({error})".splitlines()[0]


def broken_download_error(error: Exception, repo: str, kind: Kind) -> ModelError:
    """Return the error of a download that ended early."""
    error = _origin(error)
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"{kind} {repo}: the download broke off ({reason:.200})",
        code="model.download",
        hint="run the same command again; files that are complete are kept",
    )


def _status_error(status: int | None, repo: str, kind: Kind) -> ModelError | None:
    """Return the error for a status that another try will not change, or not soon."""
    if status in (401, 403):
        return ModelError(
            f"{kind} {repo}: {_hub()} refuses access ({status})",
            code="model.forbidden",
            hint="run `hf auth login`, or check HF_TOKEN",
        )
    if status == 404:
        return ModelError(
            f"{kind} {repo}: {_hub()} does not have it, or not all of it (404)",
            code="model.not_found",
        )
    if status == 429:
        return ModelError(
            f"{kind} {repo}: {_hub()} allows no more requests for now (429)",
            code="model.rate_limit",
            hint="wait some minutes, or log in: `hf auth login`",
        )
    return None


def _origin(error: Exception) -> Exception:
    """Return what the hub answered, where the client says only that the cache has no file."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    cause = error.__cause__
    is_about_cache = isinstance(error, LocalEntryNotFoundError)
    return cause if is_about_cache and isinstance(cause, Exception) else error


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _hub() -> str:
    """The hub, by its address if it is a mirror."""
    return os.environ.get("HF_ENDPOINT") or "the hub"

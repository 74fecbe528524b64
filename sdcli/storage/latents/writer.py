"""Save the latents of a run: one safetensors file per image, valid after every step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sdcli.errors import SdcliError
from sdcli.latents import FINAL, LatentsSelection
from sdcli.result import RunInfo, SavedImage
from sdcli.storage import companions, files
from sdcli.storage.latents.safetensors_appender import SafetensorsAppender
from sdcli.storage.metadata import record
from sdcli.storage.text import slug

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = companions.LATENTS
SCHEMA = "sdcli/latents/1"


@dataclass(frozen=True, eq=False)
class _UnfinishedImage:
    run: RunInfo
    appender: SafetensorsAppender


class LatentsWriter:
    """A LatentsSink that writes files to a folder.

    Use it as a context manager: files of images that are not finished are deleted on exit, or
    kept after an exception. With a `selection` of None, the final latents are kept until their
    image is saved, so that a failing decode does not lose the denoising.
    """

    def __init__(
        self,
        folder: Path,
        selection: LatentsSelection | None,
        versions: Mapping[str, str],
        *,
        full_paths: bool = False,
    ) -> None:
        self.selection = selection or LatentsSelection()
        self._keep_finished = selection is not None
        self._folder = folder
        self._versions = versions
        self._full_paths = full_paths
        self._images: dict[int, _UnfinishedImage] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Keep the denoising after a bug, but not when the reader of stdout has closed the pipe.
        if kind is not None and not issubclass(kind, BrokenPipeError):
            with suppress(SdcliError):
                self.salvage_all()
        for image in self._images.values():
            image.appender.discard()

    def begin_image(self, run: RunInfo) -> None:
        """Open the file of an image, in place of an earlier one. Raises OutputError."""
        index = run.job.index
        if index in self._images:
            self._images.pop(index).appender.discard()
        num_tensors = len(self.selection.tensor_names(len(run.timesteps)))
        known = record.partial_record(run, self._versions, full_paths=self._full_paths)
        metadata = _metadata(known, run)
        appender = SafetensorsAppender(self._folder, metadata, tensors=num_tensors)
        self._images[index] = _UnfinishedImage(run, appender)

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Append a tensor to the file of job `index`. Raises OutputError."""
        self._images[index].appender.append(name, array)

    def finish(self, saved: SavedImage, *, force: bool = False) -> str | None:
        """Name the latents after their saved image, and return their path.

        A numbered name is used when the name is taken. None when latents are not saved.
        """
        image = self._images.pop(saved.result.job.index)
        appender = image.appender
        try:
            if not self._keep_finished:
                return None
            complete = record.make_record(saved.result, self._versions, full_paths=self._full_paths)
            appender.metadata |= _metadata(complete, image.run)
            appender.metadata["image"] = Path(saved.path).name
            path = files.sibling_path(saved.path, SUFFIX)
            if path.exists() and not force:
                return appender.publish_numbered(f"-{path.name}")
            return appender.publish(path, force=force)
        finally:
            appender.discard()

    def salvage(self, index: int) -> str | None:
        """Keep the latents of an image that failed, and return their path.

        None when there is nothing to keep: neither the final latents nor a step to save.
        """
        if index not in self._images:
            return None
        image = self._images.pop(index)
        names, job = image.appender.names, image.run.job
        try:
            if FINAL in names or (self._keep_finished and names):
                return image.appender.publish_numbered(f"-{slug(job.prompt)}-{job.seed}{SUFFIX}")
            return None
        finally:
            image.appender.discard()

    def salvage_all(self) -> list[str]:
        """Keep the latents of all unfinished images, and return their paths."""
        paths = [self.salvage(index) for index in list(self._images)]
        return [path for path in paths if path]


def _metadata(image_record: Mapping[str, Any], run: RunInfo) -> dict[str, str]:
    """The record, and what reading the tensors needs. Safetensors allows only strings."""
    return {
        "schema": SCHEMA,
        "record": json.dumps(image_record),
        "steps": str(len(run.timesteps)),
        "init_noise_sigma": repr(run.init_noise_sigma),
    }

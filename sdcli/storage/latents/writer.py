"""Latents on disk: a safetensors file an image, whole after every step of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sdcli.errors import SdcliError
from sdcli.latents import FINAL, LatentsSelection
from sdcli.result import RunInfo, SavedImage
from sdcli.storage import files
from sdcli.storage.latents.safetensors_appender import SafetensorsAppender
from sdcli.storage.metadata import record
from sdcli.storage.text import slug

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".latents.safetensors"
SCHEMA = "sdcli/latents/1"


class LatentsWriter:
    """The files of a run's images, as the engine's LatentsSink. What is left when it ends goes.

    `wanted` None keeps the last latents only until their image is whole on disk: a decode that
    fails loses no denoising.
    """

    def __init__(
        self, folder: Path, wanted: LatentsSelection | None, versions: Mapping[str, str]
    ) -> None:
        self.selection = wanted or LatentsSelection()
        self._asked = wanted is not None
        self._folder = folder
        self._versions = versions
        self._courses: dict[int, RunInfo] = {}
        self._growing: dict[int, SafetensorsAppender] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A bug must not cost what was drawn; a reader who went away wants no more of it.
        if kind is not None and not issubclass(kind, BrokenPipeError):
            with suppress(SdcliError):
                self.salvage_all()
        for growing in self._growing.values():
            growing.discard()

    def begin_image(self, course: RunInfo) -> None:
        """Open the image's file. Raises OutputError."""
        index = course.job.index
        if index in self._growing:
            self._growing.pop(index).discard()
        expected = len(self.selection.tensor_names(len(course.timesteps)))
        metadata = _metadata(record.partial_record(course, self._versions), course)
        self._courses[index] = course
        self._growing[index] = SafetensorsAppender(self._folder, metadata, tensors=expected)

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Append the tensor to the image's file. Raises OutputError."""
        self._growing[index].append(name, array)

    def finish(self, written: SavedImage, *, force: bool = False) -> str | None:
        """The path of the latents, now beside their image; None when nobody asked for them.

        Where another file has that name, they take a numbered one: they are not lost for it.
        """
        course, growing = self._pop(written.result.job.index)
        if not self._asked:
            growing.discard()
            return None
        growing.metadata |= _metadata(record.make_record(written.result, self._versions), course)
        growing.metadata["image"] = Path(written.path).name
        path = files.sibling_path(written.path, SUFFIX)
        try:
            if path.exists() and not force:
                return growing.publish_numbered(f"-{path.name}")
            return growing.publish(path, force=force)
        finally:
            growing.discard()

    def salvage(self, index: int) -> str | None:
        """Keep what there is of an image that will not be: the last latents, or steps asked for.

        The path, None when there is nothing worth it.
        """
        if index not in self._growing:
            return None
        course, growing = self._pop(index)
        if FINAL not in growing.names and not (self._asked and growing.names):
            growing.discard()
            return None
        after = f"-{slug(course.job.prompt)}-{course.job.seed}{SUFFIX}"
        try:
            return growing.publish_numbered(after)
        finally:
            growing.discard()

    def salvage_all(self) -> list[str]:
        """Keep what there is of all images that are not finished."""
        paths = [self.salvage(index) for index in list(self._growing)]
        return [path for path in paths if path]

    def _pop(self, index: int) -> tuple[RunInfo, SafetensorsAppender]:
        return self._courses.pop(index), self._growing.pop(index)


def _metadata(facts: Mapping[str, Any], course: RunInfo) -> dict[str, str]:
    """Strings, as the format wants: the record of the image, and what reading the tensors needs."""
    return {
        "schema": SCHEMA,
        "record": json.dumps(facts),
        "steps": str(len(course.timesteps)),
        "init_noise_sigma": repr(course.init_noise_sigma),
    }

"""Define the results that Python users get: with their image, request and files."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli import result
from sdcli.library.error_messages import python_errors
from sdcli.library.output import FileOptions, png_bytes, save_result, sheet_bytes
from sdcli.request import GenerationRequest
from sdcli.storage.text import one_line

if TYPE_CHECKING:
    from sdcli.storage.images.pixels import Image

_SHOWN_PROMPT = 60


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GenerationResult(result.GenerationResult):
    """One generated image, how it was made, and `path`, its file if one was written.

    `pixels` is (height, width, 3) uint8. `latents` maps tensor names ("final", "xt_0003") to arrays
    (4, height/8, width/8). `job` has the settings, `run` the timesteps and the device, `seconds`
    the duration of each phase. Notebooks show the image.
    """

    path: Path | None = None

    @classmethod
    def of(cls, made: result.GenerationResult, path: Path | None = None) -> GenerationResult:
        """Return the same result with the methods of this class."""
        return cls(**{f.name: getattr(made, f.name) for f in fields(made)}, path=path)

    @property
    def image(self) -> Image:
        """The image as an RGB `PIL.Image.Image`. Its own `save` writes no record."""
        from sdcli.storage.images.pixels import to_image

        return to_image(self.pixels)

    @property
    def request(self) -> GenerationRequest:
        """The request for this image alone: `generate(result.request)` makes it again."""
        # An automatic dtype may be another one on the next machine.
        return self.job.to_request(dtype=self.run.dtype)

    @python_errors
    def save(
        self,
        path: str | os.PathLike[str],
        *,
        force: bool = False,
        sidecar: bool = False,
        no_metadata: bool = False,
        record_paths: bool = False,
    ) -> Path:
        """Write the image with its record, as the command line does, and return the file's path.

        `path` is a .png, .jpg or .webp file, or a folder, where the file is numbered. An existing
        file is overwritten only with `force`. `sidecar` also writes the record to a .json file,
        `no_metadata` embeds none. Raises OutputError and UsageError.
        """
        files = FileOptions(sidecar=sidecar, no_metadata=no_metadata, record_paths=record_paths)
        return save_result(self, path, files, force=force)

    def __repr__(self) -> str:
        job, prompt = self.job, self.job.prompt
        shown = prompt if len(prompt) <= _SHOWN_PROMPT else prompt[: _SHOWN_PROMPT - 1] + "…"
        facts = (
            one_line(repr(shown)),
            f"seed={job.seed}",
            f"steps={job.num_inference_steps}",
            f"scheduler={job.scheduler_label!r}",
            "size='{}x{}'".format(*job.final_size),
            *([f"path={str(self.path)!r}"] if self.path else []),
        )
        return f"GenerationResult({', '.join(facts)})"

    def _repr_png_(self) -> bytes:
        """Return the PNG file, with its record, for notebooks."""
        return png_bytes(self)


class ResultList(list[GenerationResult]):
    """The results of `generate`: a list that notebooks show as one picture."""

    def _repr_png_(self) -> bytes | None:
        """Return the image, or all images side by side in at most four columns."""
        if len(self) == 1:
            return self[0]._repr_png_()
        return sheet_bytes(self) if self else None

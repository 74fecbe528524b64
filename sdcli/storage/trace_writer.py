"""Write the trace of a run to a folder: a manifest, tensors, latents and the image."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from sdcli.errors import OutputError
from sdcli.latents import FINAL, KINDS, XT, LatentsSelection, parse_tensor_name
from sdcli.result import GenerationResult, RunInfo
from sdcli.storage import files
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.writer import write_image
from sdcli.storage.latents.safetensors_appender import SafetensorsAppender
from sdcli.storage.latents.writer import LatentsWriter
from sdcli.storage.metadata.record import make_record
from sdcli.trace import TracedPrompt, TracedStep

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA: Final = "sdcli/trace/1"
MANIFEST, TENSORS, IMAGE = "trace.json", "trace.safetensors", "image.png"
_TENSORS_PER_STEP: Final = 3


class TraceWriter:
    """A LatentsSink and TraceSink that writes the trace of one image to a folder.

    Use it as a context manager, and call `finish` with the result; without that, no file is left,
    or after an exception only the latents. Raises OutputError if the folder has a trace already
    and `force` is False, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        versions: Mapping[str, str],
        *,
        force: bool = False,
        full_paths: bool = False,
    ) -> None:
        files.prepare_folder(folder)
        for name in (MANIFEST, TENSORS, IMAGE):
            if (folder / name).exists() and not force:
                raise OutputError(
                    f"{folder / name} exists",
                    code="output.exists",
                    hint="choose another folder, or add --force",
                )
        self.selection = LatentsSelection(kinds=tuple(KINDS), every=1)
        self._folder = folder
        self._versions = versions
        self._force = force
        self._full_paths = full_paths
        self._latents = LatentsWriter(folder, self.selection, versions, full_paths=full_paths)
        self._tensors: SafetensorsAppender | None = None
        self._run: RunInfo | None = None
        self._prompt: TracedPrompt | None = None
        self._layers: Sequence[str] = ()
        self._steps: list[TracedStep] = []
        self._norms: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._latents.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tensors:
            self._tensors.discard()
        self._latents.__exit__(kind, error, traceback)

    def begin_image(self, run: RunInfo) -> None:
        """Begin the latents of the image."""
        self._latents.begin_image(run)

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Append latents, and measure their length."""
        self._latents.write(index, name, array)
        self._norms[name] = _norm(array)

    def begin_trace(self, run: RunInfo, prompt: TracedPrompt, layers: Sequence[str]) -> None:
        """Open the file of the other tensors, in place of an earlier one."""
        if self._tensors:
            self._tensors.discard()
        self._run, self._prompt, self._layers = run, prompt, layers
        self._steps = []
        count = _TENSORS_PER_STEP * len(run.timesteps) + 2
        self._tensors = SafetensorsAppender(self._folder, {"schema": SCHEMA}, tensors=count)

    def write_trace(self, name: str, array: NDArray[Any]) -> None:
        """Append a tensor."""
        assert self._tensors is not None
        self._tensors.append(name, array)
        self._norms[name] = _norm(array)

    def add_step(self, step: TracedStep) -> None:
        """Keep the measurements of a UNet call for the manifest."""
        self._steps.append(step)

    def finish(self, result: GenerationResult) -> str:
        """Write the image, name the files, and return the path of the manifest."""
        assert self._tensors is not None
        destination = Destination(kind="file", path=self._folder / IMAGE, force=self._force)
        saved = write_image(
            result, destination, versions=self._versions, full_paths=self._full_paths
        )
        latents = self._latents.finish(saved, force=self._force)
        assert latents is not None
        self._tensors.publish(self._folder / TENSORS, force=self._force)
        manifest = self._manifest(result, Path(latents).name)
        text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
        path = self._folder / MANIFEST
        files.write_atomic(path, text.encode(), force=self._force)
        return str(path)

    def _manifest(self, result: GenerationResult, latents: str) -> dict[str, Any]:
        assert self._prompt is not None
        return {
            "schema": SCHEMA,
            "record": make_record(result, self._versions, full_paths=self._full_paths),
            "files": {"image": IMAGE, "latents": latents, "tensors": TENSORS},
            "words": [
                {"index": word.index, "text": word.text, "tokens": list(word.tokens)}
                for word in self._prompt.words
            ],
            "tokens": [vars(token) for token in self._prompt.tokens],
            "attention_layers": list(self._layers),
            "noise_norm": self._norms.get("noise"),
            "steps": [self._describe_step(step) for step in self._steps],
            "seconds": {name: round(value, 4) for name, value in result.seconds.items()},
        }

    def _describe_step(self, step: TracedStep) -> dict[str, Any]:
        fields = step.to_dict()
        names = [
            name for name in self._norms if (p := parse_step(name)) and p[1] == step.step
        ]  # fmt: skip
        if step.step == len(self._steps):
            names.append(FINAL)
        tensors = {(parse_step(name) or (XT, 0))[0]: name for name in names}
        return {
            **{name: _finite(value) for name, value in fields.items()},
            "tensors": tensors,
            "norms": {kind: self._norms[name] for kind, name in tensors.items()},
        }


def parse_step(name: str) -> tuple[str, int] | None:
    """Parse the name of a tensor of latents or of a trace to its kind and step."""
    if parsed := parse_tensor_name(name):
        return parsed
    kind, _, number = name.rpartition("_")
    return (kind, int(number)) if kind and number.isdecimal() else None


def _norm(array: NDArray[Any]) -> float:
    import numpy as np

    return float(np.linalg.norm(array.astype(np.float64)))


def _finite(value: Any) -> Any:
    """None for infinity, which JSON does not have: the noise level of pure noise."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

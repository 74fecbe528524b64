"""Read the trace of a run that `TraceWriter` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.attention import TOKEN_GROUPS, PromptWord
from sdcli.checkpoints.json_files import read_json
from sdcli.errors import CorruptError, ModelError, UsageError
from sdcli.latents import NOISE, XT
from sdcli.numerics.float_names import FLOATS
from sdcli.storage.latents.latents_file import LatentsFile
from sdcli.storage.latents.reader import read_any_latents_file, read_latents_file
from sdcli.storage.latents.record_types import is_number
from sdcli.storage.trace_writer import MANIFEST, SCHEMA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

_NUMBERS = ("timestep", "sigma", "guidance_share", "guidance_cosine", "guidance_scale")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The trace of a run; its tensors stay on disk until they are read.

    `steps` are those of the manifest, one for each UNet call, counted from 1 in `array`. A sigma of
    None is infinite: pure noise.
    """

    folder: Path
    manifest: Mapping[str, Any] = field(repr=False)
    latents: LatentsFile = field(repr=False)
    tensors: LatentsFile = field(repr=False)

    @property
    def record(self) -> Mapping[str, Any]:
        """The record of the run."""
        record: Mapping[str, Any] = self.manifest["record"]
        return record

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """What was measured in each UNet call."""
        steps: Sequence[Mapping[str, Any]] = self.manifest["steps"]
        return steps

    @property
    def image(self) -> Path:
        """The file of the image."""
        return self.folder / str(self.manifest["files"]["image"])

    @cached_property
    def words(self) -> tuple[PromptWord, ...]:
        """The words of the prompt."""
        words, place = [], 0
        prompt = self.latents.request.prompt
        for word in self.manifest["words"]:
            # Words are in the order of the prompt, and the manifest has no places.
            start = max(prompt.find(word["text"], place), place)
            place = start + len(word["text"])
            tokens = tuple(word["tokens"])
            words.append(
                PromptWord(
                    index=word["index"], text=word["text"], start=start, end=place, tokens=tokens
                )
            )
        return tuple(words)

    @cached_property
    def noise(self) -> Array:
        """The initial noise, of variance 1."""
        return self.latents.tensor_by_name(NOISE)

    @cached_property
    def final(self) -> Array:
        """The last latents."""
        return self.latents.final()

    def array(self, kind: str, step: int) -> Array:
        """Read a tensor of a UNet call: `x0`, `eps`, `cond`, `uncond` or `attention`."""
        name = str(self.steps[step - 1]["tensors"][kind])
        return self.tensor(name)

    def has(self, kind: str, step: int) -> bool:
        """Whether a UNet call has a tensor of the kind."""
        return kind in self.steps[step - 1]["tensors"]

    def tensor(self, name: str) -> Array:
        """Read a tensor by its name."""
        # No name is in both files.
        file = self.latents if name in self.latents.tensors else self.tensors
        return file.tensor_by_name(name)

    def points(self) -> list[Array]:
        """Read x_t from the noise to the end, (steps + 1) tensors, scaled to variance 1."""
        return [self.latents.unit_variance(XT, step) for step in range(len(self.steps) + 1)]


def is_trace(folder: Path) -> bool:
    """Whether a folder has a trace."""
    return (folder / MANIFEST).is_file()


def read_trace(folder: Path) -> Trace:
    """Read the trace in a folder. Raises UsageError if there is none, CorruptError if damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(
            f"{folder} has no {MANIFEST}",
            code="usage.trace",
            hint="sdcli generate … --trace DIR writes a trace",
        )
    try:
        manifest = read_json(path)
        _check(manifest)
        names = {kind: str(name) for kind, name in manifest["files"].items()}
        # A manifest from elsewhere must not lead to other files.
        if any(Path(name).name != name or name in ("", "..") for name in names.values()):
            raise ValueError("files outside of its folder")
        latents = read_latents_file(folder / names["latents"])
        tensors = read_any_latents_file(folder / names["tensors"])
        trace = Trace(folder=folder, manifest=manifest, latents=latents, tensors=tensors)
        _check_tensors(trace)
    except (KeyError, TypeError, ValueError, AttributeError, UsageError, ModelError) as error:
        problem = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        raise CorruptError(
            f"{path}: not a complete trace ({problem})",
            code="trace.corrupt",
            hint="write the trace again: sdcli generate … --trace DIR --force",
        ) from error
    return trace


def _check(manifest: Mapping[str, Any]) -> None:
    """Raise one of the errors of a layout that is not a trace's."""
    if manifest["schema"] != SCHEMA:
        raise ValueError(f"its schema is {manifest['schema']!r}")
    if not manifest["steps"]:
        raise ValueError("it has no steps")
    str.strip(manifest["files"]["image"])
    dict.keys(manifest["record"]["scheduler"]["config"])
    count = len(manifest["tokens"])
    for token in manifest["tokens"]:
        str.strip(token["text"])
    for word in manifest["words"]:
        str.strip(word["text"])
        places = (word["index"], *word["tokens"])
        if any(isinstance(place, bool) or not isinstance(place, int) for place in places):
            raise ValueError("a place is not a whole number")
        if not word["tokens"] or not all(0 < token < count for token in word["tokens"]):
            raise ValueError("a word has no tokens")
    for step in manifest["steps"]:
        values = [step[name] for name in _NUMBERS if step[name] is not None]
        values += [step["attention"][group] for group in TOKEN_GROUPS]
        if not all(map(is_number, values)) or (step["sigma"] or 0) < 0:
            raise ValueError("a measurement is not a number")


def _check_tensors(trace: Trace) -> None:
    kept = 2 + max((t for word in trace.words for t in word.tokens), default=0)
    known = {**trace.tensors.tensors, **trace.latents.tensors}
    attention = {known[step["tensors"]["attention"]].shape for step in trace.steps}
    if len(attention) != 1:
        raise ValueError("the attention of the steps has several shapes")
    for number, step in enumerate(trace.steps, 1):
        if step["step"] != number or not {"x0", "cond", "attention"} <= step["tensors"].keys():
            raise ValueError(f"step {number} lacks tensors")
        for kind, name in step["tensors"].items():
            shape = known[name].shape
            if known[name].dtype not in FLOATS or 0 in shape:
                raise ValueError(f"{name} has no numbers")
            if kind != "attention" and shape != trace.latents.shape:
                raise ValueError(f"{name} has another shape")
            if kind == "attention" and (len(shape) != 3 or shape[0] < kept - 1):
                raise ValueError(f"{name} has too few tokens")
    if len(known["prompt_embeds"].shape) != 2:
        raise ValueError("prompt_embeds has another shape")

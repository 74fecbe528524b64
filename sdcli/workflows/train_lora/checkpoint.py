"""Keep the state of a training on disk, and continue from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.checkpoints.safetensors_header import read_header
from sdcli.errors import CorruptError, OutputError, UsageError
from sdcli.storage import files
from sdcli.storage.weights_file import NewTensor, write_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STATE: Final = "training.state"
_STEP: Final = "step-"
_SUFFIX: Final = ".training"
_KEY: Final = "sdcli_training"
_DTYPES: Final = {"float32": "F32", "float64": "F64"}
_OPTIONS: Final = {"learning_rate": "--lr"}
_OWN_WORDS: Final = {"images": "other images or captions", "model": "another model"}


@dataclass(frozen=True, kw_only=True)
class TrainingFolder:
    """The folder beside the LoRA in which a training keeps its state, its LoRAs and its samples.

    `identity` has what must be the same for a training to be continued.
    """

    path: Path
    identity: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def next_to(cls, out: Path) -> TrainingFolder:
        """Return the folder for a LoRA, without the identity of a training."""
        return cls(path=out.with_suffix(_SUFFIX))

    def of_training(self, identity: Mapping[str, Any]) -> TrainingFolder:
        """Return the folder with the identity of its training."""
        return replace(self, identity=identity)

    @property
    def state_file(self) -> Path:
        """The file with the state."""
        return self.path / _STATE

    def lora_file(self, step: int) -> Path:
        """Return the file of the LoRA as it was after a step."""
        return self.path / f"{_STEP}{step:06d}.safetensors"

    def find_seed(self) -> int | None:
        """Return the seed of the state on disk, None without one. Raises CorruptError."""
        return int(self._read_header()["seed"]) if self.state_file.exists() else None

    def find_step(self) -> int:
        """Return the step of the state on disk, 0 without one.

        Raises UsageError if it is that of another training, and CorruptError.
        """
        if not self.state_file.exists():
            return 0
        known = self._read_header()
        changed = [key for key, value in self.identity.items() if known.get(key) != value]
        if changed:
            raise UsageError(
                f"{self.path} has a training with other settings: "
                f"{', '.join(self._describe(key, known) for key in changed)}",
                code="usage.resume",
                hint="give the same options to continue it, or --restart to begin again",
            )
        return int(known["step"])

    def _read_header(self) -> dict[str, Any]:
        try:
            known = json.loads(read_header(self.state_file).metadata[_KEY])
            int(known["step"]), int(known["seed"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.corrupt_error() from error
        return dict(known)

    def _describe(self, key: str, known: Mapping[str, Any]) -> str:
        if key in _OWN_WORDS:
            return _OWN_WORDS[key]
        option = _OPTIONS.get(key, f"--{key.replace('_', '-')}")
        return f"{option} {known.get(key)}, not {self.identity[key]}"

    def load(self) -> Mapping[str, NDArray[Any]]:
        """Read the arrays of the state. Raises CorruptError."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return dict(load_file(self.state_file))
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise self.corrupt_error() from error

    def corrupt_error(self) -> CorruptError:
        """Return the error of a state that cannot be read."""
        return CorruptError(
            f"{self.state_file}: not the state of a training",
            code="training.corrupt",
            hint="add --restart to begin again",
        )

    def clear(self) -> None:
        """Remove the files of an earlier training. Raises OutputError."""
        with files.os_errors_as_output_errors(self.path):
            for path in (self.state_file, *self.path.glob(f"{_STEP}[0-9]*")):
                path.unlink(missing_ok=True)

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state atomically. Raises OutputError, which names the state that is kept."""
        text = json.dumps({**self.identity, "step": step}, sort_keys=True)
        with self._told_what_is_kept():
            write_arrays(self.state_file, arrays, {_KEY: text}, force=True)

    def save_lora(
        self, step: int, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
    ) -> None:
        """Write the LoRA as it is after a step. Raises OutputError as `save` does."""
        with self._told_what_is_kept():
            write_arrays(self.lora_file(step), arrays, metadata, force=True)

    @contextmanager
    def _told_what_is_kept(self) -> Iterator[None]:
        try:
            yield
        except OutputError as error:
            kept = self._read_header()["step"] if self.state_file.exists() else 0
            text = f"the checkpoint of step {kept} is kept" if kept else "there is no checkpoint"
            raise OutputError(
                error.message,
                code=error.code,
                hint=f"{text}; free some space and run the same command again",
            ) from error


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str], *, force: bool
) -> None:
    """Write arrays as a safetensors file, atomically. Raises OutputError."""
    tensors = {
        name: NewTensor(
            dtype=_DTYPES[str(array.dtype)],
            shape=array.shape,
            byte_count=array.nbytes,
            chunks=lambda array=array: iter([array.tobytes()]),  # type: ignore[misc]
        )
        for name, array in sorted(arrays.items())
    }
    write_weights(path, tensors, metadata, force=force)

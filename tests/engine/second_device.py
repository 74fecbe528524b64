"""A second device that every machine has: tensors in main memory that are marked as a GPU's.

Torch on a CPU has one device, so that code which leaves a tensor on the wrong one works there. In a
`SecondDevice` block, "cuda" is the CPU by another name. Every storage is on one of the two;
operations on both at once fail as they do with a GPU, and so does one that needs more memory than
the `limit`. Streams do their work at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode

GPU: Final = torch.device("cuda:0")
HOST: Final = torch.device("cpu")

_MOVES: Final = {"to", "cpu", "cuda"}
_MIXED: Final = {"_has_compatible_shallow_copy_type", "copy_", "__set__", "__get__"}
"""Functions whose tensors may be on both devices."""


class SecondDevice(TorchFunctionMode):
    """Emulates a GPU of `limit` bytes. `used` are those of its tensors, `peak` the most ever."""

    def __init__(self, limit: int = 2**40) -> None:
        super().__init__()
        self.total = self.limit = limit
        self.used = self.peak = 0
        self._sizes: dict[int, int] = {}
        self._patches = ExitStack()

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor is on the GPU."""
        return tensor.untyped_storage()._cdata in self._sizes

    @contextmanager
    def visible(self) -> Iterator[None]:
        """Let torch tell of the GPU, for loading a model: what moves there is not emulated."""
        with ExitStack() as stack:
            for name, function in self._functions().items():
                stack.enter_context(patch.object(torch.cuda, name, function))
            yield

    def __enter__(self) -> Any:
        self._patches.enter_context(self.visible())
        return super().__enter__()

    def __exit__(self, *error: Any) -> Any:
        self._patches.close()
        return super().__exit__(*error)

    def _functions(self) -> dict[str, Any]:
        """The functions of torch.cuda that the engine and the libraries call."""

        def set_limit(fraction: float, device: Any = None) -> None:
            self.limit = int(fraction * self.total)

        def reset_peak(device: Any = None) -> None:
            self.peak = self.used

        return {
            "Stream": _Stream,
            "current_stream": lambda device=None: _Stream(),
            "device_count": lambda: 1,
            "get_device_properties": lambda index: SimpleNamespace(
                name="Emulated", total_memory=self.total
            ),
            "max_memory_allocated": lambda device=None: self.peak,
            "mem_get_info": lambda device=None: (self.total - self.used, self.total),
            "memory_allocated": lambda device=None: self.used,
            "memory_reserved": lambda device=None: self.used,
            "reset_peak_memory_stats": reset_peak,
            "set_per_process_memory_fraction": set_limit,
            "stream": _at_once,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":
            value = func(*args)
            return GPU if isinstance(value, torch.device) and self.holds(args[0]) else value
        if name == "_parse_to" or func is torch.device:
            return func(*args, **kwargs)
        if name == "pin_memory":
            return args[0].clone()
        if name == "is_pinned":
            return True
        if name in _MOVES and args and isinstance(args[0], torch.Tensor):
            return self._move(args[0], name, args[1:], kwargs)
        if kwargs.get("device") is None:
            is_on_gpu = self._common_device(name, list(_tensors((*args, *kwargs.values()))))
            result = func(*args, **kwargs)
        else:
            is_on_gpu = torch.device(kwargs["device"]).type == "cuda"
            result = func(*args, **_on_cpu(kwargs))
        if is_on_gpu and name not in _MIXED:
            self._mark(result)
        return result

    def _common_device(self, name: str, tensors: list[torch.Tensor]) -> bool:
        """Whether the tensors are on the GPU. Raises RuntimeError if they are on both devices."""
        # A single number in main memory may take part in the work of a GPU.
        places = {self.holds(t) for t in tensors if t.dim()} or {self.holds(t) for t in tensors}
        if len(places) > 1 and name not in _MIXED:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
        return True in places

    def _move(self, tensor: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        before = self.holds(tensor)
        named = [
            torch.device(value)
            for value in (*args, *kwargs.values())
            if not isinstance(value, torch.Tensor) and _is_device(value)
        ]
        likes = [self.holds(other) for other in args if isinstance(other, torch.Tensor)]
        after = (
            name == "cuda"
            if name != "to"
            else named[0].type == "cuda"
            if named
            else likes[0]
            if likes
            else before
        )
        result = tensor
        if name == "to":
            result = tensor.to(*_on_cpu(dict(enumerate(args))).values(), **_on_cpu(kwargs))
        if before != after and result.data_ptr() == tensor.data_ptr():
            result = result.clone()
        if after:
            self._mark(result)
        return result

    def _mark(self, result: Any) -> None:
        for tensor in _tensors([result]):
            if not self.holds(tensor):
                storage = tensor.untyped_storage()
                size = storage.nbytes()
                if self.used + size > self.limit:
                    raise torch.OutOfMemoryError(f"CUDA out of memory: {size} more bytes")
                self._sizes[storage._cdata] = size
                self.used += size
                weakref.finalize(storage, self._free, storage._cdata)
        self.peak = max(self.peak, self.used)

    def _free(self, key: int) -> None:
        self.used -= self._sizes.pop(key, 0)


class _Stream:
    def synchronize(self) -> None:
        """Do nothing: all work is done at once."""


@contextmanager
def _at_once(stream: Any) -> Iterator[None]:
    yield


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or value in ("cpu", "cuda", "cuda:0", "meta")


def _on_cpu(values: dict[Any, Any]) -> dict[Any, Any]:
    def change(value: Any) -> Any:
        if isinstance(value, torch.Tensor) or not _is_device(value):
            return value
        return HOST if torch.device(value).type == "cuda" else value

    return {key: change(value) for key, value in values.items()}


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)

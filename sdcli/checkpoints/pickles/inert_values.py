"""Define the objects that stand for the contents of a pickle."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

from sdcli.errors import UnsafeError

DTYPE_BYTES: Final = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4,
    "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Element sizes of the dtypes that both PyTorch and safetensors have, by safetensors' names."""

_MAX_DIMENSIONS: Final = 64
_MAX_SIZE: Final = 1 << 48


@dataclass(frozen=True)
class Global:
    """A name that a pickle would import. It is only ever text here."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Foreign:
    """An object that a pickle would make by calling or instantiating `source`, which is not done.

    `state` is what would be passed to its `__setstate__`.
    """

    source: Global | None
    state: Any = None


@dataclass(frozen=True, eq=False)
class Storage:
    """A block of numbers in the file, which tensors are views of."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, eq=False)
class TensorView:
    """A tensor: a part of a storage. `offset` and `strides` count elements of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """The size of the elements, as a file without gaps stores them."""
        return self.size * DTYPE_BYTES[self.dtype]

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements follow each other in the storage."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True


def view(storage: object, offset: object, shape: object, strides: object, dtype: str | None) -> Any:
    """Return the tensor of a storage. Raises UnsafeError if it would reach out of the storage.

    A storage of another class gives a Foreign.
    """
    if not isinstance(storage, Storage):
        return Foreign(Global("torch", "Tensor"))
    sizes, steps = _sizes(shape), _sizes(strides)
    [start] = _sizes((offset,))
    dtype = dtype or storage.dtype
    available = storage.count * DTYPE_BYTES[storage.dtype] // DTYPE_BYTES[dtype]
    last = start + sum((size - 1) * step for size, step in zip(sizes, steps, strict=False))
    # A stride of 0 repeats elements: a few bytes would become any number of them.
    if len(sizes) != len(steps) or math.prod(sizes) > available:
        raise malformed("has a tensor that is larger than its data")
    if math.prod(sizes) and last >= available:
        raise malformed("has a tensor that reaches out of its data")
    return TensorView(storage, dtype, start, sizes, steps)


def _sizes(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or len(value) > _MAX_DIMENSIONS:
        raise malformed("has a tensor without a shape")
    # Not isinstance, for which True is an int.
    if any(type(size) is not int or not 0 <= size < _MAX_SIZE for size in value):
        raise malformed("has a tensor with a negative or huge size")
    return tuple(value)


def malformed(problem: str) -> UnsafeError:
    """Return the error of a pickle that no version of PyTorch writes. The caller adds the path."""
    return UnsafeError(problem, code="model.malformed_pickle", hint="get the file from its author")


@dataclass
class Names:
    """The globals that a pickle names, in their order."""

    named: dict[Global, None] = field(default_factory=dict)

"""Make the few kinds of objects that the pickle of a checkpoint needs; all others are inert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sdcli.checkpoints.pickles.inert_values import (
    DTYPE_BYTES,
    Foreign,
    Global,
    Storage,
    malformed,
    view,
)

_STORAGES: Final = {
    "Half": "F16", "Float": "F32", "Double": "F64", "BFloat16": "BF16", "Byte": "U8",
    "Char": "I8", "Short": "I16", "Int": "I32", "Long": "I64", "Bool": "BOOL",
}  # fmt: skip
_DTYPES: Final = {
    "float16": "F16", "half": "F16", "float32": "F32", "float": "F32", "float64": "F64",
    "double": "F64", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "int8": "I8",
    "int16": "I16", "int32": "I32", "int64": "I64", "long": "I64", "bool": "BOOL",
}  # fmt: skip

STORAGE_CLASSES: Final[Mapping[Global, str]] = {
    **{Global("torch", f"{name}Storage"): dtype for name, dtype in _STORAGES.items()},
    Global("torch.storage", "UntypedStorage"): "U8",
}
"""Class of a storage -> dtype of its elements."""

_TENSOR_DTYPES: Final = {Global("torch", name): dtype for name, dtype in _DTYPES.items()}


def call(source: object, arguments: object) -> Any:
    """Return what calling `source` stands for; nothing is called. Raises UnsafeError."""
    # What an inert object would return is unknown, so it stays inert.
    if not isinstance(source, Global):
        return Foreign(None)
    make = _MAKERS.get(source)
    if make is None or not isinstance(arguments, tuple):
        return Foreign(source)
    return make(*arguments)


def storage_of(identifier: object) -> Storage | Global:
    """Return the storage of a persistent identifier, or the class that it stands for.

    Raises UnsafeError for any other object.
    """
    match identifier:
        # Old files carry the source code of a module's class, which is left unread.
        case ("module", Global() as kind, *_):
            return kind
        case ("storage", Global() as kind, str() as key, _, int() as count, *rest):
            pass
        case _:
            raise malformed("has a reference to something that is not a tensor's data")
    if kind not in STORAGE_CLASSES:
        raise malformed(f"has data of the class {kind}, which is not known")
    if count < 0 or any(part is not None for part in rest):
        raise malformed("has data of a negative size, or views of views")
    return Storage(key, STORAGE_CLASSES[kind], count)


def _tensor(storage: object, offset: object, shape: object, strides: object, *rest: object) -> Any:
    return view(storage, offset, shape, strides, None)


def _tensor_v3(
    storage: object,
    offset: object,
    shape: object,
    strides: object,
    needs_gradient: object,
    hooks: object,
    dtype: object,
    *rest: object,
) -> Any:
    name = _TENSOR_DTYPES.get(dtype) if isinstance(dtype, Global) else None
    if name not in DTYPE_BYTES:
        return Foreign(Global("torch", "Tensor"))
    return view(storage, offset, shape, strides, name)


def _mapping(*arguments: object) -> dict[Any, Any]:
    """Old protocols pass the items of an OrderedDict as one list of pairs."""
    items = arguments[0] if arguments else ()
    if not isinstance(items, list | tuple):
        return {}
    pairs = [item for item in items if isinstance(item, list | tuple) and len(item) == 2]
    return {key: value for key, value in pairs if isinstance(key, str | int)}


def _with_type(function: object, kind: object, arguments: object, *rest: object) -> Any:
    """A tensor with attributes of its own, or of a subclass."""
    return call(function, arguments)


def _first(value: object, *rest: object) -> Any:
    return value


_MAKERS: Final[Mapping[Global, Callable[..., Any]]] = {
    Global("collections", "OrderedDict"): _mapping,
    # Its argument makes the default values, which are not needed.
    Global("collections", "defaultdict"): lambda *arguments: {},
    Global("torch", "Size"): _first,
    Global("torch._utils", "_rebuild_tensor"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    Global("torch._utils", "_rebuild_parameter"): _first,
    Global("torch._utils", "_rebuild_parameter_with_state"): _first,
    Global("torch._tensor", "_rebuild_from_type_v2"): _with_type,
}

HARMLESS: Final = frozenset({*_MAKERS, *STORAGE_CLASSES, *_TENSOR_DTYPES})
"""The globals that a file of nothing but tensors names."""

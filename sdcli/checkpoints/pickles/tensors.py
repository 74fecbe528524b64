"""Find the tensors among what a pickled checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdcli.checkpoints.pickles.container import PickledFile
from sdcli.checkpoints.pickles.inert_values import Foreign, Global, TensorView, malformed

_MAX_DEPTH: Final = 32
_MAX_ENTRIES: Final = 100_000
_MAX_BITS: Final = 256
_STATE_DICTS: Final = ("state_dict", "model_state_dict")
_EMBEDDING: Final = "string_to_param"
_MAX_EXPANSION: Final = 4
"""Tensors may share their data, but not so often that a small file fills the disk."""


@dataclass(frozen=True, kw_only=True)
class FoundTensors:
    """The tensors of a pickled checkpoint by name; `dropped` says what else it has, by name."""

    tensors: Mapping[str, TensorView]
    dropped: Mapping[str, str]


def find_tensors(file: PickledFile) -> FoundTensors:
    """Return the tensors of the file's state dict, or of all its nested containers.

    Names of nested containers are joined by points. Raises UnsafeError if there are no tensors.
    """
    tensors: dict[str, TensorView] = {}
    dropped: dict[str, str] = {}
    root, prefix = file.root, ""
    # Lightning keeps the weights beside the state of the training, and some files nest it twice.
    # A dictionary may hold itself.
    for _ in range(_MAX_DEPTH):
        if not (isinstance(root, dict) and (name := _state_dict(root))):
            break
        dropped |= {_join(prefix, k): _describe(v) for k, v in root.items() if k != name}
        root, prefix = root[name], _join(prefix, name)
    for count, (name, value) in enumerate(_flatten("", root, 0)):
        if count > _MAX_ENTRIES:
            raise malformed(f"{file.path} has more than {_MAX_ENTRIES} entries")
        if isinstance(value, TensorView):
            tensors[_unique(file, name, tensors)] = value
        else:
            dropped[_join(prefix, name)] = _describe(value)
    _check_expansion(file, tensors)
    return FoundTensors(tensors=tensors, dropped=dropped)


def _state_dict(root: Mapping[Any, Any]) -> str | None:
    return next((name for name in _STATE_DICTS if isinstance(root.get(name), dict)), None)


def _flatten(prefix: str, value: object, depth: int) -> Iterator[tuple[str, object]]:
    """Yield the leaves of nested containers. A file may nest them endlessly."""
    children = _children(value)
    # An empty container is a leaf, too: only leaves are counted.
    if not children or depth > _MAX_DEPTH:
        yield prefix or "value", value
        return
    for key, child in children.items():
        yield from _flatten(_join(prefix, key), child, depth + 1)


def _children(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, dict):
        return value
    if isinstance(value, list | tuple) and any(_is_container(item) for item in value):
        return dict(enumerate(value))
    if isinstance(value, Foreign) and isinstance(value.state, dict):
        return _module_children(value.state)
    return None


def _is_container(value: object) -> bool:
    return isinstance(value, dict | TensorView)


def _module_children(state: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """The parameters, buffers and submodules of a whole module that was pickled."""
    groups = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
    found = [group for group in groups if isinstance(group, dict)]
    return {key: child for group in found for key, child in group.items()} if found else None


def _join(prefix: str, key: object) -> str:
    name = key if isinstance(key, str) else _describe(key)
    # An embedding of A1111: {"string_to_param": {"*": tensor}}, which others call emb_params.
    if prefix == _EMBEDDING and name == "*":
        return "emb_params"
    return f"{prefix}.{name}" if prefix else name


def _unique(file: PickledFile, name: str, taken: Mapping[str, object]) -> str:
    if name in taken:
        raise malformed(f"{file.path} has two tensors of the name {name[:60]!r}")
    return name


def _describe(value: object) -> str:
    """What something that is not a tensor is, in a word or two."""
    if isinstance(value, Foreign):
        return str(value.source or "an object")[:80]
    if isinstance(value, Global):
        return str(value)[:80]
    # Python writes out no integer of thousands of digits.
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "int"
    if isinstance(value, bool | int | float | None):
        return str(value)[:80]
    if isinstance(value, dict | list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _check_expansion(file: PickledFile, tensors: Mapping[str, TensorView]) -> None:
    if not tensors:
        raise malformed(f"{file.path} has no tensors")
    size = sum(tensor.bytes for tensor in tensors.values())
    data = {id(tensor.storage): tensor.storage for tensor in tensors.values()}
    # Counted at the widest dtype, so that no honest file is refused.
    stored = sum(storage.count * 8 for storage in data.values())
    if size > _MAX_EXPANSION * stored:
        raise malformed(f"{file.path} has many tensors of the same data, {size >> 20} MiB in all")

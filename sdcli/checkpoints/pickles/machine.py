"""Follow the instructions of a pickle, with inert objects in place of all that it would import.

Python's own unpickler is not used, not even restricted: it allocates what a file asks for, and
hashes what a file nests. `pickletools` only splits the bytes into instructions.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from sdcli.checkpoints.pickles.inert_values import Foreign, Global, Names, malformed
from sdcli.checkpoints.pickles.reduce import call

MAX_PICKLE_BYTES: Final = 32 << 20
"""The pickle of a checkpoint has its names and shapes only: about a megabyte."""
_MAX_INSTRUCTIONS: Final = 1_000_000
"""A checkpoint has about fifty for each tensor."""
_MAX_MEMO: Final = 1_000_000
_MARK: Final = object()
_KEY_TYPES: Final = (str, int, float, bool, bytes, type(None), Global)


class _BoundedReader:
    """A stream that ends with an error where the pickle is longer than any real one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_PICKLE_BYTES

    def read(self, size: int) -> bytes:
        # The size is what the file claims, so it counts before anything is read.
        if not 0 <= size <= self._left:
            raise malformed(f"has a pickle of more than {MAX_PICKLE_BYTES >> 20} MiB")
        self._left -= size
        return self._file.read(size)

    def readline(self) -> bytes:
        line = self._file.readline(self._left + 1)
        if len(line) > self._left:
            raise malformed(f"has a pickle of more than {MAX_PICKLE_BYTES >> 20} MiB")
        self._left -= len(line)
        return line


def read_pickle(file: BinaryIO, names: Names, persistent: Callable[[object], object]) -> Any:
    """Return the object of one pickle as plain containers and inert objects.

    `names` collects the globals; `persistent` makes the objects that are stored elsewhere. The file
    is left behind the pickle. Raises UnsafeError for anything but a well-formed pickle.
    """
    machine = _Machine(names, persistent)
    try:
        instructions = pickletools.genops(_BoundedReader(file))  # type: ignore[arg-type]  # read, readline
        for count, (opcode, argument, _) in enumerate(instructions):
            if count > _MAX_INSTRUCTIONS:
                raise malformed(f"has a pickle of more than {_MAX_INSTRUCTIONS} instructions")
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    # A wrong stack leads to any of these, and so does a wrong argument of an instruction.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise malformed(f"has a malformed pickle ({error!s:.100})") from error


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, names: Names, persistent: Callable[[object], object]) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._names = names
        self._persistent = persistent

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction. Raises UnsafeError, or what a wrong stack leads to."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in _IGNORED:
            raise malformed(f"has a pickle with {name}, which no checkpoint needs")

    def pop_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def push_pairs(self, flat: list[Any]) -> None:
        """Add keys and values to the dictionary below them."""
        target = self.stack[-1]
        # An object of an unknown class would do with them what its class says.
        if isinstance(target, dict):
            target.update((_key(key), value) for key, value in _pairs(flat))

    def push_items(self, items: list[Any]) -> None:
        """Add items to the list below them."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def push_global(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise malformed("has a pickle with a name that is not text")
        found = Global(module, name)
        self._names.named[found] = None
        self.stack.append(found)

    def push_call(self, source: object, arguments: object) -> None:
        self.stack.append(call(source, arguments))

    def put(self, index: int) -> None:
        # The indices of real pickles count up; the memo of Python's unpickler is an array, which
        # one high index fills the memory with.
        if not 0 <= index <= _MAX_MEMO:
            raise malformed("has a pickle with too many references")
        self._memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self._memo[index])

    def memoize(self) -> None:
        self.put(len(self._memo))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Foreign):
            target.state = state

    def push_persistent(self, identifier: object) -> None:
        self.stack.append(self._persistent(identifier))


def _key(value: object) -> object:
    """A key that is cheap to hash: a nest of tuples takes time without end."""
    return value if isinstance(value, _KEY_TYPES) else Foreign(None)


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    if len(flat) % 2:
        raise malformed("has a pickle with a key without a value")
    return list(zip(flat[::2], flat[1::2], strict=True))


def _inst(machine: _Machine, argument: str) -> None:
    arguments = tuple(machine.pop_mark())
    _global(machine, argument)
    machine.push_call(machine.stack.pop(), arguments)


def _obj(machine: _Machine, argument: object) -> None:
    source, *arguments = machine.pop_mark()
    machine.push_call(source, tuple(arguments))


def _reduce(machine: _Machine, argument: object) -> None:
    arguments, source = machine.stack.pop(), machine.stack.pop()
    machine.push_call(source, arguments)


def _newobj_ex(machine: _Machine, argument: object) -> None:
    # The keyword arguments have no use where nothing is called.
    machine.stack.pop()
    _reduce(machine, argument)


def _global(machine: _Machine, argument: str) -> None:
    machine.push_global(*argument.split(" ", 1))


def _stack_global(machine: _Machine, argument: object) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.push_global(module, name)


def _extension(machine: _Machine, argument: int) -> None:
    # Only the writing program's registry knows which name a code stands for.
    machine.push_global("copyreg", f"extension {argument}")


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, argument: object) -> None:
        items = [machine.stack.pop() for _ in range(count)]
        machine.stack.append(tuple(items[::-1]))

    return step


def _setitem(machine: _Machine, argument: object) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.push_pairs([key, value])


def _append(machine: _Machine, argument: object) -> None:
    machine.push_items([machine.stack.pop()])


def _dict(machine: _Machine, argument: object) -> None:
    flat = machine.pop_mark()
    machine.stack.append({})
    machine.push_pairs(flat)


_CONSTANTS: Final[dict[str, Any]] = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK,
}  # fmt: skip
_LITERALS: Final = """
INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE
SHORT_BINUNICODE BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
""".split()  # noqa: SIM905


# A set is a list here, because its items need no hash.
_EMPTY: Final[dict[str, Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
_IGNORED: Final = frozenset({"PROTO", "FRAME", "STOP"})
_STEPS: Final[dict[str, Callable[[_Machine, Any], Any]]] = {
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.pop_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_mark())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_mark()),
    "FROZENSET": lambda machine, _: machine.stack.append(machine.pop_mark()),
    "DICT": _dict,
    "APPEND": _append,
    "APPENDS": lambda machine, _: machine.push_items(machine.pop_mark()),
    "ADDITEMS": lambda machine, _: machine.push_items(machine.pop_mark()),
    "SETITEM": _setitem,
    "SETITEMS": lambda machine, _: machine.push_pairs(machine.pop_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, index: machine.put(index)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.get(index)),
    "MEMOIZE": lambda machine, _: machine.memoize(),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _extension),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _reduce),
    "NEWOBJ_EX": _newobj_ex,
    "INST": _inst,
    "OBJ": _obj,
    "BUILD": lambda machine, _: machine.build(),
    "PERSID": lambda machine, text: machine.push_persistent(text),
    "BINPERSID": lambda machine, _: machine.push_persistent(machine.stack.pop()),
}

"""Read the pickles of weight files without running anything that they name.

Tensors become `StoredTensor` (where their numbers lie), containers become plain ones, and whatever else a file names
becomes an inert `Foreign`, whatever it is called: nothing is imported, nothing of theirs is called.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, ClassVar

import torch

PICKLE_LIMIT = 16 << 20
"""The most bytes that are read as a pickle: names and sizes, not the numbers. Objects take up to 80 times as much."""
_CLASS_LIMIT = 10_000

_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


class Damaged(Exception):
    """The file does not hold what its format says. The message is fit for users."""


class NoWeights(Exception):
    """The file is whole as far as one can tell, and of another kind. The message says what it holds."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of `length` numbers that the file holds under the name `key`."""

    key: str
    dtype: torch.dtype
    length: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the file describes it: unchecked sizes, no numbers yet."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Foreign:
    """Stands for an object of a class that is not ours to make; `path` is the class, `state` what it was to hold."""

    __slots__ = ("state",)
    path: ClassVar[str] = ""
    state: Any

    def __new__(cls, *_: Any, **__: Any) -> Foreign:
        """Take any arguments, and keep none."""
        made = object.__new__(cls)
        made.state = None
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an item of a class that derives from dict, and drop it."""

    def append(self, _: Any) -> None:
        """Take an item of a class that derives from list or set, and drop it."""

    add = append

    def __call__(self, *_: Any, **__: Any) -> Foreign:
        """Stand for what a call of the object would give."""
        return type(self)()


class Items(dict[Any, Any]):
    """A dictionary of a file. Keys that are no plain values are left out: hashing them could take for ever."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep a plain key."""
        if isinstance(key, (str, int, float, bytes)):
            super().__setitem__(key, value)


def _items(*arguments: Any) -> Items:
    items = Items()
    for given in arguments[:1]:
        for key, value in given.items() if isinstance(given, dict) else given:
            items[key] = value
    return items


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any, dtype: Any = None) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise Damaged("a tensor without numbers")
    kind = storage.dtype if dtype is None else dtype
    numbers = (offset, *size, *stride)
    if not isinstance(kind, torch.dtype) or len(size) != len(stride) or any(type(n) is not int for n in numbers):
        raise Damaged("a tensor whose sizes are no numbers")
    return StoredTensor(storage, offset, tuple(size), tuple(stride), kind)


def _tensor_with_dtype(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: Any
) -> Any:
    return _tensor(storage, offset, size, stride, dtype=dtype)


def _first(value: Any, *_: Any) -> Any:
    return value


def _subclassed(rebuild: Any, _: Any, arguments: Any, *__: Any) -> Any:
    return rebuild(*arguments)


_KNOWN: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _subclassed,
    "torch.jit._pickle.restore_type_tag": _first,
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "torch.Size": _first,
    "__builtin__.set": _first,
    "builtins.set": _first,
    "collections.OrderedDict": _items,
    "collections.defaultdict": lambda *_: Items(),
    "collections.Counter": _items,
}


class TensorUnpickler(pickle._Unpickler):
    """Python's own unpickler, cut down: the one in Python, since that in C trusts the sizes that a file declares."""

    dispatch: ClassVar[dict[int, Callable[..., Any]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: IO[bytes] | io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self.storages: dict[str, Storage] = {}
        self._foreign: dict[str, type[Foreign]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of the file."""
        path = f"{module}.{name}"
        if path in _KNOWN:
            return _KNOWN[path]
        if module in ("torch", "torch.storage", "torch.cuda") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if len(self._foreign) > _CLASS_LIMIT:
            raise Damaged("it names too many classes")
        return self._foreign.setdefault(path, type("Foreign", (Foreign,), {"path": path, "__slots__": ()}))

    def persistent_load(self, pid: Any) -> Any:
        """What stands for numbers that lie elsewhere in the file."""
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":  # of whole modules in files of old torch
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise Damaged("a reference of an unknown kind")
        if pid[5:] not in ((), (None,)):
            raise NoWeights("a file of a very old torch, with views of storages: load and save it with a later one")
        _, dtype, key, _, length = pid[:5]
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(length) is not int or length < 0:
            raise Damaged("a reference to numbers of an unknown kind")
        return self.storages.setdefault(key, Storage(key, dtype, length))

    def _build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if isinstance(made, Foreign):
            made.state = state

    def _dict(self) -> None:
        values = self.pop_mark()
        self.append(_items(zip(values[::2], values[1::2], strict=True)))

    def _set(self) -> None:
        self.append(Foreign())

    def _frozen_set(self) -> None:
        self.pop_mark()
        self.append(Foreign())

    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.EMPTY_DICT[0]] = lambda self: self.append(Items())
    dispatch[pickle.DICT[0]] = _dict
    dispatch[pickle.EMPTY_SET[0]] = _set
    dispatch[pickle.FROZENSET[0]] = _frozen_set
    # What no weight file needs: registered extensions, buffers of a declared size.
    for _code in (
        pickle.EXT1,
        pickle.EXT2,
        pickle.EXT4,
        pickle.BYTEARRAY8,
        pickle.NEXT_BUFFER,
        pickle.READONLY_BUFFER,
    ):
        del dispatch[_code[0]]


class Bounded:
    """The pickles at the start of an open file: at most PICKLE_LIMIT bytes of it, whatever sizes they declare."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, PICKLE_LIMIT

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        return self._take(self._file.read(min(size, self._left)) if self._left > 0 else b"")

    def readline(self) -> bytes:
        """A line with its end."""
        return self._take(self._file.readline(min(self._left, 1 << 16)))

    def _take(self, content: bytes) -> bytes:
        self._left -= len(content)
        return content


def unpickle(file: Any) -> tuple[Any, dict[str, Storage]]:
    """The next pickle of `file` (read, readline) and the storages that it names. Raises Damaged or NoWeights."""
    reader = TensorUnpickler(file)
    try:
        with warnings.catch_warnings():  # of invalid escapes in garbage
            warnings.simplefilter("ignore")
            return reader.load(), reader.storages
    except (Damaged, NoWeights):
        raise
    except Exception as error:  # garbage raises whatever a step of the machine can raise
        raise Damaged("its table of contents is damaged") from error

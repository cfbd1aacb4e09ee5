"""A GPU that is not there: tensors that say they are on cuda:0, hold their values in memory, refuse what CUDA refuses.

Inside `simulated_gpu()`, `tensor.to("cuda")` and `torch.zeros(..., device="cuda")` give such tensors. Operations that
mix them with tensors of the host raise as on a GPU, and so do `numpy()` and generators of the other device. What
`to("cpu", non_blocking=True)` gives holds nothing of use until its event, or a copy that waits, says so; pinned memory
that changes before that is found then. `waits` lists what made the host wait. Kernels are the host's: what a GPU
computes, and how fast, this cannot show. There is no backward pass, as autograd would look for the device: see
`made_up_gradients`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda", 0)
_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_TAKE_HOST_INDICES = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default}
_WAIT = {_aten._local_scalar_dense, _aten.equal, _aten.nonzero, _aten.masked_select, _aten._unique2, _aten.unique_dim}

waits: list[tuple[str, str]] = []
"""Which thread waited for the GPU in which operation, since `simulated_gpu` was entered."""
_under_way: list[Callable[[], object]] = []
"""The ends of copies that nobody has waited for."""


class OnGpu(torch.Tensor):
    """A tensor on the simulated device, around the one that is `held`."""

    @staticmethod
    def __new__(cls, real):
        # As PyTorch's own fake tensors do: device meta, so that no C++ code looks for a driver, and another one told.
        shape = {"strides": real.stride(), "storage_offset": real.storage_offset(), "dtype": real.dtype}
        self = torch.Tensor._make_wrapper_subclass(cls, real.shape, device="meta", dispatch_device=True, **shape)
        self.held = real
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def numpy(self, **_):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def tolist(self):
        return self.cpu().tolist()


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _OnHost(torch.Generator):
    """A generator that says it is of `device`."""

    def __new__(cls, device="cpu"):
        self = super().__new__(cls)
        self.place = torch.device(device)
        return self


class _Event:
    """The end of what was begun before it was recorded."""

    def __init__(self, **_):
        self._ends = 0

    def record(self, stream=None):
        self._ends = len(_under_way)

    def synchronize(self):
        _arrive(self._ends)


def _arrive(n=None):
    """Let the copies end that are under way, the first `n` or all."""
    for number, end in enumerate(_under_way[:n]):
        _under_way[number] = bool  # done
        end()
    if n is None:
        _under_way.clear()


def _sent(source):
    """A host tensor that has the values of `source` once the copy has ended."""
    copied = torch.empty_like(source)
    copied.fill_(float("nan") if copied.is_floating_point() else True)
    values = source.clone()
    _under_way.append(lambda: copied.copy_(values))
    return copied


def _watched(pinned):
    """Pinned memory must not change while it is copied."""
    values = pinned.clone()

    def end():
        if not torch.equal(torch.nan_to_num(values), torch.nan_to_num(pinned)):
            raise RuntimeError("pinned memory was changed while it was copied")

    _under_way.append(end)


def _pin(tensor):
    pinned = tensor.clone()
    pinned.is_simulated_pinned = True
    return pinned


class _MadeOnHost(TorchFunctionMode):
    """What looks for the device before any operation: `torch.tensor(values, device=...)`, indices that are lists."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            listed = tuple(torch.tensor(part) if isinstance(part, list) else part for part in index)
            args = (args[0], listed, *args[2:])
        if func is torch.Tensor.pin_memory:
            return _pin(args[0])
        if func is torch.empty and kwargs.pop("pin_memory", False):
            return _pin(func(*args, **kwargs))
        _check_generator(args, kwargs)
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


def _check_generator(args, kwargs):
    generator = kwargs.get("generator")
    if generator is not None:
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        device = torch.device(kwargs.get("device") or (tensors[0].device if tensors else "cpu"))
        place = getattr(generator, "place", generator.device)
        if place.type != device.type:
            raise RuntimeError(f"Expected a '{device.type}' device type for generator but found '{place.type}'")


def _made_to_wait(func, args, kwargs, on_gpu):
    """Whether the host waits for an operation on tensors of the GPU, or between the two."""
    if func in _COPIES:
        from_gpu = [isinstance(arg, OnGpu) for arg in args if isinstance(arg, torch.Tensor)][-1]
        non_blocking = kwargs.get("non_blocking") or (func is _aten.copy_.default and len(args) > 2 and args[2])
        return from_gpu != on_gpu and not non_blocking
    if func in _TAKE_HOST_INDICES:
        indices = [index for index in args[1] if index is not None]
        return any(index.dtype == torch.bool or (index.dim() and not isinstance(index, OnGpu)) for index in indices)
    return func.overloadpacket in _WAIT


def _run(func, args, kwargs):
    if func is torch.ops.prim.device.default:
        return GPU if isinstance(args[0], OnGpu) else args[0].device
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    ours = {id(one.held): one for one in tensors if isinstance(one, OnGpu)}
    if func in _TAKE_HOST_INDICES and isinstance(args[0], OnGpu):
        tensors = [args[0], *args[2:3]]  # indices may lie anywhere
    plain = [one for one in tensors if not isinstance(one, OnGpu) and one.dim() and one.device.type == "cpu"]
    if ours and plain and func not in _COPIES:
        raise RuntimeError(f"Expected all tensors to be on the same device, but {func} got cuda:0 and cpu")
    asked = kwargs.get("device")
    on_gpu = bool(ours) if asked is None else torch.device(asked).type == "cuda"
    if func is _aten.copy_.default:
        on_gpu = isinstance(args[0], OnGpu)
    if (ours or on_gpu) and _made_to_wait(func, args, kwargs, on_gpu):
        waits.append((threading.current_thread().name, str(func)))
        _arrive()
    if func is _aten._to_copy.default and kwargs.get("non_blocking"):
        if ours and not on_gpu:
            return _sent(args[0].held.to(kwargs.get("dtype") or args[0].dtype))
        if on_gpu and getattr(args[0], "is_simulated_pinned", False):
            _watched(args[0])
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda leaf: leaf.held if isinstance(leaf, OnGpu) else leaf, (args, kwargs))
    result = func(*args, **kwargs)
    if not on_gpu:
        return result

    def wrapped(leaf):
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return ours[id(leaf)] if id(leaf) in ours else OnGpu(leaf)  # in place: the very tensor that was given

    return tree_map(wrapped, result)


@contextlib.contextmanager
def simulated_gpu():
    """Inside, the device cuda:0 may be named."""
    torch._C._ensureCUDADeviceGuardSet()  # where there is no driver: changing the current device does nothing
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a wrapper has no storage to exchange
    waits.clear()
    _under_way.clear()
    try:
        with (
            mock.patch("torch.cuda._lazy_init", return_value=None),
            mock.patch("torch.Generator", _OnHost),
            mock.patch("torch.cuda.Event", _Event),
            mock.patch("torch.cuda.current_stream", return_value=None),
            mock.patch("torch.cuda.synchronize", lambda device=None: _arrive()),  # noqa: PT008
            mock.patch("torch.cuda.reset_peak_memory_stats"),
            mock.patch("torch.cuda.max_memory_allocated", return_value=7 << 20),
            mock.patch("torch.cuda.is_bf16_supported", return_value=True),
            _MadeOnHost(),
            _Mode(),
        ):
            yield GPU
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)


@contextlib.contextmanager
def made_up_gradients(method):
    """In the place of backward passes: every parameter gets the same gradient."""

    def backward(loss):
        assert loss.device == GPU
        for parameter in method.learnable_parameters().values():
            parameter.grad = torch.full_like(parameter.detach(), 1e-3)

    with mock.patch("torch.autograd.backward", backward):
        yield

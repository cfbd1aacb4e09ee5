"""One run on several processes ("ranks"), started by torchrun: who am I, and what do we tell each other.

Without torchrun there is one rank, and nothing here costs anything. Objects travel pickled between the processes of the
same run, over a gloo group beside the one of the devices; nothing is read from files.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from adbench import launch
from adbench.engine.run_folder import RunFolder
from adbench.errors import UserError

_T = TypeVar("_T")
_PATIENCE = timedelta(hours=12)
"""How long a rank waits for another at work. One that has died is noticed at once: its connections close."""
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed")

_objects: Any = None
"""The group over which objects travel."""


class Lost(UserError):
    """Another rank has stopped; its own message says why."""


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _joined() else 0


def count() -> int:
    """The number of processes that share the run."""
    return dist.get_world_size() if _joined() else 1


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return rank() == 0


def local_device(device: torch.device) -> torch.device:
    """The device of this rank: of several GPUs, the one of its number on this machine.

    Raises UserError where one GPU is named for several ranks although there is one for each: NCCL refuses that.
    """
    if launch.processes() == 1 or device.type != "cuda":
        return device
    if device.index is None:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    if _on_this_machine() > 1 and not _share_gpus():
        raise UserError(
            f"device={device} is one GPU for {_on_this_machine()} processes",
            where="torchrun",
            hint="use device=cuda, which gives each its own; CUDA_VISIBLE_DEVICES says which there are",
        )
    return device


def _on_this_machine() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _share_gpus() -> bool:
    """Whether this machine has fewer GPUs than ranks."""
    return _on_this_machine() > torch.cuda.device_count()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Work with the other processes in here; nothing where torchrun has started none, or inside of another `joined`.

    NCCL between GPUs, gloo on CPUs and where ranks share a GPU. Raises `Lost` where another rank stops.
    """
    global _objects
    if launch.processes() == 1 or _joined():
        yield
        return
    backend = "nccl" if device.type == "cuda" and not _share_gpus() else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _told_of_lost_ranks():
        dist.init_process_group(backend, timeout=_PATIENCE)
        try:
            _objects = dist.new_group(backend="gloo", timeout=_PATIENCE)
            yield
            dist.barrier(group=_objects)
        finally:
            _objects = None
            with contextlib.suppress(RuntimeError):
                dist.destroy_process_group()


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """Let rank 0 run what is inside before the others do: it leaves files that these find."""
    if not is_first():
        barrier()
    yield
    if is_first():
        barrier()


@contextlib.contextmanager
def claimed(claim: AbstractContextManager[RunFolder]) -> Iterator[RunFolder]:
    """The folder of a run: rank 0 claims it (`RunFolder.claim`) and tells the others."""
    if not is_first():
        yield RunFolder(broadcast(Path()))
        return
    with claim as run:
        broadcast(run.path)
        yield run


def barrier() -> None:
    """Wait for all ranks."""
    if count() > 1:
        dist.barrier(group=_objects)


def broadcast(value: _T, device: torch.device | None = None) -> _T:
    """The value that rank 0 has, on all ranks; tensors in it on `device`, else on the CPU."""
    if count() == 1:
        return value
    packed: list[Any] = [_pack(value) if is_first() else None]
    dist.broadcast_object_list(packed, src=0, group=_objects)
    return value if is_first() else _unpack(packed[0], device)


def gather(value: _T, device: torch.device | None = None) -> list[_T]:
    """The values of all ranks, by rank, on all ranks; tensors in them on `device`, else on the CPU."""
    if count() == 1:
        return [value]
    packed: list[Any] = [None] * count()
    dist.all_gather_object(packed, _pack(value), group=_objects)
    return [_unpack(content, device) for content in packed]


def slice_of(n: int) -> slice:
    """The share of this rank of n things in a row: neighbours, so that the shares in order are the whole."""
    return slice(n * rank() // count(), n * (rank() + 1) // count())


def sum_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Add up the gradients of all ranks. A parameter that has none anywhere keeps None."""
    if count() == 1:
        return
    sizes = [parameter.numel() for parameter in parameters]
    dtype = torch.float64 if any(p.dtype == torch.float64 for p in parameters) else torch.float32
    device = parameters[0].device if dist.get_backend() == "nccl" else torch.device("cpu")
    total = torch.zeros(sum(sizes) + len(sizes), dtype=dtype, device=device)
    flat, flags = total[: sum(sizes)].split(sizes), total[sum(sizes) :]
    for number, (parameter, part) in enumerate(zip(parameters, flat, strict=True)):
        if parameter.grad is not None:
            part.copy_(parameter.grad.flatten())
            flags[number] = 1
    dist.all_reduce(total)
    for parameter, part, flag in zip(parameters, flat, flags.tolist(), strict=True):
        if flag:
            parameter.grad = part.view(parameter.shape).to(parameter)


def gather_rows(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of all ranks, joined along their first axis in the order of ranks; a rank may have none at all."""
    on_gpu = dist.get_backend() == "nccl"
    shapes = gather({name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()})
    named = next(known for known in shapes if known)
    device = next(iter(tensors.values())).device if tensors else torch.device("cpu")
    whole = {}
    for name, (shape, dtype) in named.items():
        rows = [known[name][0][0] if known else 0 for known in shapes]
        width = math.prod(shape[1:]) * dtype.itemsize
        place = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        padded = torch.zeros((max(rows), width), dtype=torch.uint8, device=place)
        if name in tensors:
            content = tensors[name].contiguous().reshape(len(tensors[name]), -1).view(torch.uint8)
            padded[: rows[rank()]] = content.to(place)
        parts = [torch.empty_like(padded) for _ in rows]
        dist.all_gather(parts, padded, group=None if on_gpu else _objects)
        content = torch.cat([part[:n] for part, n in zip(parts, rows, strict=True)])
        whole[name] = content.view(dtype).unflatten(1, shape[1:]).to(device) if shape[1:] else content.view(dtype)[:, 0]
    return whole


class Outbox:
    """Objects for rank 0, sent without waiting for it; rank 0 takes them in the same order, tensors on the CPU."""

    def __init__(self) -> None:
        self._sent: list[tuple[Any, Tensor]] = []

    def send(self, value: Any) -> None:
        """Send `value` to rank 0."""
        content = torch.frombuffer(bytearray(_pack(value)), dtype=torch.uint8)
        for tensor in (torch.tensor([len(content)]), content):
            self._sent.append((dist.isend(tensor, 0, group=_objects), tensor))

    def receive(self) -> list[Any]:
        """The next value of each other rank, by rank."""
        values = []
        for sender in range(1, count()):
            size = torch.empty(1, dtype=torch.int64)
            dist.recv(size, sender, group=_objects)
            content = torch.empty(int(size), dtype=torch.uint8)
            dist.recv(content, sender, group=_objects)
            values.append(_unpack(content.numpy().tobytes()))
        return values

    def wait(self) -> None:
        """Wait until all that was sent has arrived."""
        for work, _ in self._sent:
            work.wait()
        self._sent.clear()


def _pack(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _unpack(content: bytes, device: torch.device | None = None) -> Any:
    """What another rank has packed; its tensors may come from a device of which only it has hold."""
    return torch.load(io.BytesIO(content), map_location=device or "cpu", weights_only=False)


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextlib.contextmanager
def _told_of_lost_ranks() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _LOST):
            raise
        raise Lost(f"another process of this run has stopped, so rank {launch.number()} stops too") from error

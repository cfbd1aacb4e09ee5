"""From what a weight file holds to named tensors, or to an error that says what it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from adbench.errors import UserError
from adbench.weight_files.containers import Contents, Kind, read_contents
from adbench.weight_files.unpickler import Damaged, Foreign, NoWeights, StoredTensor

_Result = TypeVar("_Result")

# Where training scripts keep the weights beside other things, in the order in which they are looked for.
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "checkpoint",
)
# What wrappers put before names: torch.compile, FSDP and activation checkpointing anywhere; the others in front of all.
_ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_IN_FRONT = ("module.", "model.", "_forward_module.")
_DEPTH, _STEPS = 50, 100_000  # of modules within modules
_SHOWN, _NAME = 6, 60
_PLAIN = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A weight file that was read."""

    path: Path
    contents: Contents

    @property
    def kind(self) -> Kind:
        """Its container."""
        return self.contents.kind

    @property
    def metadata(self) -> Mapping[str, str]:
        """The texts that a safetensors file carries."""
        return self.contents.metadata

    def state(self, entry: str | None = None) -> dict[str, Tensor] | None:
        """The state dict of the file, or the one it keeps as `entry`; None if there is none.

        Wrappers around the weights, and what they put before the names, are taken off.
        """
        tree = self.contents.tree
        if entry is not None:
            tree = _entry(tree, entry)
        state = _state(tree, 0)
        return None if state is None else self._loaded(plain_names(state))

    def needed_state(self) -> dict[str, Tensor]:
        """The state dict of the file. Raises UserError, saying what else the file holds, where there is none."""
        state = self.state()
        if state is None:
            raise UserError(
                f"the file holds no state dict, but {self.described()}",
                where=str(self.path),
                hint="give the file that holds the weights",
            )
        return state

    def nested_state(self) -> dict[str, Tensor]:
        """All tensors within the file's dictionaries, by their keys joined with dots."""
        state: dict[str, Any] = {}
        waiting: list[tuple[str, Any, int]] = [("", self.contents.tree, 0)]
        while waiting:
            prefix, value, depth = waiting.pop()
            if isinstance(value, (StoredTensor, Tensor)):
                state[prefix] = value
            elif isinstance(value, dict) and depth < _DEPTH:
                waiting.extend((f"{prefix}.{key}" if prefix else str(key), v, depth + 1) for key, v in value.items())
        return self._loaded(state)

    def plain_values(self) -> dict[str, Any]:
        """Texts, numbers and lists of such at the top of the file, by key; tuples come as lists."""
        tree = self.contents.tree
        items = tree.items() if isinstance(tree, dict) else ()
        lists = {str(key): list(value) if isinstance(value, tuple) else value for key, value in items}
        return {key: value for key, value in lists.items() if all(type(v) in _PLAIN for v in _parts(value))}

    def tensors(self) -> list[Tensor] | None:
        """The tensors of a file that is a list of tensors, or one tensor (its rows); None for another."""
        tree = self.contents.tree
        if isinstance(tree, (StoredTensor, Tensor)):
            (whole,) = self._loaded({"": tree}).values()
            return list(whole) if whole.dim() else None
        if not isinstance(tree, (list, tuple)) or not all(isinstance(value, (StoredTensor, Tensor)) for value in tree):
            return None
        return list(self._loaded({str(index): value for index, value in enumerate(tree)}).values())

    def described(self) -> str:
        """What the file holds, in a few words."""
        return shown(self.contents.tree)

    def _loaded(self, leaves: Mapping[str, Any]) -> dict[str, Tensor]:
        def load() -> dict[str, Tensor]:
            return {name: self.contents.tensor(leaf) for name, leaf in leaves.items()}

        return _or_error(self.path, load)


def open_weights(path: str | Path) -> WeightFile:
    """Read a weight file. Raises UserError for one that is missing, damaged or of another kind."""
    file = Path(path)
    if not file.is_file():
        raise UserError("weights file not found", where=str(file), hint="give the path of an existing file")
    return WeightFile(file, _or_error(file, lambda: read_contents(file)))


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a weight file, as stored. Raises UserError for a file without one, saying what it holds."""
    return open_weights(path).needed_state()


def plain_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict without what DataParallel, torch.compile, FSDP and Lightning put before the names."""
    for part in _ANYWHERE:
        state = _renamed(state, lambda name, part=part: name.replace(part, ""))  # type: ignore[misc]
    while prefix := next((front for front in _IN_FRONT if all(name.startswith(front) for name in state)), ""):
        state = _renamed(state, lambda name, prefix=prefix: name.removeprefix(prefix))  # type: ignore[misc]
    return dict(state)


def shown(content: Any) -> str:
    """What `content`, a part of a file, is: "epoch (a number), args (argparse.Namespace)"."""
    if isinstance(content, (StoredTensor, Tensor)):
        return "a tensor"
    if isinstance(content, dict):
        parts = [f"{str(key)[:_NAME]} ({_kind(value)})" for key, value in list(content.items())[:_SHOWN]]
        return f"{', '.join(parts)}{', ...' if len(content) > _SHOWN else ''}" or "nothing"
    return _kind(content)


def _kind(value: Any) -> str:
    if isinstance(value, (StoredTensor, Tensor)):
        return "a tensor"
    if isinstance(value, Foreign) and value.path.startswith("numpy."):
        return "a NumPy value"
    if isinstance(value, Foreign):
        return f"an object of {value.path[:_NAME] or 'a set'}"
    if isinstance(value, type) and issubclass(value, Foreign):
        return f"the name {value.path[:_NAME]}"
    if isinstance(value, dict):
        if value.keys() >= {"state", "param_groups"}:
            return "the state of an optimiser"
        keys = ", ".join(str(key)[:_NAME] for key in list(value)[:3])
        return f"a dictionary of {keys}{', ...' if len(value) > 3 else ''}" if value else "an empty dictionary"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, (bool, int, float)):
        return "a number"
    return "a text" if isinstance(value, (str, bytes)) else "nothing" if value is None else "a value"


def _or_error(path: Path, read: Callable[[], _Result]) -> _Result:
    try:
        return read()
    except NoWeights as error:
        raise UserError(
            f"this is no file of weights but {error}", where=str(path), hint="give the file of the weights"
        ) from error
    except MemoryError as error:
        raise UserError("the weights do not fit into memory", where=str(path), hint="free some") from error
    except (Damaged, OSError, RuntimeError, ValueError, OverflowError) as error:
        reason = str(error) if isinstance(error, Damaged) else getattr(error, "strerror", "") or type(error).__name__
        raise UserError(
            f"cannot read the weights: {reason}", where=str(path), hint="copy or download the file again"
        ) from error


def _parts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _entry(tree: Any, entry: str) -> Any:
    """What the file keeps under a name, at the top or within wrappers."""
    for _ in range(4):
        if not isinstance(tree, dict):
            return None
        if entry in tree:
            return tree[entry]
        tree = next((tree[key] for key in _WRAPPERS if isinstance(tree.get(key), dict)), None)
    return None


def _state(tree: Any, depth: int) -> dict[str, Any] | None:
    if isinstance(tree, Foreign):
        return _module_state(tree)
    if not isinstance(tree, dict) or depth > 4:
        return None
    for key in _WRAPPERS:
        inner = _state(tree[key], depth + 1) if isinstance(tree.get(key), (dict, Foreign)) else None
        if inner is not None:
            return inner
    return {str(key): value for key, value in tree.items() if isinstance(value, (StoredTensor, Tensor))} or None


def _module_state(top: Foreign) -> dict[str, Any] | None:
    """The state dict of a pickled module, or of the modules of a TorchScript archive."""
    state: dict[str, Any] = {}
    waiting: list[tuple[str, Foreign]] = [("", top)]
    for _ in range(_STEPS):
        if not waiting:
            return state or None
        prefix, module = waiting.pop()
        for name, value in _members(module).items():
            if isinstance(value, (StoredTensor, Tensor)):
                state[f"{prefix}{name}"] = value
            elif isinstance(value, Foreign) and prefix.count(".") < _DEPTH:
                waiting.append((f"{prefix}{name}.", value))
    return None


def _members(module: Foreign) -> dict[str, Any]:
    state = module.state if isinstance(module.state, dict) else {}
    parts = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
    if all(isinstance(part, dict) for part in parts):
        state = {key: value for part in parts if part is not None for key, value in part.items()}
    passing = module.state.get("_non_persistent_buffers_set") if isinstance(module.state, dict) else None
    left_out = [str(name) for name in passing] if isinstance(passing, (list, tuple)) else []
    return {str(key): value for key, value in state.items() if str(key) not in left_out}


def _renamed(state: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """The state under other names; unchanged where two would become one."""
    renamed = {rename(name): value for name, value in state.items()}
    return renamed if len(renamed) == len(state) else dict(state)

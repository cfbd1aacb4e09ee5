"""YAML files and the words of a command line composed by Hydra, as plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adbench.errors import UserError
from adbench.shipped import configs_dir


def compose(command: str, words: Sequence[str]) -> dict[str, Any]:
    """The values of COMMAND.yaml with `words` (key=value). Raises UserError where they do not compose."""
    from hydra import compose as compose_yaml
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(configs_dir()), version_base="1.3"):
            composed = OmegaConf.to_container(compose_yaml(command, overrides=list(words)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        raise UserError(
            f"the settings do not compose: {str(cause).splitlines()[0]}",
            where=" ".join(words),
            mend=f"all settings: python -m adbench {command} --help",
        ) from error
    return composed  # type: ignore[return-value]


def read_yaml(name: str) -> dict[str, Any]:
    """The values of one YAML file by themselves."""
    import yaml

    return dict(yaml.safe_load((configs_dir() / name).read_text(encoding="utf-8")))


def dotted_keys(values: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Dotted keys of all leaves, and of sections within sections (the command line may give these a {key: value})."""
    keys = set()
    for key, value in values.items():
        if isinstance(value, Mapping):
            keys |= dotted_keys(value, f"{prefix}{key}.")
        if prefix or not isinstance(value, Mapping):
            keys.add(f"{prefix}{key}")
    return keys

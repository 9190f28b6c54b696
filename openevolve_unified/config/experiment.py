"""One experiment from one YAML file: read, overridden, validated and hashed before it starts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openevolve_unified.config.names import measured_features
from openevolve_unified.config.openevolve_half import check_openevolve_half
from openevolve_unified.config.openevolve_values import check_openevolve_values
from openevolve_unified.config.overrides import apply_override
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.config.user_path import user_path
from openevolve_unified.config.yaml_file import read_yaml, require_plain
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.plain.strict import from_mapping


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A validated configuration file; paths are absolute."""

    path: Path
    mapping: dict[str, Any]
    """The whole file after overrides, as OpenEvolve and we read it."""
    scaling_law: ScalingLawConfig

    @property
    def initial_program(self) -> Path:
        return self._resolve(self.scaling_law.initial_program)

    @property
    def output_dir(self) -> Path:
        return self._resolve(self.scaling_law.output_dir)

    @property
    def store_dir(self) -> Path:
        """Shared by every run whose output lies in the same parent folder; see ``open_store``."""
        configured = self.scaling_law.execution.store_dir
        return self._resolve(configured) if configured else self.output_dir.parent / "store"

    @property
    def base_dir(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.path.parent

    @property
    def iterations(self) -> int:
        return int(self.mapping.get("max_iterations", 10_000))

    @property
    def uses_grammar_only(self) -> bool:
        """True when every proposal comes from the embedded grammar."""
        llm = self.mapping["llm"]
        models = llm.get("models") or [{}]
        return all((m.get("provider") or llm.get("provider")) == "grammar" for m in models)

    @property
    def needs_full_isolation(self) -> bool:
        """True unless the programs come from the embedded grammar or the user took the risk."""
        return not (self.uses_grammar_only or self.scaling_law.execution.allow_degraded_isolation)

    @property
    def hash(self) -> str:
        """Of everything that a resumed run must share: not the iterations, the place, or where else
        its numbers go."""
        mapping = redacted(self.mapping)
        mapping.pop("max_iterations", None)
        for name in ("output_dir", "logging"):
            mapping["scaling_law"].pop(name, None)
        return content_hash(mapping)

    def _resolve(self, path: str) -> Path:
        return (self.base_dir / user_path(path, "scaling_law")).resolve()


def load_experiment(
    path: Path | str, overrides: Sequence[str] = (), output_dir: Path | None = None
) -> Experiment:
    """Read and validate a configuration file.

    Args:
        overrides: ``dotted.key=value`` texts; see ``overrides.apply_override``.
        output_dir: replaces ``scaling_law.output_dir``; relative to the working directory.

    Raises:
        ConfigError: one line that says what is wrong and how to mend it.
    """
    path = user_path(path, "the config file")
    mapping = read_yaml(path)
    for override in overrides:
        apply_override(mapping, override)
    if output_dir is not None:
        _section(mapping)["output_dir"] = str(user_path(output_dir, "--output").resolve())
    scaling_law = from_mapping(ScalingLawConfig, _section(mapping), "scaling_law")
    check_openevolve_values(mapping)
    features = measured_features(scaling_law.diagnostics.mode)
    check_openevolve_half(mapping, scaling_law, features, path.resolve().parent)
    require_plain(mapping)
    experiment = Experiment(path=path.resolve(), mapping=mapping, scaling_law=scaling_law)
    if not experiment.initial_program.is_file():
        raise ConfigError(
            f"scaling_law.initial_program: no file at {experiment.initial_program}; wanted a "
            "program, relative to the config file (openevolve-unified init DIR makes copies)"
        )
    return experiment


def redacted(mapping: dict[str, Any]) -> dict[str, Any]:
    """The mapping with every literal ``api_key`` hidden; ``${VARIABLE}`` names stay."""

    def hide(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: hide(item, str(name)) for name, item in value.items()}
        if isinstance(value, list):
            return [hide(item) for item in value]
        if key == "api_key" and value is not None and not str(value).startswith("${"):
            return "(hidden)"
        return value

    return hide(copy.deepcopy(mapping))


def without_key(override: str) -> str:
    """A ``dotted.key=value`` text as it may be printed: literal keys in it are hidden."""
    name, separator, text = override.partition("=")
    if not separator:
        return override
    parts = [part.strip() for part in name.split(".")]
    last = "api_key" if "api_key" in parts else parts[-1]
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return f"{name}=(hidden)" if "api_key" in override else override
    hidden = redacted({last: value})[last]
    if hidden == value:
        return override
    if isinstance(hidden, str):
        return f"{name}={hidden}"
    flow = yaml.safe_dump(hidden, default_flow_style=True, width=10**6, sort_keys=False)
    return f"{name}={flow.strip()}"


def _section(mapping: dict[str, Any]) -> dict[str, Any]:
    if "scaling_law" not in mapping:
        raise ConfigError(
            "scaling_law: missing; wanted this package's section beside OpenEvolve's own keys (see "
            "configs/quickstart.yaml; openevolve-unified init DIR writes it)"
        )
    section = mapping["scaling_law"]
    if not isinstance(section, dict):
        raise ConfigError(f"scaling_law: got {section!r}, wanted a mapping of settings")
    return section

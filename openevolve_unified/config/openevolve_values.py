"""Values that OpenEvolve takes and breaks on later, some of them after everything was evaluated.

OpenEvolve reads numbers without bounds: no island, no worker or a checkpoint every 0 iterations end
in a traceback in the middle of a run. A section without a value is None there.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Union

from openevolve_unified.errors import ConfigError

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_TRACE_FORMATS = ("jsonl", "json", "hdf5")
_POSITIVE = (
    "checkpoint_interval",
    "max_code_length",
    "max_tasks_per_child",
    "llm.max_tokens",
    "llm.timeout",
    "llm.models.max_tokens",
    "llm.models.timeout",
    "database.population_size",
    "database.archive_size",
    "database.num_islands",
    "database.feature_bins",
    "database.migration_interval",
    "evaluator.timeout",
    "evaluator.parallel_evaluations",
    "evolution_trace.buffer_size",
)
"""One or more; else a division by zero, an empty population or a pool without processes."""
_NOT_NEGATIVE = (
    "max_iterations",
    "llm.retries",
    "llm.retry_delay",
    "llm.temperature",
    "llm.models.retries",
    "llm.models.retry_delay",
    "llm.models.temperature",
    "prompt.num_top_programs",
    "prompt.num_diverse_programs",
    "prompt.max_artifact_bytes",
    "database.diversity_reference_size",
    "database.artifact_size_threshold",
    "database.artifact_retention_days",
    "database.max_snapshot_artifacts",
    "evaluator.max_retries",
    "evaluator.max_artifact_storage",
)
_SEEDS = (
    "random_seed",
    "llm.random_seed",
    "llm.models.random_seed",
    "llm.evaluator_models.random_seed",
    "database.random_seed",
)
"""NumPy takes no others, and says so only when OpenEvolve starts, after the baseline."""
MAX_SEED = 2**32 - 1
_SHARES = (
    "full_rewrite_probability",
    "llm.top_p",
    "llm.models.top_p",
    "prompt.meta_prompt_weight",
    "database.elite_selection_ratio",
    "database.exploration_ratio",
    "database.exploitation_ratio",
    "database.migration_rate",
    "database.similarity_threshold",
    "evaluator.llm_feedback_weight",
)


def check_openevolve_values(mapping: Mapping[str, Any]) -> None:
    """Refuse shapes and numbers that would end a run in the middle.

    Keys that OpenEvolve does not know are left to ``openevolve_half``, and types of single values
    to OpenEvolve's own reading.

    Raises:
        ConfigError: one line that names the key, what it got and what it wanted.
    """
    from openevolve.config import Config

    for name, value in _settings(Config, mapping, ""):
        plain = re.sub(r"\[\d+\]", "", name)
        for part in value.values() if isinstance(value, Mapping) else (value,):
            _check_number(plain, name, part)
        rule = _RULES.get(plain)
        if rule is not None and isinstance(value, rule.kind) and not rule.accepts(value):
            raise ConfigError(f"{name}: got {value!r}, wanted {rule.wanted}")


def types_of(cls: type) -> dict[str, Any]:
    """The types of a configuration class's settings, ours or OpenEvolve's."""
    return typing.get_type_hints(cls, localns={"LLMInterface": Any})


def choices_of(hint: Any) -> tuple[Any, ...]:
    """What a type may be: the members of a union, or the type alone."""
    is_union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _settings(cls: type, mapping: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every setting that is given: (dotted name with positions in lists, value).

    Raises:
        ConfigError: a section, a list or a value that must not be absent is None or of another
            shape.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{path}: got {_show(mapping)}, wanted a mapping of settings")
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    for key, hint in types_of(cls).items():
        if key not in mapping:
            continue
        name, value = f"{path}.{key}" if path else key, mapping[key]
        choices = choices_of(hint)
        if value is None:
            if type(None) not in choices and defaults[key] is not None:
                raise ConfigError(
                    f"{name}: got {_show(value)}, wanted a value; leave the line out for the "
                    "default"
                )
            continue
        yield name, value
        yield from _parts(choices[0], value, name)


def _parts(hint: Any, value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The settings inside a section or a list of sections."""
    if dataclasses.is_dataclass(hint):
        yield from _settings(typing.cast(type, hint), value, name)
    elif typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise ConfigError(f"{name}: got {_show(value)}, wanted a list")
        inner = typing.get_args(hint)[0]
        for index, item in enumerate(value if dataclasses.is_dataclass(inner) else ()):
            yield from _settings(inner, item, f"{name}[{index}]")


def _check_number(plain: str, name: str, value: Any) -> None:
    bounds = _BOUNDS.get(plain)
    if bounds is None:
        return
    low, high, wanted = bounds
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, bool) or (is_number and not low <= value <= high):
        raise ConfigError(f"{name}: got {value!r}, wanted {wanted}")


@dataclasses.dataclass(frozen=True)
class _Rule:
    kind: type
    accepts: Callable[[Any], bool]
    wanted: str


def _has_two_groups(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups == 2
    except re.error:
        return False


def _show(value: Any) -> str:
    """What kind of value it is: a value in place of a section may hold a key."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else repr(value)


_INFINITE = float("inf")
_BOUNDS: dict[str, tuple[float, float, str]] = {
    **dict.fromkeys(_POSITIVE, (1, _INFINITE, "1 or more")),
    **dict.fromkeys(_NOT_NEGATIVE, (0, _INFINITE, "0 or more")),
    **dict.fromkeys(_SEEDS, (0, MAX_SEED, f"0 to {MAX_SEED}")),
    **dict.fromkeys(_SHARES, (0, 1, "0 to 1")),
}
_RULES = {
    "database.feature_dimensions": _Rule(list, bool, "at least one dimension"),
    "log_level": _Rule(str, _LOG_LEVELS.__contains__, f"one of {', '.join(_LOG_LEVELS)}"),
    "evolution_trace.format": _Rule(
        str, _TRACE_FORMATS.__contains__, f"one of {', '.join(_TRACE_FORMATS)}"
    ),
    "diff_pattern": _Rule(
        str, _has_two_groups, "a regular expression with two groups: what is sought, what replaces"
    ),
}

"""Strict validation of OpenEvolve's own part of a configuration, which OpenEvolve does not do.

OpenEvolve 0.4 ignores unknown keys, turns an unknown provider into the OpenAI client, and reads
some settings in ways that would let a crash outrank an honest candidate. Each rule here names the
trap that it closes. Keys and providers are those of the installed release.
"""

from __future__ import annotations

import copy
import dataclasses
import ipaddress
import math
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openevolve_unified.config.names import UNTRAINED_SCORE
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import ConfigError, nearest

OUR_PROVIDER = "grammar"
NOT_IN_A_FILE = ("init_client", "novelty_llm")
"""Fields of OpenEvolve's dataclasses that hold Python objects, which OpenEvolve sets itself."""
DATABASE_DIMENSIONS = ("complexity", "diversity", "score")
"""Feature dimensions that OpenEvolve measures itself."""
DEADLINE_MARGIN_S = 60
_ENVIRONMENT_VARIABLE = re.compile(r"^\$\{([^}]+)\}$")


def check_openevolve_half(
    mapping: Mapping[str, Any],
    scaling_law: ScalingLawConfig,
    feature_names: tuple[str, ...],
    base_dir: Path,
) -> None:
    """Refuse what OpenEvolve would silently ignore or misread.

    Args:
        mapping: the file's top level without ``scaling_law``.
        feature_names: the metrics of our evaluator that can be feature dimensions.
        base_dir: what relative paths are relative to.

    Raises:
        ConfigError: one line that names the key, what it got and what it wanted.
    """
    from openevolve.config import Config

    _check_keys(Config, mapping, "")
    _check_types(mapping)
    _check_llm(_section(mapping, "llm"))
    _check_evaluator(_section(mapping, "evaluator"), scaling_law)
    _check_island_programs(_section(mapping, "database"), base_dir)
    _check_templates(_section(mapping, "prompt"), base_dir)
    dimensions = _section(mapping, "database").get("feature_dimensions", ["complexity"])
    for dimension in dimensions:
        known = (*DATABASE_DIMENSIONS, *feature_names)
        if dimension not in known:
            raise ConfigError(
                f"database.feature_dimensions: got {dimension!r}, wanted one of "
                f"{', '.join(known)}{nearest(str(dimension), known)}"
            )


def missing_api_keys(mapping: Mapping[str, Any]) -> list[str]:
    """Names of the environment variables that the ``llm`` section needs and that are not set."""
    return [name for name in key_variables(mapping) if not os.environ.get(name)]


def key_variables(mapping: Mapping[str, Any]) -> list[str]:
    """Names of the environment variables that the ``llm`` section needs."""
    llm = _section(mapping, "llm")
    if llm.get("manual_mode"):
        return []
    variables = []
    for model in _models(llm):
        key = model.get("api_key") or llm.get("api_key")
        match = _ENVIRONMENT_VARIABLE.match(str(key))
        if match:
            variables.append(match.group(1))
        elif not key and _provider(model, llm) == "openai":
            variables.append("OPENAI_API_KEY")
    return list(dict.fromkeys(variables))


def local_server(mapping: Mapping[str, Any]) -> str | None:
    """The address of the model's server if every model is served on this machine or network."""
    llm = _section(mapping, "llm")
    servers = [str(model.get("api_base") or llm.get("api_base") or "") for model in _models(llm)]
    return servers[0] if servers and all(map(_is_local, servers)) else None


def _is_local(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return bool(host) and ("." not in host or host.endswith((".local", ".internal", ".lan")))


def _models(llm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The blocks of the proposing models; ``primary_model`` alone is one without settings."""
    models: list[Mapping[str, Any]] = list(llm.get("models") or ())
    return models or [{}]


def _provider(model: Mapping[str, Any], llm: Mapping[str, Any]) -> str:
    return str(model.get("provider") or llm.get("provider") or "openai")


def _section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = mapping.get(name) or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"{name}: got a {type(section).__name__}, wanted a mapping of settings")
    return section


def _check_keys(cls: type, mapping: Any, path: str) -> None:
    """Walk OpenEvolve's dataclasses beside the mapping; every key must be a field."""
    if not isinstance(mapping, Mapping):
        kind = type(mapping).__name__  # without the value, which may hold a key
        raise ConfigError(f"{path or 'the file'}: got a {kind}, wanted a mapping of settings")
    hints = {field.name: field.type for field in dataclasses.fields(cls)}
    public = [name for name in hints if not name.startswith("_") and name not in NOT_IN_A_FILE]
    if not path:
        public.append("scaling_law")
    resolved = typing.get_type_hints(cls, localns={"LLMInterface": Any})
    for key, value in mapping.items():
        name = f"{path}.{key}" if path else str(key)
        if key not in public:
            hint = nearest(str(key), public) or f"; valid keys: {', '.join(sorted(public))}"
            raise ConfigError(f"{name}: unknown key{hint}")
        hint_type = resolved.get(key)
        if isinstance(hint_type, type) and dataclasses.is_dataclass(hint_type):
            _check_keys(hint_type, {} if value is None else value, name)
        for argument in typing.get_args(hint_type):
            if isinstance(argument, type) and dataclasses.is_dataclass(argument):
                for index, item in enumerate(value or ()):
                    _check_keys(argument, item, f"{name}[{index}]")


def _check_types(mapping: Mapping[str, Any]) -> None:
    """Let OpenEvolve build its own configuration, with stand-ins for keys that are not set."""
    from openevolve.config import Config

    plain = copy.deepcopy({k: v for k, v in mapping.items() if k != "scaling_law"})
    llm = plain.get("llm") or {}
    for block in (llm, *(llm.get("models") or ()), *(llm.get("evaluator_models") or ())):
        if isinstance(block, dict) and block.get("api_key"):
            block["api_key"] = "stand-in"
    try:
        Config.from_dict(plain)
    except Exception as error:  # dacite raises its own family of errors
        text = " ".join(str(error).split())
        raise ConfigError(f"OpenEvolve cannot read this configuration: {text}") from error


def _check_llm(llm: Mapping[str, Any]) -> None:
    models = llm.get("models") or ()
    for block in (llm, *models, *(llm.get("evaluator_models") or ())):
        provider = block.get("provider")
        if provider is not None and provider not in (known := known_providers()):
            raise ConfigError(
                f"llm.provider: got {provider!r}, wanted one of {', '.join(known)}"
                f"{nearest(str(provider), known)} (OpenEvolve would silently use OpenAI)"
            )
    if not models and not llm.get("primary_model"):
        raise ConfigError("llm.models: missing; wanted at least one model to propose programs")
    weights = [model.get("weight", 1.0) for model in models]
    if any(not math.isfinite(weight) or weight < 0 for weight in weights) or not (
        sum(weights) > 0 or not models
    ):
        raise ConfigError(
            f"llm.models: got the weights {', '.join(map(str, weights))}; wanted numbers of 0 or "
            "more, at least one above 0: a model is asked as often as its share says"
        )


def known_providers() -> list[str]:
    """What ``llm.provider`` can be: OpenEvolve's, as installed, and the embedded grammar."""
    from openevolve.llm import ensemble

    return sorted({*ensemble._PROVIDER_REGISTRY, OUR_PROVIDER})


def _check_island_programs(database: Mapping[str, Any], base_dir: Path) -> None:
    """Since OpenEvolve 0.4.1 an island can start from a program of its own."""
    for index, place in enumerate(database.get("island_initial_programs") or ()):
        if place is not None and not (base_dir / str(place)).is_file():
            raise ConfigError(
                f"database.island_initial_programs[{index}]: no file at {base_dir / str(place)}; "
                "wanted a program, relative to the config file"
            )


def _check_templates(prompt: Mapping[str, Any], base_dir: Path) -> None:
    """OpenEvolve would silently use its own templates instead of those of a missing folder."""
    folder = prompt.get("template_dir")
    if folder and not (base_dir / str(folder)).is_dir():
        raise ConfigError(
            f"prompt.template_dir: no folder at {base_dir / str(folder)}; wanted a folder of "
            "prompt templates, relative to the config file"
        )


def _check_evaluator(evaluator: Mapping[str, Any], scaling_law: ScalingLawConfig) -> None:
    timeout = evaluator.get("timeout", 300)
    needed = scaling_law.execution.deadline_s + DEADLINE_MARGIN_S
    if timeout < needed:
        raise ConfigError(
            f"evaluator.timeout: got {timeout} s, wanted at least {needed:.0f} s, which is "
            f"scaling_law.execution.deadline_s + {DEADLINE_MARGIN_S} s: when OpenEvolve's own "
            "timeout fires, it scores the candidate 0, above any honest negative fitness"
        )
    if evaluator.get("use_llm_feedback"):
        raise ConfigError(
            "evaluator.use_llm_feedback: got true, wanted false: OpenEvolve would mix a language "
            "model's opinion into the measured fitness"
        )
    if evaluator.get("evaluator_args"):
        raise ConfigError(
            "evaluator.evaluator_args: got arguments, wanted none: the evaluator takes the program "
            "only, and OpenEvolve would stop; its settings are in scaling_law"
        )
    thresholds = evaluator.get("cascade_thresholds", [0.5])
    if evaluator.get("cascade_evaluation", True) and (
        not thresholds or thresholds[0] > UNTRAINED_SCORE
    ):
        raise ConfigError(
            "evaluator.cascade_evaluation: got true, wanted false (or a first cascade threshold "
            f"of at most {UNTRAINED_SCORE:.0f}, the score of a candidate that is legal but not "
            "yet trained)"
        )

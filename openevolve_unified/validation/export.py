"""Exports: a finding made of what a run or a validation left, from its folder and its store.

Nothing is trained, except weights that are not in the store, where that is asked for. The folder
appears whole or not at all.
"""

from __future__ import annotations

import copy
import dataclasses
import gzip
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from openevolve_unified.bench.processor import processor_name
from openevolve_unified.config.experiment import redacted
from openevolve_unified.data import TokenData
from openevolve_unified.data.corpora import load
from openevolve_unified.data.text_files import find_text_files
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.ladder import train_requests
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.files import disk_errors, write_bytes, write_json, write_text
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.plain.versions import installed_versions
from openevolve_unified.records import TRAINING_VERSION, TrainRun
from openevolve_unified.runs.directory import PACKAGES
from openevolve_unified.store import Store
from openevolve_unified.validation.arms import ARMS, Arm
from openevolve_unified.validation.finding import (
    ABOUT,
    DOCUMENTS,
    About,
    Finding,
    HeldOutHashes,
    StoredRun,
    read_finding,
)
from openevolve_unified.validation.independent_reader import STORIES
from openevolve_unified.validation.manifest import seal
from openevolve_unified.validation.material import Material

MAX_CORPUS_BYTES = 64 << 20
"""Larger text is left out: a finding is to be sent by mail."""


@dataclass(frozen=True, kw_only=True)
class WeightChoice:
    """Which trained weights go along."""

    sizes: Literal["none", "largest", "all"] = "largest"
    num_seeds: int = 1
    """The first ones."""
    retrain: bool = False
    """Train those again that the store does not have."""


def export_finding(
    material: Material, folder: Path, choice: WeightChoice, say: Callable[[str], None]
) -> Finding:
    """Write a finding into ``folder``, which must not exist yet.

    Args:
        say: told what was left out, and what takes time.

    Raises:
        ConfigError: there is something at ``folder``, records are missing, or the disk is full.
        MachineError: the machine could not finish; the same call continues.
    """
    if folder.exists():
        raise ConfigError(f"--output: {folder} exists already; wanted a new folder")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    found = {arm: _recorded(material, arm) for arm in ARMS}
    left_out: list[str] = []
    for arm in ARMS:
        write_text(part / "programs" / f"{arm}.py", material.programs[arm])
        for _, stored in found[arm]:
            write_json(part / "records" / arm / f"{stored.name}.json", stored)
    for name, path in material.documents.items():
        with disk_errors(part / DOCUMENTS / name):
            write_bytes(part / DOCUMENTS / name, path.read_bytes())
    context = material.pipelines["standard"].context
    law, has_corpus = _with_corpus(material, part, left_out, say)
    write_text(part / "config.yaml", yaml.safe_dump(law, sort_keys=False))
    work = folder.with_name(f".{folder.name}.work")
    num_bytes = 0
    for arm in ARMS:
        num_bytes += _add_weights(
            material.pipelines[arm], arm, found[arm], part / "weights" / arm, choice, work, left_out
        )
    about = About(
        kind=material.kind,
        framework=context.config.framework,
        horizon=context.config.training.horizon,
        is_pilot=context.config.training.is_pilot,
        verdict=material.verdict,
        sentence=material.sentence,
        criteria=None if material.criteria is None else to_plain(material.criteria),
        seeds=material.seeds,
        sizes=tuple(size.name for size in context.config.sizes),
        held_out=held_out_hashes(context.data()),
        config_hash=material.config_hash,
        training_version=TRAINING_VERSION,
        versions=versions(),
        left_out=tuple(left_out),
        weights_bytes=num_bytes,
        has_corpus=has_corpus,
    )
    write_json(part / ABOUT, about)
    seal(part)
    with disk_errors(folder):
        os.replace(part, folder)
    shutil.rmtree(work, ignore_errors=True)
    for line in left_out:
        say(f"left out: {line}")
    return read_finding(folder)


def versions() -> dict[str, str]:
    """Of Python and the packages whose numbers these are; and the processor."""
    return {**installed_versions(PACKAGES), "processor": processor_name()}


def held_out_hashes(data: TokenData) -> HeldOutHashes:
    """What the losses on this data are measured on."""
    return HeldOutHashes(
        fingerprint=data.fingerprint,
        vocab_size=data.vocab_size,
        validation=rows_hash(data.validation),
        test=rows_hash(data.test),
    )


def rows_hash(rows: np.ndarray) -> str:
    """SHA-256 of rows of tokens, as little-endian uint16."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<u2").tobytes()).hexdigest()


def _recorded(material: Material, arm: Arm) -> list[tuple[TrainRequest, StoredRun]]:
    """Every model of an arm with its record.

    Raises:
        ConfigError: the program is refused here, or a record is not in the store.
    """
    pipeline = material.pipelines[arm]
    try:
        checked = pipeline.check(material.programs[arm])
    except CandidateError as error:
        raise ConfigError(
            f"finding: the {arm} program is refused at stage '{error.stage}': {error.reason}"
        ) from None
    requests = train_requests(pipeline.context, checked, material.seeds)
    found, missing = [], []
    for request in requests:
        record = pipeline.context.store.get("runs", request.job.key)
        if record is None:
            missing.append(f"{request.job.size.name} seed {request.job.seed}")
        else:
            run = from_mapping(TrainRun, record, "run")
            found.append((request, StoredRun(job=request.job, run=run)))
    if missing:
        raise ConfigError(
            f"finding: {len(missing)} of {len(requests)} records of the {arm} arm are not in the "
            f"store (first {missing[0]}): they were made by another version or on another device, "
            "or not at all; continue the command that makes them, or name its store with --store"
        )
    return found


def _with_corpus(
    material: Material, part: Path, left_out: list[str], say: Callable[[str], None]
) -> tuple[dict[str, Any], bool]:
    """The configuration with paths of the finding, and whether the text went along."""
    context = material.pipelines["standard"].context
    config, mapping = context.config.data, redacted(copy.deepcopy(material.mapping))
    law = mapping["scaling_law"]
    law.update(initial_program="programs/standard.py", output_dir="replay")
    (law.get("execution") or {}).pop("store_dir", None)
    data = law.setdefault("data", {})
    data.pop("cache_dir", None)
    if template_dir := (mapping.get("prompt") or {}).get("template_dir"):
        mapping["prompt"]["template_dir"] = Path(template_dir).name
    if config.source == "stories":
        corpus = load(config, context.base_dir, say)
        stories = corpus.fetch(np.arange(corpus.num_documents))
        return mapping, _add(part / "corpus" / STORIES, _as_lines(stories), left_out)
    if config.source != "text":
        left_out.append(f"the data set {config.path or config.source}: it is loaded by its name")
        return mapping, False
    source = context.base_dir / Path(config.path or "").expanduser()
    data["path"] = "corpus" if source.is_dir() else f"corpus/{source.name}"
    root = source if source.is_dir() else source.parent
    files = find_text_files(source).files
    if sum(file.stat().st_size for file in files) > MAX_CORPUS_BYTES:
        left_out.append(_too_large("the text"))
        return mapping, False
    for file in files:
        write_bytes(part / "corpus" / file.relative_to(root), file.read_bytes())
    return mapping, True


def _add(path: Path, content: bytes, left_out: list[str]) -> bool:
    if len(content) > MAX_CORPUS_BYTES:
        left_out.append(_too_large("the stories"))
        return False
    write_bytes(path, content)
    return True


def _too_large(what: str) -> str:
    return (
        f"{what}: more than {MAX_CORPUS_BYTES >> 20} MB, so who replays needs it beside "
        "(--set scaling_law.data.path=PATH)"
    )


def _as_lines(texts: Sequence[str]) -> bytes:
    """Gzipped JSON lines; equal texts give equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as packed:
        packed.writelines(json.dumps(text).encode() + b"\n" for text in texts)
    return buffer.getvalue()


def _add_weights(
    pipeline: Pipeline,
    arm: Arm,
    recorded: Sequence[tuple[TrainRequest, StoredRun]],
    folder: Path,
    choice: WeightChoice,
    work: Path,
    left_out: list[str],
) -> int:
    """Copy the chosen weights; their bytes."""
    largest = pipeline.config.sizes[-1]
    seeds = list(dict.fromkeys(stored.job.seed for _, stored in recorded))[: choice.num_seeds]
    wanted = [
        (request, stored)
        for request, stored in recorded
        if stored.job.seed in seeds
        and choice.sizes != "none"
        and (choice.sizes == "all" or stored.job.size == largest)
        and stored.run.status == "finished"
    ]
    lacking = [pair for pair in wanted if not _weights_of(pipeline.context.store, pair[0]).exists()]
    if lacking and choice.retrain:
        _train_again(pipeline, lacking, work)
    total = 0
    for request, stored in wanted:
        paths = [_weights_of(store, request) for store in (pipeline.context.store, Store(work))]
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            left_out.append(
                f"the weights of {arm} {stored.job.size.name} seed {stored.job.seed}: the store "
                "has none (scaling_law.execution.keep_weights); --retrain trains such models again"
            )
            continue
        content = path.read_bytes()
        write_bytes(folder / f"{stored.name}.safetensors", content)
        total += len(content)
    if len(wanted) < len(recorded):
        left_out.append(f"the weights of {len(recorded) - len(wanted)} other {arm} models")
    return total


def _weights_of(store: Store, request: TrainRequest) -> Path:
    return store.path("weights", request.job.key, ".safetensors")


def _train_again(
    pipeline: Pipeline, lacking: Sequence[tuple[TrainRequest, StoredRun]], work: Path
) -> None:
    """Train models anew into a store of their own.

    Raises:
        ConfigError: one of them has another loss than its record: these are not its weights.
    """
    requests = [
        dataclasses.replace(request, store=str(work), keep_weights=True) for request, _ in lacking
    ]
    results = pipeline.perform([request.training() for request in requests])
    for result, (_, stored) in zip(results, lacking, strict=True):
        run = from_mapping(TrainRun, result, "run")
        if run.final_loss_nats != stored.run.final_loss_nats:
            raise ConfigError(
                f"--retrain: {stored.name} gave {run.final_loss_nats}, recorded is "
                f"{stored.run.final_loss_nats}: these are not the weights of the record (other "
                "versions, another processor or another form of the step)"
            )

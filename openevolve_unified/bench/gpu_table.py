"""The GPU check as text and as Markdown."""

from __future__ import annotations

from statistics import median

from openevolve_unified.bench.gpu_check import MIN_BANDWIDTH, TOLERANCE_NATS, GpuCheck
from openevolve_unified.bench.table import (
    Table,
    limits_table,
    markdown_lines,
    number,
    steps_table,
    table_lines,
    workers_table,
)


def as_text(check: GpuCheck) -> str:
    """For a terminal."""
    return "\n".join([_headline(check), *table_lines(_tables(check)), "", *_closing(check)])


def as_markdown(check: GpuCheck) -> str:
    """For ``docs/measured.md``."""
    return "\n".join([_headline(check), *markdown_lines(_tables(check)), "", *_closing(check)])


def _headline(check: GpuCheck) -> str:
    kind = "GPU check" if check.device.startswith("cuda") else "rehearsal of the GPU check"
    return (
        f"{kind} of {check.experiment} on {check.device}: {check.limits.machine}, "
        f"torch {check.torch_version}, {check.precision}, {check.duration_s:.0f} s"
    )


def _tables(check: GpuCheck) -> list[Table]:
    return [
        limits_table(check),
        steps_table(check),
        _forms(check),
        _kernels(check),
        _chunks(check),
        workers_table(check),
        _streams(check),
    ]


def _forms(check: GpuCheck) -> Table:
    rows = [
        (
            form.size,
            form.form,
            f"{form.largest_gap:.1e}",
            str(form.num_kernels),
            f"{100 * form.busy_share:.0f}%",
        )
        for form in check.forms
    ]
    rows.append((check.forms[0].size, "plain, CPU", f"{check.cpu_gap:.1e}", "-", "-"))
    note = (
        f"Largest difference of a loss, in nats, to the plain form (allowed: "
        f"{TOLERANCE_NATS[check.precision]:g}); last line: the plain form here to float32 on a CPU."
    )
    columns = ("size", "form", "largest gap", "kernels/step", "busy")
    return Table("Is each form right, and what is it made of", columns, tuple(rows), note)


def _kernels(check: GpuCheck) -> Table:
    last = [form for form in check.forms if form.size == check.forms[-1].size]
    rows = tuple(
        (form.form, name[:60], number(1e3 * seconds, 3))
        for form in last
        for name, seconds in form.top
    )
    return Table(f"Where the time goes, {last[0].size}", ("form", "kernel", "ms/step"), rows)


def _chunks(check: GpuCheck) -> Table:
    rows = tuple((f"{rows:,}", number(1e3 * seconds, 3)) for rows, seconds in check.chunk_s)
    return Table("The vocabulary loss and its gradients", ("rows per chunk", "ms"), rows)


def _streams(check: GpuCheck) -> Table:
    has_streams = check.device.startswith("cuda")
    title = "Two recorded steps on two streams of one process"
    note = "against one of them alone, in the same rounds."
    if not has_streams:
        title = "Two plain steps of one process, in turn"
        note = f"A CPU has no streams: nothing is gained here; {note}"
    rows = tuple(
        (
            result.size,
            number(median(result.round_steps_per_s), 1),
            f"{result.gain.value:.2f} ({result.gain.low:.2f} to {result.gain.high:.2f})",
        )
        for result in check.streams
    )
    return Table(title, ("size", "steps/s, both", "gain"), rows, note[0].upper() + note[1:])


def _bandwidth(check: GpuCheck) -> str:
    """Whether stacking the seeds of one size into one model would pay."""
    shares = ", ".join(f"{100 * step.memory_share:.0f}% at {step.size}" for step in check.fastest)
    low = [step.size for step in check.fastest if step.memory_share < MIN_BANDWIDTH]
    verdict = (
        f"under {100 * MIN_BANDWIDTH:.0f}% at {', '.join(low)}, where seeds stacked into one model "
        "would pay (not built)"
        if low
        else f"nowhere under {100 * MIN_BANDWIDTH:.0f}%: stacked seeds would not pay"
    )
    return (
        "Bandwidth of the fastest form, by the bytes of the plain one (a fused one moves fewer), "
        f"of measured copies: {shares}; {verdict}."
    )


def _closing(check: GpuCheck) -> list[str]:
    best = max(check.workers, key=lambda result: result.gain.value)
    alone_s = check.evaluation_s
    lines = [
        f"Steps of one evaluation ({check.num_jobs} models of {check.training_steps:,} steps), "
        f"computed: {alone_s / 60:.1f} min one after the other, "
        f"{alone_s / best.gain.value / 60:.1f} min with {best.num_workers} side by side."
    ]
    lines.append(_bandwidth(check))
    return lines + [f"WRONG: {fault}" for fault in check.faults]

"""Wrong inputs: one clear line, the right exit status, no traceback, nothing lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from json_keys import undocumented

from openevolve_unified.cli.app import main

ROOT = Path(__file__).parents[2]
EVALUATOR = ROOT / "openevolve_unified" / "plugin" / "openevolve_evaluator" / "evaluator.py"
PROGRAM = ROOT / "initial_programs" / "coefficient_dynamics.py"


def slow(*values):
    """What a faster test of its own module covers too: through the commands with ``-m slow``."""
    return pytest.param(*values, marks=pytest.mark.slow)


WITHOUT_GPUS = {"CUDA_VISIBLE_DEVICES": ""}


def one_line(errors):
    lines = [line for line in errors.strip().splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    return lines[0]


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("scaling_law.execution.device=cuda", "no CUDA device"),
        ("scaling_law.data.seq_len=4", "wanted 8 to 4096"),
        ("scaling_law.fitness.target_params=100", "scaling_law.fitness.target_params: got 100"),
        ("scaling_law.framework=matrix_mixer", "MatrixMixer"),
        slow("scaling_law.data={source: text, path: empty.txt, vocab_size: 300}", "empty.txt"),
        ("scaling_law.training.batch_size=5000", "5000"),
        slow("scaling_law.execution.deadline_s=0.001", "deadline_s"),
        slow("evaluator.timeout=10", "evaluator.timeout"),
    ],
)
def test_a_wrong_setting_is_one_line(override, wanted, tiny, call, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    status, output, errors = call("openevolve", tiny(), "--set", override, environment=WITHOUT_GPUS)
    assert status == 2, output
    assert wanted in one_line(errors)


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("scaling_law.trainng.seeds=[1]", "did you mean 'training'"),
        ("scaling_law.initial_program=nowhere.py", "no file at"),
        slow("scaling_law.initial_program=leak.py", "refused at stage 'causality'"),
        ("scaling_law.data={source: text, path: nowhere.txt}", "scaling_law.data.path: got"),
        slow("scaling_law.execution.device=cuda", "no CUDA device"),
        slow("scaling_law.training.training_steps=100000000", "deadline_s is 0.2 h"),
    ],
    ids=["config", "no program", "program", "data", "device", "deadline"],
)
def test_a_refused_run_leaves_the_earlier_one_in_its_place(override, wanted, tiny, call, tmp_path):
    (tmp_path / "leak.py").write_text(PROGRAM.read_text().replace("(dim=-1)", "(dim=-2)"))
    history = tmp_path / "run" / "fitness_history.json"
    history.parent.mkdir()
    history.write_text('{"programs": []}')
    status, output, errors = call("openevolve", tiny(), "--set", override, environment=WITHOUT_GPUS)
    assert status == 2, output
    assert wanted in one_line(errors)
    assert history.exists()
    assert not (tmp_path / "run.1").exists()
    assert not (history.parent / "settings.json").exists(), "nor is it given other settings"


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        slow("scaling_law.training.training_steps=100000000", "deadline_s is 0.2 h"),
        ("scaling_law.execution.price_per_hour=free", "price_per_hour: got 'free'"),
    ],
    ids=["deadline", "no price"],
)
def test_a_plan_that_cannot_work_is_one_line(override, wanted, tiny, call):
    status, output, errors = call("openevolve-unified", "plan", tiny(), "--set", override)
    assert status == 2, output
    assert wanted in one_line(errors)


@pytest.fixture(scope="module")
def planned(new_place):
    """A plan with a price, on data that no other test uses."""
    place = new_place()
    path = place.tiny({"scaling_law.data.seed": 11, "scaling_law.execution.price_per_hour": 3.5})
    return place, path, place.run("openevolve-unified", "plan", path, "--json")


def test_a_plan_that_works_says_what_it_costs(planned):
    _, _, (status, output, errors) = planned
    assert status == 0, errors
    assert "cost      about" in output
    report = json.loads(output.splitlines()[-1])
    assert undocumented("plan", report) == []
    assert report["cost"] == pytest.approx(3.5 * report["evolution_s"] / 3600)


def test_a_plan_is_no_run_and_leaves_no_folder_of_one(planned):
    place, _, _ = planned
    assert (place.folder / "store" / "logs" / "workers.log").exists()
    assert not (place.folder / "run").exists()


@pytest.fixture(scope="module")
def evaluated(planned, cache_home):
    """An evaluation on the data of the plan, whose cache was damaged in between."""
    place, path, _ = planned
    damaged = max(cache_home.rglob("*.npy"), key=lambda file: file.stat().st_mtime)
    damaged.write_bytes(damaged.read_bytes()[:100])
    return place.run("openevolve-unified", "evaluate", PROGRAM, "--config", path, "--json")


def test_a_truncated_cache_is_rebuilt_and_said(evaluated):
    status, output, errors = evaluated
    assert status == 0, errors
    assert "rebuil" in output + errors


def test_evaluate_prints_metrics_and_artifacts(evaluated):
    status, output, errors = evaluated
    assert status == 0, errors
    report = json.loads(output.splitlines()[-1])
    assert undocumented("evaluate", report) == []
    assert report["metrics"]["trained"] == 1.0
    assert report["metrics"]["is_pilot"] == 1.0
    assert "16x1" in report["artifacts"]["losses_per_size"]


def test_a_missing_config_points_to_init(call):
    status, _, errors = call("openevolve", "nowhere.yaml")
    assert status == 2
    assert "openevolve-unified init" in one_line(errors)


@pytest.mark.parametrize(
    ("change", "stage", "wanted"),
    [
        (lambda text: text, None, None),
        slow(lambda text: text.replace("# EVOLVE-BLOCK-START", "#"), "block", "EVOLVE-BLOCK"),
        slow(lambda text: text + text, "block", "EVOLVE-BLOCK"),
        (lambda text: text.replace("import math", "import os"), "block", "import os"),
        slow(
            lambda text: text.replace("softmax(dim=-1)", "softmax(dim=-2)"), "causality", "position"
        ),
        slow(
            lambda text: text.replace("def impulse", "def impulse("), "policy", "not valid python"
        ),
    ],
    ids=["legal", "no block", "two blocks", "outside", "leak", "syntax"],
)
def test_check_says_what_is_wrong(change, stage, wanted, tiny, run, tmp_path):
    program = tmp_path / "candidate.py"
    program.write_text(change(PROGRAM.read_text()))
    status, output, errors = run(
        "openevolve-unified", "check", program, "--config", tiny(), "--json"
    )
    report = json.loads(output.splitlines()[-1])
    assert undocumented("check", report) == []
    assert report["stage"] == stage, report
    assert report["accepted"] is (stage is None)
    assert status == (0 if stage is None else 1), errors
    if wanted:
        assert wanted.lower() in report["reason"].lower()
    assert not (tmp_path / "run").exists(), "a check is no run"


def test_a_missing_program_is_a_wrong_command(tiny, call):
    status, _, errors = call("openevolve-unified", "check", "none.py", "--config", tiny())
    assert status == 2
    assert "no such program file" in one_line(errors)


def test_init_writes_configs_that_work_anywhere(run, tmp_path):
    status, output, _ = run("openevolve-unified", "init", "here")
    assert status == 0
    assert (tmp_path / "here" / "configs" / "quickstart.yaml").exists()
    assert (tmp_path / "here" / "initial_programs" / "matrix_mixer.py").exists()
    assert "next: openevolve here/configs/quickstart.yaml" in output


def test_init_says_which_files_it_kept_and_how_to_have_them_fresh(call, tmp_path):
    _, output, _ = call("openevolve-unified", "init", "here")
    assert output.count("wrote here/") == output.count("\n") - 1
    mine = tmp_path / "here" / "configs" / "quickstart.yaml"
    mine.write_text("mine")
    lost = tmp_path / "here" / "initial_programs" / "matrix_mixer.py"
    lost.unlink()
    status, output, _ = call("openevolve-unified", "init", "here")
    assert status == 0
    first, second, _ = output.splitlines()
    assert first == "wrote here/initial_programs/matrix_mixer.py"
    assert second.startswith("kept as they were: here/configs/")
    assert "here/configs/quickstart.yaml" in second
    assert "matrix_mixer.py" not in second
    assert second.endswith("for fresh copies, move or delete them and run init again")
    assert mine.read_text() == "mine"
    assert lost.exists()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, "--config: got none, wanted a config file"),
        ("max_iterations: 1\n", "scaling_law: missing"),
        slow("scaling_law: {framwork: matrix_mixer}\n", "did you mean 'framework'"),
    ],
    ids=["no config", "no section", "misspelt"],
)
def test_openevolves_own_command_without_our_section_is_one_line(content, wanted, run, tmp_path):
    arguments = [PROGRAM, EVALUATOR, "--output", tmp_path / "native"]
    if content is not None:
        (tmp_path / "own.yaml").write_text(content)
        arguments += ["--config", tmp_path / "own.yaml"]
    status, output, errors = run("openevolve-run", *arguments)
    assert status == 2, output
    assert wanted in one_line(errors)
    assert "Traceback" not in output


def test_help_names_every_option(call):
    _, output, _ = call("openevolve", "--help")
    for option in ("--iterations", "--output", "--resume", "--set"):
        assert option in output


def test_an_output_folder_that_cannot_be_made_is_one_line(tiny, call):
    status, _, errors = call("openevolve", tiny(), "--output", "/proc/nowhere/run")
    assert status == 2
    assert "cannot write /proc/nowhere/run" in one_line(errors)


def in_a_namespace(mounts):
    """A command that runs another one with ``mounts`` made for it alone."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{mounts} && exec "$@"']


def can_mount():
    try:
        found = subprocess.run([*in_a_namespace("true"), "x", "true"], capture_output=True)
    except FileNotFoundError:
        return False
    return found.returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="this user cannot mount")


# A file system of its own in each case: a remount of the machine's would reach everybody.
@needs_mounts
@pytest.mark.parametrize("options", ["ro", "nr_inodes=1"], ids=["read-only", "full"])
def test_a_machine_without_shared_memory_is_one_line_before_anything_is_spent(
    options, tiny, run, tmp_path
):
    prefix = [*in_a_namespace(f"mount -t tmpfs -o {options} tmpfs /dev/shm"), "x"]
    status, output, errors = run("openevolve", tiny(), prefix=prefix)
    assert status == 2, output
    assert "wanted a /dev/shm that can be written" in one_line(errors)
    assert output == ""
    assert not (tmp_path / "run").exists()


@needs_mounts
def test_a_user_without_home_and_name_is_one_line_or_works_with_a_cache_of_its_own(
    tiny, run, tmp_path
):
    (tmp_path / "passwd").write_text("")
    (tmp_path / "nsswitch.conf").write_text("passwd: files\n")
    mounts = " && ".join(
        f"mount --bind {tmp_path / name} /etc/{name}" for name in ("passwd", "nsswitch.conf")
    )
    variables = [f"-u{name}" for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME")]
    prefix = [*in_a_namespace(mounts), "x", "env", *variables]
    status, output, errors = run("openevolve", tiny(), prefix=prefix)
    assert status == 2, output
    assert "wanted a user with a home folder; set HOME" in one_line(errors)
    own = ("--set", "scaling_law.data.cache_dir=cache")
    arguments = ("check", PROGRAM, "--config", tiny(), *own)
    status, output, errors = run("openevolve-unified", *arguments, prefix=prefix)
    assert status == 0, errors
    assert "accepted" in output


@pytest.mark.parametrize(
    ("command", "folder"),
    [(("validate", "--evolved", str(PROGRAM)), ""), (("control",), "/control")],
)
def test_a_folder_that_cannot_be_made_is_one_line(command, folder, tiny, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "new"
    assert main([command[0], str(tiny()), *command[1:], "--output", str(output)]) == 2
    line = one_line(capsys.readouterr().err)
    assert f"cannot write {output}{folder}/.running (Not a directory)" in line
    assert "choose another with --output" in line

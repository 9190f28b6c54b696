"""What other commands left behind a run: of its best program, and found where they leave it."""

from __future__ import annotations

import json

import pytest
from dossiers import answers, fact, record_of
from made_run import runs_in

from openevolve_unified.errors import ConfigError
from openevolve_unified.validation.dossier import dossier_of
from openevolve_unified.validation.dossier_records import gather
from openevolve_unified.validation.manifest import seal
from openevolve_unified.validation.run_folder import read_run


@pytest.fixture
def made(tmp_path):
    return runs_in(tmp_path)


def test_what_other_commands_found_is_told_in_their_words(made):
    folder = made("run")
    (folder / "ablation.json").write_text(json.dumps({"sentences": ["hunk 1 carries the gain"]}))
    found = record_of(folder)
    assert fact(found, "controls", "pieces of the change") == ["hunk 1 carries the gain"]
    apart = answers(found, "before claiming")["Was the change taken apart, piece by piece?"]
    assert apart.answer == "yes"
    steps = [item.value for item in found.section("next steps").facts]
    assert not any(step.startswith("take the change apart") for step in steps)
    assert any(step.startswith("let somebody else repeat it") for step in steps)


def test_an_ablation_of_another_program_is_none_of_this_run(made):
    folder = made("run")
    found = {"sentences": ["hunk 1 carries the gain"], "fingerprints": {"evolved": "another's"}}
    (folder / "ablation.json").write_text(json.dumps(found))
    records = gather(read_run(folder))
    records.run.best["fingerprint"] = "another's"
    assert records.other("ablation.json") == found
    records.run.best["fingerprint"] = "the best's"
    assert records.other("ablation.json") is None


def test_a_file_of_another_command_counts_by_what_it_says(made, tmp_path):
    folder = made("run")
    question = "Was the finding repeated by an independent reader?"
    for agrees, answer in ((True, "yes"), (False, "no")):
        path = tmp_path / "replay.json"
        path.write_text(json.dumps({"agrees": agrees}))
        found = dossier_of(gather(read_run(folder), None, [path]))
        assert answers(found, "before claiming")[question].answer == answer
    other = tmp_path / "other.json"
    other.write_text("{}")
    for wrong in (other, tmp_path / "missing" / "replay.json"):
        with pytest.raises(ConfigError, match=r"--also: got .* wanted a readable file called"):
            gather(read_run(folder), None, [wrong])


def test_a_replay_is_found_beside_its_finding(made):
    folder = made("replayed")
    run, question = read_run(folder), "Was the finding repeated by an independent reader?"
    evolved = (folder / "programs" / run.best["file"]).read_bytes()

    def leave(name, source, manifest_hash=None):
        (folder.parent / name / "programs").mkdir(parents=True)
        (folder.parent / name / "programs" / "evolved.py").write_bytes(source)
        own = seal(folder.parent / name)
        replayed = folder.parent / f"{name}-replay"
        replayed.mkdir()
        told = {"agrees": True, "manifest_hash": manifest_hash or own}
        (replayed / "replay.json").write_text(json.dumps(told))
        return answers(record_of(folder), "before claiming")[question].answer

    assert leave("of_another_program", b"other") == "no"
    assert leave("changed_since", evolved, "0" * 64) == "no"
    assert leave("finding", evolved) == "yes"

"""Settings reach the experiment as they were written: none cut, replaced or overruled."""

from __future__ import annotations

import copy

import pytest
import yaml

from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.yaml_file import require_plain
from openevolve_unified.errors import ConfigError

GOOD = {
    "max_iterations": 3,
    "llm": {"provider": "grammar", "api_key": "not-needed", "models": [{"name": "grammar"}]},
    "database": {"feature_dimensions": ["lookback"]},
    "evaluator": {"timeout": 1000, "cascade_evaluation": False},
    "scaling_law": {
        "framework": "matrix_mixer",
        "initial_program": "program.py",
        "output_dir": "out",
        "ladder": "quickstart",
        "data": {"source": "text", "path": "text.txt"},
        "execution": {"deadline_s": 900},
    },
}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "program.py").write_text("pass\n")

    def write(changes=None):
        mapping = copy.deepcopy(GOOD)
        for dotted, value in (changes or {}).items():
            *parents, last = dotted.split(".")
            place = mapping
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(mapping))
        return path

    return write


def refusal_of(*arguments):
    with pytest.raises(ConfigError) as caught:
        load_experiment(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("llm: {}\nllm: {}\n", "llm: given twice, in lines 1 and 2"),
        (
            "scaling_law:\n  data:\n    seed: 1\n    # again\n    seed: 2\n",
            "scaling_law.data.seed: given twice, in lines 3 and 5",
        ),
        (
            "llm:\n  models:\n    - {name: a}\n    - name: b\n      'name': c\n",
            "llm.models[1].name: given twice, in lines 4 and 5",
        ),
        ("a: {x: 1,\n    x: 1}\n", "a.x: given twice, in lines 1 and 2"),
    ],
    ids=["section", "setting", "list", "flow"],
)
def test_a_key_that_is_given_twice_is_named_with_both_lines(text, wanted, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert wanted in refusal_of(path)


def test_keys_of_one_name_in_different_sections_are_no_repetition(write):
    experiment = load_experiment(write({"random_seed": 3, "database.random_seed": 4}))
    assert experiment.mapping["random_seed"] == 3
    assert experiment.mapping["database"]["random_seed"] == 4


def test_a_merged_mapping_may_be_overruled(tmp_path, write):
    path = write()
    text = path.read_text().replace("  data:\n", "  data: &data\n")
    path.write_text(
        text.replace(
            "  execution:\n", "  training:\n    <<: {seeds: [1]}\n    seeds: [2]\n  execution:\n"
        )
    )
    assert load_experiment(path).scaling_law.training.seeds == (2,)


TEXTS = ["---", "my #1 text.txt", "no", "on", "1e3", "0123", "~", "[x", "a: b", "{x: 1}", "# x"]
TEXTS += [
    "- a",
    "!x",
    "&a",
    "*a",
    "%a",
    "2026-01-01",
    " padded ",
    "5",
    "'",
    '"',
    "it's",
    "",
    "null",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_value_of_a_text_setting_is_taken_as_it_is(text, write):
    path = write()
    data = load_experiment(path, [f"scaling_law.data.document_separator={text}"]).scaling_law.data
    assert data.document_separator == (None if text in ("", "null") else text)
    if data.document_separator is not None:
        data = load_experiment(path, [f"scaling_law.data.path={text}"]).scaling_law.data
        assert data.path == text


@pytest.mark.parametrize("text", ["---", "on", "my #1 model", "[x", "null #"])
def test_openevolves_text_settings_are_taken_as_they_are_too(text, write):
    names = ("prompt.system_message", "llm.primary_model")
    mapping = load_experiment(write(), [f"{name}={text}" for name in names]).mapping
    assert mapping["prompt"]["system_message"] == text
    assert mapping["llm"]["primary_model"] == text


def test_a_text_in_quotes_is_read_as_in_the_file(write):
    data = load_experiment(write(), ["scaling_law.data.split='null'"]).scaling_law.data
    assert data.split == "null"
    data = load_experiment(write(), ['scaling_law.data.document_separator="\\t"']).scaling_law.data
    assert data.document_separator == "\t"


def test_settings_that_are_no_text_are_read_as_yaml(write):
    law = load_experiment(
        write(),
        [
            "scaling_law.data={source: stories}",
            "scaling_law.training.seeds=[1, 2]",
            "scaling_law.execution.allow_degraded_isolation=yes",
            "scaling_law.ladder=[{hidden_dim: 8, num_layers: 1, num_heads: 1}, {hidden_dim: 16, "
            "num_layers: 1, num_heads: 1}, {hidden_dim: 32, num_layers: 1, num_heads: 1}]",
        ],
    ).scaling_law
    assert law.data.source == "stories"
    assert law.training.seeds == (1, 2)
    assert law.execution.allow_degraded_isolation
    assert [size.hidden_dim for size in law.sizes] == [8, 16, 32]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("max_iterations: 5\n---\nmax_iterations: 6\n", "not valid YAML"),
        ("when: 2026-01-01\n", "scaling_law: missing"),
        ("scaling_law: {data: {path: 0123}}", "scaling_law.data.path: got 83, wanted text"),
    ],
)
def test_what_yaml_makes_of_a_file_is_said(text, wanted, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert wanted in refusal_of(path)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"scaling_law.output_dir": "a\0b"}, "scaling_law.output_dir: got 'a\\x00b', wanted text"),
        ({"scaling_law.training": {"grad_clip": float("inf")}}, "training.grad_clip: got inf"),
        ({"scaling_law.training": {"learning_rate": "inf"}}, "got 'inf', wanted a number"),
        ({"llm.temperature": float("nan")}, "llm.temperature: got nan"),
    ],
    ids=["NUL", "infinite", "infinite text", "not a number"],
)
def test_values_that_no_record_can_hold_are_named(changes, wanted, write):
    assert wanted in refusal_of(write(changes))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-01-01", "a.b[1]: got 2026-01-01, which YAML reads as date, wanted a plain value"),
        ("!!binary eA==", "a.b[1]: got b'x', which YAML reads as bytes, wanted a plain value"),
        ("!!set {x}", "a.b[1]: got {'x'}, which YAML reads as set, wanted a plain value"),
        (".inf", "a.b[1]: got inf, wanted a finite number"),
        ('"\\0"', r"a.b[1]: got '\x00', wanted text in UTF-8 without NULs"),
    ],
)
def test_values_that_json_cannot_hold_are_named_and_their_neighbours_accepted(text, wanted):
    require_plain(yaml.safe_load("a: {b: [1, 2.5, yes, null, x]}"))
    with pytest.raises(ConfigError) as caught:
        require_plain(yaml.safe_load(f"a: {{b: [1, {text}]}}"))
    assert str(caught.value).startswith(wanted)


def test_a_value_that_cannot_be_read_is_not_printed_since_it_may_hold_a_key(write):
    refusal = refusal_of(write(), ["llm.models=[{api_key: sk-123"])
    assert refusal == "--set llm.models: the value is not valid YAML"


def test_a_name_that_is_no_utf_8_is_named(write):
    assert "wanted text in UTF-8" in refusal_of(write(), ["scaling_law.data.path=caf\udce9.txt"])


NULLS = ("llm", "prompt", "database", "evaluator", "evolution_trace", "llm.models")
NULLS += (
    "database.num_islands",
    "max_iterations",
    "checkpoint_interval",
    "prompt.template_variations",
)


@pytest.mark.parametrize("name", [*NULLS, "scaling_law", "scaling_law.data"])
def test_a_section_or_a_number_without_a_value_is_named(name, write):
    assert refusal_of(write({name: None})).startswith(f"{name}: got ")


def test_a_section_without_a_value_can_be_filled_from_the_command_line(write):
    experiment = load_experiment(write({"prompt": None}), ["prompt.num_top_programs=2"])
    assert experiment.mapping["prompt"] == {"num_top_programs": 2}


def test_a_setting_that_may_be_absent_may_be_null(write):
    experiment = load_experiment(
        write({"early_stopping_patience": None, "scaling_law.data.max_train_sequences": None})
    )
    assert experiment.mapping["early_stopping_patience"] is None


AT_LEAST_ONE = ("checkpoint_interval", "max_code_length", "database.num_islands")
AT_LEAST_ONE += ("evaluator.parallel_evaluations", "database.population_size")
AT_LEAST_ONE += ("database.archive_size", "database.feature_bins", "database.migration_interval")
AT_LEAST_ONE += ("llm.max_tokens", "llm.timeout", "evolution_trace.buffer_size")
AT_LEAST_ONE += ("max_tasks_per_child",)
NOT_NEGATIVE = ("max_iterations", "evaluator.max_retries", "llm.retries", "llm.temperature")
NOT_NEGATIVE += ("prompt.num_top_programs", "prompt.num_diverse_programs")
SHARES = ("database.migration_rate", "database.exploration_ratio", "llm.top_p")
SHARES += ("database.elite_selection_ratio",)
SEEDS = ("random_seed", "llm.random_seed", "database.random_seed")


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        *((name, bad, 1) for name in AT_LEAST_ONE for bad in (0, -3)),
        *((name, -1, 1) for name in NOT_NEGATIVE),
        *((name, bad, 0.5) for name in SHARES for bad in (-0.1, 1.5)),
        ("database.num_islands", True, 2),
        ("database.feature_dimensions", [], ["lookback"]),
        ("database.feature_bins", {"lookback": 0}, {"lookback": 4}),
        *((name, bad, 2**32 - 1) for name in SEEDS for bad in (-1, 2**32)),
        ("llm.models", [{"name": "grammar", "random_seed": -1}], [{"name": "a", "random_seed": 0}]),
        ("llm.models", 5, [{"name": "grammar"}]),
        ("llm.models", [None], [{"name": "grammar"}]),
        ("log_level", "debug", "DEBUG"),
        ("evolution_trace.format", "xml", "json"),
        ("diff_pattern", "<<<(.*?)>>>", "<<<(.*?)===(.*?)>>>"),
    ],
)
def test_a_number_that_openevolve_breaks_on_is_named_and_its_neighbour_is_accepted(
    name, bad, good, write
):
    load_experiment(write({name: good}))
    refusal = refusal_of(write({name: bad}))
    assert refusal.startswith(name), refusal
    assert ": got " in refusal
    assert ", wanted " in refusal


def test_a_user_without_a_home_folder_is_told_so(write, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    assert "wanted a user with a home folder" in refusal_of(
        write({"scaling_law.initial_program": "~/program.py"})
    )
    load_experiment(write())


@pytest.mark.parametrize(
    ("override", "refusal"),
    [
        ("llm.api_key: sk-123", "--set llm.api_key: wanted dotted.key=value"),
        ("llm.api_key: sk-123==", "--set llm.api_key: wanted dotted.key=value"),
        ("sk-123", "--set: wanted dotted.key=value"),
        ("llm.models={api_key: sk-123}", "llm.models: got a mapping, wanted a list"),
        ("llm.models=sk-123", "llm.models: got text, wanted a list"),
        ("llm.models=[sk-123]", "llm.models[0]: got text, wanted a mapping of settings"),
        ("llm=[{api_key: sk-123}]", "llm: got a list, wanted a mapping of settings"),
    ],
)
def test_a_refused_setting_does_not_print_a_key(override, refusal, write):
    load_experiment(write(), ["llm.models=[{name: grammar, api_key: sk-123}]"])
    assert refusal_of(write(), [override]) == refusal


def test_a_missing_folder_of_templates_is_named_and_one_that_is_there_accepted(write, tmp_path):
    refusal = refusal_of(write(), ["prompt.template_dir=templates"])
    assert refusal.startswith(f"prompt.template_dir: no folder at {tmp_path / 'templates'}; wanted")
    (tmp_path / "templates").mkdir()
    load_experiment(write(), ["prompt.template_dir=templates"])
    load_experiment(write(), ["prompt.template_dir="])


@pytest.mark.parametrize(
    "name", ["output_dir", "initial_program", "execution.store_dir", "data.path"]
)
@pytest.mark.parametrize("bad", ["", "  "])
def test_an_empty_path_is_not_the_folder_of_the_config_file(name, bad, write):
    load_experiment(write())
    refusal = refusal_of(write({f"scaling_law.{name}": bad}))
    assert refusal.startswith(f"scaling_law.{name}: got {bad!r}, wanted a "), refusal


@pytest.mark.parametrize(
    ("setting", "refused", "accepted", "wanted"),
    [
        ("max_seeds", 0, 1, "1 or more"),
        ("parents_per_seed", 0, 1, "1 or more"),
        ("num_confirmation_seeds", -1, 0, "0 or more"),
        ("false_rate", 0.0, 0.01, "more than 0, less than 1"),
    ],
)
def test_the_bounds_of_the_selection_are_said(write, setting, refused, accepted, wanted):
    name = f"scaling_law.selection.{setting}"
    assert refusal_of(write({name: refused})).endswith(f"got {refused!r}, wanted {wanted}")
    selection = load_experiment(write({name: accepted})).scaling_law.selection
    assert getattr(selection, setting) == accepted


def test_seeds_leave_room_for_those_that_follow_from_them(write):
    name = "scaling_law.training.seeds"
    assert "those for the confirmation" in refusal_of(write({name: [2**31 - 100_000]}))
    assert load_experiment(write({name: [2**31 - 100_001]}))

"""The report: one file of a run's records, whatever a language model wrote into them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_control import made_control
from made_records import MadeRecords
from made_run import MadeRun

from openevolve_unified import exits
from openevolve_unified.calibration.controls import GRAMMAR, LLM, LUCK, RANDOM
from openevolve_unified.cli.app import main
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.files import write_json
from openevolve_unified.plugin import report_file
from openevolve_unified.plugin.report_file import report_line, write_report
from openevolve_unified.records import Failure, Program
from openevolve_unified.report.control_table import control_json
from openevolve_unified.report.figures.figure import Figure
from openevolve_unified.report.folder_report import report_of
from openevolve_unified.report.page.changes import MAX_LINES, Line, changed_lines, counted
from openevolve_unified.report.page.verdict import verdict_of
from openevolve_unified.report.run_records import read_records
from openevolve_unified.runs.events import IterationEnded, Verdict

HOSTILE = "</code></pre></script><script>alert(1)</script><img src=http://evil.example/x onerror=y>"
SECTIONS = [
    *("verdict", "tested", "fitness", "scaling", "dominance", "curves", "lineage", "programs"),
    *("coefficients", "health", "diagnostics", "grid", "diversity", "rejections", "controls"),
    *("horizon", "validation", "doubts", "cost", "settings"),
]
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Read(HTMLParser):
    """A page as a browser takes it: elements with their attributes and texts, in order."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, {name: value or "" for name, value in attributes}, []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        place = self._open.pop()
        assert self.elements[place][0] == tag, f"{tag} ends what {self.elements[place][0]} began"

    def handle_data(self, data):
        for place in self._open:
            self.elements[place][2].append(data)

    def every(self, tag):
        return [(a, "".join(texts)) for name, a, texts in self.elements if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with everything, to which a hostile proposer has contributed."""
    made = MadeRecords(tmp_path_factory.mktemp("reported") / "run <b>&")
    run = made.made
    source = run.initial.replace("import math\n", f"import math  # {HOSTILE}\n")
    run.judge(run.evaluation(source, -0.03), 5)
    refused = Program(source=HOSTILE, framework=run.framework)
    run.judge(Failure(program=refused, stage="policy", reason=f"{HOSTILE}\0\ud800"), 6)
    run.log(IterationEnded(iteration=7, outcome="unusable", reason="no block", detail=HOSTILE))
    entries = {entry["index"]: entry for entry in run.directory.history()}
    asked = {**entries[3], "diagnostics": "induction: +1.20 +- 0.10\nrecall: 0.7"}
    run.log(Verdict(is_initial=False, entry=asked, program=asked["program"]))
    use = {"name": "decay", "is_in_initial": False, "num_programs": 2, "num_better": 1}
    diversity = {"num_classes": 3, "spread": {"by_outputs": 0.25}, "ingredients": [use]}
    write_json(made.folder / "diversity.json", diversity)
    return made.folder


@pytest.fixture(scope="module")
def report(folder):
    return report_of(folder)


@pytest.fixture(scope="module")
def page(report):
    return Read(report.html)


def test_the_sections_stand_in_the_order_of_a_reader_s_questions(page):
    assert [a["id"] for a, _ in page.every("section")] == SECTIONS
    links = [a["href"] for a, _ in page.every("a")]
    assert links[1 : len(SECTIONS) + 1] == [f"#{name}" for name in SECTIONS]


def test_every_id_is_there_once_and_every_link_and_label_leads_to_one(page):
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [a["href"].removeprefix("#") for a, _ in page.every("a")]
    targets += [n for _, a, _ in page.elements for n in a.get("aria-labelledby", "").split()]
    assert set(targets) <= set(ids)


def test_every_figure_has_a_caption_alternative_text_its_record_and_its_data(report, page):
    drawn = [figure for figure in report.figures if isinstance(figure, Figure)]
    assert len(page.every("figure")) == len(drawn) >= 12
    for figure in drawn:
        texts = "".join(
            text for a, text in page.every("figure") if a["id"] == f"figure-{figure.name}"
        )
        assert figure.title in texts
        assert all(record in texts for record in figure.records)
        assert all(column in texts for column in figure.columns)
    assert all(a["role"] == "img" for a, _ in page.every("svg"))
    assert all(text.strip() for _, text in page.every("desc"))


def test_every_fact_names_its_record(page):
    html = [(tag, a, "".join(texts)) for tag, a, texts in page.elements]
    facts = [place for place, (tag, _, _) in enumerate(html) if tag == "dd"]
    assert len(facts) > 40
    for place in facts:
        small = next(one for one in html[place + 1 :] if one[0] in ("small", "dd"))
        assert small[0] == "small"
        assert small[2].strip()


def test_nothing_outside_is_referred_to(page):
    for tag, attributes, _ in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                assert value.startswith(("#", "data:")), (tag, name, value)
            assert "http" not in value or name == "data-sort", (tag, name, value)
    styles = "".join(text for _, text in page.every("style"))
    assert "url(" not in styles
    assert "@import" not in styles


def test_the_policy_of_the_page_forbids_requests_and_knows_its_one_script(page):
    policy = next(a["content"] for a, _ in page.every("meta") if "http-equiv" in a)
    (script,) = (text for _, text in page.every("script"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "connect-src" not in policy


def test_what_a_language_model_wrote_is_shown_as_text(page):
    shown = [text for _, text in page.every("pre")] + [text for _, text in page.every("td")]
    assert sum(HOSTILE in text for text in shown) >= 4  # two sources, a reason, an answer
    assert page.every("img") == [] or all(
        a["src"].startswith("data:") for a, _ in page.every("img")
    )


def test_a_report_can_be_written_whatever_characters_it_got(report):
    report.html.encode("utf-8")
    assert "\0" not in report.html


def test_every_program_s_source_is_in_the_page(folder, page):
    sources = [path.read_text() for path in sorted((folder / "programs").glob("*.py"))]
    shown = [text for _, text in page.every("pre")]
    assert len(sources) == 7
    assert all(source in shown for source in sources)


def test_the_lineage_shows_what_each_step_changed(page):
    added = [text for _, text in page.every("ins")]
    assert "+ import math  # program 2\n" in added
    assert "+ import math  # program 3\n" in added


def test_diagnostics_and_diversity_are_told_from_their_records(page):
    said = {a["id"]: text for a, text in page.every("section")}
    assert "induction: +1.20 \N{PLUS-MINUS SIGN} 0.10" in said["diagnostics"]
    assert "Best program" in said["diagnostics"]
    assert "by_outputs 0.2500" in said["diversity"]
    assert "decay" in said["diversity"]


def test_what_is_missing_is_said_with_the_command_that_makes_it(report, page):
    assert "coefficients" in report.missing
    said = [text for a, text in page.every("p") if a.get("class") == "absent"]
    for sentence in report.missing.values():
        assert any(sentence.replace("`", "") in text for text in said)


def test_a_validated_winner_is_judged_by_its_validation(report):
    assert report.verdict.record == "validation.json, judgement"
    assert "95% interval" in report.verdict.sentence


def verdict(tmp_path, **changes):
    return verdict_of(read_records(MadeRun(tmp_path / "run", **changes).folder))


def test_a_confirmed_winner_is_called_better_with_its_error(tmp_path):
    found = verdict(tmp_path)
    assert (found.word, found.mood, found.record) == ("improved", "good", "confirmation.json")
    pattern = r"better .* 4 fresh seeds: .* \+0\.05\d+ \+- 0\.0\d+ \(3 degrees .* 95% .*pilot, 750 "
    assert re.search(pattern, found.sentence)


def test_a_winner_that_was_not_confirmed_is_not_called_better(tmp_path):
    found = verdict(tmp_path, num_confirmed=0)
    assert (found.word, found.mood) == ("not confirmed", "open")
    assert "nothing is called improved" in found.sentence


def test_without_a_winner_the_nearest_candidate_is_named_with_its_error(tmp_path):
    found = verdict(tmp_path, gains=(-0.01, -0.02))
    assert (found.word, found.mood) == ("no winner", "open")
    assert re.search(r"highest score, \w{6}, differs by -0\.01\d+ \(one seed", found.sentence)


def test_a_run_that_goes_on_is_called_unfinished_and_its_page_says_why(tmp_path):
    found = verdict(tmp_path, cause=None)
    assert (found.word, found.mood) == ("unfinished", "open")


def test_a_run_without_a_baseline_has_a_page_that_says_so(tmp_path):
    folder = MadeRun(tmp_path / "run", has_baseline=False, gains=(), num_confirmed=0).folder
    found = report_of(folder)
    assert found.verdict.word == "no verdict"
    assert "its initial program was not scored" in found.verdict.sentence
    assert [a["id"] for a, _ in Read(found.html).every("section")] == SECTIONS
    assert report_of(folder).html == found.html


def test_a_validation_and_a_control_have_pages_of_their_own(folder):
    found = report_of(folder / "validation")
    assert found.verdict.word == "inconclusive"
    assert found.verdict.sentence.endswith(" [pilot, 750 of 100,000 steps].")
    assert "p after Holm" in found.html
    found = report_of(folder / "control")
    assert found.verdict.sentence.startswith("grammar beat luck: +0.07")
    assert [figure.name for figure in found.figures] == ["control"]
    (folder / "control" / "damaged").mkdir(exist_ok=True)
    (folder / "control" / "damaged" / "control.json").write_text("{")
    with pytest.raises(ConfigError, match=r"control\.json: damaged"):
        report_of(folder / "control" / "damaged")


@pytest.mark.parametrize(
    ("against", "word", "mood"),
    [
        ({LUCK: 0.0, RANDOM: 0.0}, "evolution is ahead", "good"),
        ({LUCK: 0.0, RANDOM: 0.07}, "ahead of some only", "open"),
        ({LUCK: 0.07, RANDOM: 0.07}, "not told apart", "open"),
        ({LUCK: 0.0, RANDOM: 0.3}, "evolution lost", "bad"),
    ],
)
def test_evolution_is_called_ahead_only_where_it_beat_every_control(tmp_path, against, word, mood):
    gains = {**against, GRAMMAR: 0.07, LLM: 0.07}
    spread = {arm: (gain - 0.01, gain, gain + 0.01) for arm, gain in gains.items()}
    write_json(tmp_path / "control.json", control_json(made_control(spread)))
    found = report_of(tmp_path).verdict
    assert (found.word, found.mood) == (word, mood)
    assert found.sentence.count("grammar") == 3, "against both controls, and the model against it"
    assert found.sentence.endswith("100,000 steps].")


def test_a_model_that_beats_the_grammar_alone_is_not_ahead(tmp_path):
    spread = {LUCK: (0.1, 0.2, 0.3), GRAMMAR: (0.1, 0.11, 0.12), LLM: (0.3, 0.31, 0.32)}
    write_json(tmp_path / "control.json", control_json(made_control(spread)))
    found = report_of(tmp_path).verdict
    assert "llm beat grammar" in found.sentence
    assert (found.word, found.mood) == ("not told apart", "open")


def test_another_folder_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"got a folder without settings\.json") as caught:
        report_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_command_writes_the_file_and_says_what_is_in_it(folder, report, tmp_path, capsys):
    arguments = ["report", str(folder / "control"), "--output", str(tmp_path), "--json"]
    assert main([*arguments, "--figures"]) == exits.DONE
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["figures"] == ["control"]
    assert Path(printed["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "control.png",
        "control.svg",
    ]


def test_a_run_ends_with_one_line_whatever_happens_to_its_report(tmp_path, monkeypatch):
    made = MadeRun(tmp_path / "run", has_baseline=False, gains=(), num_confirmed=0)
    experiment = made.experiment
    assert report_line(experiment) == str(made.folder / "report.html")
    monkeypatch.setattr(report_file, "_NEEDED", {"no_such_module": "no-such-package"})
    assert report_line(experiment) == (
        "none: a report needs no-such-package: pip install 'openevolve-unified[report]', then "
        f"openevolve-unified report {made.folder}"
    )
    monkeypatch.undo()

    def fail(path, store):
        raise ValueError("foreign trouble\nof two lines")

    monkeypatch.setattr(report_file, "report_of", fail)
    assert report_line(experiment) == (
        "none (ValueError: foreign trouble); try openevolve-unified report " + str(made.folder)
    )


def test_a_change_is_lines_with_signs_and_a_little_context():
    before = "".join(f"line {number}\n" for number in range(9))
    lines = changed_lines(before, before.replace("line 4", "line four"))
    assert [line.sign for line in lines] == ["@", " ", " ", "-", "+", " ", " "]
    assert lines[4] == Line(sign="+", text="line four")
    assert counted(lines) == "1 line added, 1 removed"
    assert changed_lines(before, before) == ()


def test_texts_that_take_too_long_to_compare_are_not_compared():
    (line,) = changed_lines("a\n" * (MAX_LINES + 1), "b\n")
    assert "not compared" in line.text


def node_modules() -> Path | None:
    """Where playwright-core and axe-core are: ``NODE_PATH``, or npm's global folder."""
    if shutil.which("node") is None or shutil.which("chromium") is None:
        return None
    places = os.environ.get("NODE_PATH", "").split(os.pathsep)
    if shutil.which("npm") is not None:
        found = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        places.append(found.stdout.strip())
    wanted = ("playwright-core", "axe-core")
    found_in = (Path(place) for place in places if place)
    return next((p for p in found_in if all((p / name).is_dir() for name in wanted)), None)


@pytest.mark.slow
def test_a_browser_shows_the_report_on_every_screen_without_a_request_or_a_finding(
    folder, tmp_path
):
    modules = node_modules()
    if modules is None:
        pytest.skip("needs chromium, node, and playwright-core and axe-core (npm) in NODE_PATH")
    report, file = write_report(folder, output=tmp_path)
    script = Path(__file__).parent / "open_report.cjs"
    environment = {**os.environ, "NODE_PATH": str(modules), "CHROMIUM": shutil.which("chromium")}
    command = ["node", str(script), str(file), str(tmp_path)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    screens = json.loads(done.stdout)
    assert [(s["width"], s["scheme"]) for s in screens] == [
        (width, scheme) for width in (400, 1280, 1920) for scheme in ("light", "dark")
    ]
    for screen in screens:
        assert screen["errors"] == []
        assert screen["requests"] == []
        assert screen["violations"] == []
        assert screen["num_passed"] > 10, "axe has looked"
        assert not screen["scrolls"], f"{screen['width']} pixels: the page scrolls sideways"
    (tried,) = [screen["tried"] for screen in screens if "tried" in screen]
    scores = [float(score) for score in tried["scores"] if score]
    assert scores == sorted(scores, reverse=True)
    assert tried["scores"][-1] == "", "what has no score stands last"
    assert tried["verdicts"] == ["rejected"]
    assert tried["opened"], "a link in the table opens the source"
    assert (tmp_path / "report.pdf").stat().st_size > 10_000
    assert report.verdict.sentence

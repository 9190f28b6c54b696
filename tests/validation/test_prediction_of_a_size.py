"""A fifth size: predicted, sealed, trained and judged, with real training."""

from __future__ import annotations

import json

import pytest
from made_finding import HERE, copy_of

from openevolve_unified.errors import ConfigError
from openevolve_unified.runs.events import nobody
from openevolve_unified.validation import prediction
from openevolve_unified.validation.finding import PREDICTION, read_finding
from openevolve_unified.validation.finding_arms import open_arms
from openevolve_unified.validation.prediction import (
    parse_size,
    predict_and_train,
    read_predictions,
)

SIZE = "48x1x6"


@pytest.fixture
def arms(finding, one_worker, tmp_path):
    folder = copy_of(finding.folder, tmp_path / "copy")
    return open_arms(read_finding(folder, HERE), one_worker, tmp_path / "replay", nobody)


def stop(*arguments):
    raise KeyboardInterrupt


def test_a_size_is_predicted_before_it_is_trained_and_the_prediction_is_judged(arms, monkeypatch):
    path, folder = arms.finding.folder / PREDICTION, arms.folder
    monkeypatch.setattr(prediction, "_train", stop)
    with pytest.raises(KeyboardInterrupt):
        predict_and_train(arms, parse_size(SIZE), (1042, 1043), lambda text: None)
    assert list((folder / "store").rglob("runs/*/*.json")) == []
    (waiting,) = read_predictions(arms.finding)
    assert waiting.measured is None
    before = json.loads(path.read_text())["predictions"][0]["foretold"]
    monkeypatch.undo()

    with pytest.raises(
        ConfigError, match=r"was written for \[1042, 1043\] at .* not written again"
    ):
        predict_and_train(arms, parse_size(SIZE), (1042,), lambda text: None)
    judged = predict_and_train(arms, parse_size(SIZE), (), lambda text: None)
    assert json.loads(path.read_text())["predictions"][0]["foretold"] == before
    assert judged.foretold.seeds == (1042, 1043)
    assert list(judged.foretold.predictions) == ["difference", "evolved", "standard"]
    assert set(judged.measured.inside) == {"standard", "evolved", "difference"}
    for name, mean in judged.measured.means.items():
        low, high = judged.foretold.prediction(name).interval95
        assert judged.measured.inside[name] == (low <= mean <= high)
    runs = sorted((folder / "store").rglob("runs/*/*.json"))
    assert len(runs) == 4, "two arms, two seeds, nothing else"
    counts = {json.loads(path.read_text())["num_params_non_embedding"] for path in runs}
    assert counts == set(judged.foretold.num_params.values()), "counted before, without a step"
    assert judged.measured.measured_at >= judged.foretold.written_at

    # Once judged it is not done again; and read-back gives the same.
    monkeypatch.setattr(prediction, "_train", stop)
    assert predict_and_train(arms, parse_size(SIZE), (), lambda text: None) == judged
    assert read_predictions(read_finding(arms.finding.folder, HERE)) == [judged]

    # Every byte of it counts.
    content = path.read_bytes()
    for place in (0, content.index(b"written_at") + 20, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(ConfigError, match=r"prediction.json was changed since it was sealed"):
            read_predictions(arms.finding)
    path.write_bytes(content)

    # What was trained first cannot be predicted any more.
    path.unlink()
    with pytest.raises(ConfigError, match=r"was trained in .* before it was predicted"):
        predict_and_train(arms, parse_size(SIZE), (1042, 1043), lambda text: None)


def test_a_size_inside_the_ladder_is_refused(arms):
    with pytest.raises(ConfigError, match="wanted more than the largest size of the finding"):
        predict_and_train(arms, parse_size("20x1x2"), (1042,), lambda text: None)
    assert not (arms.finding.folder / PREDICTION).exists()


def test_a_prediction_of_another_finding_is_refused(arms):
    path = arms.finding.folder / PREDICTION
    foretold = {"manifest_hash": "0" * 64}
    entry = {"foretold": prediction.sealed(foretold), "measured": None}
    prediction.write_json(path, prediction.sealed({"predictions": [entry]}))
    with pytest.raises(ConfigError, match="rests on the records of another finding; remove it"):
        read_predictions(arms.finding)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("48x1", r"size: got '48x1', wanted HIDDEN_DIMxLAYERSxHEADS, for example 256x3x16"),
        ("big", "wanted HIDDEN_DIMxLAYERSxHEADS"),
        ("48x1x5", r"size 48x1x5: hidden_dim: got 48, wanted a multiple of num_heads \(5\)"),
    ],
)
def test_a_size_is_written_like_this(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_size(text)
    assert parse_size(SIZE).name == "48x1"

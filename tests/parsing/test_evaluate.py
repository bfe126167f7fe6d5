"""F-scores of parsers, by hand, and of a parser that learns."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.toys import draw_parsed
from unmask.cli import main
from unmask.parsing import CLASSES
from unmask.parsing.evaluate import confusion_matrix, markdown_table, measure, scores_of
from unmask.parsing.lite import build_parser
from unmask.parsing.task import ParsingLoss
from unmask.weights import save_weights


def test_f_scores_by_hand():
    #                 hair            skin           nose     unlabelled
    truth = np.uint8([[10, 10, 10, 10, 1, 1, 1, 1, 6, 6, 255, 255]])
    found = np.uint8([[10, 10, 10, 1, 1, 1, 6, 0, 6, 6, 6, 0]])
    scores = scores_of(confusion_matrix(truth, found), 1)
    by_name = {score.name: score for score in scores.classes}
    assert by_name["hair"].f_score == pytest.approx(6 / 7)
    assert (by_name["hair"].precision, by_name["hair"].recall) == (1.0, 0.75)
    assert by_name["skin"].f_score == pytest.approx(4 / 7)
    assert by_name["nose"].f_score == pytest.approx(4 / 5)
    assert by_name["background"].f_score == 0.0  # found once, never there
    assert [by_name[name].pixels for name in ("hair", "skin", "nose")] == [4, 4, 2]
    # Of the facial components only a nose is there, and found.
    assert scores.overall == pytest.approx(4 / 5)
    assert scores.accuracy == pytest.approx(7 / 10)
    assert "| nose | 0.800 | 0.667 | 1.000 | 2 |" in markdown_table(scores)


def test_all_right_is_one():
    labels = np.arange(11, dtype=np.uint8).repeat(5)
    scores = scores_of(confusion_matrix(labels, labels), 1)
    assert (scores.overall, scores.mean, scores.accuracy) == (1.0, 1.0, 1.0)


def test_left_and_right_are_classes_of_their_own():
    truth = np.uint8([2, 2, 3, 3])
    assert scores_of(confusion_matrix(truth, np.uint8([3, 3, 2, 2])), 1).overall == 0.0


class Echo:
    """A network whose answer is in the picture's first channel."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        return np.eye(len(CLASSES))[np.rint(images[..., 0] * 255).astype(int)]


def test_every_face_counts_once():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 11, (19, 8, 8)).astype(np.uint8)  # more than a batch
    faces = [(np.repeat(one[..., None], 3, axis=2), one) for one in labels]
    scores = measure(Echo(), faces)  # type: ignore[arg-type]
    assert (scores.faces, scores.overall) == (19, 1.0)
    assert sum(score.pixels for score in scores.classes) == labels.size
    with pytest.raises(ValueError, match="empty"):
        measure(Echo(), [])  # type: ignore[arg-type]


def test_the_loss_wants_small_classes_and_ignores_what_has_no_label():
    labels = np.zeros((1, 16, 16, 1), np.uint8)
    labels[0, 3:5, 3:5] = 4
    right = 20.0 * np.eye(11, dtype=np.float32)[labels[..., 0]]
    without_eye = 20.0 * np.eye(11, dtype=np.float32)[np.zeros((1, 16, 16), int)]
    loss = ParsingLoss()
    assert float(loss(labels, right)) == pytest.approx(0, abs=1e-3)
    # 1.6 % of the pixels, but a whole class of eleven.
    plain = float(ParsingLoss(dice=0.0)(labels, without_eye))
    assert float(loss(labels, without_eye)) - plain > 0.05
    balanced = float(ParsingLoss(balance=0.5, dice=0.0)(labels, without_eye))
    assert balanced > 3 * plain
    unknown = np.where(labels == 4, np.uint8(255), labels)
    assert float(loss(unknown, without_eye)) == pytest.approx(0, abs=1e-3)


def test_the_shipped_size():
    network = build_parser()
    assert network.count_params() == 1_372_883
    assert keras.ops.shape(network(np.zeros((1, 96, 64, 3), np.float32))) == (1, 96, 64, 11)


def test_the_command_writes_a_figure_for_each_class(tmp_path: Path, capsys):
    draw_parsed(tmp_path / "faces_celebahq")
    save_weights(build_parser(), tmp_path / "parser.safetensors")
    out = tmp_path / "out"
    words = ["evaluate", "parsing", "--data", str(tmp_path)]
    words += ["--weights", str(tmp_path / "parser.safetensors"), "--out", str(out)]
    assert main(words) == 0
    content = json.loads((out / "evaluation.json").read_text())
    assert content["faces"] == 2
    assert [one["name"] for one in content["classes"]] == list(CLASSES)
    assert all(0 <= one["f_score"] <= 1 for one in content["classes"])
    assert (out / "evaluation.md").read_text() in capsys.readouterr().out

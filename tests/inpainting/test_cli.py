"""The commands `unmask train inpainting` and `unmask evaluate inpainting`: their settings."""

import argparse

import pytest

from unmask.cli import evaluate_inpainting, train_inpainting
from unmask.inpainting.losses import LossWeights
from unmask.inpainting.trainer import TrainConfig


def parse(module, *arguments):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def required(face_folder, vgg_file, tmp_path):
    return ["--data", str(face_folder), "--features", str(vgg_file), "--out", str(tmp_path / "o")]


def test_without_options_the_papers_weights_train_the_lite_network(required):
    config = train_inpainting._config(parse(train_inpainting, *required))
    assert isinstance(config, TrainConfig)
    assert config.weights == LossWeights()
    assert config.networks.name == "lite"
    assert config.prior.name == "prior.safetensors"
    assert (config.steps, config.init, config.variety.predicted) == (None, None, 0)


def test_options_reach_the_settings(required, tmp_path):
    (tmp_path / "discriminator.safetensors").touch()
    args = parse(
        train_inpainting, *required, "--network", "aot-gan", "--steps", "7", "--policy", "float32",
        "--strokes", "0.2", "--blocks", "0.1", "--style", "10", "--sheet-minutes", "0",
        "--published-targets", "--schedule", "alternating", "--init", str(tmp_path),
    )  # fmt: skip
    config = train_inpainting._config(args)
    assert config.networks.generator().name == "aot_generator"
    assert (config.steps, config.policy, config.sheet_minutes) == (7, "float32", None)
    assert (config.variety.strokes, config.variety.blocks) == (0.2, 0.1)
    assert config.weights.style == 10
    assert config.published_targets
    assert config.schedule == "alternating"
    assert config.init == tmp_path / "generator.safetensors"
    assert config.init_discriminator == tmp_path / "discriminator.safetensors"


def test_predicted_landmarks_come_from_the_shipped_network(required, face):
    args = parse(train_inpainting, *required, "--predicted", "0.5")
    variety = train_inpainting._config(args).variety
    assert variety.predicted == 0.5
    assert variety.predictor(face[0][None]).shape == (1, 98, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--features", "absent.npz"], "absent.npz: no such file"),
        (["--gender", "male", "--parsing", "0.1"], "parser=None"),
        (["--strokes", "2"], "strokes=2"),
    ],
)
def test_what_cannot_be_is_one_line_and_an_exit_status(required, capsys, options, message):
    args = parse(train_inpainting, *required, *options)
    assert train_inpainting.main(args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_evaluation_refuses_a_broken_feature_file(tmp_path, capsys):
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut off")
    args = parse(
        evaluate_inpainting, "--data", str(tmp_path), "--out", str(tmp_path),
        "--features", str(tmp_path / "broken.npz"),
    )  # fmt: skip
    assert evaluate_inpainting.main(args) == 2
    assert "broken.npz" in capsys.readouterr().err

from __future__ import annotations

import pytest

from unmask.mrcnn.config import Config, check_config


class Masks(Config):
    NAME = "masks"
    NUM_CLASSES = 2
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128


def test_computed_values_follow_what_they_depend_on() -> None:
    config = Masks()
    config.IMAGES_PER_GPU, config.IMAGE_MAX_DIM = 3, 192
    assert config.BATCH_SIZE == 3
    assert config.IMAGE_SHAPE.tolist() == [192, 192, 3]
    assert Config().IMAGE_META_SIZE == 13
    config.IMAGE_RESIZE_MODE = "crop"
    assert config.IMAGE_SHAPE.tolist() == [128, 128, 3]


def test_an_assigned_value_wins() -> None:
    config = Masks()
    config.BATCH_SIZE = 7
    assert (config.BATCH_SIZE, Masks().BATCH_SIZE) == (7, 2)


def test_a_subclass_that_forgets_super_still_has_a_shape() -> None:
    class Forgetful(Masks):
        def __init__(self) -> None:
            self.IMAGES_PER_GPU = 5

    assert Forgetful().IMAGE_SHAPE.tolist() == [128, 128, 3]
    assert Forgetful().BATCH_SIZE == 5


def test_a_plain_function_in_the_class_body_gets_no_self() -> None:
    def backbone(image, stage5, train_bn):
        return [image, stage5, train_bn]

    class Custom(Masks):
        BACKBONE = backbone

    class Method(Masks):
        def BACKBONE(self, image, stage5, train_bn):  # noqa: N802
            return [self.NAME, image]

    assert Custom().function("BACKBONE")(1, stage5=True, train_bn=None) == [1, True, None]
    assert Method().function("BACKBONE")(1, stage5=True, train_bn=None) == ["masks", 1]


def test_display_prints_every_setting_but_functions(capsys: pytest.CaptureFixture[str]) -> None:
    Masks().display()
    printed = capsys.readouterr().out
    assert "IMAGE_META_SIZE                14" in printed
    assert "DETECTION_MIN_CONFIDENCE       0.7" in printed
    assert "display" not in printed


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("IMAGE_MAX_DIM", 200, r"256, 320, 384, 448, 512.*IMAGE_SHAPE=\[200, 200, 3\]"),
        ("NAME", None, "NAME"),
        ("NUM_CLASSES", 1, "background"),
        ("MASK_SHAPE", [14, 14], "MASK_POOL_SIZE=14"),
        ("IMAGE_RESIZE_MODE", "fit", "'fit'"),
        ("RPN_ANCHOR_SCALES", (8, 16), "P2 to P6"),
    ],
)
def test_settings_that_contradict_each_other(name: str, value: object, message: str) -> None:
    config = Masks()
    setattr(config, name, value)
    with pytest.raises(ValueError, match=message):
        check_config(config)

import keras
import numpy as np
import pytest

from unmask.segmentation.lite import build_unet

TINY = {"widths": (4, 4, 6, 6, 8), "blocks": (1, 1, 1, 1, 2)}


def test_lite_fits_its_size_limit():
    assert build_unet().count_params() * 2 <= 6_000_000


@pytest.mark.parametrize("size", [(32, 32), (64, 160)])
def test_output_has_the_size_of_the_input(size):
    out = np.asarray(build_unet(**TINY)(np.zeros((2, *size, 3), np.float32)))
    assert out.shape == (2, *size, 1)
    assert out.min() >= 0
    assert out.max() <= 1


def test_mixed_precision_ends_in_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_unet(**TINY)
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.output.dtype == "float32"


def test_every_variable_has_its_own_name():
    paths = [v.path for v in build_unet(**TINY).weights]
    assert len(paths) == len(set(paths))
    assert [v.path for v in build_unet(**TINY).weights] == paths


def test_translation_by_the_stride_moves_the_output():
    keras.utils.set_random_seed(0)
    model = build_unet(**TINY)
    rng = np.random.default_rng(0)
    # Far from the frame, whose zero padding does not move along.
    image = np.zeros((1, 640, 640, 3), np.float32) + 0.5
    image[:, 288:352, 288:352] = rng.random((1, 64, 64, 3))
    moved = np.roll(image, 32, axis=(1, 2))
    a, b = (np.asarray(model(x))[0, 256:384, 256:384, 0] for x in (image, moved))
    c = np.asarray(model(moved))[0, 288:416, 288:416, 0]
    np.testing.assert_allclose(a, c, atol=1e-5)
    assert np.abs(a - b).max() > 1e-4


def test_wrong_levels_are_named():
    with pytest.raises(ValueError, match=r"widths must have five.*Received: widths=\(4, 4\)"):
        build_unet(widths=(4, 4))

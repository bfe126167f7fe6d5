"""Every term against a value computed by hand or by NumPy."""

import numpy as np
import pytest
from keras import ops
from scipy.ndimage import gaussian_filter

from unmask.inpainting import losses


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype("float32")


def value(tensor):
    return float(ops.convert_to_numpy(tensor))


def test_composite_takes_the_output_in_the_hole_only():
    mask = np.zeros((1, 2, 2, 1), "float32")
    mask[0, 0, 1] = 1
    truth, output = np.zeros((1, 2, 2, 3), "float32"), np.ones((1, 2, 2, 3), "float32")
    result = ops.convert_to_numpy(losses.composite(output, truth, mask))
    np.testing.assert_array_equal(result, np.broadcast_to(mask, result.shape))


def test_pixel_loss_is_the_mean_error_over_the_hole():
    mask = np.zeros((1, 4, 4, 1), "float32")
    mask[0, :2] = 1
    truth = numbers(1, 4, 4, 3) / 2
    assert value(losses.pixel_loss(truth + 0.25 * mask, truth, mask)) == pytest.approx(0.25, 1e-4)
    # Half of the hole wrong by as much: half the loss, whatever the share of the hole.
    mask_wrong = mask.copy()
    mask_wrong[0, 0] = 0
    loss = losses.pixel_loss(truth + 0.25 * mask_wrong, truth, mask)
    assert value(loss) == pytest.approx(0.125, 1e-4)


def test_an_empty_hole_costs_nothing():
    truth = numbers(1, 8, 8, 3)
    assert value(losses.pixel_loss(truth, truth, np.zeros((1, 8, 8, 1), "float32"))) == 0


def test_perceptual_loss_adds_the_means_of_the_layers():
    ours = [np.zeros((1, 2, 2, 1), "float32"), np.zeros((1, 1, 1, 4), "float32")]
    wanted = [np.full((1, 2, 2, 1), 2.0, "float32"), np.full((1, 1, 1, 4), -3.0, "float32")]
    assert value(losses.perceptual_loss(ours, wanted)) == pytest.approx(5.0)


def test_gram_matrix_and_style_loss():
    features, wanted = numbers(2, 3, 4, 5), numbers(2, 3, 4, 5, seed=1)
    gram, gram_wanted = (
        np.einsum("bhwi,bhwj->bij", f, f) / (3 * 4 * 5) for f in (features, wanted)
    )
    np.testing.assert_allclose(ops.convert_to_numpy(losses.gram_matrix(features)), gram, rtol=1e-4)
    expected = np.abs(gram - gram_wanted).mean()
    assert value(losses.style_loss([features], [wanted])) == pytest.approx(expected, 1e-4)


def test_total_variation_of_a_ramp():
    ramp = np.broadcast_to(np.arange(5.0)[None, None, :, None], (1, 4, 5, 3)).astype("float32")
    assert value(losses.total_variation_loss(ramp)) == pytest.approx(1.0)
    assert value(losses.total_variation_loss(3 * ramp.transpose(0, 2, 1, 3))) == pytest.approx(3.0)


def test_soft_patch_mask_is_a_blurred_small_mask():
    mask = np.zeros((1, 192, 192, 1), "float32")
    mask[0, 60:140, 50:150] = 1
    soft = ops.convert_to_numpy(losses.soft_patch_mask(mask, (22, 22)))
    assert soft.shape == (1, 22, 22, 1)
    assert soft.min() >= 0
    assert soft.max() <= 1 + 1e-5
    blurred = gaussian_filter(mask[0, ..., 0], 10, truncate=3.5, mode="mirror")
    positions = (np.arange(22) + 0.5) * 192 / 22 - 0.5
    nearest = np.rint(positions).astype(int)
    assert np.abs(soft[0, ..., 0] - blurred[np.ix_(nearest, nearest)]).max() < 0.03


def test_a_hole_at_the_border_does_not_end_there():
    mask = np.zeros((1, 128, 128, 1), "float32")
    mask[0, 64:] = 1
    soft = ops.convert_to_numpy(losses.soft_patch_mask(mask, (14, 14)))[0, ..., 0]
    np.testing.assert_allclose(soft[-1], 1, atol=1e-4)
    np.testing.assert_allclose(soft, np.broadcast_to(soft[:, :1], soft.shape), atol=1e-5)
    everywhere = losses.soft_patch_mask(np.ones_like(mask), (14, 14))
    np.testing.assert_allclose(ops.convert_to_numpy(everywhere), 1, atol=1e-5)


def test_the_soft_mask_wants_one_outside_and_zero_inside_the_hole():
    patches = np.array([0.0, 0.25, 1.0], "float32").reshape(1, 1, 3, 1)
    ones = np.ones_like(patches)
    assert value(losses.discriminator_loss(ones, 1 - patches, patches)) == pytest.approx(0)
    # By hand: real is off by 0.5 everywhere; fake is off by 0, 0.25, 1.
    expected = 0.5 * (0.25 + (0 + 0.0625 + 1) / 3)
    assert value(losses.discriminator_loss(ones / 2, ones, patches)) == pytest.approx(expected)


def test_the_published_adversarial_terms_are_lsgan():
    real, fake = numbers(1, 4, 4, 1), numbers(1, 4, 4, 1, seed=1)
    expected = 0.5 * (((real - 1) ** 2).mean() + (fake**2).mean())
    assert value(losses.discriminator_loss(real, fake)) == pytest.approx(float(expected), 1e-5)
    everywhere = losses.discriminator_loss(real, fake, np.ones_like(fake))
    assert value(everywhere) == pytest.approx(float(expected), 1e-5)
    wanted = float(((fake - 1) ** 2).mean())
    assert value(losses.adversarial_loss(fake)) == pytest.approx(wanted, 1e-5)


def test_the_soft_mask_looks_at_the_hole_only():
    patches = np.array([0.0, 1.0, 0.5], "float32").reshape(1, 1, 3, 1)
    fake = np.array([9.0, 1.0, 0.0], "float32").reshape(1, 1, 3, 1)
    assert value(losses.adversarial_loss(fake, patches)) == pytest.approx(0.5 / 1.5, 1e-4)


def test_the_hinge_losses_by_hand():
    judge, painter = losses.hinge_discriminator_loss, losses.hinge_adversarial_loss
    real, fake = np.float32([[2.0, 0.5]]), np.float32([[-3.0, 0.25]])
    both, second = np.float32([[1.0, 1.0]]), np.float32([[0.0, 0.5]])
    # A score beyond its margin costs nothing: (0 + 0) and (0.5 + 1.25).
    assert value(judge(real, fake, both)) == pytest.approx(0.875, 1e-5)
    assert value(judge(real, fake, second)) == pytest.approx(1.75, 1e-5)
    assert value(painter(fake, both)) == pytest.approx(1.375, 1e-5)
    assert value(painter(fake, second)) == pytest.approx(-0.25, 1e-5)


def test_feature_matching_is_relative_and_a_mean_over_layers():
    wanted = [np.full((1, 2, 2, 3), 2.0, np.float32), np.full((1, 1, 1, 4), -0.1, np.float32)]
    ours = [1.5 * wanted[0], wanted[1]]
    assert value(losses.feature_matching_loss(ours, wanted)) == pytest.approx(0.25, rel=1e-3)

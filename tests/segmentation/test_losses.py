import numpy as np
import pytest

from unmask.segmentation.losses import MaskLoss, border_weight


def truth():
    out = np.zeros((1, 16, 16, 1), np.float32)
    out[:, 4:12, 4:12] = 1
    return out


def test_border_weight_marks_both_sides_of_the_border():
    weight = np.asarray(border_weight(truth(), gain=2.0, width=3))[0, 8, :, 0]
    np.testing.assert_allclose(weight, [1, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 3, 3, 1, 1, 1])


def test_loss_by_hand():
    # Probability 0.5 everywhere: ln 2 of entropy; Dice 1 - (2 * 32 + 1) / (64 + 128 + 1).
    loss = float(MaskLoss(border_gain=0.0, dice=1.0)(truth(), np.full((1, 16, 16, 1), 0.5, "f4")))
    assert loss == pytest.approx(np.log(2) + 1 - 65 / 193, rel=1e-4)


def test_a_picture_without_mask_has_a_finite_small_loss():
    empty = np.zeros((1, 16, 16, 1), np.float32)
    assert float(MaskLoss()(empty, empty)) < 1e-3


def test_a_wrong_border_costs_more_than_a_wrong_spot():
    at_border, inside = truth(), truth()
    at_border[:, 4, 5:9] = 0
    inside[:, 7, 6:10] = 0
    loss = MaskLoss()
    assert float(loss(truth(), at_border)) > 2 * float(loss(truth(), inside))


def test_loss_survives_serialisation():
    loss = MaskLoss(border_gain=1.0, border_width=7, dice=0.25)
    again = MaskLoss.from_config(loss.get_config())
    assert (again.border_gain, again.border_width, again.dice) == (1.0, 7, 0.25)

import numpy as np
import pytest
from skimage.measure import label

from unmask.synthesis.drawing import ALL_KINDS, SHARES, draw_template
from unmask.synthesis.template import SHAPE, sheet_points
from unmask.synthesis.wear import FITS


def test_every_kind_has_a_share_and_a_fit():
    assert set(ALL_KINDS) == set(FITS)
    assert sum(SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_mask_is_one_piece_without_holes_over_its_middle(kind):
    for seed in range(4):
        template = draw_template(kind, np.random.default_rng(seed))
        assert template.kind == kind
        assert template.rgba.shape == (*SHAPE, 4)
        body = template.rgba[..., 3] > 127
        assert label(body).max() == 1
        assert label(~body).max() == 1
        _, nose, _, _, chin, _ = sheet_points()
        rows = np.linspace(nose[1] + 12, chin[1] - 12, 9).astype(int)
        assert body[rows, round(float(nose[0]))].all()


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="'veil'"):
        draw_template("veil", np.random.default_rng(0))

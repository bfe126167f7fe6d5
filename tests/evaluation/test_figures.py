import numpy as np
import pytest

from unmask.evaluation.figures import draw_columns

BLACK = np.zeros((8, 8, 3), np.uint8)


def test_a_column_a_method_and_a_row_a_face():
    figure = draw_columns(
        {"a": [BLACK, BLACK], "b": [BLACK, BLACK[..., 0] > 0]}, {"b": ["1 dB", "2 dB"]}
    )
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "", ""]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "1 dB", "", "2 dB"]


@pytest.mark.parametrize("columns", [{}, {"a": []}, {"a": [BLACK], "b": []}])
def test_nothing_to_draw_is_refused(columns):
    with pytest.raises(ValueError, match="columns"):
        draw_columns(columns)

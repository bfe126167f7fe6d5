from pathlib import Path

import cv2
import numpy as np
import pytest

from unmask.errors import DataError
from unmask.synthesis import MaskSynthesizer, load_masktheface
from unmask.synthesis.template import SHAPE, flatten, sheet_points

POINTS = {
    "a": (40, 20),
    "b": (110, 10),
    "c": (199, 30),
    "d": (50, 120),
    "e": (110, 150),
    "f": (160, 120),
}


def write_picture(path: Path, *, loop: bool = False) -> None:
    rgba = np.zeros((160, 200, 4), np.uint8)
    outline = np.int32([(40, 20), (110, 10), (160, 20), (160, 120), (110, 150), (50, 120)])
    cv2.fillPoly(rgba, [outline], (200, 120, 60, 255))
    if loop:
        cv2.line(rgba, (158, 24), (199, 30), (255, 255, 255, 255), 3)
    cv2.imwrite(str(path), rgba)


def section(name: str, **changes: str | None) -> str:
    fields: dict[str, str | None] = {"template": "mask.png"}
    fields |= {f"mask_{k}": f"{x}, {y}" for k, (x, y) in POINTS.items()}
    fields |= changes
    lines = [f"{k} = {v}" for k, v in fields.items() if v is not None]
    return "\n".join([f"[{name}]", *lines, ""])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "mask.png", loop=True)
    (tmp_path / "masks.cfg").write_text(
        section("surgical") + section("surgical_left") + section("KN95_x")
    )
    return tmp_path


def test_sections_become_templates(folder):
    front, left, other = load_masktheface(folder)
    assert (front.kind, front.view, front.name) == ("surgical", "front", "surgical")
    assert (left.kind, left.view, left.name) == ("surgical", "left", "surgical")
    assert (other.kind, other.view, other.name) == ("respirator", "front", "KN95_x")
    assert front.rgba[80, 100].tolist() == [60, 120, 200, 255]


def test_loops_leave_the_picture_and_points_the_loops(folder):
    template = load_masktheface(folder)[0]
    assert not template.rgba[:, 172:, 3].any()
    assert template.rgba[40:110, 60:150, 3].min() == 255
    # mask_c lay on the end of the loop, 40 pixels from the body.
    assert np.hypot(*(template.points[2] - (160, 20))) < 12
    np.testing.assert_allclose(template.points[3], POINTS["d"], atol=6)


def test_flattening_puts_key_points_on_the_grid(folder):
    template = load_masktheface(folder)[0]
    flat = flatten(template)
    assert flat.rgba.shape == (*SHAPE, 4)
    np.testing.assert_array_equal(flat.points, sheet_points())
    left, nose, right, _, chin, _ = sheet_points().astype(int)
    body = flat.rgba[..., 3] > 127
    assert body[nose[1] + 5 : chin[1] - 5, nose[0]].all()
    assert not body[: nose[1] - 8].any()
    assert not body[:, : left[0] - 10].any()
    assert not body[:, right[0] + 10 :].any()


def test_the_head_chooses_the_view(folder, portrait, landmarks):
    red = section("cloth", template="red.png") + section("cloth_left", template="mask.png")
    (folder / "masks.cfg").write_text(red)
    write_picture(folder / "red.png")
    picture = cv2.imread(str(folder / "red.png"), cv2.IMREAD_UNCHANGED)
    picture[..., :3] = (0, 0, 255)
    cv2.imwrite(str(folder / "red.png"), picture)
    synth = MaskSynthesizer(bank_size=0, templates=load_masktheface(folder))
    turned = landmarks.copy()
    turned[51:55, 0] -= 40
    for points, red_is_more in ((landmarks, True), (turned, False)):
        result = synth(portrait, points, 0)
        color = result.image[result.mask].mean(axis=0)
        assert (color[0] > color[2]) == red_is_more


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no template"),
        ("template = x", "not a readable configuration"),
        (section("m", template=None), r"\[m\] template: missing"),
        (section("m", template="gone.png"), r"\[m\] template: .*gone.png not found"),
        (section("m", template="../mask.png"), "must be a path inside the folder"),
        (section("m", mask_e=None), r"\[m\] mask_e: missing"),
        (section("m", mask_e="12"), r"\[m\] mask_e: must be two finite numbers"),
        (section("m", mask_b="nan, 3"), r"\[m\] mask_b: must be two finite numbers"),
        (section("m", mask_f="900, 3"), r"\[m\] mask_f: outside the picture"),
        (section("m", template="grey.png"), "not an 8-bit RGBA"),
        (section("m", template="nothing.png"), "nothing.png is not an 8-bit RGBA"),
        (section("m", template="empty.png"), "transparent everywhere"),
    ],
)
def test_broken_folders_say_what_is_wrong(folder, text, message):
    cv2.imwrite(str(folder / "grey.png"), np.zeros((9, 9), np.uint8))
    cv2.imwrite(str(folder / "empty.png"), np.zeros((160, 200, 4), np.uint8))
    (folder / "nothing.png").touch()
    (folder / "masks.cfg").write_text(text)
    with pytest.raises(DataError, match=message):
        load_masktheface(folder)


def test_missing_configuration_is_named(tmp_path):
    with pytest.raises(DataError, match=r"masks\.cfg: not found"):
        load_masktheface(tmp_path)


def test_published_templates(data_dir):
    templates = load_masktheface(data_dir / "mask_templates")
    assert len(templates) == 12
    assert {t.view for t in templates} == {"front", "left", "right"}
    for template in templates:
        alpha = flatten(template).rgba[..., 3] > 127
        assert 0.4 < alpha.mean() < 0.7

"""Scores and WFLW's subsets, with locators that are known."""

import numpy as np
from skimage.data import astronaut

from unmask.cli import main
from unmask.data.record import FaceRecord
from unmask.face import square_matrix, transform_points
from unmask.image import save_image
from unmask.landmarks.data import WflwFace
from unmask.landmarks.evaluate import (
    PfldLocator,
    evaluate,
    evaluate_wflw,
    markdown_table,
)


def faces(count, seed=0):
    """Varied 98-point shapes with eyes and a mouth in sensible places."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(60, 200, (98, 2))
    base[[60, 72, 76, 82, 96, 97]] = (
        (82, 123),
        (174, 123),
        (104, 188),
        (152, 188),
        (96, 123),
        (160, 123),
    )
    base[60:68] = base[96] + rng.normal(0, 4, (8, 2))
    base[68:76] = base[97] + rng.normal(0, 4, (8, 2))
    base[76:96] = rng.normal((128, 188), 10, (20, 2))
    return base + rng.normal(0, 3, (count, 98, 2))


def test_locators_see_the_same_crops_and_are_scored_masked_and_bare(tmp_path):
    save_image(tmp_path / "a.png", astronaut())
    matrix = np.array([[0.78, 0.0, 125.0], [0.0, 0.78, 22.0]])
    points = np.asarray(transform_points(faces(1)[0], matrix), np.float32)
    seen = []

    def locator(photo, guess):
        seen.append((photo.copy(), guess))
        return points + np.float32(5 if len(seen) % 2 == 0 else 0)

    records = [FaceRecord(tmp_path / "a.png", points, "test")] * 2
    evaluation = evaluate(locator, records, seed=3)
    assert evaluation.unmasked.nme == 0
    assert evaluation.masked.nme > 0.05
    assert (seen[0][0] == astronaut()).all()
    assert (seen[1][0] != astronaut()).any()
    np.testing.assert_array_equal(seen[0][1], seen[1][1])
    assert not np.allclose(seen[0][1], seen[2][1])  # each face has its own first crop


def test_wflw_subsets_and_their_first_crops(tmp_path):
    save_image(tmp_path / "a.png", astronaut())
    points = faces(3).astype(np.float32)
    flags = (frozenset(), frozenset({"occlusion"}), frozenset({"occlusion", "blur"}))
    records = [FaceRecord(tmp_path / "a.png", p, "test") for p in points]
    listed = [
        WflwFace(r, (90.0, 90.0, 170.0, 190.0), f) for r, f in zip(records, flags, strict=True)
    ]
    guesses = []

    def locator(photo, guess):
        guesses.append(guess)
        return points[len(guesses) - 1] + np.float32(len(guesses) - 1)

    scores = evaluate_wflw(locator, listed)
    assert {name: score.count for name, score in scores.items()} == {
        "all": 3, "occlusion": 2, "blur": 1,
    }  # fmt: skip
    assert scores["blur"].nme > scores["occlusion"].nme > scores["all"].nme > 0
    for guess, face in zip(guesses, points, strict=True):
        inside = transform_points(face, guess)
        assert inside.min() >= -0.6
        assert inside.max() <= 255.6
    table = markdown_table(scores).splitlines()
    assert len(table) == 5
    assert table[3].startswith("| occlusion | 2 |")


def test_pfld_points_come_back_from_any_guess(data_dir, tmp_path):
    """The same portrait from two first crops: the third-party network finds the same face."""
    locator = PfldLocator(data_dir / "nets" / "pfld_ghostone_wflw98.onnx", passes=3)
    one = locator(astronaut(), square_matrix((224, 125), 210))
    two = locator(astronaut(), square_matrix((232, 118), 230))
    assert one.shape == (98, 2)
    assert np.abs(one - two).mean() < 2
    assert np.linalg.norm(one[96] - (202.7, 101)) < 6  # the pupil, read off by hand


def test_the_command_needs_faces_and_names_what_is_missing(tmp_path, capsys):
    broken = tmp_path / "broken.onnx"
    broken.touch()
    command = ["evaluate", "landmarks"]
    assert main(command) == 2
    assert main([*command, "--data", str(tmp_path)]) == 2
    assert main([*command, "--data", ".", "--pfld", str(broken)]) == 2
    errors = capsys.readouterr().err
    assert "give --data or --wflw-list" in errors
    assert "landmarks98.npz" in errors
    assert f"{broken}: OpenCV cannot read it" in errors

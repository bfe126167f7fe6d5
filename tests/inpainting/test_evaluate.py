"""Baselines, completing windows, and the figures and pictures of an evaluation."""

from dataclasses import replace

import numpy as np
import pytest
from skimage.io import imread

from unmask.data.faces import read_face_folder
from unmask.errors import DataError
from unmask.inpainting import lite, paper
from unmask.inpainting.evaluate import (
    baselines,
    choose_faces,
    contact_sheet,
    evaluate,
    fill_mean_color,
    fill_navier_stokes,
    fill_telea,
    generator_method,
    make_cases,
    markdown_table,
    perceptual_distance,
)
from unmask.inpainting.features import load_features
from unmask.inpainting.predict import complete_windows
from unmask.inpainting.window import draw_landmark_map
from unmask.metrics import psnr_hole


@pytest.fixture(scope="module")
def faces(face_folder):
    return read_face_folder(face_folder)


@pytest.fixture(scope="module")
def cases(faces):
    return make_cases(faces[:6])


@pytest.fixture(scope="module")
def completed(cases, linear):
    """The cases' images without gaps, and their coarse completions."""
    return linear(cases.images, cases.holes, cases.valid, cases.landmarks)


@pytest.fixture(scope="module")
def coarse_generator():
    return lite.build_generator(width=8, depth=1)


# === Baselines ===


@pytest.mark.parametrize("fill", [fill_mean_color, fill_telea, fill_navier_stokes])
def test_baselines_change_the_hole_only_and_leave_the_image_alone(fill, face):
    image = face[0]
    hole = np.zeros(image.shape[:2], bool)
    hole[100:180, 80:170] = True
    before = image.copy()
    result = fill(image, hole)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result[~hole], image[~hole])
    other = image.copy()
    other[hole] = 0
    np.testing.assert_array_equal(fill(other, hole), result)
    flat = np.full((40, 40, 3), (10, 120, 250), np.uint8)
    # OpenCV's Telea drifts by a few levels even on a flat image.
    assert np.abs(fill(flat, hole[90:130, 70:110]).astype(int) - flat).max() <= 8


def test_local_fills_continue_a_ramp_that_the_mean_colour_cannot():
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (64, 64, 3)).copy()
    hole = np.zeros((64, 64), bool)
    hole[20:40, 10:30] = True
    figures = [
        psnr_hole(ramp, fill(ramp, hole), hole)
        for fill in (fill_mean_color, fill_telea, fill_navier_stokes)
    ]
    assert min(figures[1:]) > figures[0] + 5


def test_baselines_name_what_does_not_fit():
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="a hole everywhere"):
        fill_telea(image, np.ones((8, 8), bool))
    with pytest.raises(ValueError, match="dtype=float64"):
        fill_mean_color(image, np.zeros((8, 8)))
    with pytest.raises(ValueError, match=r"shape=\(8, 8\)"):
        fill_navier_stokes(image[..., 0], np.zeros((8, 8), bool))


# === Completing windows ===


def test_windows_are_completed_in_the_hole_only(cases, completed, coarse_generator):
    images, coarse = completed
    result = complete_windows(coarse_generator, images, cases.holes, cases.landmarks, coarse)
    assert result.dtype == np.uint8
    assert result.shape == images.shape
    np.testing.assert_array_equal(result[~cases.holes], images[~cases.holes])
    assert (result[cases.holes] != images[cases.holes]).mean() > 0.8


def test_batching_and_hidden_pixels_make_no_difference(cases, completed, coarse_generator):
    images, holes, landmarks, coarse = (
        x[:3] for x in (completed[0], cases.holes, cases.landmarks, completed[1])
    )
    inputs = holes, landmarks, coarse
    result = complete_windows(coarse_generator, images, *inputs)
    single = complete_windows(coarse_generator, images[1:2], *(x[1:2] for x in inputs))
    assert np.abs(result[1:2].astype(int) - single).max() <= 1
    repainted = np.where(holes[..., None], np.uint8(77), images)
    again = complete_windows(coarse_generator, repainted, *inputs)
    np.testing.assert_array_equal(again, result)


def test_a_silent_generator_returns_the_coarse_completion(cases, completed):
    model = lite.build_generator(width=8, depth=1)
    last = model.get_layer("decoder3")
    last.set_weights([0 * value for value in last.get_weights()])
    images, coarse = completed
    result = complete_windows(model, images, cases.holes, cases.landmarks, coarse)
    np.testing.assert_array_equal(result, coarse)


def test_no_faces_and_wrong_inputs(cases, coarse_generator):
    images, holes, landmarks = cases.images[:1], cases.holes[:1], cases.landmarks[:1]
    none = [x[:0] for x in (images, holes, landmarks, images)]
    assert complete_windows(coarse_generator, *none).shape == (0, 192, 192, 3)
    for changed, message in (
        ((images, holes, landmarks), "coarse=None"),
        ((images / 255.0, holes, landmarks, images), "images must be"),
        ((images, holes[:, :100], landmarks, images), "holes must be"),
        ((images, holes, landmarks[:, :5], images), "landmarks must be"),
    ):
        with pytest.raises(ValueError, match=message):
            complete_windows(coarse_generator, *changed)


# === Evaluation ===


def test_cases_are_repeatable_and_consistent(cases, faces):
    again = make_cases(faces[:6])
    np.testing.assert_array_equal(again.crops, cases.crops)
    np.testing.assert_array_equal(again.holes, cases.holes)
    assert len(cases) == 6
    assert cases.scored.any((1, 2)).all()
    assert not (cases.scored & ~cases.valid).any()
    assert set(cases.genders) == {"male", "female"}
    changed = np.abs(cases.images.astype(int) - cases.truth).max(-1)
    inside, outside = cases.scored, ~cases.holes & cases.valid
    assert changed[inside].mean() > 10 * changed[outside].mean()
    other = make_cases(faces[:6], seed=5)
    assert (other.holes != cases.holes).any()


def test_pixels_from_outside_the_photo_are_completed_and_not_scored(faces, linear):
    record = faces[0]
    moved = replace(record, landmarks=record.landmarks - np.array([95, 0], np.float32))
    case = make_cases([moved])
    padding, kept = ~case.valid, case.valid
    assert padding.mean() > 0.1
    assert not (case.scored & padding).any()
    for images in (method(case) for method in baselines(linear).values()):
        changed = (images != case.images).any(-1) & ~case.holes
        assert changed[padding & ~case.holes].mean() > 0.5
        assert not changed[kept].any()


def test_predicted_landmarks_come_from_the_masked_crops(cases):
    seen = []

    def predictor(crops):
        seen.append(crops)
        return np.full((len(crops), 98, 2), 100.0)

    guided = cases.guided_by(predictor)
    np.testing.assert_array_equal(seen[0], cases.crops)
    assert guided.landmarks[0, 0].tolist() == [68, 36]
    np.testing.assert_array_equal(guided.holes, cases.holes)


def test_without_landmarks_maps_are_empty(cases):
    blind = cases.without_landmarks()
    assert not any(draw_landmark_map(points, 192).any() for points in blind.landmarks)
    np.testing.assert_array_equal(blind.holes, cases.holes)
    # A generator on a plain input sees the difference only in the map.
    model = paper.build_generator(width=8, depth=1)
    results = [
        complete_windows(model, blind.images[:1], blind.holes[:1], c.landmarks[:1])
        for c in (cases, blind)
    ]
    assert (results[0] != results[1]).any()


def test_the_truth_scores_best_and_scoring_ignores_known_pixels(cases, linear, vgg_file):
    features = load_features(vgg_file)
    near = np.clip(cases.truth.astype(int) + 1, 0, 255).astype(np.uint8)
    spoiled = np.where(cases.scored[..., None], near, np.uint8(0))
    results = {name: method(cases) for name, method in baselines(linear).items()}
    evaluation = evaluate(cases, {**results, "near": near, "spoiled": spoiled}, features)
    best = evaluation.of("near")
    assert best.psnr_hole > 45
    assert evaluation.of("spoiled") == replace(best, method="spoiled")
    for name in results:
        scores = evaluation.of(name)
        assert scores.psnr_hole < best.psnr_hole
        assert scores.perceptual > best.perceptual
        assert scores.ssim_lafin < best.ssim_lafin
    assert evaluation.count == 6
    assert evaluation.hole_share == pytest.approx(cases.scored.mean())
    everyone, male, female = (evaluation.of("Telea", g) for g in ("all", "male", "female"))
    assert (male.count, female.count) == (3, 3)
    assert everyone.psnr_hole == pytest.approx((male.psnr_hole + female.psnr_hole) / 2)
    kinds = [s for s in evaluation.scores if s.method == "Telea" and s.group.startswith("mask: ")]
    assert sum(s.count for s in kinds) == 6
    table = markdown_table(evaluation)
    assert f"| Telea | all | 6 | {everyone.psnr_hole:.2f} " in table
    assert "perceptual" in table
    with pytest.raises(KeyError, match="unheard"):
        evaluation.of("unheard")


def test_perceptual_distance_equals_the_loss_of_each_face(cases, vgg_file):
    from unmask.inpainting.losses import perceptual_loss

    features = load_features(vgg_file)
    black = np.zeros_like(cases.truth)
    distances = perceptual_distance(features, cases.truth, black, cases.scored)
    composite = np.where(cases.scored[..., None], black, cases.truth)[4:5] / np.float32(255)
    wanted = cases.truth[4:5] / np.float32(255)
    expected = perceptual_loss(features(composite)[0], features(wanted)[0])
    assert distances.shape == (6,)
    assert distances[4] == pytest.approx(float(expected), rel=1e-3)
    assert not perceptual_distance(features, cases.truth, cases.truth, cases.scored).any()


def test_each_gender_gets_its_generator(cases, linear, completed, coarse_generator):
    other = lite.build_generator(width=8, depth=1)
    last = other.get_layer("decoder3")
    last.set_weights([0 * value for value in last.get_weights()])
    models = {"male": coarse_generator, "female": other}
    own = generator_method(models, linear)(cases)
    swapped = generator_method(models, linear, swapped=True)(cases)
    coarse, male = completed[1], cases.genders == "male"
    np.testing.assert_array_equal(own[~male], coarse[~male])
    np.testing.assert_array_equal(swapped[male], coarse[male])
    assert (own[male] != coarse[male]).any()


def test_the_sheet_shows_best_median_and_worst(cases, tmp_path):
    results = {"noisy": cases.truth.copy()}
    order = [3, 0, 5, 1, 4, 2]
    for badness, place in enumerate(order):
        hole = cases.scored[place]
        results["noisy"][place][hole] ^= np.uint8(1 << badness)
    chosen = contact_sheet(tmp_path / "sheet.png", cases, results, rank_by="noisy", each=1)
    assert chosen == [3, 5, 2]
    # Three rows of four pictures: masked, known, noisy, truth.
    height, width = imread(tmp_path / "sheet.png").shape[:2]
    assert width / height == pytest.approx(4 / 3, rel=0.2)
    assert sorted(contact_sheet(tmp_path / "all.png", cases, results, rank_by="noisy")) == [
        0, 1, 2, 3, 4, 5,
    ]  # fmt: skip


def test_faces_are_chosen_by_lot_and_balanced(faces):
    chosen = choose_faces(faces, 4)
    assert [record.gender for record in chosen] == ["female"] * 2 + ["male"] * 2
    assert choose_faces(faces, 4) == chosen
    assert len(choose_faces(faces, 100)) == len(faces)
    unknown = [replace(record, gender=None) for record in faces]
    assert choose_faces(unknown, 4) == []


def test_nothing_to_evaluate_is_an_error(faces):
    with pytest.raises(DataError, match="no faces"):
        make_cases([])
    with pytest.raises(DataError, match="has 68"):
        make_cases([replace(faces[0], landmarks=faces[0].landmarks[:68])])

"""Augmentation, samples, prediction and evaluation on one face."""

import pickle
from dataclasses import replace

import keras
import numpy as np
import pytest
from skimage.data import astronaut

from unmask.data.faces import TEST_SOURCES
from unmask.data.record import FaceSet
from unmask.errors import DataError
from unmask.face import canonical_matrix, transform_points, warp
from unmask.image import save_image
from unmask.landmark_layout import MIRROR_98, POINTS_98_TO_68, flip_landmarks, is_turned
from unmask.landmarks.augment import (
    Augmentation,
    add_hand,
    jitter_matrix,
    mirror_matrix,
    vary_pixels,
)
from unmask.landmarks.data import (
    LandmarkSampler,
    gather_landmarks,
    make_targets,
    validation_faces,
)
from unmask.landmarks.evaluate import score_landmarks
from unmask.landmarks.heatmaps import IGNORED, decode_mean, to_image
from unmask.landmarks.lite import build_lite
from unmask.landmarks.predict import predict_landmarks
from unmask.landmarks.task import Hourglasses, LandmarkRecipe, LandmarkTask, store_compactly
from unmask.training.recipe import read_recipe
from unmask.training.task import Places
from unmask.weights import load_weights, save_weights


def mean_face():
    """98 points of a symmetric face in the canonical crop, by construction."""
    points = np.zeros((98, 2))
    angle = np.linspace(np.pi, 0, 33)
    points[:33] = np.stack([127.5 + 74 * np.cos(angle), 125 + 112 * np.sin(angle)], axis=1)

    def oval(first, count, center, radii):
        turn = np.pi + np.linspace(0, 2 * np.pi, count, endpoint=False)
        points[first : first + count] = center + np.stack([np.cos(turn), np.sin(turn)], 1) * radii

    oval(33, 9, (92, 102), (20, 4))
    oval(42, 9, (163, 102), (20, 4))
    points[51:55] = np.stack([np.full(4, 127.5), np.linspace(122, 158, 4)], axis=1)
    points[55:60] = np.stack([np.linspace(113, 142, 5), [168, 170, 172, 170, 168]], axis=1)
    oval(60, 8, (95, 123), (14, 5))
    oval(68, 8, (160, 123), (14, 5))
    oval(76, 12, (127.5, 190), (25, 9))
    oval(88, 8, (127.5, 190), (20, 3))
    points[96], points[97] = (95, 123), (160, 123)
    return points


ASTRONAUT_FROM_CANONICAL = np.array([[0.78, 0.0, 125.0], [0.0, 0.78, 22.0]])


@pytest.fixture(scope="module")
def face_dir(tmp_path_factory):
    """A data folder with one 98-point folder and one 68-point folder of the same portrait."""
    root = tmp_path_factory.mktemp("data")
    points = transform_points(mean_face(), ASTRONAUT_FROM_CANONICAL)
    for folder, count in (("faces_wide", 98), ("landmarks_300w", 68)):
        (root / folder).mkdir()
        names = [f"{i}.png" for i in range(4)]
        for name in names:
            save_image(root / folder / name, astronaut())
        stored = points if count == 98 else points[POINTS_98_TO_68]
        np.savez(
            root / folder / f"landmarks{count}.npz",
            **{"files": names, f"landmarks{count}": np.stack([stored] * 4)},
        )
    (root / "faces_wide" / "labels.csv").write_text(
        "file,source,gender,split\n"
        "0.png,web,,train\n1.png,300w-helen,,train\n2.png,web,,val\n3.png,web,,val\n"
    )
    return root


FOLDERS = {"faces_wide": 1.0, "landmarks_300w": 3.0, "WFLW": 2.0, "300w": 1.0}
PLAIN = Augmentation(masked=0, blocked=0, hands=0, degraded=0, grey=0)


def test_photos_that_may_be_test_photos_are_left_out(face_dir):
    faces, held_out = gather_landmarks([face_dir], FOLDERS)
    assert faces.weights.tolist() == [1.0, 3.0, 3.0, 3.0, 3.0]
    assert [record.path.name for record in held_out] == ["2.png", "3.png"]
    assert all(r.source not in TEST_SOURCES for r in faces.records)
    with pytest.raises(DataError, match="neither a face folder nor a folder with faces_wide"):
        gather_landmarks([face_dir / "nothing"], FOLDERS)


def test_without_a_validation_split_faces_are_held_out(face_dir):
    faces, held_out = gather_landmarks([face_dir / "landmarks_300w"], FOLDERS)
    assert [record.path.name for record in held_out] == ["0.png"]
    assert [record.path.name for record in faces.records] == ["1.png", "2.png", "3.png"]


def test_published_data_sets_are_trained_on_where_they_are_unpacked(tmp_path):
    points = transform_points(mean_face(), ASTRONAUT_FROM_CANONICAL)
    lists = tmp_path / "WFLW" / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    (tmp_path / "WFLW" / "WFLW_images").mkdir()
    save_image(tmp_path / "WFLW" / "WFLW_images" / "face.png", astronaut())
    line = " ".join(f"{value:.3f}" for value in points.ravel()) + " 170 50 280 180 0 0 0 0 1 0 "
    for split in ("train", "test"):
        (lists / f"list_98pt_rect_attr_{split}.txt").write_text(2 * f"{line}face.png\n")
    (tmp_path / "300w" / "afw").mkdir(parents=True)
    save_image(tmp_path / "300w" / "afw" / "face.png", astronaut())
    rows = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in points[POINTS_98_TO_68])
    text = f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n"
    (tmp_path / "300w" / "afw" / "face.pts").write_text(text)
    faces, (held_out,) = gather_landmarks([tmp_path], FOLDERS)
    wflw, ibug = faces.records
    assert faces.weights.tolist() == [2.0, 1.0]
    np.testing.assert_allclose(held_out.landmarks, points, atol=1e-3)
    np.testing.assert_allclose(wflw.landmarks, points, atol=1e-3)
    np.testing.assert_allclose(ibug.landmarks, points[POINTS_98_TO_68], atol=1e-3)
    images, _ = LandmarkSampler(faces, batch_size=4, augmentation=PLAIN)(0)
    assert images.std() > 25


def test_targets_hold_the_points():
    points = mean_face()
    targets = make_targets(points)
    assert targets.shape == (64, 64, 99)
    found = to_image(decode_mean(targets[None, ..., :98]))[0]
    assert np.abs(found - points).max() < 0.5


def test_targets_of_68_points_supervise_the_corresponding_channels_only():
    targets = make_targets(mean_face()[POINTS_98_TO_68])
    supervised = np.flatnonzero(targets[0, 0] != IGNORED)
    assert set(supervised.tolist()) == set(POINTS_98_TO_68.tolist())
    found = to_image(decode_mean(targets[None]))[0, POINTS_98_TO_68]
    assert np.abs(found - mean_face()[POINTS_98_TO_68]).max() < 0.5


def test_points_outside_the_crop_get_their_place_on_its_edge():
    points = mean_face()
    points[16] = 128, 300
    targets = make_targets(points)
    assert targets[..., 16].argmax() // 64 == 63


def test_jitter_stays_within_its_limits():
    settings = Augmentation(steady=0, wild=0.5)
    center = np.array([[127.5, 127.5]])
    for i in range(200):
        matrix = jitter_matrix(np.random.default_rng(i), settings)
        scale = np.sqrt(np.linalg.det(matrix[:, :2]))
        assert 1 / 1.25 - 1e-6 <= scale <= 1.25 + 1e-6
        angle = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
        assert abs(angle) <= 50 + 1e-6
        assert np.abs(transform_points(center, matrix) - center).max() <= 0.12 * 256 + 1e-3


def test_mirroring_a_matrix_is_mirroring_its_crop():
    matrix = jitter_matrix(np.random.default_rng(0), Augmentation())
    points = mean_face()
    mirrored = transform_points(points, mirror_matrix(matrix))
    expected = flip_landmarks(transform_points(points, matrix), 256)
    np.testing.assert_allclose(mirrored[MIRROR_98], expected, atol=1e-3)


def test_pixels_vary_by_seed_alone():
    image = astronaut()[:256, :256]
    settings = Augmentation(blocked=1, hands=1, degraded=1)
    first, second, other = (
        vary_pixels(image.copy(), np.random.default_rng(seed), settings) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).mean() > 0.5


def test_a_hand_covers_a_part_of_the_lower_face_in_its_colour():
    face = np.full((256, 256, 3), (200, 150, 120), np.uint8)
    shares, colours = [], []
    for seed in range(20):
        before = face.copy()
        image = add_hand(face, np.random.default_rng(seed))
        np.testing.assert_array_equal(face, before)
        changed = (image != face).any(axis=-1)
        shares.append(changed.mean())
        colours.append(image[changed].mean(axis=0))
        assert changed[128:].sum() > changed[:128].sum()
    assert 0.02 < min(shares) < max(shares) < 0.5
    assert (np.diff(colours, axis=1) < 0).mean() > 0.9  # red above green above blue, like the skin


def test_landmarks_follow_the_pixels(face_dir):
    """A face cut out again by its own landmarks looks like the untouched canonical crop."""
    faces, _ = gather_landmarks([face_dir / "faces_wide"], FOLDERS)
    sampler = LandmarkSampler(faces, batch_size=2, augmentation=PLAIN)
    reference = astronaut_crop()[90:200, 70:186].astype(float)
    for i in range(6):
        image, points = sampler.face(i)
        again = warp_crop(image, canonical_matrix(points))[90:200, 70:186].astype(float)
        straight = np.corrcoef(again.ravel(), reference.ravel())[0, 1]
        mirrored = np.corrcoef(again[:, ::-1].ravel(), reference.ravel())[0, 1]
        assert max(straight, mirrored) > 0.9


def astronaut_crop():
    points = transform_points(mean_face(), ASTRONAUT_FROM_CANONICAL)
    return warp_crop(astronaut(), canonical_matrix(points))


def warp_crop(image, matrix):
    return warp(image, matrix, 256)


def test_batches_depend_on_their_number_alone(face_dir):
    sampler = LandmarkSampler(
        gather_landmarks([face_dir], FOLDERS)[0], batch_size=3, augmentation=PLAIN, stacks=2
    )
    images, targets = sampler(1)
    assert images.shape == (3, 256, 256, 3)
    assert images.dtype == np.uint8
    assert [t.shape for t in targets] == [(3, 64, 64, 99)] * 2
    np.testing.assert_array_equal(images, pickle.loads(pickle.dumps(sampler))(1)[0])
    assert not np.array_equal(images, sampler(2)[0])


def test_turned_heads_are_shown_more_often(face_dir):
    record = gather_landmarks([face_dir], FOLDERS)[0].records[0]
    # The nose tip near one cheek.
    points = record.landmarks.copy()
    points[54] = 0.9 * points[4] + 0.1 * points[28]
    faces = FaceSet((replace(record, landmarks=points), record), np.ones(2))

    def share_of_turned(times):
        sampler = LandmarkSampler(
            faces, batch_size=1, augmentation=PLAIN, profile_oversampling=times
        )
        return np.mean([is_turned(sampler.face(i)[1]) for i in range(60)])

    assert share_of_turned(1) == pytest.approx(0.5, abs=0.2)
    assert share_of_turned(5) > 0.7


def test_validation_faces_keep_the_truth_under_the_mask(face_dir):
    _, records = gather_landmarks([face_dir], FOLDERS)
    bare, masked = (validation_faces(records, masked=m, count=5) for m in (False, True))
    assert len(bare[0]) == 2
    np.testing.assert_array_equal(bare[1], masked[1])
    changed = (bare[0] != masked[0]).any(axis=-1)
    assert changed[:, 150:220, 100:156].mean() > 0.8
    assert changed[:, :60].mean() < 0.2


def test_what_float16_cannot_hold_is_stored_by_a_scale(tmp_path):
    network = Hourglasses(width=16, depth=2)
    model = build_lite(width=16, depth=2)
    norm = model.get_layer("bn_end0")
    norm.moving_variance.assign(np.full(16, 1e6))
    image = np.random.default_rng(0).uniform(0, 1, (1, 256, 256, 3)).astype(np.float32)
    before = model.predict_on_batch(image)[0]
    save_weights(model, tmp_path / "l.safetensors", {"val_error": "3"}, dtype="float32")
    store_compactly(tmp_path / "l.safetensors", network)
    assert load_weights(model, tmp_path / "l.safetensors") == {"val_error": "3"}
    assert 0.1 < float(norm.moving_variance[0]) < 10
    np.testing.assert_allclose(model.predict_on_batch(image)[0], before, rtol=0.01, atol=2e-3)


def test_more_hourglasses_go_on_from_a_file_of_fewer(tmp_path):
    tasks = []
    for stacks in (1, 3):
        sizes = {"network.stacks": stacks, "network.width": 16, "network.depth": 1}
        recipe = read_recipe("paper/landmarks", sizes).phase(0, LandmarkRecipe)
        tasks.append(LandmarkTask(recipe, Places([], tmp_path)))
        tasks[-1].build()
    one, three = tasks
    save_weights(one.network, tmp_path / "one.safetensors", dtype="float32")
    three.start_from(tmp_path / "one.safetensors")
    image = np.random.default_rng(0).uniform(0, 1, (1, 256, 256, 3)).astype(np.float32)
    wanted = one.network.predict_on_batch(image)
    for answer in three.network.predict_on_batch(image):
        np.testing.assert_allclose(answer, wanted, atol=1e-5)


def test_scores_by_hand():
    truth = np.stack([mean_face()] * 2)
    predicted = truth.copy()
    ocular = np.linalg.norm(truth[0, 60] - truth[0, 72])
    predicted[0, :33, 0] += 0.3 * ocular  # only the jaw of the first face
    scores = score_landmarks(predicted, truth)
    assert scores.count == 2
    assert scores.nme == pytest.approx(0.3 * 33 / 98 / 2)
    assert scores.failure_rate == 0.5
    assert scores.regions["jaw"] == pytest.approx(0.15)
    assert scores.regions["mouth"] == 0
    as_68 = score_landmarks(predicted, truth[:, POINTS_98_TO_68])
    assert as_68.nme == pytest.approx(0.3 * 17 / 68 / 2)


def test_prediction_reads_the_heatmaps_and_their_mirror():
    """A network that finds a bright dot: prediction and mirrored prediction agree with it."""
    image = keras.Input((256, 256, 3))
    brightness = keras.layers.AveragePooling2D(4)(image)
    maps = keras.layers.Conv2D(99, 1, use_bias=False, kernel_initializer="ones")(brightness)
    model = keras.Model(image, [maps])
    crops = np.zeros((3, 256, 256, 3), np.uint8)
    crops[1, 40:44, 200:204] = 255
    for mirror in (False, True):
        found = predict_landmarks(model, crops, batch_size=2, mirror=mirror)
        np.testing.assert_allclose(found.points[1], np.full((98, 2), [201.5, 41.5]), atol=1e-3)
        assert found.confidence.tolist() == [0, 1, 0]
    assert predict_landmarks(model, crops[:0]).points.shape == (0, 98, 2)
    with pytest.raises(ValueError, match=r"crops\.dtype=float64"):
        predict_landmarks(model, crops / 255)

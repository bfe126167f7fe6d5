import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from unmask.metrics import iou
from unmask.synthesis import MaskedFace, MaskSynthesizer, MaskTemplate

from .test_wear import as_68


@pytest.fixture(scope="module")
def synth() -> MaskSynthesizer:
    return MaskSynthesizer(seed=3, bank_size=12)


@pytest.fixture(scope="module")
def results(synth, portrait, landmarks) -> list[MaskedFace]:
    return [synth(portrait, landmarks, i) for i in range(60)]


def test_result_depends_on_seed_and_index_alone(results, portrait, landmarks):
    image, points = portrait.copy(), landmarks.copy()
    fresh = MaskSynthesizer(seed=3, bank_size=12)
    for i in reversed(range(6)):
        again = fresh(image, points, i)
        np.testing.assert_array_equal(again.image, results[i].image)
        np.testing.assert_array_equal(again.mask, results[i].mask)
        assert again.kind == results[i].kind
    np.testing.assert_array_equal(image, portrait)
    np.testing.assert_array_equal(points, landmarks)
    other = MaskSynthesizer(seed=4, bank_size=12)(image, points, 0)
    assert (other.image != results[0].image).any()


def test_masks_cover_mouth_nose_and_chin(results):
    mouth = np.mean([r.mask[182, 128] for r in results])
    nose = np.mean([r.mask[157, 128] for r in results])
    chin = np.mean([r.mask[232, 128] for r in results])
    assert mouth == 1
    assert 0.85 <= nose <= 1
    assert chin > 0.9
    assert not any(r.mask[123, [96, 160]].any() for r in results), "an eye is covered"
    assert all(0.1 < r.mask.mean() < 0.45 for r in results)
    assert len({r.kind for r in results}) >= 4


def test_pixels_change_on_the_mask_and_near_it_only(results, portrait):
    for result in results[:12]:
        assert result.image.dtype == np.uint8
        assert result.mask.dtype == bool
        changed = (result.image != portrait).any(axis=2)
        assert changed[result.mask].mean() > 0.97
        assert not changed[~binary_dilation(result.mask, iterations=60)].any()
        assert not changed[:100].any()


def test_loops_and_shadow_are_no_part_of_the_mask(portrait, landmarks):
    synth = MaskSynthesizer(seed=0, bank_size=4, kinds=("surgical",))
    beyond = 0
    for index in range(8):
        result = synth(portrait, landmarks, index)
        difference = np.abs(result.image.astype(int) - portrait).max(axis=2) > 25
        far = difference & ~binary_dilation(result.mask, iterations=6)
        beyond += bool(far.any())
    assert beyond >= 4


def test_both_landmark_layouts_give_nearly_the_same_mask(synth, results, portrait, landmarks):
    for index in range(6):
        found = synth(portrait, as_68(landmarks), index).mask
        assert iou(found, results[index].mask) > 0.98


def test_mask_moves_with_the_face(synth, results, portrait, landmarks):
    wide = cv2.copyMakeBorder(portrait, 20, 40, 30, 10, cv2.BORDER_REFLECT)
    for index in range(6):
        there = synth(wide, landmarks + np.float32([30, 20]), index).mask
        assert iou(there[20:276, 30:286], results[index].mask) > 0.97


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.5])
def test_mask_grows_with_the_face(synth, results, portrait, landmarks, factor):
    size = round(256 * factor)
    scaled = cv2.resize(portrait, (size, size), interpolation=cv2.INTER_AREA)
    for index in range(4):
        expected = results[index].mask
        result = synth(scaled, (landmarks + 0.5) * factor - 0.5, index).mask
        back = cv2.resize(result.astype(np.float32), (256, 256)) > 0.5
        assert iou(back, expected) > 0.85
        for axis in (0, 1):
            shift = np.nonzero(back)[axis].mean() - np.nonzero(expected)[axis].mean()
            assert abs(shift) < 1.5


def test_turned_and_cut_faces(synth, portrait, landmarks):
    profile = landmarks.copy()
    profile[51:55, 0] += 62
    profile[[76, 82], 0] += 50
    for index in range(6):
        assert synth(portrait, profile, index).mask.mean() > 0.08
        cut = synth(portrait[:190, :120], landmarks, index)
        assert cut.mask.shape == (190, 120)
        assert cut.mask.any()


def test_a_grey_photo_stays_grey(portrait, landmarks):
    grey = cv2.cvtColor(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    synth = MaskSynthesizer(bank_size=6, kinds=("cloth",))
    for index in range(6):
        result = synth(grey, landmarks, index)
        spread = np.ptp(result.image[result.mask].astype(int), axis=1)
        assert spread.max() <= 1


def test_a_face_outside_the_picture_stays_bare(synth, portrait, landmarks):
    result = synth(portrait, landmarks + 1000, 0)
    np.testing.assert_array_equal(result.image, portrait)
    assert not result.mask.any()


def test_all_landmarks_in_one_place_do_no_harm(synth, portrait):
    result = synth(portrait, np.full((98, 2), 128.0), 0)
    assert result.mask.mean() < 0.01


def test_wrong_arguments_are_named(portrait, landmarks):
    with pytest.raises(ValueError, match="veil"):
        MaskSynthesizer(kinds=("veil",))
    with pytest.raises(ValueError, match="bank_size=0"):
        MaskSynthesizer(bank_size=0)
    with pytest.raises(ValueError, match="float32"):
        MaskSynthesizer()(portrait.astype(np.float32), landmarks, 0)
    rgba = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(ValueError, match=r"templates\[0\]\.kind"):
        MaskSynthesizer(templates=[MaskTemplate("veil", rgba, np.zeros((6, 2), np.float32))])


def test_all_kinds_on_real_faces(data_dir):
    folder = data_dir / "faces_wide"
    with np.load(folder / "landmarks98.npz") as archive:
        files, points = archive["files"][::60], archive["landmarks98"][::60].astype(np.float32)
    synth = MaskSynthesizer(seed=1)
    covered, kinds = [], set()
    for index, (name, face) in enumerate(zip(files, points, strict=True)):
        image = cv2.imread(str(folder / str(name)))[..., ::-1]
        result = synth(np.ascontiguousarray(image), face, index)
        x, y = np.clip(np.rint(face[[79, 85, 57, 16]]).astype(int), 0, 255).T
        covered.append(result.mask[y, x])
        kinds.add(result.kind)
    assert np.mean(covered) > 0.9
    assert len(kinds) >= 5

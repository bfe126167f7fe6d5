"""Cached features: caching, going on, and the batches made of them."""

from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest

from unmask.data.record import Order
from unmask.errors import DataError
from unmask.gender.augment import vary
from unmask.gender.data import read_faces, stored_views
from unmask.gender.features import Features, FeatureSampler, cached_features


@pytest.fixture(scope="module")
def views(face_data, tmp_path_factory):
    records = read_faces([face_data / "faces"], {}, "train").records[:6]
    return stored_views(records, tmp_path_factory.mktemp("v") / "v.npy", masked=2)


def pooled(factor: float = 1.0) -> keras.Model:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(factor)(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def weighted() -> keras.Model:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(3, 1)(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def test_features_are_those_of_the_views(views, tmp_path):
    features = cached_features(pooled(), views, tmp_path / "f.npy", masked=3, scaling="inception")
    assert features.values.shape == (6, 4, 3)
    windows = np.stack([views.windows(v)[2] for v in (0, 1, 2, 1)]) / 127.5 - 1
    np.testing.assert_allclose(features.values[2], windows.mean((1, 2)), atol=0.01)
    flat, labels = features.flat()
    assert flat.shape == (24, 3)
    np.testing.assert_array_equal(labels[:, 0], np.repeat(views.labels, 4))


def test_augmented_copies_differ_and_are_the_same_again(views, tmp_path):
    first, second = (
        cached_features(
            pooled(), views, tmp_path / name, bare=3, masked=0, augmentation="varied", seed=4
        ).values
        for name in ("a.npy", "b.npy")
    )
    np.testing.assert_array_equal(first, second)
    assert (np.ptp(first.astype(np.float32), axis=1) > 1e-3).all()


def test_an_interrupted_computation_goes_on(views, tmp_path, monkeypatch):
    path = tmp_path / "f.npy"
    whole = cached_features(pooled(), views, tmp_path / "whole.npy").values
    seen: list[int] = []

    def stopping(source, framing, rng, kind):
        seen.append(len(seen))
        if len(seen) == 6:
            raise KeyboardInterrupt
        return vary(source, framing, rng, kind)

    monkeypatch.setattr("unmask.gender.features.vary", stopping)
    with pytest.raises(KeyboardInterrupt):
        cached_features(pooled(), views, path, faces_at_once=2)
    assert not path.exists()
    # A row that was only written in part is made anew.
    with path.with_suffix(".unfinished").open("ab") as handle:
        handle.write(b"half")
    values = cached_features(pooled(), views, path, faces_at_once=2).values
    np.testing.assert_array_equal(values, whole)
    assert len(seen) == 6 + 8  # two copies of the four faces that were not done
    with pytest.raises(DataError, match=r"f\.json: was made with bare=1, wanted is 2"):
        cached_features(pooled(), views, path, bare=2)
    with pytest.raises(DataError, match="was made with scaling='paper', wanted is 'inception'"):
        cached_features(pooled(), views, path, scaling="inception")
    with pytest.raises(DataError, match="was made with network="):
        cached_features(weighted(), views, path)


def test_large_activations_stay_finite(views, tmp_path):
    features = cached_features(pooled(1e6), views, tmp_path / "f.npy")
    assert np.isfinite(features.values).all()


def test_copies_that_there_are_not_are_refused(views, tmp_path):
    # Bare images must not be counted as masked ones.
    for some, copies in ((views, {"bare": 0, "masked": 0}), (views.first(1), {"masked": 1})):
        with pytest.raises(ValueError, match=f"masked={copies['masked']}, masks={some.masks}"):
            cached_features(pooled(), some, tmp_path / "f.npy", **copies)


def test_an_epoch_shows_every_face_as_often_as_it_weighs(tmp_path):
    values = np.arange(10, dtype=np.float16).reshape(5, 2, 1)
    np.save(tmp_path / "f.npy", values)
    labels = np.array([0, 1, 0, 1, 0], np.float32)
    features = Features(np.load(tmp_path / "f.npy", mmap_mode="r"), labels)
    order = Order(np.array([1.0, 1, 1, 1, 4]), seed=1)
    sampler = pickle.loads(pickle.dumps(FeatureSampler(features, order, 4, seed=1)))
    x, y = (np.concatenate(parts) for parts in zip(*map(sampler, range(4)), strict=True))
    faces = x[:, 0].astype(int) // 2
    for epoch in (faces[:8], faces[8:]):
        assert np.bincount(epoch).tolist() == [1, 1, 1, 1, 4]
    assert faces[:8].tolist() != faces[8:].tolist()
    np.testing.assert_array_equal(y[:, 0], labels[faces])
    assert set(x[faces == 4, 0].tolist()) == {8.0, 9.0}  # both copies

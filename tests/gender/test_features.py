"""Cached features: caching, going on, and the batches made of them."""

from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest

from unmask.errors import DataError
from unmask.gender.data import read_faces, stored_views
from unmask.gender.features import Copies, Features, FeatureSampler, cached_features


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
    copies = Copies(bare=1, masked=3)
    features = cached_features(pooled(), views, copies, tmp_path / "f.npy", scaling="inception")
    assert features.values.shape == (6, 4, 3)
    windows = np.stack([views.window(2, v) for v in (0, 1, 2, 1)]) / 127.5 - 1
    np.testing.assert_allclose(features.values[2], windows.mean((1, 2)), atol=0.01)
    flat, labels = features.flat()
    assert flat.shape == (24, 3)
    np.testing.assert_array_equal(labels[:, 0], np.repeat(views.labels, 4))


def test_augmented_copies_differ_and_are_the_same_again(views, tmp_path):
    copies = Copies(bare=3, masked=0, augmentation="varied", seed=4)
    first = cached_features(pooled(), views, copies, tmp_path / "a.npy")
    second = cached_features(pooled(), views, copies, tmp_path / "b.npy")
    np.testing.assert_array_equal(first.values, second.values)
    assert (np.ptp(first.values.astype(np.float32), axis=1) > 1e-3).all()


def test_an_interrupted_computation_goes_on(views, tmp_path, monkeypatch):
    path, copies = tmp_path / "f.npy", Copies()
    whole = cached_features(pooled(), views, copies, tmp_path / "whole.npy").values
    seen: list[int] = []
    image = Copies.image

    def stopping(self, views, face, copy):
        seen.append(face)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return image(self, views, face, copy)

    monkeypatch.setattr(Copies, "image", stopping)
    with pytest.raises(KeyboardInterrupt):
        cached_features(pooled(), views, copies, path, faces_at_once=2)
    assert not path.exists()
    # A row that was only written in part is made anew.
    with path.with_suffix(".unfinished").open("ab") as handle:
        handle.write(b"half")
    values = cached_features(pooled(), views, copies, path, faces_at_once=2).values
    np.testing.assert_array_equal(values, whole)
    assert seen[6:] == [2, 2, 3, 3, 4, 4, 5, 5]
    with pytest.raises(DataError, match=r"f\.json: was made with bare=1, wanted is 2"):
        cached_features(pooled(), views, Copies(bare=2), path)
    with pytest.raises(DataError, match="was made with scaling='paper', wanted is 'inception'"):
        cached_features(pooled(), views, copies, path, scaling="inception")
    with pytest.raises(DataError, match="was made with network="):
        cached_features(weighted(), views, copies, path)


def test_large_activations_stay_finite(views, tmp_path):
    features = cached_features(pooled(1e6), views, Copies(), tmp_path / "f.npy")
    assert np.isfinite(features.values).all()


def test_copies_that_there_are_not_are_refused(views, tmp_path):
    with pytest.raises(ValueError, match="bare=0, masked=0"):
        Copies(bare=0, masked=0)
    # Bare images must not be counted as masked ones.
    with pytest.raises(ValueError, match="masked=1"):
        cached_features(pooled(), views.first(1), Copies(masked=1), tmp_path / "f.npy")


def test_an_epoch_shows_every_copy_once(tmp_path):
    values = np.arange(10, dtype=np.float16).reshape(5, 2, 1)
    np.save(tmp_path / "f.npy", values)
    labels = np.array([0, 1, 0, 1, 0], np.float32)
    features = Features(np.load(tmp_path / "f.npy", mmap_mode="r"), labels)
    sampler = pickle.loads(pickle.dumps(FeatureSampler(features, np.arange(1.0, 6.0), 4, seed=1)))
    x, y, weights = (np.concatenate(parts) for parts in zip(*map(sampler, range(5)), strict=True))
    for epoch in (x[:10, 0], x[10:, 0]):
        assert sorted(epoch.tolist()) == list(range(10))
    assert x[:10].tolist() != x[10:].tolist()
    faces = x[:, 0].astype(int) // 2
    np.testing.assert_array_equal(y[:, 0], labels[faces])
    np.testing.assert_allclose(weights, (faces + 1) / 3)

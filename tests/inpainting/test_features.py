"""Feature networks: the right layers, the right colours, and errors that name the file."""

import keras
import numpy as np
import pytest
from keras import ops

from unmask.errors import WeightsError
from unmask.inpainting.features import _torchvision_module, load_features
from unmask.torch_checkpoint import by_module

_torchvision_name = by_module({}, _torchvision_module)


def test_compressed_vgg_returns_ordered_features(vgg_file):
    images = np.random.default_rng(0).uniform(size=(2, 64, 48, 3)).astype("float32")
    perceptual, style = load_features(vgg_file)(images)
    assert [tuple(f.shape) for f in perceptual] == [(2, 64 >> i, 48 >> i, 6) for i in range(5)]
    assert [tuple(f.shape) for f in style] == [(2, 64 >> i, 48 >> i, 4) for i in (1, 2, 3)]
    assert all(ops.convert_to_numpy(f).min() >= 0 for f in (*perceptual, *style))


def test_compressed_vgg_computes_its_first_feature_from_the_archive(vgg_file):
    image = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype("float32")
    z = np.load(vgg_file)
    x = image @ z["conv0_kernel"][0, 0] + z["conv0_bias"]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    patch = padded[0, 2:5, 3:6]  # around pixel (2, 3)
    hidden = np.maximum(np.einsum("yxi,yxio->o", patch, z["conv11_kernel"]) + z["conv11_bias"], 0)
    expected = np.maximum(hidden @ z["conv11_aux_kernel"][0, 0] + z["conv11_aux_bias"], 0)
    images = np.tile(image, (1, 4, 4, 1))  # the four poolings need some pixels
    first = ops.convert_to_numpy(load_features(vgg_file)(images)[0][0])
    np.testing.assert_allclose(first[0, 2, 3], expected, atol=1e-5)


def test_a_wrong_feature_file_is_named(vgg_file, tmp_path):
    arrays = dict(np.load(vgg_file))
    del arrays["conv33_bias"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(WeightsError, match="conv33_bias"):
        load_features(tmp_path / "less.npz")
    arrays["conv33_bias"] = np.zeros(9, "float32")
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(WeightsError, match=r"wrong\.npz: a tensor does not fit"):
        load_features(tmp_path / "wrong.npz")
    with pytest.raises(WeightsError, match="no such file"):
        load_features(tmp_path / "absent.npz")


@pytest.mark.parametrize("damage", ["cut", "changed", "text", "array"])
def test_a_broken_archive_is_a_weights_error(vgg_file, tmp_path, damage):
    content = bytearray(vgg_file.read_bytes())
    path = tmp_path / "broken.npz"
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        content[200:260] = bytes(60)
        path.write_bytes(content)
    elif damage == "text":
        path.write_text("no archive")
    else:
        np.save(tmp_path / "a.npy", np.ones(3))
        path.write_bytes((tmp_path / "a.npy").read_bytes())
    with pytest.raises(WeightsError, match=r"broken\.npz"):
        load_features(path)


# === The whole VGG-19 ===


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory):
    """A file as Keras writes it, with random weights."""
    path = tmp_path_factory.mktemp("vgg19") / "vgg19.weights.h5"
    network = keras.applications.VGG19(include_top=False, weights=None)
    network.save_weights(path)
    return path, network


def test_vgg19_returns_the_papers_layers(vgg19):
    features = load_features(vgg19[0])
    images = np.random.default_rng(0).uniform(size=(1, 64, 32, 3)).astype("float32")
    perceptual, style = features(images)
    channels = (64, 128, 256, 512, 512)
    shapes = [(1, 64 >> i, 32 >> i, c) for i, c in enumerate(channels)]
    assert [tuple(f.shape) for f in perceptual] == shapes
    assert [tuple(f.shape) for f in style] == shapes[1:]
    assert not features.model.trainable_weights
    # relu2_2 and relu5_2 come after relu2_1 and relu5_1: they are other features.
    for index in (0, 3):
        assert np.abs(np.asarray(style[index]) - np.asarray(perceptual[index + 1])).max() > 0


@pytest.mark.parametrize("normalise", [True, False])
def test_vgg19_prepares_colours_as_its_weights_want(vgg19, normalise):
    path, network = vgg19
    image = np.random.default_rng(0).uniform(size=(1, 32, 32, 3)).astype("float32")
    if normalise:
        prepared = keras.applications.vgg19.preprocess_input(255.0 * image)
    else:
        prepared = 255.0 * np.array([0.225, 0.224, 0.229], "float32") * image[..., ::-1]
    wanted = keras.Model(network.input, network.get_layer("block1_conv1").output)(prepared)
    perceptual, _ = load_features(path, normalise=normalise)(image)
    np.testing.assert_allclose(
        np.asarray(perceptual[0]), np.asarray(wanted) / (255 * 0.224), rtol=1e-3, atol=1e-4
    )


def test_torchvision_counts_relus_and_poolings(vgg19):
    # Places of the convolutions in torchvision's `features` of VGG-19.
    places = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    names = [_torchvision_name(v) for v in vgg19[1].weights]
    assert names == [f"features.{p}.{leaf}" for p in places for leaf in ("weight", "bias")]


def test_torchvisions_file_loads(vgg19, tmp_path):
    torch = pytest.importorskip("torch", reason="reading .pth files needs PyTorch")
    _, network = vgg19
    tensors = {
        _torchvision_name(v): torch.from_numpy(
            np.ascontiguousarray(np.transpose(v.numpy(), (3, 2, 0, 1)[: v.ndim] if v.ndim == 4
                                              else (0,))))
        for v in network.weights
    }  # fmt: skip
    torch.save(tensors, tmp_path / "vgg19.pth")
    image = np.random.default_rng(0).uniform(size=(1, 32, 32, 3)).astype("float32")
    perceptual, _ = load_features(tmp_path / "vgg19.pth", normalise=False)(image)
    wanted = keras.Model(network.input, network.get_layer("block1_conv1").output)(image)
    np.testing.assert_allclose(np.asarray(perceptual[0]), np.asarray(wanted), atol=1e-5)


def test_wrong_vgg19_files_are_named(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        load_features(tmp_path / "absent.h5")
    (tmp_path / "broken.weights.h5").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"broken\.weights\.h5: not a readable HDF5"):
        load_features(tmp_path / "broken.weights.h5")

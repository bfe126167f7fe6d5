import json

import keras
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def blue_network():
    """A segmenter for which blue is a mask: exact, so that geometry can be checked."""
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([-20.0, -20.0, 40.0]).reshape(1, 1, 3, 1), np.array([-20.0])])
    return model


@pytest.fixture(scope="session")
def face():
    """The astronaut's face with rough landmarks in WFLW's layout, only as exact as needed."""
    from skimage.data import astronaut

    image = np.ascontiguousarray(astronaut()[:300, 70:370])
    landmarks = np.full((98, 2), 0.0, np.float32)
    angle = np.linspace(np.pi, 0, 33)
    landmarks[:] = (155, 115)
    landmarks[:33] = np.stack([155 + 50 * np.cos(angle), 100 + 75 * np.sin(angle)], 1)
    landmarks[51:55] = [(155, 92), (155, 102), (155, 112), (155, 120)]
    landmarks[[60, 64, 68, 72]] = [(125, 92), (143, 92), (167, 92), (185, 92)]
    landmarks[[76, 82]] = [(135, 145), (175, 145)]
    return image, landmarks


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory, face):
    """A tiny data folder in the layout that the training reads."""
    image, landmarks = face
    root = tmp_path_factory.mktemp("data")
    for name in ("faces_wide", "masks_labelme", "mask_segmentation"):
        (root / name).mkdir()
    for number in range(4):
        Image.fromarray(image).save(root / "faces_wide" / f"{number}.jpg")
    rows = ["file,split"] + [f"{n}.jpg,{'train' if n < 3 else 'val'}" for n in range(4)]
    (root / "faces_wide" / "labels.csv").write_text("\n".join(rows))
    np.savez(
        root / "faces_wide" / "landmarks98.npz",
        files=np.array([f"{n}.jpg" for n in range(4)]),
        landmarks98=np.stack([landmarks] * 4),
    )
    masked = image.copy()
    masked[120:180, 110:200] = (90, 160, 220)
    label = np.zeros(image.shape[:2], np.uint8)
    label[120:180, 110:200] = 2
    for number in range(3):
        Image.fromarray(masked).save(root / "masks_labelme" / f"b{number}.jpg")
        corners = [[110, 120], [200, 120], [200, 180], [110, 180]]
        content = {
            "version": "5.5.0", "flags": {}, "imagePath": f"b{number}.jpg", "imageData": None,
            "imageHeight": image.shape[0], "imageWidth": image.shape[1],
            "shapes": [{"label": "mask", "points": corners, "group_id": None,
                        "shape_type": "polygon", "flags": {}}],
        }  # fmt: skip
        (root / "masks_labelme" / f"b{number}.json").write_text(json.dumps(content))
        Image.fromarray(masked).save(root / "mask_segmentation" / f"{number}.jpg")
        Image.fromarray(label).save(root / "mask_segmentation" / f"{number}.png")
    (root / "masks_labelme" / "split.csv").write_text(
        "file,split\nb0.json,train\nb1.json,train\nb2.json,val\n"
    )
    return root

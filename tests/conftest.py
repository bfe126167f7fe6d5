"""Where the data is that some tests measure on; without it they are skipped, with the reason."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

_ROOT = Path(__file__).parent.parent
# The longest files begin first, or one worker would end minutes after the other.
_LONG = ("training/test_contract.py", "gender/test_tune.py", "mrcnn/test_model.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.path.as_posix().endswith(_LONG))


@pytest.fixture
def untraced() -> Iterator[None]:
    """Let networks run operation by operation: for a few steps, tracing would take far longer.

    They are forgotten after each test, too: beside the remains of large ones the next are slow.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    keras.backend.clear_session()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The unpacked training data: the folder with faces_male, faces_wide, masks_labelme, ..."""
    return _folder("UNMASK_DATA", fallback=None)


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """Recorded shapes and outputs of the published networks."""
    return _folder("UNMASK_PARITY", fallback=_ROOT.parent / "shared" / "parity")


@pytest.fixture(scope="session")
def masked() -> np.ndarray:
    """A portrait with a drawn mask; not to be changed."""
    from unmask import Unmasker
    from unmask.demo import portraits, wear_mask

    return wear_mask(Unmasker(), portraits()[0])


@pytest.fixture(scope="module", autouse=True)
def _forget_networks() -> Iterator[None]:
    """Let go of what Keras keeps of a file's networks: a worker would grow to gigabytes."""
    yield
    if keras := sys.modules.get("keras"):
        keras.backend.clear_session()


def _folder(variable: str, fallback: Path | None) -> Path:
    value = os.environ.get(variable)
    if value:
        folder = Path(value)
        if not folder.is_dir():
            # A wrong path must not pass as "no data here".
            pytest.fail(f"{variable}={value}: no such folder")
        return folder
    if fallback is not None and fallback.is_dir():
        return fallback
    pytest.skip(f"needs data that does not come with the package: set {variable}")

"""TensorFlow says nothing on the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")


def test_tensorflow_is_imported_without_a_word():
    code = (
        "import os; from unmask.cli.quiet import silence_tensorflow; silence_tensorflow();"
        "import tensorflow as tf; print(int(tf.constant(3) + 4)); os.write(2, b'still heard')"
    )
    clean = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=clean, check=True)
    assert (done.stdout, done.stderr) == (b"7\n", b"still heard")

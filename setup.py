"""Packaging of unmask: metadata, requirements, and the lite weights inside the wheel."""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def _version() -> str:
    # Read, not imported: building must not need what the package needs.
    text = (ROOT / "unmask" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('unmask/_version.py: no line __version__ = "..."')
    return found.group(1)


def _variant(variable: str, default: str, *others: str) -> str:
    """Return the distribution that provides a module here.

    TensorFlow and OpenCV come in several distributions with the same modules; installing two of
    them breaks both. A server may prefer `UNMASK_TENSORFLOW=tensorflow-cpu pip install .`
    """
    name = os.environ.get(variable) or default
    if name not in (default, *others):
        raise RuntimeError(f"{variable} must be one of {(default, *others)}. Received: {name!r}")
    return name


TENSORFLOW = _variant("UNMASK_TENSORFLOW", "tensorflow", "tensorflow-cpu", "none")
ONNX = ["onnxruntime>=1.20,<2"]
# ONNX Runtime alone completes photos with the lite weights, and trains nothing.
TRAINING = [
    f"{TENSORFLOW}>=2.18,<3",
    "keras>=3.8,<4",
    "h5py>=3.11,<4",
    "matplotlib>=3.9,<4",
]
NETWORKS = ONNX if TENSORFLOW == "none" else TRAINING
LITE = ROOT / "weights" / "lite"
# Beside an .onnx file, the same weights as .safetensors are Keras' alone.
WEIGHTS = [
    f"lite/{path.name}"
    for path in sorted(LITE.glob("*.safetensors"))
    if TENSORFLOW != "none" or not path.with_suffix(".onnx").exists()
]
OPENCV = _variant("UNMASK_OPENCV", "opencv-python", "opencv-python-headless")

setup(
    name="unmask",
    version=_version(),
    description="Complete the part of a face that a mask hides, with what is plausible there",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="unmask contributors",
    # The code, and the weights inside.
    license_expression="MIT AND LicenseRef-unmask-weights",
    license_files=["LICENSE", "weights/LICENSE"],
    project_urls={"Paper": "https://arxiv.org/abs/2203.12482"},
    keywords=["face", "inpainting", "mask", "keras", "segmentation", "landmarks"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    # The weights keep their place at the top of the checkout and go into the package in a wheel.
    packages=[*find_packages(include=["unmask", "unmask.*"]), "unmask._weights"],
    package_dir={"unmask._weights": "weights"},
    package_data={
        "unmask": ["py.typed", "recipes/*/*.toml"],
        "unmask._weights": [
            "LICENSE",
            "manifest.toml",
            *WEIGHTS,
            "lite/*.onnx",
            "lite/*.md",
        ],
    },
    entry_points={"console_scripts": ["unmask = unmask.cli:main"]},
    install_requires=[
        *NETWORKS,
        "cyclopts>=4.25,<6",
        f"{OPENCV}>=4.10,<6",
        "scikit-image>=0.24,<0.27",
        "scipy>=1.13,<2",
        "threadpoolctl>=3.1,<4",
        "numpy>=1.26,<3",
        "pillow>=11.1",
        "safetensors>=0.5,<1",
        "rich>=13.7",
        'tomli>=2; python_version < "3.11"',
    ],
    extras_require={
        # CUDA libraries beside TensorFlow; Linux only.
        "gpu": ["tensorflow[and-cuda]>=2.18,<3"],
        # The search for the gender head, event files, refitting the linear prior.
        "train": [
            "keras-tuner>=1.4.7,<2",
            # keras-tuner imports it and does not ask for it.
            "tensorboard>=2.18,<3",
            "scikit-learn>=1.5,<2",
        ],
        # Reading the published .pth files.
        "convert": ["torch>=2.4"],
        # Drawing masks by hand. labelme is GPL-3.0: it is started as a program, never imported.
        "annotate": ["labelme>=5.5"],
        # `unmask labelme`: COCO's compressed run lengths, YOLO's data.yaml.
        "formats": ["pycocotools>=2.0.8,<3", "pyyaml>=6,<7"],
        "notebooks": ["pandas>=2.2,<4", "jupyterlab>=4.4", "nbclient>=0.10", "ipykernel>=6.29"],
        "docs": [
            "mkdocs-material>=9.6,<10",
            "mkdocstrings[python]>=1,<2",
            "mkdocs-jupyter>=0.25,<1",
        ],
        # Synthetic sets and folders of photos on several machines.
        "scale": ["ray[data]>=2.40"],
        # The lite networks without Keras and TensorFlow, and making such files.
        "onnx": ONNX,
        "export": ["tf2onnx>=1.16,<2", "onnx>=1.17,<2"],
        # `unmask serve`; gradio for its page alone.
        "app": [
            "gradio>=6.31,<7",
            "fastapi>=0.115,<1",
            "uvicorn>=0.30,<1",
            "python-multipart>=0.0.20,<1",
        ],
        "dev": ["pytest>=8.3", "pytest-xdist>=3.6", "ruff>=0.9", "mypy>=1.14", "jax>=0.4.38"],
    },
    zip_safe=False,
)

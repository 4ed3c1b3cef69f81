"""Encrypts what the database keeps of the provider's tokens; the key is never in the database.

AES-256-GCM; the key comes from ``SECRET_KEY``, or from a file of the data folder that only this user can
read. Whoever loses or changes the key loses the tokens and nothing else: people sign in again.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

log = logging.getLogger(__name__)

KEY_FILE = "secret.key"
KEY_BYTES = 32
NONCE_BYTES = 12
PURPOSE = b"gpt-oss-playground access token 1"


class SecretBox:
    """Seals and opens small secrets. ``context`` names whose it is: under another one it stays closed."""

    def __init__(self, key_material: bytes) -> None:
        self._cipher = AESGCM(HKDF(SHA256(), KEY_BYTES, None, PURPOSE).derive(key_material))

    def seal(self, text: str, context: str) -> bytes:
        """The encrypted text."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), context.encode())

    def open(self, sealed: bytes, context: str) -> str | None:
        """The text, or None where the key is another one or the bytes were changed."""
        try:
            plain = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            return None
        return plain.decode()


def open_box(secret_key: str | None, data_dir: Path) -> SecretBox:
    """The box for this installation; makes the key file where it is needed and not there. Blocks."""
    if secret_key is not None:
        return SecretBox(secret_key.encode())
    path = data_dir / KEY_FILE
    try:
        return SecretBox(_read(path) or _make(path))
    except OSError:
        log.warning("%s cannot be used; the tokens of this run are lost at its end.", KEY_FILE)
        return SecretBox(secrets.token_bytes(KEY_BYTES))


def _read(path: Path) -> bytes | None:
    """The key of the file; None where there is none of the right length."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) == KEY_BYTES:
        return key
    log.warning("%s is damaged and is made anew.", KEY_FILE)
    return None


def _make(path: Path) -> bytes:
    """A new key in a file that nobody else can read, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(KEY_BYTES)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return key

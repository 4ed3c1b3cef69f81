"""Downloads: safe file names, and many files in one zip that is written to disk and not to memory."""

from __future__ import annotations

import re
import unicodedata
import zipfile
from collections.abc import Iterable
from typing import IO
from urllib.parse import quote

NAME_CHARS = 80
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)\Z", re.IGNORECASE)
UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%\s]+')
UNNAMED = "conversation"
FILE_MODE = 0o100644 << 16


def file_name(title: str) -> str:
    """A name for a file on any system, without its ending: no path, no device, not hidden, not long."""
    visible = "".join(
        " " if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} else character
        for character in unicodedata.normalize("NFC", title)
    )
    name = UNSAFE.sub(" ", visible).strip("-. ")[:NAME_CHARS].strip("-. ")
    stem = name.partition(".")[0].strip()
    return f"{UNNAMED}-{name}" if name and RESERVED.match(stem) else name or UNNAMED


def attachment(name: str) -> str:
    """The Content-Disposition of a download: a plain name for old programs, and the true one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._ +-]+", "", plain).strip(" -.") or UNNAMED
    if "." in name and "." not in plain:
        plain = f"{UNNAMED}{name[name.rindex('.') :]}"
    elif RESERVED.match(plain.partition(".")[0].strip()):
        plain = f"{UNNAMED}-{plain}"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def write_zip(target: IO[bytes], files: Iterable[tuple[str, str]], ending: str) -> None:
    """Write each (title, text) as a file of its own; equal names are numbered, whatever their case."""
    taken: dict[str, int] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for title, text in files:
            name = numbered(file_name(title), taken)
            entry = zipfile.ZipInfo(f"{name}.{ending}")
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = FILE_MODE
            archive.writestr(entry, text)


def numbered(name: str, taken: dict[str, int]) -> str:
    """``name``, or with the first number that makes it new; ``taken`` holds names in one case."""
    chosen = name
    while chosen.casefold() in taken:
        taken[name.casefold()] += 1
        chosen = f"{name} ({taken[name.casefold()]})"
    taken[chosen.casefold()] = 1
    return chosen

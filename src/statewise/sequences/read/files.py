"""Opening files, with the errors that every format shares."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from statewise._core.errors import DataError

_FOREIGN = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "a zip or Excel file",
    b"\x1f\x8b": "compressed with gzip",
}


def content(file: Path) -> bytes:
    """The bytes of a file that exists, can be read and is not empty."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such file{_near(file)}") from None
    except IsADirectoryError:
        raise DataError(f"{file}: this is a folder; pass a file in it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: the file cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not data.strip():
        raise DataError(f"{file}: the file is empty; it needs content to read")
    return data


def decoded(file: Path) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark."""
    data = content(file)
    foreign = next((what for start, what in _FOREIGN.items() if data.startswith(start)), None)
    if foreign:
        raise DataError(f"{file}: this is {foreign}, not UTF-8 text; save it as plain UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = len(data[:start].splitlines()) + (data[:start].endswith((b"\n", b"\r")) or start == 0)
        mixed = any(not part.isascii() and _is_utf8(part) for part in data.splitlines())
        why = "other lines are, so encodings are mixed" if mixed else "it may be Latin-1"
        raise DataError(
            f"{file}, line {line}: the byte 0x{data[start]:02x} is not UTF-8 ({why}); save the whole file as UTF-8"
        ) from None
    if not text.strip():
        raise DataError(f"{file}: the file is empty; it needs content to read")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{file}, line {line}: there is a NUL byte, so this is not text; save it as UTF-8 text")
    return text


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def unsupported(file: Path, suffixes: Sequence[str]) -> DataError:
    """The error for a suffix that has no reader."""
    if file.is_dir():
        return DataError(f"{file}: this is a folder; pass a file in it")
    if not file.exists():
        return DataError(f"{file}: there is no such file{_near(file)}")
    what = f"the suffix {file.suffix!r} is" if file.suffix else "files without a suffix are"
    return DataError(f"{file}: {what} not supported; convert it to one of {', '.join(suffixes)}")


def _near(file: Path) -> str:
    """A hint at a file with a similar name in the same folder."""
    try:
        names = {entry.stem: entry.name for entry in sorted(file.parent.iterdir())}
    except OSError:
        return f"; the folder {str(file.parent)!r} does not exist either" if not file.parent.exists() else ""
    near = difflib.get_close_matches(file.stem, names, n=1)
    return f"; did you mean {str(file.parent / names[near[0]])!r}?" if near else "; check the name and the folder"

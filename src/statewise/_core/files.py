"""Writing files so that a crash leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from statewise._core.errors import InputError


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write `content` to a temporary file beside `path`, flush it to disk, and rename it into place."""
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{str(target)!r} is a folder; pass the name of a file")
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    except OSError as error:
        raise InputError(
            f"{str(target)!r} cannot be written ({error.strerror}); pass a path that you may write to"
        ) from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

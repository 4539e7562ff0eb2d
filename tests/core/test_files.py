"""Atomic writing. Oracle: the old content, which must survive any crash before the rename."""

from __future__ import annotations

import os
import stat

import pytest

from statewise._core.errors import InputError
from statewise._core.files import write_atomically


def test_writes_text_and_bytes_and_makes_folders(tmp_path):
    target = tmp_path / "a" / "b" / "file.txt"
    assert write_atomically(target, "Größe\n") == target
    assert target.read_bytes() == "Größe\n".encode()
    write_atomically(str(target), b"\x00\x01")
    assert target.read_bytes() == b"\x00\x01"
    assert [item.name for item in target.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_a_crash_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, step, failure):
    target = tmp_path / "model.json"
    target.write_text("old")

    def crash(*_args, **_kwargs):
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(os, step, crash)
        with pytest.raises(type(failure)):
            write_atomically(target, "new")
    assert target.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["model.json"]


def test_a_folder_in_the_way_is_an_error_without_litter(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_atomically(tmp_path / "taken", "new")
    assert [item.name for item in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits exist on POSIX only")
def test_the_file_has_the_permissions_that_open_would_give(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640

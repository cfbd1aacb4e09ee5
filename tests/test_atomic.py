"""Files that appear whole or not at all, whatever else the process does meanwhile."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from adbench.atomic import replacing, write_text


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_files_have_the_permissions_that_the_user_asks_for(tmp_path, umask):
    write_text(tmp_path / "file", "text")

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_threads_that_write_leave_the_process_its_umask(tmp_path, umask, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "umask", lambda mask: asked.append(mask) or 0o027)
    threads = [threading.Thread(target=write_text, args=(tmp_path / str(n), "text")) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert asked == []  # reading it sets it, for all threads at once


def test_an_error_names_the_file_alone(tmp_path):
    with pytest.raises(OSError, match="No space") as raised, replacing(tmp_path / "file") as temporary:
        raise OSError(errno.ENOSPC, "No space left", str(temporary), None, "another")

    assert str(raised.value) == f"[Errno {errno.ENOSPC}] No space left: '{tmp_path / 'file'}'"
    assert list(tmp_path.iterdir()) == []

"""Files that appear whole or not at all, whatever else the process does meanwhile."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from adbench import atomic
from adbench.atomic import replacing, sweep, write_text


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


def test_what_a_killed_process_was_writing_is_swept_and_what_others_write_is_not(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from adbench.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "theirs")], stdout=subprocess.PIPE)
    writer.stdout.readline()
    with replacing(tmp_path / "mine") as temporary:
        temporary.write_text("mine")  # opens and closes it
        sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [temporary]

    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    flock, taken = atomic.fcntl.flock, []

    def late(file, kind):
        if kind == atomic.fcntl.LOCK_EX and not taken:
            taken.append(file)
            sweep(tmp_path)
        flock(file, kind)

    monkeypatch.setattr(atomic.fcntl, "flock", late)
    write_text(tmp_path / "file", "text")

    assert taken
    assert [path.read_text() for path in tmp_path.iterdir()] == ["text"]

"""What only a real process shows: start-up time, what is imported, Ctrl-C, pipes, odd terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

COMMAND = [sys.executable, "-m", "statewise"]
posix = pytest.mark.skipif(os.name != "posix", reason="hardware: signals and pipes as on POSIX")


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, encoding="utf-8", timeout=60, **options
    )


def test_help_is_quick_and_loads_nothing_slow():
    """Under 1.5 s, the best of three since the machine may be busy; and no heavy package, which is why."""
    slow = "('numba', 'torch', 'pandas', 'scipy', 'plotly', 'matplotlib', 'jinja2')"
    code = (
        "import sys\nfrom statewise.cli import main\ncode = main(['--help'])\n"
        f"sys.exit(code or [name for name in {slow} if name in sys.modules] or 0)"
    )
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        seconds.append(time.perf_counter() - begun)
        assert (ran.returncode, ran.stderr) == (0, "")
    assert min(seconds) < 1.5


@posix
def test_ctrl_c_stops_the_main_job_and_leaves_nothing(tmp_path):
    """SIGINT once the job has begun (its first line is out), with work left for minutes."""
    process = subprocess.Popen(
        [*COMMAND, "compare", "us_macro", "--windows", "8"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    try:
        assert "us_macro: 1 sequence" in process.stdout.readline()
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == "interrupted; nothing half-written was left\n"
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_closed_pipe_is_met_with_silence(tmp_path):
    process = subprocess.Popen([*COMMAND, "datasets"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert err == b""


def test_a_terminal_without_unicode_gets_question_marks():
    ran = run("datasets", env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Yearly sunspot numbers, 1700?2008" in ran.stdout


def test_debugging_shows_the_traceback():
    ran = run("compare", "missing.csv", env=os.environ | {"STATEWISE_DEBUG": "1"})
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr and "DataError" in ran.stderr


def test_an_error_is_one_line_of_the_process():
    ran = run("compare", "missing.csv")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: missing.csv: there is no such file")
    assert len(ran.stderr.splitlines()) == 1

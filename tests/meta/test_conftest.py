"""The settings of the test run: in the full run a missing package is a failure. Oracle: pytest's own exit codes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
MISSING = "import pytest\n\ndef test_it():\n    pytest.importorskip('no_such_package')\n"
MISSING_AT_TOP = "import pytest\n\npytest.importorskip('no_such_package')\n\ndef test_it():\n    pass\n"
NOT_APPLICABLE = "import pytest\n\ndef test_it():\n    pytest.skip('one column only')\n"


@pytest.mark.parametrize(
    ("source", "strict", "plain"), [(MISSING, 1, 0), (MISSING_AT_TOP, 2, 5), (NOT_APPLICABLE, 0, 0)]
)
def test_a_missing_package_fails_the_full_run_only(tmp_path, source, strict, plain):
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_planted.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "."]
    for options, code in (["--all-packages"], strict), ([], plain):
        done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stdout

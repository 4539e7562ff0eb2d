"""Build a wheel and check that every file of the package is in it: `pip install .` must ship data and templates."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Return 0 if the wheel is complete."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would ship what an earlier build left there
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT)]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "statewise").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for name in sorted(wanted ^ shipped):
        print(f"{name}: {'not in the wheel' if name in wanted else 'in the wheel but not in src'}")
    print(f"{len(shipped)} files in the wheel")
    return 0 if wanted == shipped else 1


if __name__ == "__main__":
    sys.exit(main())

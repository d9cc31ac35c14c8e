"""What is cheap stays cheap: listing commands and plugins imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

HEAVY = {
    *("torch", "torchvision", "open_clip", "transformers", "timm", "scipy.stats", "statsmodels", "pandas", "PIL"),
    *(
        "google.genai",
        "google.generativeai",
        "openai",
        "anthropic",
        "sqlalchemy",
        "supabase",
        "httpx",
        "starlette",
        "uvicorn",
        "sklearn",
        "numpy",
        "scipy",
        "pyarrow",
        "huggingface_hub",
        "jinja2",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "import saeviz",
        "from saeviz.cli import main; main(['--help'])",
        "from saeviz.cli import main; main(['run', '--help'])",
        "from saeviz.cli import main; main(['plugins'])",
        "from saeviz.cli import main; main(['plugins', 'extractor:clip-b32-prisma'])",
    ],
)
def test_imports_nothing_heavy(statement):
    if "clip-b32" in statement and find_spec("torch") is None:
        pytest.skip("what this extractor needs is not installed")
    script = f"""
import sys
try:
    {statement}
except SystemExit as ended:
    assert not ended.code, ended.code
print("HEAVY", *sorted(set(sys.modules) & {HEAVY!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY"

"""The programs in tools/, as modules: their names end in no .py."""

import types
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def script():
    """Reads a program without running it."""
    def read(name):
        path = TOOLS / name
        module = types.ModuleType(name)
        module.__file__ = str(path)
        exec(compile(path.read_text(), path, "exec"), module.__dict__)
        return module
    return read

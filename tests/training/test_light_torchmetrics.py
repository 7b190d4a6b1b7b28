"""Importing torchmetrics costs neither SciPy nor matplotlib, and hides them from nothing else."""

import subprocess
import sys

CODE = """
import sys
from facekp.training.light_torchmetrics import import_torchmetrics
import_torchmetrics()
import torchmetrics.utilities.imports as known
print(sorted(name for name in ("scipy.signal", "matplotlib") if name in sys.modules), bool(known._MATPLOTLIB_AVAILABLE))
import matplotlib, scipy.signal
from importlib.metadata import version
print(scipy.signal.windows.hamming(3)[1], version("scipy") == scipy.__version__, matplotlib.__name__)
"""


def test_scipy_and_matplotlib_are_imported_only_where_they_are_used():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines() == ["[] False", "1.0 True matplotlib"]


def test_the_command_imports_torchmetrics_before_lightning():
    code = (
        "import sys; sys.modules['facekp.training.run'] = None; from facekp.train import main\n"
        "try: main(None)\nexcept ImportError: pass\n"
        "print('torchmetrics' in sys.modules, 'pytorch_lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["True", "False"]

"""`make mutants`: do the tests notice a change of the code? A sample of small changes, each tested in a copy.

A mutant is the source with one small change: ``<`` becomes ``<=``, a number grows by 1, an argument is left out. The
operators are those of mutmut. Messages, names in strings, annotations and decorators are not changed. Every mutant runs
the test file that mirrors its module, then the tests of its package, then the tests that `WIDER` names. It is killed as
soon as a test fails or a time limit is exceeded.

    python tools/mutants.py number=100 seed=0      results in outputs/mutants/SEED.csv; a second call continues
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from difflib import unified_diff
from pathlib import Path

import libcst as cst
import pandas as pd
from mutmut.mutation.mutators import mutation_operators, operator_string

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("functional", "data", "models", "runs")
COPIED = ("src", "tests", "conf", "docs", "examples", "tools", "pyproject.toml", "README.md", "Makefile")
LIMIT = 300  # seconds of one run of tests; a mutant may never end
WIDER = {  # tests of other packages that use the package
    "functional": ("tests/models", "tests/training"),
    "data": ("tests/models", "tests/training", "tests/photos"),
    "models": ("tests/training", "tests/photos", "tests/commands"),
    "runs": ("tests/training", "tests/reporting", "tests/commands"),
}
SOUND: set[tuple[str, ...]] = set()  # tests that pass without a change


@dataclass(frozen=True)
class Mutant:
    """A changed module.

    Attributes:
        module: path of the source file from the repository's root.
        number: of the change among all changes of the module.
        diff: the changed lines, before and after.
        code: the changed source.
    """

    module: str
    number: int
    diff: str
    code: str


class Changes(cst.CSTTransformer):
    """Collects the changes of a module: pairs of an expression and what replaces it."""

    def __init__(self, module: cst.Module) -> None:
        self.module = module
        self.found: list[tuple[cst.CSTNode, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, (cst.Annotation, cst.Decorator, cst.BaseString, cst.Raise, cst.Import, cst.ImportFrom)):
            return False
        if isinstance(node, cst.Call) and cst.Module([]).code_for_node(node.func).startswith("log."):
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind) and operator is not operator_string:
                self.found += [(node, changed) for changed in operator(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> cst.CSTNode:
        return original_node


def sample(number: int, seed: int) -> list[Mutant]:
    """Mutants of all packages, each equally likely, in random order."""
    files = [path for package in PACKAGES for path in sorted((ROOT / "src" / "facekp" / package).rglob("*.py"))]
    modules = {path: changes_of(path) for path in files}
    found = [(path, index) for path in files for index in range(len(modules[path].found))]
    print(f"{len(found)} mutants in {len(files)} modules", flush=True)
    chosen = random.Random(seed).sample(found, min(number, len(found)))
    return [mutant_of(path, modules[path], index) for path, index in chosen]


def changes_of(path: Path) -> Changes:
    """All changes of a module."""
    module = cst.parse_module(path.read_text())
    changes = Changes(module)
    module.visit(changes)
    return changes


def mutant_of(path: Path, changes: Changes, number: int) -> Mutant:
    """The module with one of its changes."""
    before, after = changes.found[number]
    code = changes.module.deep_replace(before, after).code  # type: ignore[arg-type, union-attr]
    lines = unified_diff(changes.module.code.splitlines(), code.splitlines(), lineterm="", n=0)
    diff = "\n".join(line for line in lines if not line.startswith(("---", "+++")))
    return Mutant(str(path.relative_to(ROOT)), number, diff, code)


def stages(module: str) -> list[list[str]]:
    """The tests that are run one after another, until one fails."""
    inside = Path(module).relative_to("src/facekp")
    mirrored = Path("tests") / inside.parent / f"test_{inside.name}"
    first = [module, *([str(mirrored)] if (ROOT / mirrored).is_file() else [])]
    package = inside.parts[0]
    return [first, [f"tests/{package}"], list(WIDER[package])]


def killed_by(mutant: Mutant, copy: Path) -> str:
    """The tests that notice a mutant; empty if it survives.

    Args:
        mutant: to test.
        copy: folder with a copy of the repository.
    """
    target = copy / mutant.module
    original = target.read_text()
    for tests in stages(mutant.module):
        target.write_text(mutant.code)
        try:
            survives = passes(tests, copy)
        finally:
            target.write_text(original)
        if not survives and pass_unchanged(tuple(tests), copy):
            return " ".join(tests)
    return ""


def pass_unchanged(tests: tuple[str, ...], copy: Path) -> bool:
    """Whether tests pass without a change; tests that fail on a busy machine anyway kill no mutant."""
    if tests not in SOUND and passes(list(tests), copy):
        SOUND.add(tests)
    return tests in SOUND


def passes(tests: list[str], copy: Path) -> bool:
    """Whether tests pass in a copy of the repository."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=120", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            capture_output=True,
            timeout=LIMIT * len(tests),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode in (0, 5)  # 5: no tests


def copy_repository(target: Path) -> Path:
    """A copy of what tests read; returns its folder."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("_build", "__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
    return target


def main() -> None:
    """Test a sample of mutants, and print those that survive."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    number, seed, workers = (int(given.get(key, value)) for key, value in (("number", 60), ("seed", 0), ("workers", 2)))
    results = ROOT / "outputs" / "mutants" / f"{seed}.csv"
    results.parent.mkdir(parents=True, exist_ok=True)
    tested = pd.read_csv(results).fillna("").to_dict("records") if results.is_file() else []
    done = {(row["module"], row["diff"]) for row in tested}
    waiting = [mutant for mutant in sample(number, seed) if (mutant.module, mutant.diff) not in done]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        copies = [copy_repository(Path(folder) / f"{worker}" / "repository") for worker in range(workers)]

        def test(mutant: Mutant) -> None:
            copy = copies.pop()
            row = {**{k: v for k, v in asdict(mutant).items() if k != "code"}, "killed_by": killed_by(mutant, copy)}
            copies.append(copy)
            tested.append(row)
            pd.DataFrame(tested).to_csv(results, index=False)
            print(f"{len(tested)}: {'killed' if row['killed_by'] else 'SURVIVED'} {mutant.module}", flush=True)

        list(pool.map(test, waiting))
    survivors = [row for row in tested if not row["killed_by"]]
    for row in survivors:
        print(f"\n{row['module']}\n{row['diff']}")
    print(f"killed {len(tested) - len(survivors)}/{len(tested)}; {results}")


if __name__ == "__main__":
    main()

"""The folder of a sweep: the names of its files, and how each is written and read.

sweep.yaml           for ``sweep.resume=``: arguments and directory of the command, and the settings of a search
sweep.csv            a row per job, sorted by RMSE
configurations.csv   where jobs differ in fold or seed: a row per configuration, with means and standard deviations
study.log            Optuna's journal of a search without ``hparams_search.storage``
study.yaml           of a search with it: the study's name, and the mark that the study has of this sweep
NAME/                the run of a job (`facekp.runs.folder.RunFolder`), named by the settings that differ
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facekp.config.references import resolve_stored_references, with_references
from facekp.core.errors import UserError
from facekp.core.files import write_yaml
from facekp.core.plain_files import read_yaml
from facekp.runs.file_checks import mapping, reading, texts
from facekp.runs.folder import RunFolder
from facekp.runs.settings import SearchSettings, parse_search


class SweepFolder:
    """The files of one sweep.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.settings = self.path / "sweep.yaml"
        self.table = self.path / "sweep.csv"
        self.configurations = self.path / "configurations.csv"
        self.journal = self.path / "study.log"
        self.journal_lock = self.path / ".study.lock"

    def __str__(self) -> str:
        return str(self.path)

    def job(self, name: str) -> RunFolder:
        """The folder of a job, which need not exist."""
        return RunFolder(self.path / name)

    def jobs(self) -> list[RunFolder]:
        """The jobs that have begun, in alphabetical order."""
        folders = (RunFolder(path) for path in sorted(self.path.glob("*/")))
        return [folder for folder in folders if folder.status.is_file()]

    def write_settings(self, overrides: Sequence[str], search: SearchSettings | None) -> None:
        """sweep.yaml.

        Args:
            overrides: of the command line, ``key=value`` after ``--config-dir=DIR``.
            search: None where every combination is trained.
        """
        searched = {} if search is None else {"search": with_references(search.plain(), "hparams_search")}
        write_yaml(self.settings, {"overrides": list(overrides), "directory": str(Path.cwd()), **searched})

    def read_overrides(self) -> list[str]:
        """The overrides of the command line.

        Raises:
            UserError: there is no sweep.yaml, or a sweep did not write it.
        """
        settings = self._read_settings()
        with reading(self.settings):
            return texts(settings["overrides"])

    def read_directory(self) -> Path:
        """The directory in which the sweep was started; of a sweep of an older version, this process's.

        Raises:
            UserError: there is no sweep.yaml, or a sweep did not write it.
        """
        directory = self._read_settings().get("directory", "")
        with reading(self.settings):
            return Path.cwd() / texts([directory])[0]

    def read_search(self) -> SearchSettings | None:
        """The settings of the search; None where every combination is trained.

        Raises:
            UserError: there is no sweep.yaml, or a sweep did not write it.
        """
        search = self._read_settings().get("search")
        if search is None:
            return None
        with reading(self.settings):
            search = mapping(search)
        try:
            return parse_search(resolve_stored_references(search, ("storage",)))
        except UserError as error:
            raise UserError(f"{self.settings}: {error}") from error

    def _read_settings(self) -> dict[str, Any]:
        if not self.settings.is_file():
            raise UserError(f"{self.settings} does not exist; name the folder of a sweep")
        with reading(self.settings):
            return mapping(read_yaml(self.settings))

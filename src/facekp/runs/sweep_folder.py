"""The folder of a sweep: the names of its files, and how each is written and read.

sweep.yaml           the arguments of the command line, which ``sweep.resume=`` reads, and the settings of a search
sweep.csv            a row per job, sorted by RMSE
configurations.csv   where jobs differ in fold or seed: a row per configuration, with means and standard deviations
study.log            Optuna's journal of a search without ``hparams_search.storage``
NAME/                the run of a job (`facekp.runs.folder.RunFolder`), named by the settings that differ
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from facekp.core.errors import UserError
from facekp.core.files import write_yaml
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
        searched = {} if search is None else {"search": search.plain()}
        write_yaml(self.settings, {"overrides": list(overrides), **searched})

    def read_overrides(self) -> list[str]:
        """The overrides of the command line.

        Raises:
            UserError: there is no sweep.yaml, or a sweep did not write it.
        """
        return [str(override) for override in self._read_settings()["overrides"]]

    def read_search(self) -> SearchSettings | None:
        """The settings of the search; None where every combination is trained.

        Raises:
            UserError: there is no sweep.yaml, or a sweep did not write it.
        """
        search = self._read_settings().get("search")
        return None if search is None else parse_search(search)

    def _read_settings(self) -> dict[str, Any]:
        try:
            settings = yaml.safe_load(self.settings.read_text())
            list(settings["overrides"])
        except FileNotFoundError as error:
            raise UserError(f"{self.settings} does not exist; name the folder of a sweep") from error
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
            raise UserError(f"{self.settings} can't be read: a sweep did not write it; start a new sweep") from error
        return dict(settings)

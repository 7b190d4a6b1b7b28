"""Settings of sweeps (``sweep``) and of searches (``hparams_search``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from facekp.core.errors import UserError
from facekp.core.settings import Count, NewPath, PositiveCount, Settings, Text, parse


class SweepSettings(Settings):
    """``sweep``.

    Attributes:
        resume: folder of a stopped sweep that is continued.
    """

    resume: NewPath | None


class PruneSettings(Settings):
    """``hparams_search.prune``: which trials are ended early.

    Attributes:
        percentile: a trial is ended if its best RMSE so far is above this percentile of the finished trials' at the
            same epoch; None: no trial is ended early.
        trials: finished trials before the first is ended early.
        epochs: epochs that every trial is trained for.
    """

    percentile: Annotated[float, Field(ge=0, le=100)] | None
    trials: PositiveCount
    epochs: PositiveCount


class SearchSettings(Settings):
    """``hparams_search=optuna``.

    Attributes:
        name: ``optuna``.
        trials: the budget; pruned and failed trials count.
        parallel: trials at a time; None: as many as the launcher runs.
        seed: of the sampler; the networks' seed is another setting.
        random: trials that are drawn at random before the sampler learns.
        storage: URL of a database; None: Optuna's journal in the sweep's folder.
        prune: which trials are ended early.
    """

    name: Literal["optuna"]
    trials: PositiveCount
    parallel: PositiveCount | None
    seed: Count
    random: PositiveCount
    storage: Text | None
    prune: PruneSettings


def parse_search(values: Any) -> SearchSettings | None:
    """Check the plain values of ``hparams_search``.

    Returns:
        None for ``hparams_search=none``.

    Raises:
        UserError: a value is not valid.
    """
    if not isinstance(values, Mapping) or values.get("name") != "none":
        return parse(SearchSettings, values, "hparams_search")
    keys = [key for key in values if key != "name"]
    if keys:
        raise UserError(f"hparams_search.{keys[0]}: not a key of hparams_search=none; choose hparams_search=optuna")
    return None

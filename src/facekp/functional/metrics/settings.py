"""Settings of the metrics that divide errors by the size of the face."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.settings import Settings, Text
from facekp.functional.normalisers import OF_BOX

Fraction = Annotated[float, Field(gt=0, le=1)]


class ScoreSettings(Settings):
    """``metrics``: how NME, AUC, failure rate and PCK are computed, and 95 % intervals.

    Attributes:
        normaliser: what divides the errors: a name of ``keypoints.normaliser``, ``box`` or ``diagonal``. None: the
            scheme's usual one, or the box where the scheme has none. `nme` itself keeps the scheme's.
        thresholds: NME above which a face has failed; the AUC is that of the cumulative curve up to the threshold. The
            last one is that of subsets.
        pck: normalised distance up to which a point is correct.
        resamples: of the groups of faces, for 95 % intervals; 0: no intervals.
    """

    normaliser: Text | None = None
    thresholds: list[Fraction] = Field(default=[0.08, 0.10])
    pck: list[Fraction] = Field(default=[0.05, 0.10])
    resamples: Annotated[int, Field(ge=0, le=100_000)] = 1000


def check_normaliser(settings: ScoreSettings, keypoints: Keypoints) -> None:
    """Check that the scheme has the lengths by which ``metrics.normaliser`` divides errors.

    Raises:
        UserError: the scheme has no normaliser of that name.
    """
    names = [*filter(None, keypoints.normalisers), *OF_BOX]
    if settings.normaliser is not None and settings.normaliser not in names:
        raise UserError(
            f"metrics.normaliser={settings.normaliser}: keypoints {keypoints.name} has no such normaliser; choose one "
            f"of {', '.join(names)}, or null for the scheme's usual one"
        )

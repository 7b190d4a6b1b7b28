"""Trained networks inside the package, which settings such as ``ckpt`` name by one word."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "weights"

PACKAGED = {
    "shipped": _FOLDER / "shipped.ckpt",  # the most accurate one
    "fast": _FOLDER / "fast.onnx",  # in 8 bits, for one CPU thread
}


def file_of(ckpt: str | Path) -> Path:
    """The file that ``ckpt``, ``init_from`` or ``teacher.ckpt`` names.

    Args:
        ckpt: a word of `PACKAGED`, or a path.

    Example:
        >>> file_of("shipped").name, file_of("outputs/last.ckpt").name
        ('shipped.ckpt', 'last.ckpt')
    """
    return PACKAGED.get(str(ckpt), Path(ckpt))

"""Parses images from text: the pixels of several rows become numbers at once; an unusual row is read token by token."""

from __future__ import annotations

import numpy as np

from facekp.data.competition.rows import Row

SIDE = 96  # pixels; images are SIDE x SIDE
PIXELS = SIDE * SIDE


def parse_images(rows: list[Row], column: int) -> np.ndarray:
    """The images of some rows, uint8 (n, SIDE, SIDE).

    Args:
        rows: n rows.
        column: which of their fields holds the pixels.

    Raises:
        UserError: a pixel is not a whole number in 0..255, or a row does not have exactly `PIXELS` of them.
    """
    texts = [row.fields[column].strip() for row in rows]
    pixels = parse_regular(texts)
    if pixels is None:
        pixels = np.stack([_parse_tokens(row, text) for row, text in zip(rows, texts, strict=True)])
    return pixels.reshape(-1, SIDE, SIDE)


def parse_regular(texts: list[bytes]) -> np.ndarray | None:
    """All pixels of some rows, if each has `PIXELS` numbers of one to three digits up to 255, with single blanks.

    Every step runs over all bytes at once, in uint8. ``digits & 15`` is the digit's value, and 0 for a blank. So
    ``10 * previous + this`` is right at the first and the second digit of a number. For the third digit, a digit before
    the blank must not be included.

    Returns:
        uint8 (n * PIXELS,), or None if any row does not have this form.
    """
    text = np.frombuffer(b"  " + b" ".join(texts) + b" ", np.uint8)
    blank: np.ndarray = text == ord(" ")
    digit: np.ndarray = (text - np.uint8(ord("0"))) < 10  # unsigned: characters below "0" wrap to above 9
    pair = digit[1:] & digit[:-1]
    if not (blank | digit).all() or (blank[2:] & blank[1:-1]).any() or (pair[2:] & pair[:-2]).any():
        return None  # another character, two blanks, or four digits
    ends = np.flatnonzero(blank[2:]) + 2
    if not np.array_equal(ends[PIXELS - 1 :: PIXELS], np.cumsum([len(each) + 1 for each in texts]) + 1):
        return None  # too few or too many
    value = text & np.uint8(15)
    tens = value[:-1] * np.uint8(10)
    tens += value[1:]
    tens *= digit[1:]  # tens[i]: the one or two digits that end at i + 1
    number = tens[:-1] * np.uint8(10)
    number += value[2:]  # number[i]: the one to three digits that end at i + 2
    # Above 255, uint8 wraps. Up to 27 tens this shows: the result is less than the number of tens.
    too_large = np.asarray((tens[:-1] > 27) | (number < tens[:-1]))
    if (too_large & digit[2:]).any():
        return None
    return number[ends - 3]


def _parse_tokens(row: Row, text: bytes) -> np.ndarray:
    """uint8 (PIXELS,) of a row that `parse_regular` refused: several blanks are fine, everything else is an error."""
    tokens = text.split()
    for at, token in enumerate(tokens, start=1):
        if not (token.isdigit() and len(token) < 10 and int(token) <= 255):
            fix = "correct it or remove the row"
            raise row.error(f"Image, pixel {at}", token, "is not a whole number in 0..255", fix)
    if len(tokens) != PIXELS:
        fault = f"starts {len(tokens)} pixels"
        raise row.error("Image", text, fault, f"a row has {PIXELS} ({SIDE} x {SIDE}), separated by blanks")
    return np.array([int(token) for token in tokens], np.uint8)

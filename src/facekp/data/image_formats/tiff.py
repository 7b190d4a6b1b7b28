"""Checks TIFF files, of which Pillow opens some kinds whose pixels it then misreads.

A file comes in that Pillow has opened; out goes the page with the photo, or an error.
"""

from __future__ import annotations

from itertools import count

from PIL import Image

SUBFILE_TYPE, BITS, COMPRESSION, PHOTOMETRIC, PLANES, EXTRA_SAMPLES, SAMPLE_FORMAT = 254, 258, 259, 262, 284, 338, 339

IS_REDUCED = 1  # bit of SUBFILE_TYPE: the page is a smaller copy of another one

WHITE_IS_ZERO, YCBCR = 0, 6  # values of PHOTOMETRIC

UNCOMPRESSED = 1  # value of COMPRESSION

SEPARATE = 2  # value of PLANES: one channel is stored after the other

PREMULTIPLIED = 1  # value of EXTRA_SAMPLES: the colours are multiplied by alpha

SIGNED = 2  # value of SAMPLE_FORMAT

SWAPPED_MODES = {"F", "I"}  # Pillow reads them in the file's byte order, where libtiff has swapped the bytes already

HINT = "convert it to PNG, or to a TIFF with unsigned levels and interleaved channels"


def first_tag(opened: Image.Image, tag: int, default: int) -> int:
    """The value of a tag; the first one if it has several."""
    value = opened.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    return int(value[0] if isinstance(value, tuple) else value)


def full_pages(opened: Image.Image) -> list[int]:
    """The numbers of the pages that are not smaller copies of others; the open page stays.

    A page that Pillow can't open counts. Pages after a damaged one do not.
    """
    here, pages = opened.tell(), []
    for page in count():
        try:
            opened.seek(page)
            is_reduced = first_tag(opened, SUBFILE_TYPE, 0) & IS_REDUCED
        except EOFError:
            break
        except SyntaxError:  # a kind of page that Pillow does not know
            is_reduced = 0
        except Exception:  # whatever Pillow raises for broken bytes
            pages.append(page)
            break
        if not is_reduced:
            pages.append(page)
    opened.seek(here)
    return pages


def open_photo(opened: Image.Image) -> None:
    """Open the first page that is not a thumbnail, and check that its pixels can be read.

    Raises:
        ValueError: they would be misread.
    """
    if first_tag(opened, SUBFILE_TYPE, 0) & IS_REDUCED and (pages := full_pages(opened)):
        try:
            opened.seek(pages[0])
        except Exception as error:  # whatever Pillow raises for broken bytes
            raise ValueError(f"page {pages[0] + 1} of the TIFF, after thumbnails, can't be read; {HINT}") from error
    bits = bits_per_channel(opened)
    if bits > 8 and first_tag(opened, PLANES, 1) == SEPARATE and len(opened.getbands()) > 1:
        raise ValueError(f"has {bits} bits per channel in separate planes; {HINT}")
    if bits == 8 and first_tag(opened, SAMPLE_FORMAT, 1) == SIGNED:
        raise ValueError(f"has signed levels of 8 bits; {HINT}")
    is_compressed = first_tag(opened, COMPRESSION, UNCOMPRESSED) != UNCOMPRESSED
    if first_tag(opened, PHOTOMETRIC, 1) == YCBCR and not is_compressed and opened.mode != "L":
        raise ValueError(f"has uncompressed levels of YCbCr; {HINT}")
    if is_compressed and opened.mode in SWAPPED_MODES and opened.tag_v2.prefix == b"MM":  # type: ignore[attr-defined]
        raise ValueError(f"has compressed levels of {bits} bits in big-endian order; {HINT}")


def bits_per_channel(opened: Image.Image) -> int:
    """The number of bits per channel that the header states."""
    return first_tag(opened, BITS, 1)


def check_signed(opened: Image.Image, highest: float) -> None:
    """Refuse signed integers of the whole depth, which would be scaled like unsigned ones, to half the brightness.

    Raises:
        ValueError: the highest level is not below half the largest signed number.
    """
    bits = bits_per_channel(opened)
    if first_tag(opened, SAMPLE_FORMAT, 1) == SIGNED and highest >= 2 ** (bits - 2):
        raise ValueError(f"has signed levels of {bits} bits up to {highest:g}; {HINT}")

"""Reads image files of all kinds: EXIF rotation applied, grey behind transparency, 8 bits per channel."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facekp.core.channels import to_colour
from facekp.core.errors import UserError
from facekp.core.untrusted import check_regular
from facekp.data.image_formats import tiff
from facekp.data.image_formats.deep_levels import EXCHANGED, ORIENTATION, DeepLevels, deep_levels
from facekp.data.image_formats.grey_levels import Scales, to_8_bits

BACKGROUND = 127  # grey level behind transparent pixels

NOT_PHOTOS = {
    "BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF",  # Pillow identifies them, but can't read them by itself
    "DCX", "FITS", "FPX", "GBR", "MCIDAS", "MIC", "MSP",  # no photos; their rarely used decoders had holes
}  # fmt: skip

MAX_SIDE = 65_500  # pixels, as of a JPEG; resampling a longer row would take gigabytes

HEIF_ENDINGS = {".heic", ".heics", ".heif", ".heifs", ".hif"}

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # in the file's first box

AVIF_BRANDS = {b"avif", b"avis"}

RAW_ENDINGS = {
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mrw", ".nef", ".nrw", ".orf", ".pef",
    ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
}  # fmt: skip

STILLS = {
    ".dpx", ".exr", ".fit", ".fits", ".hdr", ".jls", ".jxl", ".ljpg", ".pam", ".pfm", ".phm", ".pic", ".svg", ".xwd",
}  # fmt: skip  # endings of photos that Pillow does not read; FFmpeg takes most of them for short videos

STILL_MARKS = (
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",  # TIFF and BigTIFF
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"8BPS", b"qoif",  # JPEG and JPEG-LS, PNG, GIF, Photoshop, QOI
    b"\x76\x2f\x31\x01", b"#?RADIANCE", b"#?RGBE",  # EXR and HDR
    b"SDPX", b"XPDS", b"SIMPLE  =",  # DPX and FITS
    b"P7\n", b"PF\n", b"Pf\n", b"PH\n", b"Ph\n",  # PAM, PFM and PHM
    b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL ", b"\xff\x0a",  # JPEG 2000 and JPEG XL
)  # fmt: skip  # first bytes of still photos

MATROSKA = b"\x1a\x45\xdf\xa3"  # first bytes of MKV and WebM

ANIMATIONS = {"AVIF", "GIF", "PNG", "WEBP"}  # formats whose pictures follow each other in time

WHOLE_DEPTH = Scales()  # no scales shared with other photos


class UnreadableImage(UserError):
    """An image file can't be read; the message of `read_image` gives the reason, without the file's name."""


def read_image(file: str | IO[bytes], max_pixels: int | None = None, scales: Scales = WHOLE_DEPTH) -> np.ndarray:
    """The pixels of a photo: EXIF rotation applied, grey behind transparency, deep levels scaled to 8 bits.

    Of several pictures (an animation, pages), the first is read.

    Args:
        file: a path or an open file.
        max_pixels: larger photos are refused before they are decoded; None: Pillow's limit, 179 million.
        scales: of deep levels, which the photo shares with others (`facekp.data.photo_survey`).

    Returns:
        uint8 (H, W, 3), red, green, blue.

    Raises:
        UnidentifiedImageError: the file is not an image.
        UnreadableImage: it is broken or too large, or can't be opened.
    """
    with open_image(file) as opened:
        if max_pixels is not None and opened.width * opened.height > max_pixels:
            raise UnreadableImage(f"{opened.width} x {opened.height} pixels; at most {max_pixels / 1e6:g} million")
        deep = deep_levels(opened, file)
        return _to_rgb(opened) if deep is None else _deep_to_rgb(deep, scales)


def count_animated(file: str) -> int:
    """The number of pictures of an animation; 1 for other images.

    Raises:
        as `read_image`.
    """
    with open_image(file) as opened:
        return _count_pictures(opened) if is_animation(opened) else 1


def _count_pictures(opened: Image.Image) -> int:
    """The number of an animation's pictures; of a damaged file, those before the damage and the damaged one."""
    try:
        return int(opened.n_frames)  # type: ignore[attr-defined]
    except Exception:  # whatever a decoder raises for broken bytes
        whole = 0
        try:
            while True:
                opened.seek(whole)
                whole += 1
        except Exception:
            return whole + 1


def animation_seconds(file: str, max_pictures: int) -> list[float]:
    """The seconds for which each of the first pictures of an animation is shown; 0 where it is not stated.

    Pictures behind a damaged one are left out.

    Raises:
        as `read_image`.
    """
    with open_image(file) as opened:
        seconds = []
        for number in range(max_pictures):
            try:
                opened.seek(number)
                opened.load()  # WebP states it then
            except Exception:  # the end, or whatever a decoder raises for broken bytes
                break
            seconds.append(opened.info.get("duration", 0) / 1000)
        return seconds


def read_animation(file: str) -> Iterator[np.ndarray]:
    """The pictures of an animation, each uint8 (H, W, 3).

    Raises:
        as `read_image`, also between pictures.
    """
    with open_image(file) as opened:
        for number in range(_count_pictures(opened)):
            opened.seek(number)
            yield _to_rgb(opened.copy())


@contextmanager
def open_image(file: str | IO[bytes]) -> Iterator[Image.Image]:
    """Open an image file; its pixels are decoded when they are used within the block.

    Raises:
        UnidentifiedImageError: the file is not an image.
        UnreadableImage: it can't be opened, or decoding it fails within the block.
    """
    try:
        if isinstance(file, str):
            check_regular(Path(file), max_bytes=math.inf)  # it may be a long video
        _check_kind(file)
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore")  # Pillow warns about large photos and unusual tags
            # Of a path, Pillow would memory-map an uncompressed TIFF with its sides exchanged before it is turned.
            stream = stack.enter_context(open(file, "rb")) if isinstance(file, str) else file
            with Image.open(stream, formats=sorted(_formats())) as opened:
                if isinstance(file, str):
                    check_regular(Path(file))
                if opened.format == "TIFF":
                    tiff.open_photo(opened)
                if max(opened.size) > MAX_SIDE:
                    raise UnreadableImage(f"{opened.width} x {opened.height} pixels; a side has at most {MAX_SIDE}")
                yield opened
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnidentifiedImageError(
            "is damaged, or in a format that is not read; convert it to PNG or JPEG"
        ) from error
    except UserError as error:
        raise UnreadableImage(str(error).removeprefix(f"{file}: ")) from error
    except FileNotFoundError as error:
        raise UnreadableImage("no such file: it is a broken link, or was deleted") from error
    except Exception as error:  # whatever a decoder raises for broken bytes
        raise UnreadableImage(str(error) or type(error).__name__) from error


def readable_formats() -> list[str]:
    """Names of the formats that this installation reads."""
    return sorted(_formats() | ({"HEIF"} if importlib.util.find_spec("pillow_heif") else set()))


def photo_endings() -> set[str]:
    """The endings of photos, in lower case, with HEIC and AVIF whether or not they can be read."""
    formats = _formats()
    known = {ending for ending, name in Image.registered_extensions().items() if name in formats}
    return known | HEIF_ENDINGS | {".avif", ".avifs"}


def is_still(file: str) -> bool:
    """Whether a file that Pillow does not identify is a still photo, by its first bytes or its ending.

    The first bytes come first: some programs write videos whose names end as those of animations.
    """
    with open(file, "rb") as stream:
        head = stream.read(128)
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_video = head[4:8] == b"ftyp" or head[8:12] == b"AVI " or head.startswith(MATROSKA)
    if head.startswith(STILL_MARKS) or is_webp or _brands(file) & (AVIF_BRANDS | HEIF_BRANDS):
        return True
    return not is_video and Path(file).suffix.lower() in photo_endings() | STILLS


def is_animation(opened: Image.Image) -> bool:
    """Whether an image consists of pictures that follow each other in time."""
    return opened.format in ANIMATIONS and getattr(opened, "is_animated", False)


def count_pages(opened: Image.Image) -> int:
    """The number of pages of a TIFF file without smaller copies of others; 1 for other formats.

    Phones' photos also hold previews and depth maps.
    """
    return len(tiff.full_pages(opened)) if opened.format == "TIFF" else 1


def upright_size(file: str) -> tuple[int, int]:
    """Width and height of a photo as a viewer shows it, from its header.

    Raises:
        UnidentifiedImageError: the file is not an image.
        UnreadableImage: it can't be opened.
    """
    with open_image(file) as opened:
        width, height = opened.size
        is_upright = opened.format == "TIFF"  # already, in Pillow's size
        is_turned = not is_upright and opened.getexif().get(ORIENTATION) in EXCHANGED
    return (height, width) if is_turned else (width, height)


def _check_kind(file: str | IO[bytes]) -> None:
    """Refuse kinds of photos that can't be read; install the reader of HEIC photos if the file is one.

    Raises:
        UnreadableImage: the message says what to do.
    """
    if Path(_name(file)).suffix.lower() in RAW_ENDINGS:
        raise UnreadableImage("is a camera's raw file; export it as JPEG or PNG")
    brands = _brands(file)
    if brands & AVIF_BRANDS:
        if "AVIF" not in _formats():
            raise UnreadableImage("is an AVIF photo; pip install 'pillow>=11.3', or convert it to JPEG or PNG")
    elif brands & HEIF_BRANDS:
        try:
            import pillow_heif
        except ImportError as error:
            raise UnreadableImage(
                "is a HEIC photo; pip install 'facekp[heic]' to read it, or convert it to JPEG or PNG"
            ) from error
        pillow_heif.register_heif_opener()


def _brands(file: str | IO[bytes]) -> set[bytes]:
    """The brands that a file of HEIC, AVIF or MP4 names in its first box; no brands for other files."""
    if isinstance(file, str):
        with open(file, "rb") as stream:
            head = stream.read(128)
    else:
        head = file.read(128)
        file.seek(0)
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[start : start + 4] for start in range(16, end, 4))}


def _formats() -> set[str]:
    """Pillow's names of the formats that can be read."""
    Image.init()
    return set(Image.OPEN) - NOT_PHOTOS


def _name(file: str | IO[bytes]) -> str:
    return file if isinstance(file, str) else str(getattr(file, "name", ""))


def _to_rgb(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) of an image of 8 bits, in any of Pillow's modes."""
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _deep_to_rgb(deep: DeepLevels, scales: Scales) -> np.ndarray:
    """uint8 (H, W, 3) of what `deep_levels` returns."""
    colour = to_8_bits(deep.colours, scales, deep.is_negative)
    if colour.ndim == 2:
        return to_colour(colour)
    if deep.levels.shape[2] == 3:
        return colour
    alpha = to_8_bits(deep.levels[..., 3:]).astype(np.float32) / 255
    return (alpha * colour + (1 - alpha) * BACKGROUND).round().astype(np.uint8)

"""Photos of all kinds and formats: the same grey levels as in a viewer."""

import cv2
import numpy as np
import pytest
from PIL import Image

from facekp.data.crops import read_photo


def kinds():
    """A drawing in colours, and ways to store it that a viewer shows alike."""
    colours = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8), (70, 50))
    image = Image.fromarray(colours)
    opaque = Image.merge("RGBA", (*image.split(), Image.new("L", image.size, 255)))
    return image, {
        "colour.png": image,
        "colour.bmp": image,
        "colour.webp": image,
        "opaque.png": opaque,
        "palette.png": image.quantize(256),
        "colour.jpg": image,
        "cmyk.jpg": image.convert("CMYK"),
    }


def save(image, path):
    image.save(
        path,
        **({"quality": 98} if path.suffix == ".jpg" else {}),
        **({"lossless": True} if path.suffix == ".webp" else {}),
    )


@pytest.mark.parametrize("name", kinds()[1])
def test_colours_become_the_same_grey_whatever_the_format(tmp_path, name):
    image, stored = kinds()
    save(stored[name], tmp_path / name)
    expected = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2GRAY).astype(int)
    tolerance = {"palette.png": 30, "colour.jpg": 6, "cmyk.jpg": 8}.get(name, 0)
    assert np.abs(read_photo(tmp_path / name) - expected).max() <= tolerance


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    levels = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    for name in ("deep.png", "deep.tiff"):
        Image.fromarray(levels).save(tmp_path / name)
        assert np.abs(read_photo(tmp_path / name) - np.arange(256).reshape(16, 16)).max() <= 1, name
    bits = Image.fromarray(levels > 30000)
    bits.save(tmp_path / "bits.png")
    assert set(np.unique(read_photo(tmp_path / "bits.png"))) == {0, 255}


def test_transparent_pixels_become_grey(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[:2] = 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert read_photo(tmp_path / "clear.png").tolist() == [[255] * 4] * 2 + [[127] * 4] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_photo_as_opencv_does(tmp_path, orientation):
    image, _ = kinds()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    image.save(path, exif=exif, quality=98)
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)
    found = read_photo(path)
    assert found.shape == expected.shape[:2] == ((50, 70) if orientation < 5 else (70, 50))
    assert np.abs(found - cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY).astype(int)).max() <= 4

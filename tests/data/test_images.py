"""Photos of all kinds and formats: the same grey levels as in a viewer."""

import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from facekp.data.crops import read_photo
from facekp.data.images import UnreadableImage, animation_seconds, read_animation, read_image, upright_size
from facekp.data.photo_survey import survey_photos


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


def deep(levels, bits):
    """Grey levels 0..255 as integers of another depth."""
    return np.rint(levels / 255 * (2**bits - 1)).astype(np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm", "colour.png", "colour.tif", "colour.ppm"])
def test_files_of_16_bits_are_scaled_by_the_depth_that_they_use(tmp_path, name, bits):
    colours = np.asarray(kinds()[0])
    colours = colours if "colour" in name else colours[..., :1].repeat(3, axis=2)
    levels = deep(colours, bits)
    cv2.imwrite(str(tmp_path / name), levels[..., ::-1] if "colour" in name else levels[..., 0])
    assert np.abs(read_image(str(tmp_path / name)).astype(int) - colours).max() <= 1


def test_a_deep_photo_with_alpha_is_upright_and_grey_behind_transparency(tmp_path):
    colours = np.asarray(kinds()[0])
    alpha = np.full((*colours.shape[:2], 1), 65535, np.uint16)
    alpha[:10] = 0
    stored = cv2.imencode(".png", np.dstack([deep(colours, 16)[..., ::-1], alpha]))[1].tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "turned.png").write_bytes(stored[:33] + chunk + stored[33:])  # behind the header
    expected = colours.copy()
    expected[:10] = 127
    found = read_image(str(tmp_path / "turned.png"))
    assert np.abs(found.astype(int) - np.rot90(expected, -1)).max() <= 1


def test_photos_of_a_table_share_their_scale(tmp_path, caplog):
    for name, white in (("bright.png", 4000), ("dim.png", 900)):
        Image.fromarray(np.full((8, 8), white, np.uint16)).save(tmp_path / name)
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "plain.png")
    paths = [str(tmp_path / name) for name in ("plain.png", "dim.png", "bright.png", "missing.png")]
    with caplog.at_level("INFO"):
        scales = survey_photos(paths)
    assert caplog.messages == ["2 photos with more than 8 bits per channel: levels 0 to 4095 become 0 to 255"]
    assert [read_image(path, scales=scales).max() for path in paths[:3]] == [77, 56, 249]
    assert read_image(paths[1]).max() == 224  # by itself


def test_photos_that_need_a_look_are_counted(tmp_path, caplog):
    Image.fromarray(np.full((8, 8), 200, np.uint16)).save(tmp_path / "dark.png")
    Image.fromarray(np.full((8, 8), 65000, np.uint16)).save(tmp_path / "bright.png")
    holes = np.full((8, 8), 0.5, np.float32)
    holes[0] = np.nan
    Image.fromarray(holes).save(tmp_path / "holes.tif")
    page = Image.new("L", (8, 8), 9)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    page.save(tmp_path / "moves.gif", save_all=True, append_images=[Image.new("L", (8, 8), 200)])
    names = ["dark.png", "bright.png", "holes.tif", "pages.tif", "moves.gif"]
    paths = [str(tmp_path / name) for name in names]
    survey_photos(paths)
    assert caplog.messages == [
        f"1 photo nearly black at this scale: convert them to 8 bits per channel; the first: {paths[0]}",
        f"1 photo with levels that are NaN or infinite: NaN is read as black; the first: {paths[2]}",
        "1 photo with several pages: the first page that is not a thumbnail is read; save the others as files of their "
        f"own; the first: {paths[3]}",
        f"1 photo with several pictures (animations): the first picture is read; the first: {paths[4]}",
    ]
    caplog.clear()
    survey_photos(paths[-1:], animations=True)
    assert caplog.messages == []


def write_first_box(path, *brands):
    """A file that starts as HEIC, AVIF or MP4 do: with a box of brands, of which the first is the major one."""
    content = b"ftyp" + brands[0] + bytes(4) + b"".join(brands)
    path.write_bytes((len(content) + 4).to_bytes(4, "big") + content + bytes(100))
    return str(path)


@pytest.mark.parametrize("brands", [(b"heic", b"mif1"), (b"mif1", b"heic"), (b"heix",), (b"hevc", b"msf1")])
def test_a_heic_photo_names_the_package_that_reads_it(tmp_path, monkeypatch, brands):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    with pytest.raises(UnreadableImage, match=r"is a HEIC photo; pip install 'facekp\[heic\]' to read it"):
        read_image(write_first_box(tmp_path / "photo.jpg", *brands))


def test_a_heic_photo_is_read_where_its_package_is_installed(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    image, _ = kinds()
    image.save(tmp_path / "photo.heic", format="HEIF", quality=95)
    found = read_image(str(tmp_path / "photo.heic"))
    assert np.abs(found.astype(int) - np.asarray(image)).mean() < 4


def test_an_avif_photo_is_read_or_names_the_pillow_that_reads_it(tmp_path, monkeypatch):
    image, _ = kinds()
    if "AVIF" in Image.SAVE:
        image.save(tmp_path / "photo.avif", quality=95)
        assert np.abs(read_image(str(tmp_path / "photo.avif")).astype(int) - np.asarray(image)).mean() < 4
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    with pytest.raises(UnreadableImage, match=r"is an AVIF photo; pip install 'pillow>=11.3'"):
        read_image(write_first_box(tmp_path / "other.avif", b"avif", b"mif1"))


def test_a_raw_file_of_a_camera_is_refused_though_its_preview_could_be_read(tmp_path):
    Image.new("L", (16, 12)).save(tmp_path / "photo.dng", format="TIFF")
    with pytest.raises(UnreadableImage, match="is a camera's raw file; export it as JPEG or PNG"):
        read_image(str(tmp_path / "photo.dng"))


def test_pictures_of_an_animation_are_read_with_their_durations(tmp_path):
    frames = [Image.new("L", (8, 6), level) for level in (10, 100, 200)]
    for name in ("a.gif", "a.png", "a.webp"):
        lossless = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=80, **lossless)
        pictures = list(
            zip(read_animation(str(tmp_path / name)), animation_seconds(str(tmp_path / name), 9), strict=True)
        )
        assert [image.shape for image, _ in pictures] == [(6, 8, 3)] * 3
        assert [int(image.mean()) for image, _ in pictures] == pytest.approx([10, 100, 200], abs=1)
        assert {seconds for _, seconds in pictures} == {0.08}


@pytest.mark.parametrize("orientation", [0, 1, 3, 6, 8, 9])
def test_the_size_of_a_photo_is_that_of_its_pixels_after_turning(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (30, 20)).save(tmp_path / "photo.jpg", exif=exif)
    height, width, _ = read_image(str(tmp_path / "photo.jpg")).shape
    assert upright_size(str(tmp_path / "photo.jpg")) == (width, height)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("ending", ["tiff", "png"])
def test_deep_colour_is_upright_as_a_viewer_shows_it(tmp_path, ending, orientation):
    levels = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), np.uint16)
    levels[0, 0] = 65535
    deep, flat = tmp_path / f"deep.{ending}", tmp_path / f"flat.{ending}"
    cv2.imwrite(str(deep), levels)
    Image.fromarray((levels[..., ::-1] // 257).astype(np.uint8)).save(flat)
    for path in (deep, flat):
        if ending == "png":
            _tag_png(path, orientation)
        else:
            _tag_tiff(path, orientation)
    with Image.open(flat) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert np.abs(read_image(str(deep)).astype(int) - expected).max() <= 1
    assert upright_size(str(deep)) == expected.shape[1::-1]


def _tag_png(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk + content[33:])  # after the header


def _tag_tiff(path, orientation):
    """Add the tag to the only directory of a little-endian file, which is written anew at its end."""
    content = path.read_bytes()
    (start,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[start : start + 2])
    entries = [content[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    entries = [entry for entry in entries if struct.unpack("<H", entry[:2]) != (0x0112,)]
    entries.append(struct.pack("<HHII", 0x0112, 3, 1, orientation))
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(content[:4] + struct.pack("<I", len(content)) + content[8:] + directory)


def test_deep_tiffs_in_which_the_lowest_level_is_white_are_inverted(tmp_path):
    levels = np.arange(0, 65535, 1000, np.uint16).reshape(6, 11)
    for white, name in ((0, "negative.tiff"), (1, "usual.tiff")):
        stored = 65535 - levels if white == 0 else levels
        Image.fromarray(stored).save(tmp_path / name, tiffinfo={262: white})
    usual, negative = (read_image(str(tmp_path / name)) for name in ("usual.tiff", "negative.tiff"))
    assert np.abs(usual.astype(int) - negative).max() <= 1


@pytest.mark.parametrize(("white", "bits", "kind"), [(4095, 16, 1), (1.0, 32, 3)])
def test_a_negative_tiff_is_inverted_at_the_depth_that_it_uses(tmp_path, caplog, white, bits, kind):
    levels = np.linspace(0.7, 1, 20).reshape(4, 5) * white  # a bright photo: low levels in its negative
    levels[0, 0] = 0
    stored = (white - levels).astype(np.float32 if kind == 3 else np.uint16)
    path = str(tmp_path / "negative.tif")
    write_tiff(path, ({**size_tags(stored), 258: bits, 262: 0, 339: kind}, stored.tobytes()))
    assert np.abs(read_image(path)[..., 0] - levels / white * 255).max() <= 1
    survey_photos([path])
    assert not caplog.messages


def write_tiff(path, *pages, order="<"):
    """A TIFF file of pages: the values of their tags, and the bytes of their only strip."""
    content, link = bytearray(struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0)), 4
    for tags, pixels in pages:
        tags = {**tags, 273: len(content), 279: len(pixels)}
        content += pixels + bytes(len(pixels) % 2)
        struct.pack_into(order + "I", content, link, len(content))
        content += struct.pack(order + "H", len(tags))
        for tag, value in sorted(tags.items()):
            is_long = tag in (273, 279)
            content += struct.pack(order + ("HHII" if is_long else "HHIHH"), tag, 3 + is_long, 1, value, *[0][is_long:])
        link = len(content)
        content += bytes(4)
    Path(path).write_bytes(content)


def size_tags(levels):
    """Width, height and channels of an array (H, W) or (H, W, C), uncompressed."""
    return {256: levels.shape[1], 257: levels.shape[0], 277: levels.shape[2] if levels.ndim == 3 else 1, 259: 1}


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_an_uncompressed_tiff_is_turned_whatever_its_mode(tmp_path, mode):
    grey = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    for orientation, expected in {5: grey.T, 6: np.rot90(grey, -1), 7: grey[::-1, ::-1].T, 8: np.rot90(grey)}.items():
        image.save(tmp_path / "turned.tif", tiffinfo={0x0112: orientation})
        found = read_image(str(tmp_path / "turned.tif"))[..., 0].astype(int)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1, orientation
        assert upright_size(str(tmp_path / "turned.tif")) == expected.shape[::-1]


@pytest.mark.parametrize(
    ("tags", "dtype", "message"),
    [
        ({258: 16, 262: 2, 284: 2}, "<u2", "16 bits per channel in separate planes"),
        ({258: 16, 262: 5, 284: 2, 277: 4}, "<u2", "16 bits per channel in separate planes"),
        ({258: 8, 262: 1, 277: 1, 339: 2}, "u1", "signed levels of 8 bits"),
        ({258: 16, 262: 1, 277: 1, 339: 2}, "<i2", "signed levels of 16 bits up to 30000"),
        ({258: 8, 262: 6}, "u1", "uncompressed levels of YCbCr"),
    ],
)
def test_tiffs_that_would_be_misread_are_refused(tmp_path, tags, dtype, message):
    levels = np.full((5, 8, 4), 30000 if "2" in dtype else 200).astype(dtype)
    path = str(tmp_path / "odd.tif")
    write_tiff(path, ({**size_tags(levels[..., :3]), **tags}, levels.tobytes()))
    with pytest.raises(UnreadableImage, match=f"^has {message}; convert it to PNG, or to a TIFF"):
        read_image(path)


def test_compressed_floating_point_in_big_endian_order_is_refused(tmp_path):
    levels = np.full((5, 8), 0.5, ">f4")
    path = str(tmp_path / "swapped.tif")
    tags = {**size_tags(levels), 258: 32, 262: 1, 339: 3}
    write_tiff(path, (tags, levels.tobytes()), order=">")
    assert set(read_image(path).flat) == {128}
    write_tiff(path, ({**tags, 259: 8}, zlib.compress(levels.tobytes())), order=">")
    with pytest.raises(UnreadableImage, match="has compressed levels of 32 bits in big-endian order; convert it"):
        read_image(path)


@pytest.mark.parametrize(("extra", "expected"), [(0, 200), (1, 154), (2, 154)])  # unknown, multiplied by alpha, alpha
def test_a_fourth_channel_of_16_bits_is_only_alpha_where_the_tiff_says_so(tmp_path, extra, expected):
    levels = np.full((5, 8, 4), 200 * 257, np.uint16)
    levels[0, 0] = 65535  # white, opaque
    levels[1:, :, 3] = 65535 * 3 // 8  # 3/8 of 200 and 5/8 of 127 are 154
    if extra == 1:
        levels[1:, :, :3] = 200 * 257 * 3 // 8
    path = str(tmp_path / "four.tif")
    write_tiff(path, ({**size_tags(levels), 258: 16, 262: 2, 338: extra}, levels.tobytes()))
    assert set(read_image(path)[1:].flat) == {expected}


def test_cmyk_of_16_bits_and_damaged_deep_photos_print_no_lines_of_opencv(tmp_path, capfd):
    levels = np.full((5, 8, 4), 100 * 257, np.uint16)
    levels[..., 3] = 0
    write_tiff(tmp_path / "cmyk.tif", ({**size_tags(levels), 258: 16, 262: 5}, levels.tobytes()))
    assert set(read_image(str(tmp_path / "cmyk.tif")).flat) == {155}
    stored = cv2.imencode(".png", np.random.default_rng(0).integers(0, 65536, (40, 50, 3), np.uint16))[1].tobytes()
    (tmp_path / "half.png").write_bytes(stored[: len(stored) // 2])
    with pytest.raises(UnreadableImage, match="truncated"):
        read_image(str(tmp_path / "half.png"))
    assert capfd.readouterr().err == ""


def test_the_photo_of_a_tiff_is_read_and_not_its_thumbnail(tmp_path, caplog):
    grey, colours = np.full((6, 9), 90, np.uint8), np.full((6, 9, 3), 65535, np.uint16)
    for name, levels, tags in (("grey.tif", grey, {258: 8, 262: 1}), ("deep.tif", colours, {258: 16, 262: 2})):
        small, path = levels[::3, ::3] * 0, str(tmp_path / name)
        pages = [({**size_tags(page), **tags, 254: page is small}, page.tobytes()) for page in (small, levels)]
        write_tiff(path, *pages)
        assert read_image(path).shape == (6, 9, 3)
        assert set(read_image(path).flat) == {90 if levels is grey else 255}
        assert upright_size(path) == (9, 6)
        survey_photos([path])
    assert not caplog.messages  # no further pages to save
    write_tiff(path, pages[0], ({**size_tags(colours), 258: 32, 262: 2, 339: 3}, bytes(648)))
    with pytest.raises(UnreadableImage, match=r"^page 2 of the TIFF, after thumbnails, can't be read; convert it"):
        read_image(path)


def test_a_damaged_second_page_of_a_tiff_costs_only_the_count_of_pages(tmp_path, caplog):
    levels = np.full((6, 9), 900, np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.tif")
    content = bytearray((tmp_path / "deep.tif").read_bytes())
    (directory,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, directory)
    struct.pack_into("<I", content, directory + 2 + 12 * tags, len(content) + 1000)  # where the second page would be
    (tmp_path / "damaged.tif").write_bytes(content)
    paths = [str(tmp_path / name) for name in ("deep.tif", "damaged.tif")]
    with caplog.at_level("INFO"):
        scales = survey_photos(paths)
    assert caplog.messages[0] == "2 photos with more than 8 bits per channel: levels 0 to 1023 become 0 to 255"
    np.testing.assert_array_equal(*(read_image(path, scales=scales) for path in paths))


def test_colours_of_12_bits_in_jpeg_2000_are_scaled_by_the_depth_that_they_use(tmp_path, caplog):
    colours = np.asarray(kinds()[0])
    cv2.imwrite(str(tmp_path / "deep.jp2"), deep(colours, 12)[..., ::-1])
    assert np.abs(read_image(str(tmp_path / "deep.jp2")).astype(int) - colours).mean() < 6
    with caplog.at_level("INFO"):
        survey_photos([str(tmp_path / "deep.jp2")])
    assert caplog.messages == ["1 photo with more than 8 bits per channel: levels 0 to 4095 become 0 to 255"]


def test_a_transparent_level_of_16_bits_becomes_grey(tmp_path):
    levels = np.full((4, 4), 50000, np.uint16)
    levels[:2] = 7
    Image.fromarray(levels).save(tmp_path / "clear.png", transparency=7)
    assert set(read_image(str(tmp_path / "clear.png"))[:2].flat) == {127}

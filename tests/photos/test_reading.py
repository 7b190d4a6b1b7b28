"""Reading: photos of all kinds, animations, videos with broken frames, and the webcam."""

import os
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import UserError
from facekp.core.opencv_log import FFMPEG_LEVEL, quiet_opencv
from facekp.data.images import UnreadableImage, read_image
from facekp.photos.reading import DamagedVideo, read_photos
from tests.photos.conftest import colour, write_numbered_video, write_video


def test_every_kind_of_photo_shows_the_same_pixels(tmp_path, faces):
    grey = faces.images[0]
    kinds = {
        "grey.png": Image.fromarray(grey),
        "colour.png": Image.fromarray(colour(grey)),
        "palette.gif": Image.fromarray(grey).convert("P"),
        "alpha.png": Image.fromarray(np.dstack([colour(grey), np.full_like(grey, 255)])),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "deep.tif": Image.fromarray(grey.astype(np.uint16) * 257),
        "cmyk.tif": Image.fromarray(colour(grey)).convert("CMYK"),
        "binary.tif": Image.fromarray(grey.astype(np.float32)),
    }
    for name, image in kinds.items():
        image.save(tmp_path / name)
        (photo,) = read_photos(tmp_path / name)
        assert photo.image.dtype == np.uint8
        assert np.abs(photo.image.astype(int) - colour(grey)).max() <= 2, name


def test_transparent_pixels_are_grey_and_photos_are_upright(tmp_path, faces):
    clear = np.zeros((20, 30, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    (photo,) = read_photos(str(tmp_path / "clear.png"))
    assert (photo.image == 127).all()
    assert (photo.grey == 127).all()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(np.rot90(faces.images[0][:, :80])).save(tmp_path / "turned.png", exif=exif)
    (photo,) = read_photos(str(tmp_path / "turned.png"))
    assert np.array_equal(photo.grey, faces.images[0][:, :80])


def test_a_file_that_is_no_photo_says_why(tmp_path, faces):
    Image.fromarray(faces.images[0]).save(tmp_path / "whole.jpg")
    half = (tmp_path / "whole.jpg").read_bytes()[:1000]
    for name, content in (("half.jpg", half), ("text.jpg", b"hello"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            UserError, match=f"^{tmp_path / name}: is (neither|damaged)|^{tmp_path / name}: .*truncated"
        ):
            list(read_photos(tmp_path / name))
    with pytest.raises(UnreadableImage, match=r"96 x 96 pixels; at most 0\.001 million"):
        read_image(str(tmp_path / "whole.jpg"), max_pixels=1000)


def test_frames_of_a_video_are_counted_and_limited(tmp_path, faces):
    write_video(tmp_path / "clip:1 %02d.mp4", faces.images[0], 4)
    frames = list(read_photos(str(tmp_path / "clip:1 %02d.mp4")))
    assert [photo.frame for photo in frames] == [0, 1, 2, 3]
    assert [photo.progress for photo in frames] == [0.25, 0.5, 0.75, 1]
    assert {photo.rate for photo in frames} == {25}
    assert {photo.file for photo in frames} == {str(tmp_path / "clip:1 %02d.mp4")}
    few = list(read_photos(str(tmp_path / "clip:1 %02d.mp4"), frames=2))
    assert [photo.progress for photo in few] == [0.5, 1]


def numbers_seen(path):
    """The numbers of the frames that are read, those that their pictures show, and the message of what is lost."""
    seen, message = [], None
    try:
        for photo in read_photos(str(path)):
            seen.append((photo.frame, round(float(photo.grey.mean()) / 6)))
    except DamagedVideo as error:
        message = str(error).removeprefix(f"{path}: ")
    return [number for number, _ in seen], [shown for _, shown in seen], message


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([14], "1 of 40 frames can't be read: 14"),
        ([14, 15, 16, 30], "4 of 40 frames can't be read: 14 to 16, 30"),
        ([0], "1 of 40 frames can't be read: 0"),
        ([39], "1 of 40 frames can't be read: 39"),
        ([], None),
    ],
)
def test_a_video_is_read_on_behind_broken_frames_and_keeps_its_numbers(tmp_path, broken, message):
    write_numbered_video(tmp_path / "clip.avi", 40, broken)
    numbers, shown, lost = numbers_seen(tmp_path / "clip.avi")
    assert numbers == shown == [number for number in range(40) if number not in broken]
    assert lost == message


def test_a_truncated_video_tells_how_many_frames_are_missing(tmp_path):
    write_numbered_video(tmp_path / "clip.avi", 40)
    content = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(content[: len(content) // 2])
    numbers, _, lost = numbers_seen(tmp_path / "half.avi")
    assert numbers == list(range(len(numbers)))
    assert 5 < len(numbers) < 30
    assert lost == f"{40 - len(numbers)} of 40 frames can't be read: {len(numbers)} to 39"


def test_the_first_frames_of_a_broken_video_may_be_whole(tmp_path):
    write_numbered_video(tmp_path / "clip.avi", 40, broken=[30])
    assert [photo.frame for photo in read_photos(str(tmp_path / "clip.avi"), frames=20)] == list(range(20))


def test_an_animation_is_read_like_a_video(tmp_path):
    frames = [Image.new("L", (32, 24), 6 * number) for number in range(5)]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:], duration=50)
    photos = list(read_photos(str(tmp_path / "moves.gif")))
    assert [photo.frame for photo in photos] == list(range(5))
    assert [photo.grey.mean() for photo in photos] == pytest.approx([0, 6, 12, 18, 24], abs=1)
    assert {photo.rate for photo in photos} == {20}
    assert [photo.frame for photo in read_photos(str(tmp_path / "moves.gif"), frames=2)] == [0, 1]
    Image.new("L", (32, 24)).save(tmp_path / "still.gif")
    assert [photo.frame for photo in read_photos(str(tmp_path / "still.gif"))] == [None]


# The first two columns of the matrix in a video's header (ISO 14496-12, tkhd), by the turn that a player makes.
TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def write_turned_video(path, image, degrees):
    """A video of one picture whose header says that a player shall turn it clockwise, as phones write it."""
    write_video(path, image, 3)
    content = bytearray(path.read_bytes())
    start = content.find(b"tkhd") + 44
    a, b, c, d = (number << 16 for number in TURNS[degrees])
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize("degrees", TURNS)
def test_the_frames_of_a_video_are_upright(tmp_path, degrees):
    image = np.zeros((64, 96), np.uint8)
    image[:32, :48] = 200  # the upper left quarter
    write_turned_video(tmp_path / "turned.mp4", image, degrees)
    photos = list(read_photos(str(tmp_path / "turned.mp4")))
    expected = np.rot90(image, -degrees // 90)
    assert [photo.grey.shape for photo in photos] == [expected.shape] * 3
    assert np.abs(photos[0].grey.astype(int) - expected).mean() < 5


def test_a_heic_photo_is_never_opened_as_a_video(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: pytest.fail("opened as a video"))
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x14ftypheic\0\0\0\0mif1" + bytes(100))
    with pytest.raises(UnreadableImage, match="is a HEIC photo"):
        list(read_photos(str(tmp_path / "photo.heic")))


def test_the_webcam_is_read_like_a_video_and_may_be_missing(tmp_path, monkeypatch, faces):
    write_video(tmp_path / "camera.mp4", faces.images[0], 5)
    opened = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: opened(str(tmp_path / "camera.mp4")))
    assert [photo.frame for photo in read_photos("webcam", 3)] == [0, 1, 2]
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: opened(str(tmp_path / "none.mp4")))
    with pytest.raises(UserError, match="webcam: no camera was found"):
        list(read_photos("webcam"))


@pytest.mark.parametrize("given", [None, "16"])
def test_reading_leaves_the_process_as_it_was(tmp_path, monkeypatch, given):
    monkeypatch.delenv(FFMPEG_LEVEL, raising=False)
    if given is not None:
        monkeypatch.setenv(FFMPEG_LEVEL, given)
    level = cv2.utils.logging.getLogLevel()
    with quiet_opencv():
        assert os.environ[FFMPEG_LEVEL] == (given or "-8")
        assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT
    (tmp_path / "text.mp4").write_bytes(b"hello")
    with pytest.raises(UnreadableImage):
        list(read_photos(str(tmp_path / "text.mp4")))
    assert os.environ.get(FFMPEG_LEVEL) == given
    assert cv2.utils.logging.getLogLevel() == level


def test_blocks_that_overlap_restore_the_process_after_the_last_one(monkeypatch):
    monkeypatch.delenv(FFMPEG_LEVEL, raising=False)
    level, silent = cv2.utils.logging.getLogLevel(), cv2.utils.logging.LOG_LEVEL_SILENT
    first, second = quiet_opencv(), quiet_opencv()  # as two threads enter and leave them
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert (cv2.utils.logging.getLogLevel(), os.environ[FFMPEG_LEVEL]) == (silent, "-8")
    del os.environ[FFMPEG_LEVEL]  # by the program
    second.__exit__(None, None, None)
    assert (cv2.utils.logging.getLogLevel(), os.environ.get(FFMPEG_LEVEL)) == (level, None)


def test_a_broken_video_prints_no_lines_of_ffmpeg(tmp_path, faces):
    write_video(tmp_path / "whole.mp4", faces.images[0], 20)
    content = bytearray((tmp_path / "whole.mp4").read_bytes())
    content[200:2000] = bytes(1800)  # the frames, not the index at the end
    (tmp_path / "broken.mp4").write_bytes(content)
    (tmp_path / "half.mp4").write_bytes(content[:1500])
    code = (  # in a process of its own, as OpenCV asks for FFmpeg's log level once
        "import contextlib, sys\n"
        "from facekp.photos.reading import UnreadableImage, read_photos\n"
        "for name in sys.argv[1:]:\n"
        "    with contextlib.suppress(UnreadableImage):\n"
        "        list(read_photos(name))\n"
    )
    names = [str(tmp_path / name) for name in ("broken.mp4", "half.mp4")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_importing_changes_neither_environment_nor_log_level():
    code = (
        "import os, cv2; before = dict(os.environ), cv2.utils.logging.getLogLevel()\n"
        "import facekp.photos.run, facekp.photos.web_app, facekp.photos.detection_benchmark\n"
        "assert before == (dict(os.environ), cv2.utils.logging.getLogLevel())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_first_picture_that_is_shown_long_does_not_slow_an_animation(tmp_path):
    frames = [Image.new("L", (32, 24), 6 * number) for number in range(5)]
    durations = [2000, 50, 50, 50, 50]
    frames[0].save(tmp_path / "hold.gif", save_all=True, append_images=frames[1:], duration=durations)
    assert {photo.rate for photo in read_photos(str(tmp_path / "hold.gif"))} == {20}


def stills(image):
    """Still photos that Pillow does not read and that FFmpeg takes for videos of one frame, by their names."""
    radiance = cv2.imencode(".hdr", colour(image).astype(np.float32))[1].tobytes()
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    floats = cv2.imencode(".tiff", colour(image).astype(np.float32))[1].tobytes()
    return {
        "a.hdr": radiance,
        "hdr.png": radiance,
        "hdr.dat": radiance,
        "damaged.jpg": jpeg[:2] + bytes(18) + jpeg[20:],
        "late.jpg": b"\n\n" + jpeg,
        "deep.tif": floats,
        "deep.mp4": floats,
        "exr.dat": b"\x76\x2f\x31\x01" + bytes(100),
        "a.jls": b"hello",
        "cut.avif": b"\0\0\0\x14ftypavif\0\0\0\0mif1" + bytes(10),
    }


def test_a_still_photo_is_never_opened_as_a_video(tmp_path, monkeypatch, faces):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: pytest.fail("opened as a video"))
    for name, content in stills(faces.images[0]).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImage, match=f"{name}: is damaged, or in a format that is not read; convert it"):
            list(read_photos(str(tmp_path / name)))


def test_a_video_with_the_name_of_an_animation_is_read(tmp_path, faces):
    write_video(tmp_path / "clip.mp4", faces.images[0], 3)
    (tmp_path / "clip.mp4").rename(tmp_path / "clip.gif")
    assert [photo.frame for photo in read_photos(str(tmp_path / "clip.gif"))] == [0, 1, 2]


def test_a_video_may_be_larger_than_a_photo(tmp_path, faces):
    write_video(tmp_path / "long.mp4", faces.images[0], 2)
    with (tmp_path / "long.mp4").open("r+b") as file:  # a box that players pass over, without blocks on the disk
        file.seek(0, 2)
        file.write((1).to_bytes(4, "big") + b"free" + (3 * 2**30).to_bytes(8, "big"))
        file.truncate(file.tell() - 16 + 3 * 2**30)
    assert [photo.frame for photo in read_photos(str(tmp_path / "long.mp4"))] == [0, 1]


@pytest.mark.parametrize("ending", ["gif", "png"])
@pytest.mark.parametrize("cut", [0.6, 0.7, 0.9])
def test_a_damaged_animation_is_read_up_to_its_damage(tmp_path, ending, cut):
    path = tmp_path / f"cut.{ending}"
    noise = np.random.default_rng(0).integers(0, 256, (6, 24, 32), np.uint8)
    frames = [Image.fromarray(picture) for picture in noise]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    photos = read_photos(str(path))
    assert [next(photos).rate for _ in range(3)] == 3 * [20]
    with pytest.raises(DamagedVideo, match="frames can't be read"):
        list(photos)

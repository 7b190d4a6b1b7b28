"""The web page in a headless Chromium: upload a photo, see what is drawn; other files are not served."""

import io
import json
import logging
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.models.packaged import PACKAGED
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import WholePhotoDetector
from facekp.photos.pipeline import predict_photos
from facekp.photos.settings import AppSettings
from facekp.photos.web_app import serve
from facekp.photos.web_handler import PhotoHandler, VisitorState, heatmap_pictures, points_table
from tests.browser import FAKE_WEBCAM, chromium
from tests.conftest import REPOSITORY, config_of
from tests.photos.conftest import as_photos, colour


@pytest.fixture(scope="module", autouse=True)
def gradio():
    """Imported by the workers that need it, as that takes seconds."""
    return pytest.importorskip("gradio", reason="needs pip install 'facekp[app]'")


CLEAR, UPLOAD = "#photo button[aria-label=Clear]", "#photo input[type=file]"
STATUS = "document.querySelector('#status')?.innerText ?? ''"


def app_settings(*overrides):
    """The settings that a command line of `app` gives."""
    return parse(AppSettings, config_of(*overrides, name="app"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Gradio's folder for uploads."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def address(cache):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = serve(app_settings(f"port={port}", "detector=none", "max_megabytes=1"), block=False)
    yield f"http://127.0.0.1:{port}/"
    page.close()


def files_in(cache):
    return [path for path in cache.rglob("*") if path.is_file()]


def clear(browser):
    browser.page.locator(CLEAR).click()
    browser.page.locator(UPLOAD).wait_for(state="attached")


@pytest.fixture(scope="module")
def browser(address):
    with chromium(flags=FAKE_WEBCAM) as opened:
        opened.page.goto(address)
        yield opened


def upload(browser, path):
    """Upload a file as a user does, after removing the last one."""
    if browser.page.locator(CLEAR).count():
        clear(browser)
    for _ in range(4):
        browser.page.locator(UPLOAD).set_input_files(path)
        with suppress(TimeoutError):
            return browser.page.locator(CLEAR).wait_for(timeout=30_000)
    raise AssertionError(f"{path.name}: Gradio lost the file four times")  # once may be while it draws the field anew


PLACES = """['live', 'photo', 'face', 'status', 'csv', 'drawn', 'maps', 'points'].map((id) => {
    const box = document.getElementById(id)?.getBoundingClientRect();
    return box && [box.left, box.top + scrollY, box.width, box.height].map(Math.round);
})"""


def places(browser):
    """Where the parts of the page are, once all are drawn and none moves any more."""
    last = None
    for _ in range(100):
        now = browser.page.evaluate(PLACES)
        if now == last and None not in now:
            return now
        last = now
        time.sleep(0.3)
    raise AssertionError(f"the page does not settle: {last}")


def test_a_photo_gives_points_heatmaps_and_a_table(browser, address, cache, tmp_path, faces):
    browser.page.locator(UPLOAD).wait_for(state="attached")
    before = places(browser)
    Image.fromarray(faces.images[0]).resize((300, 300)).save(tmp_path / "face.png")
    upload(browser, tmp_path / "face.png")
    browser.until(f"({STATUS}).includes('1 face in')")
    browser.until("document.querySelector('#drawn img')?.naturalWidth === 900")  # enlarged, so that circles can be seen
    browser.until("document.querySelectorAll('#maps img').length >= 15")
    assert "nose tip" in browser.page.evaluate("document.querySelector('#maps').innerText")
    browser.until("document.querySelector('#points').innerText.includes('mouth_center_bottom_lip')")
    drawn = urllib.request.urlopen(browser.page.evaluate("document.querySelector('#drawn img').src")).read()
    picture = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert (picture[..., 2] - picture[..., 0] > 120).sum() > 100  # red points on a grey face
    saved = urllib.request.urlopen(browser.page.evaluate("document.querySelector('#csv a').href")).read()
    table = pd.read_csv(io.BytesIO(saved))
    assert list(table) == ["face", "keypoint", "x", "y", "confidence", "expected_error"]
    assert len(table) == 15
    assert places(browser) == before  # nothing moves
    assert files_in(cache) == []
    assert {url.split("/")[2] for url in browser.requests if url.startswith("http")} == {address.split("/")[2]}


def test_the_live_view_shows_frames_of_the_webcam_with_points(browser, address, cache):
    browser.page.locator("#live button").first.click()  # opens the accordion
    browser.page.locator("#live [data-part=button]").click()
    status = "document.querySelector('#live [data-part=status]').textContent"
    browser.until(f"/^1 face, [1-9]\\d* frames per second$/.test({status})")
    drawn = browser.page.evaluate("""() => {
        const canvas = document.querySelector('#live [data-part=drawing]');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let red = 0, green = 0;
        for (let i = 0; i < pixels.length; i += 4) {
            red += pixels[i] > 200 && pixels[i + 1] < 100;
            green += pixels[i + 1] > pixels[i] + 50;
        }
        return [canvas.width, canvas.height, red, green];
    }""")
    assert drawn[:2] == [640, 480]
    assert drawn[2] > 20  # points, which may overlap; detector=none takes the whole frame for a face
    assert drawn[3] > 100_000  # the browser's test video is green
    browser.page.locator("#live [data-part=button]").click()
    browser.until(f"{status} === 'Stopped.'")
    assert browser.page.evaluate("document.querySelector('#live video').srcObject") is None
    assert files_in(cache) == []
    assert {url.split("/")[2] for url in browser.requests if url.startswith("http")} == {address.split("/")[2]}
    browser.page.locator("#live button").first.click()


def test_frames_of_other_sites_are_refused(address):
    request = urllib.request.Request(f"{address}live?visitor={'0' * 32}&checkpoint=shipped", b"x", method="POST")
    request.add_header("Origin", "http://evil.example")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert error.value.code == 403


def test_clearing_the_photo_clears_its_results(browser, tmp_path, faces):
    Image.fromarray(faces.images[0]).save(tmp_path / "face.png")
    upload(browser, tmp_path / "face.png")
    browser.until("document.querySelectorAll('#points td').length > 0")
    clear(browser)
    browser.until(f"({STATUS}).includes('Upload a photo.')")
    browser.until("document.querySelectorAll('#points td, #maps img, #drawn img, #csv a[href]').length === 0")


def test_a_phone_shows_the_page_without_scrolling_sideways(browser):
    browser.page.set_viewport_size({"width": 390, "height": 800})
    browser.until("innerWidth === 390")
    assert browser.page.evaluate("document.documentElement.scrollWidth") == 390
    browser.page.set_viewport_size({"width": 1400, "height": 1000})


def test_a_broken_photo_is_reported_and_the_next_one_works(browser, cache, tmp_path, faces):
    Image.fromarray(faces.images[1]).save(tmp_path / "first.png")
    upload(browser, tmp_path / "first.png")
    browser.until(f"({STATUS}).includes('1 face in')")
    (tmp_path / "broken.png").write_bytes(b"not an image")
    time.sleep(1)  # on a busy machine the page has not yet ended the event whose result it shows
    upload(browser, tmp_path / "broken.png")
    browser.until(f"({STATUS}).includes('read')")
    browser.until("document.querySelectorAll('#points td, #maps img, #drawn img').length === 0")
    assert files_in(cache) == []
    Image.fromarray(faces.images[1]).save(tmp_path / "good.png")
    time.sleep(1)
    upload(browser, tmp_path / "good.png")
    browser.until(f"({STATUS}).includes('96 x 96 pixels')")


@pytest.mark.parametrize("path", ["/etc/passwd", str(PACKAGED["shipped"]), "../../../../etc/passwd", __file__])
def test_no_file_of_the_machine_is_served(address, path):
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{address}gradio_api/file={path}")
    assert error.value.code in (403, 404)


def test_an_upload_beyond_the_limit_is_refused(address):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head + b"0" * 2_000_000 + b"\r\n--x--\r\n"
    request = urllib.request.Request(f"{address}gradio_api/upload", body)
    request.add_header("Content-Type", "multipart/form-data; boundary=x")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(request)


@pytest.fixture
def handler(small_predictor):
    return PhotoHandler({"a": small_predictor}, WholePhotoDetector(), refine=True, max_pixels=10**6)


def test_a_photo_that_can_t_be_read_says_why_in_the_status_line(tmp_path, handler):
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    assert "9000 x 9000 pixels; at most 1 million" in handler.read(str(tmp_path / "bomb.png"))
    (tmp_path / "text.png").write_bytes(b"hello")
    reason = "This photo can't be read: it is damaged, or in an unknown format. Upload it as PNG or JPEG."
    assert handler.read(str(tmp_path / "text.png")) == reason
    for photo, status in ((reason, reason), (None, "Upload a photo.")):
        content = handler(photo, "a")
        assert content.status == status
        assert content.picture is None
        assert content.table.empty
        assert content.faces == []


def test_a_photo_without_a_face_is_shown_as_it_is(handler):
    handler.detector = type("Blind", (), {"margin": 1.0, "find": lambda self, image: []})()
    content = handler(np.full((40, 50, 3), 20, np.uint8), "a")
    assert content.picture.shape == (40, 50, 3)
    assert content.status.startswith("No face was found")
    assert (content.faces, content.largest, len(content.table)) == ([], None, 0)


def test_a_photo_one_pixel_wide_is_shown(handler):
    photo = np.full((5000, 1, 3), 20, np.uint8)
    *_, picture, _, status = handler.again(VisitorState(photo), "a")
    assert "data:image" in picture
    assert "(1 x 5000 pixels)" in status


def test_the_table_holds_the_points(handler, faces, small_predictor):
    photo = cv2.cvtColor(faces.images[0], cv2.COLOR_GRAY2RGB)
    content = handler(photo, "a")
    points = small_predictor.predict(faces.images[:1]).points[0]
    assert content.table["keypoint"].tolist() == list(faces.keypoints.names)
    assert content.status.startswith("1 face in")
    ((read, found),) = predict_photos(as_photos(faces.images[:1]), small_predictor, WholePhotoDetector(), refine=False)
    table = points_table(found, faces.keypoints.names)
    assert np.allclose(table[["x", "y"]], points, atol=0.006)
    assert list(table) == ["face", "keypoint", "x", "y", "confidence"]
    assert [picture.shape for picture in heatmap_pictures(read, found[0], small_predictor)] == [(192, 192, 3)] * 15


def test_a_face_has_the_number_of_the_table_and_its_heatmaps_can_be_chosen(handler, faces):
    class Halves(WholePhotoDetector):
        """A small face on the left, a large one on the right."""

        def find(self, image):
            return np.array([[0, 0, 96, 96], [96, 0, 288, 192]])

    handler.detector, handler.refine = Halves(), False
    photo = np.zeros((192, 288, 3), np.uint8)
    photo[:96, :96] = faces.images[0][..., None]
    photo[:, 96:] = cv2.resize(faces.images[1], (192, 192))[..., None]
    content = handler(photo, "a")
    assert content.status.startswith("2 faces in")
    assert content.table["face"].unique().tolist() == [0, 1]
    assert content.largest == 1
    kept, menu, shown, *_ = handler.again(VisitorState(photo), "a")
    assert menu["choices"] == [("Face 0", 0), ("Face 1 (the largest)", 1)]
    assert (menu["value"], menu["interactive"]) == (1, True)
    assert "Heatmaps of face 1" in shown == handler.heatmaps(kept, "a", 1)
    other = handler.heatmaps(kept, "a", 0)
    assert "Heatmaps of face 0" in other
    assert other.count("<img") == 15
    assert other != shown
    assert "<img" not in handler.heatmaps(kept, "a", 2)  # of a menu that is out of date
    for left in (0, 96):  # a green label with a black number in the corner of each box
        corner = content.picture[:36, 3 * left : 3 * left + 30].astype(int)  # the picture is enlarged three times
        assert (corner[..., 1] - corner[..., 0] > 100).any()


def test_a_photo_is_deleted_once_it_is_read_even_if_that_fails(tmp_path, handler):
    def upload(name, content):
        folder = tmp_path / "cache" / "hash"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)
        (tmp_path / "cache" / "tmp0").touch()  # Gradio leaves such a file at each upload
        return str(folder / name)

    png = cv2.imencode(".png", np.zeros((20, 20), np.uint8))[1].tobytes()
    kept, *_ = handler.upload(upload("a.png", png), "a")
    assert kept.photo.shape == (20, 20, 3)
    assert list((tmp_path / "cache").iterdir()) == []
    handler.read = lambda file: 1 / 0
    with pytest.raises(ZeroDivisionError):
        handler.upload(upload("b.png", b""), "a")
    assert list((tmp_path / "cache").iterdir()) == []
    assert handler.upload(None, "a")[-1] == "Upload a photo."


def test_calibrated_checkpoints_add_expected_errors():
    calibrated = str(REPOSITORY / "tests" / "fixtures" / "v0_1" / "calibrated.ckpt")
    handler = PhotoHandler.from_settings(app_settings(f"ckpt={calibrated}"))
    predictor = handler.predictors["calibrated"]
    ((_, found),) = predict_photos(as_photos(np.zeros((1, 96, 96), np.uint8)), predictor, WholePhotoDetector())
    assert (points_table(found, predictor.keypoints.names)["expected_error"] > 0).all()


def test_checkpoints_of_one_name_are_told_apart_by_their_path():
    runs = REPOSITORY / "tests" / "fixtures" / "v0_1"
    paths = [f"{runs}/{run}/checkpoints/best.ckpt" for run in ("run", "run_ema")]
    handler = PhotoHandler.from_settings(app_settings(f"ckpt=[{','.join(paths)},{runs}/calibrated.ckpt]"))
    assert list(handler.predictors) == [*paths, "calibrated"]
    assert handler.max_pixels == 40_000_000


def test_the_terminal_shows_the_address_and_nothing_of_gradio(small_checkpoint, capfd, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with caplog.at_level(logging.INFO):
        serve(app_settings(f"port={port}", f"ckpt={small_checkpoint}"), block=False).close()
    assert f"open http://127.0.0.1:{port}/ in a browser; Ctrl-C stops the server" in caplog.messages
    assert not [record for record in caplog.records if record.name == "httpx"]
    assert "share" not in capfd.readouterr().out


def test_a_port_in_use_is_a_mistake(small_checkpoint):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port={port}: the page can't be served there"):
            serve(app_settings(f"port={port}", f"ckpt={small_checkpoint}"), block=False)


def completed(address, data):
    """The last message of the page's event for uploads, called with these inputs as a program may call it."""
    with urllib.request.urlopen(f"{address}config") as response:
        calls = json.loads(response.read())["dependencies"]
    call = next(call for call in calls if any(event == "upload" for _, event in call["targets"]))
    body = {"data": data, "fn_index": call["id"], "session_hash": "s1", "trigger_id": call["targets"][0][0]}
    request = urllib.request.Request(f"{address}gradio_api/queue/join", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request).close()
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash=s1") as stream:
        messages = (json.loads(line[5:]) for line in stream if line.startswith(b"data:"))
        return next(message for message in messages if message["msg"] == "process_completed")


@pytest.mark.parametrize("named", ["a file", "an address"])
def test_a_request_can_t_name_a_file_of_the_machine_or_an_address_as_its_upload(address, cache, tmp_path, faces, named):
    Image.fromarray(faces.images[0]).save(tmp_path / "private.png")
    path = str(tmp_path / "private.png") if named == "a file" else "https://example.org/a.png"
    file = {"path": path, "orig_name": "a.png", "size": 1, "meta": {"_type": "gradio.FileData"}}
    message = completed(address, [file, "shipped"])
    assert not message["success"]
    assert files_in(cache) == []


def test_a_checkpoint_without_heatmaps_shows_points(faces):
    pytest.importorskip("onnxruntime")
    handler = PhotoHandler({"fast": KeypointPredictor.from_checkpoint("fast")}, WholePhotoDetector(), True, 10**6)
    kept, _, heatmaps, *_, status = handler.again(VisitorState(colour(faces.images[0])), "fast")
    assert len(kept.faces) == 1
    assert "Heatmaps: exported files have none" in heatmaps
    assert status.startswith("1 face")


def test_an_upload_that_is_gone_is_reported_without_its_path(tmp_path, handler):
    assert handler.read(str(tmp_path / "a.png")).startswith("This photo can't be read: its upload was deleted")

"""The demo page in a real headless Chromium: upload, wait, look at what is drawn; no file is given out."""

import socket
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
from PIL import Image

from facekp.app import serve
from facekp.models.checkpoint import SHIPPED
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import WholePhotoDetector
from facekp.photos.web_app import PhotoHandler
from tests.browser import chromium
from tests.conftest import config_of

pytest.importorskip("gradio", reason="needs pip install 'facekp[app]'")
STATUS = "document.querySelector('#status')?.innerText ?? ''"


@pytest.fixture(scope="module")
def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = serve(config_of(f"port={port}", "detector=none", "max_megabytes=1", name="app"), block=False)
    yield f"http://127.0.0.1:{port}/"
    page.close()


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            opened.call(f"{domain}.enable")
        opened.call("Page.navigate", url=address)
        yield opened


def upload(browser, path):
    """Give a file as a user does, after taking the last one away."""
    if browser.value("document.querySelector('#photo button[aria-label=Clear]') !== null"):
        browser.value("document.querySelector('#photo button[aria-label=Clear]').click()")
    browser.until("document.querySelector('#photo input[type=file]') !== null")
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    field = browser.call("DOM.querySelector", nodeId=root, selector="#photo input[type=file]")["nodeId"]
    browser.call("DOM.setFileInputFiles", files=[str(path)], nodeId=field)


def test_a_photo_is_answered_with_points_heatmaps_and_a_table(browser, address, tmp_path, faces):
    Image.fromarray(faces.images[0]).resize((300, 300)).save(tmp_path / "face.png")
    upload(browser, tmp_path / "face.png")
    browser.until(f"({STATUS}).includes('1 face in')")
    browser.until("document.querySelector('#drawn img')?.naturalWidth === 300")
    browser.until("document.querySelectorAll('#maps img').length >= 15")
    assert "nose tip" in browser.value("document.querySelector('#maps').innerText")
    browser.until("document.querySelector('#points').innerText.includes('mouth_center_bottom_lip')")
    drawn = urllib.request.urlopen(browser.value("document.querySelector('#drawn img').src")).read()
    picture = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert (picture[..., 2] - picture[..., 0] > 120).sum() > 100  # red points on a grey face
    browser.until(
        "document.querySelector('a#csv, #csv a, #csv')?.href || document.querySelector('#csv')?.disabled === false"
    )
    assert {url.split("/")[2] for url in browser.requests if url.startswith("http")} == {address.split("/")[2]}


def test_a_broken_photo_is_told_and_the_page_goes_on(browser, tmp_path, faces):
    (tmp_path / "broken.png").write_bytes(b"no image")
    upload(browser, tmp_path / "broken.png")
    browser.until(f"({STATUS}).includes('read')")
    Image.fromarray(faces.images[1]).save(tmp_path / "good.png")
    time.sleep(1)
    upload(browser, tmp_path / "good.png")
    browser.until(f"({STATUS}).includes('96 x 96 pixels')")


@pytest.mark.parametrize("path", ["/etc/passwd", str(SHIPPED), "../../../../etc/passwd", __file__])
def test_no_file_of_the_machine_is_given_out(address, path):
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


def test_a_photo_of_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path):
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    answerer = PhotoHandler({"a": KeypointPredictor.from_checkpoint("shipped")}, WholePhotoDetector(), True, 10**6)
    assert "9000 x 9000 pixels; at most 1 million" in answerer(str(tmp_path / "bomb.png"), "a")[-1]
    assert answerer(None, "a")[-1] == "Give a photo first."

"""The example page: it finds the points that facekp finds, and says what is wrong with a file that it can't read.

Python's onnxruntime runs the networks in place of onnxruntime-web, which is an npm package.
"""

import importlib.util
import threading
from base64 import b64decode, b64encode
from contextlib import contextmanager

import cv2
import numpy as np
import onnxruntime

import facekp
from facekp.data.synthetic.faces import draw_faces
from facekp.models.packaged import file_of
from facekp.photos.yunet import WEIGHTS
from tests.browser import FAKE_WEBCAM, chromium
from tests.conftest import REPOSITORY

STAND_IN = """
const text = (bytes) => {
  let characters = ""
  for (let i = 0; i < bytes.length; i += 8192) characters += String.fromCharCode(...bytes.subarray(i, i + 8192))
  return btoa(characters)
}
const numbers = (text) => new Float32Array(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer)
export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }) } }
const run = async (size, tensors) => {
  const inputs = Object.entries(tensors).map(([name, { type, data, dims }]) => [
    name, type, text(new Uint8Array(data.buffer)), dims,
  ])
  const outputs = await window.runNetwork(size, inputs)
  return Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, { data: numbers(values) }]))
}
export const InferenceSession = { create: async (file) => ({ run: (tensors) => run(file.length, tensors) }) }
"""


@contextmanager
def example_page(tmp_path, network, flags=()):
    """The page in a browser, with that network."""
    path = REPOSITORY / "examples" / "browser" / "serve.py"
    spec = importlib.util.spec_from_file_location("serve_example", path)
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)
    sessions = {file.stat().st_size: onnxruntime.InferenceSession(str(file)) for file in (network, WEIGHTS)}

    def run_network(size, inputs):
        arrays = {n: np.frombuffer(b64decode(text), kind).reshape(shape) for n, kind, text, shape in inputs}
        names = [output.name for output in sessions[size].get_outputs()]
        outputs = sessions[size].run(names, arrays)
        return {name: b64encode(values.tobytes()).decode() for name, values in zip(names, outputs, strict=True)}

    (tmp_path / "ort.mjs").write_text(STAND_IN)
    module = "/node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs"
    with serve.example_server(network, 0, {module: tmp_path / "ort.mjs"}) as server, chromium(flags=flags) as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.page.expose_function("runNetwork", run_network)
        browser.page.goto(f"http://127.0.0.1:{server.server_port}/")
        browser.until("!document.querySelector('[role=status]').textContent.startsWith('Loading')")
        yield browser
        server.shutdown()
        assert browser.complaints == []
        assert all(url.startswith(f"http://127.0.0.1:{server.server_port}/") for url in browser.requests)


def status(browser):
    return browser.page.inner_text("[role=status]")


def write_photo(path, scheme, scale):
    """A photo whose crop is smaller (1) or larger (2) than the network's input."""
    face = cv2.resize(draw_faces(1, 0, scheme).images[0], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    photo = np.pad(face, ((50, 40), (0, 90)), mode="edge")
    cv2.imwrite(str(path), (photo[..., None] * np.array([0.7, 0.8, 1.0])).round().astype(np.uint8))


def test_its_points_are_those_of_find_points(tmp_path, scheme):
    with example_page(tmp_path, file_of("fast")) as browser:
        for scale in (1, 2):
            photo = tmp_path / f"photo{scale}.png"
            write_photo(photo, scheme, scale)
            (expected,) = facekp.find_points(photo, ckpt="fast", refine=False)
            browser.page.evaluate("delete window.faces")
            browser.page.set_input_files("input", str(photo))
            browser.until("window.faces !== undefined")
            (found,) = browser.page.evaluate("window.faces")
            np.testing.assert_allclose(found["points"], expected.points, atol=1e-3)
            np.testing.assert_allclose(found["confidence"], expected.confidence, atol=1e-5)
            np.testing.assert_allclose(found["expectedError"], expected.expected_error, atol=1e-4)
            assert status(browser).startswith("Faces: 1, ")


FOLLOW = """async ([moved, larger]) => {
  const ort = await import("./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs")
  const { FaceFinder } = await import("./facekp.js")
  const finder = await FaceFinder.load(ort, "network.onnx", "face_detection_yunet_2023mar.onnx")
  const canvas = document.querySelector("canvas")
  const context = canvas.getContext("2d")
  const photo = context.getImageData(0, 0, canvas.width, canvas.height)
  const first = await finder.find(photo)
  context.drawImage(await createImageBitmap(photo), moved, 2 * moved, larger * canvas.width, larger * canvas.height)
  const next = context.getImageData(0, 0, canvas.width, canvas.height)
  const followed = await finder.follow(next, first)
  const empty = new ImageData(canvas.width, canvas.height)
  return [first, followed, await finder.follow(next, followed), await finder.follow(empty, followed)]
}"""


def test_a_face_that_moved_and_grew_is_followed_and_one_that_is_gone_is_dropped(tmp_path, scheme):
    write_photo(tmp_path / "photo.png", scheme, 2)
    with example_page(tmp_path, file_of("fast")) as browser:
        browser.page.set_input_files("input", str(tmp_path / "photo.png"))
        browser.until("window.faces !== undefined")
        (first,), (followed,), (again,), gone = browser.page.evaluate(FOLLOW, [3, 1.05])
    points = (np.array(first["points"]) + 0.5) * 1.05 - 0.5 + (3, 6)
    assert np.abs(np.array(followed["points"]) - points).mean() < 0.5  # pixels
    assert np.abs(np.array(again["points"]) - points).mean() < 0.5
    assert first["placement"] == followed["placement"] == again["placement"]
    assert gone == []


def test_a_network_that_facekp_did_not_export_is_refused(tmp_path):
    with example_page(tmp_path, WEIGHTS) as browser:
        assert status(browser).startswith("The networks can't be loaded: the network was not exported by facekp")
        assert browser.page.is_disabled("input")


def test_photos_without_a_face_files_of_other_kinds_and_the_webcam(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 60, 3), 128, np.uint8))
    (tmp_path / "text.png").write_text("no photo")
    with example_page(tmp_path, file_of("fast"), FAKE_WEBCAM) as browser:
        browser.page.set_input_files("input", str(tmp_path / "text.png"))
        browser.until("document.querySelector('[role=status]').textContent.startsWith('This photo')")
        browser.page.set_input_files("input", str(tmp_path / "grey.png"))
        browser.until("window.faces !== undefined")
        assert browser.page.evaluate("window.faces") == []
        browser.until("!document.querySelector('input').disabled")
        before = status(browser)
        browser.page.set_input_files("input", [])  # the dialog was cancelled
        assert status(browser) == before
        browser.page.click("button")
        browser.until("document.querySelector('button').textContent == 'Stop the webcam'")
        browser.until("document.querySelector('canvas').width == 640")
        assert browser.page.is_disabled("input")  # a network runs once at a time
        browser.page.click("button")
        assert browser.page.inner_text("button") == "Start the webcam"
        browser.until("!document.querySelector('input').disabled")

"""The live view: frames go in as JPEG files, faces with numbers that stay come out; bad requests are refused."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from facekp.photos.detectors import WholePhotoDetector

live = pytest.importorskip("facekp.photos.live", reason="needs pip install 'facekp[app]'")
ANNE, BERT = "a" * 32, "b" * 32


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture
def view(small_predictor):
    return live.LiveView({"a": small_predictor}, WholePhotoDetector(), refine=False, min_confidence=None)


def test_a_frame_gives_the_points_of_its_faces(view, faces, small_predictor):
    frame = jpeg(faces.images[0])
    found = view(ANNE, "a", frame)
    (face,) = found["faces"]
    decoded = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_GRAYSCALE)
    points = small_predictor.predict(decoded[None]).points[0]
    assert np.allclose(face["points"], points, atol=0.3)
    assert face["box"] == [-0.5, -0.5, 95.5, 95.5]
    assert face["errors"] is None
    assert 0 < face["confidence"] <= 1
    names = small_predictor.keypoints.names
    assert [names[k] for k in found["lines"][0]] == list(small_predictor.keypoints.lines[0])


def test_a_visitor_s_face_keeps_its_number_and_visitors_are_apart(view, faces):
    class Alternating(WholePhotoDetector):
        searches, calls = True, 0

        def find(self, image):
            self.calls += 1
            return super().find(image)

    view.detector = Alternating()
    numbers = [view(ANNE, "a", jpeg(faces.images[0]))["faces"][0]["number"] for _ in range(4)]
    assert numbers == [0] * 4
    assert view.detector.calls == 1  # the points say where the face is in the next frame
    view(BERT, "a", jpeg(faces.images[0]))
    assert view.detector.calls == 2


def test_the_visitor_seen_longest_ago_is_forgotten(view, faces):
    frame = jpeg(faces.images[0])
    visitors = [f"{i:032x}" for i in range(live.VISITORS + 1)]
    for visitor in visitors:
        view(visitor, "a", frame)
    assert [visitor for visitor, _ in view._trackers] == visitors[1:]


@pytest.mark.parametrize(
    ("visitor", "checkpoint", "frame", "message"),
    [
        ("x", "a", b"", "unknown visitor or checkpoint"),
        (ANNE, "other", b"", "unknown visitor or checkpoint"),
        (ANNE, "a", b"", "the frame can't be read"),
        (ANNE, "a", b"GIF89a", "the frame can't be read"),
        (ANNE, "a", jpeg(np.zeros((1500, 1500), np.uint8)), "1500 x 1500 pixels; at most 2 million"),
    ],
)
def test_a_request_that_the_page_does_not_send_is_refused(view, visitor, checkpoint, frame, message):
    with pytest.raises(live.BadFrame, match=message):
        view(visitor, checkpoint, frame)


def test_the_script_names_only_parts_that_the_page_has():
    script, page = live.SCRIPT.read_text(), live.live_html()
    for name in ("video", "drawing", "button", "status"):
        assert f'part("{name}")' in script
        assert f'data-part="{name}"' in page

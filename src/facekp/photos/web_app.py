"""The web page of `facekp app`: give a photo, see its faces, keypoints, heatmaps and confidences, download the points.

`facekp.photos.web_handler` computes what it shows, and the live view (`facekp.photos.live`) shows points in the
webcam's video. The page is served on 127.0.0.1 only (`facekp.photos.web_server`) and sends no requests to other
machines. An uploaded photo is deleted once it is read, and results are part of the page, so no file of a visitor
remains.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekp.core.errors import UserError
from facekp.photos.settings import AppSettings
from facekp.photos.web_handler import PhotoHandler, VisitorState, import_gradio
from facekp.photos.web_results import CSS

if TYPE_CHECKING:
    from facekp.photos.web_server import PageServer

log = logging.getLogger(__name__)
DELETE_EVERY_AND_AFTER = (60, 600)  # every minute, files of ten minutes ago are deleted: uploads that were given up
MAX_SESSIONS = 16  # visitors whose photo is kept in memory, up to 120 MB each
KEPT_SECONDS = 3600  # that the photo of a visitor is kept in memory for another checkpoint
UPLOAD_HEIGHT = 150  # pixels, with and without a photo

INTRO = (
    "# Facial keypoints\nUpload a photo or take one with the webcam. It does not leave this machine, and its file is "
    "deleted as soon as it is read."
)


class ServedPage:
    """The page while it is served.

    Args:
        settings: of conf/app.yaml.

    Raises:
        UserError: gradio is not installed, a checkpoint can't be read, or the port is in use.
    """

    def __init__(self, settings: AppSettings) -> None:
        handler = PhotoHandler.from_settings(settings)
        self._stack = ExitStack()
        with ExitStack() as stack:
            app, uploads = _application(handler, settings, stack)
            self._server = _start(app, settings, uploads)
            self._stack = stack.pop_all()
        self.local_url = self._server.local_url

    def wait(self) -> None:
        """Return when the server has stopped."""
        self._server.wait()

    def close(self) -> None:
        """Stop the server and delete all uploads."""
        self._server.close()
        self._stack.close()


def serve(settings: AppSettings, block: bool = True) -> ServedPage:
    """Serve the page on 127.0.0.1.

    Args:
        settings: of conf/app.yaml.
        block: return only when the server is stopped (Ctrl-C).

    Returns:
        the page; ``close()`` stops it.

    Raises:
        UserError: gradio is not installed, a checkpoint can't be read, or the port is in use.
    """
    page = ServedPage(settings)
    log.info("open %s in a browser; Ctrl-C stops the server", page.local_url)
    if block:
        try:
            page.wait()
        finally:
            page.close()
    return page


def _application(handler: PhotoHandler, settings: AppSettings, stack: ExitStack) -> tuple[Any, Path]:
    """The web application of the page, and the folder of its uploads, which ``stack`` removes."""
    gr = import_gradio()
    from fastapi import FastAPI

    from facekp.photos.live import SCRIPT, LiveView, live_endpoint
    from facekp.photos.web_server import upload_folder

    uploads = stack.enter_context(upload_folder())
    page = build_page(handler)
    page.state_session_capacity = MAX_SESSIONS
    page.has_launched = True  # so Gradio takes uploads only, and no file that a request names by its path
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    live = LiveView(handler.predictors, handler.detector, handler.refine, handler.min_confidence)
    server.add_route("/live", live_endpoint(live), methods=["POST"])
    app = gr.mount_gradio_app(
        server,
        page,
        path="/",
        server_name="127.0.0.1",
        server_port=settings.port,
        footer_links=[],
        allowed_paths=[],
        show_error=False,
        max_file_size=_max_upload_bytes(settings),
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        css=CSS,
        head=f"<script>\n{SCRIPT.read_text(encoding='utf-8')}</script>",
    )
    return app, uploads


def _start(app: Any, settings: AppSettings, uploads: Path) -> PageServer:
    from facekp.photos.web_server import PageServer

    try:
        return PageServer(app, settings.port, _max_upload_bytes(settings), uploads)
    except OSError as error:
        raise UserError(f"port={settings.port}: the page can't be served there ({error}); choose another") from error


def _max_upload_bytes(settings: AppSettings) -> int:
    return int(settings.max_megabytes * 1e6)


def build_page(handler: PhotoHandler) -> Any:
    """The Gradio page, not yet served.

    Raises:
        UserError: gradio is not installed.
    """
    gr = import_gradio()
    from facekp.photos.live import live_html

    names = list(handler.predictors)
    _, _, heatmaps, csv, picture, table, status = handler.clear(names[0])
    with gr.Blocks(title="facekp", analytics_enabled=False, delete_cache=DELETE_EVERY_AND_AFTER) as page:
        gr.Markdown(INTRO)
        with gr.Accordion("Live view", open=False, elem_id="live"):
            gr.HTML(live_html())
        kept = gr.State(VisitorState(), time_to_live=KEPT_SECONDS)
        with gr.Row():
            with gr.Column(min_width=300):
                # As a file, not an image: facekp and not Gradio decodes it, so broken or huge photos are refused.
                photo = gr.File(label="Photo", type="filepath", height=UPLOAD_HEIGHT, elem_id="photo")
                with gr.Accordion("Webcam", open=False):
                    webcam = gr.Image(
                        sources=["webcam"], type="filepath", image_mode=None, show_label=False, buttons=[]
                    )
                chosen = gr.Dropdown(
                    names, value=names[0], label="Checkpoint", interactive=len(names) > 1, elem_id="checkpoint"
                )
                face = gr.Dropdown([], label="Heatmaps of", interactive=False, elem_id="face")
                shown_status = gr.Markdown(status, elem_id="status")
                shown_csv = gr.HTML(csv, elem_id="csv")
            with gr.Column(scale=2, min_width=320):
                shown_picture = gr.HTML(picture, elem_id="drawn")
        shown_heatmaps = gr.HTML(heatmaps, elem_id="maps")
        shown_table = gr.HTML(table, elem_id="points")
        for upload in (photo, webcam):
            _take_files_only(upload)
        outputs = [kept, face, shown_heatmaps, shown_csv, shown_picture, shown_table, shown_status]
        hidden: dict[str, Any] = {"show_progress_on": shown_status, "api_visibility": "private"}
        running = [
            photo.upload(handler.upload, [photo, chosen], outputs, **hidden),
            webcam.input(handler.upload, [webcam, chosen], outputs, **hidden),
            chosen.change(handler.again, [kept, chosen], outputs, **hidden),
            face.input(handler.heatmaps, [kept, chosen, face], shown_heatmaps, **hidden),
        ]
        gr.on([photo.clear, webcam.clear], handler.clear, [chosen], outputs, cancels=running, **hidden)
    return page


def _take_files_only(component: Any) -> None:
    """Keep Gradio from fetching an address of the internet that a request names in place of an upload."""
    move = component.async_move_resource_to_block_cache

    async def move_file(path: Any) -> Any:
        if str(path).lower().startswith(("http:", "https:")):
            raise ValueError("an upload is a file, not an address")
        return await move(path)

    component.async_move_resource_to_block_cache = move_file

// The live view: frames of the webcam go to the server one by one, and are shown with the points that come back.
(() => {
  "use strict";

  const MAX_SIDE = 640; // pixels of the longer side of a frame that is sent
  const QUALITY = 0.8; // of its JPEG
  const COUNTED = 30; // frames over which the rate is measured
  const POINT = "#ff3b30", LINE = "#ff9500", BOX = "#34c759", ERROR = "rgba(255, 255, 255, 0.75)";

  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const visitor = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  let stream = null;

  const part = (name) => document.querySelector(`#live [data-part=${name}]`);
  const say = (text) => { if (part("status")) part("status").textContent = text; };

  async function start() {
    part("button").disabled = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: MAX_SIDE } } });
      part("video").srcObject = stream; // fails if that part of the page was closed meanwhile
      await part("video").play();
    } catch (error) {
      stop(`The webcam can't be used: ${error.message}`);
      return;
    }
    part("button").disabled = false;
    part("button").textContent = "Stop the webcam";
    part("video").dataset.on = "true";
    follow(stream);
  }

  function stop(text) {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    if (!part("video")) return; // the part of the page was closed
    part("video").srcObject = null;
    delete part("video").dataset.on;
    part("drawing").getContext("2d").clearRect(0, 0, part("drawing").width, part("drawing").height);
    part("button").textContent = "Start the webcam";
    part("button").disabled = false;
    say(text);
  }

  // Until the webcam is stopped: while the server predicts a frame, the next one is captured; while that one is
  // predicted, the first one is drawn. One request is under way at a time, so that frames arrive in their order.
  async function follow(mine) {
    let canvas = document.createElement("canvas"), other = document.createElement("canvas");
    let times = [];
    let answer = predict(await capture(canvas));
    while (stream === mine) {
      if (!part("video")) { stop(""); return; }
      const next = capture(other);
      const found = await answer;
      if (stream !== mine) return;
      if (found.error) { stop(found.error); return; }
      answer = predict(await next);
      draw(found, canvas);
      [canvas, other] = [other, canvas];
      times = [...times.slice(-COUNTED), performance.now()];
      const rate = (1000 * (times.length - 1)) / Math.max(times[times.length - 1] - times[0], 1);
      say(`${found.faces.length} ${found.faces.length === 1 ? "face" : "faces"}, ${rate.toFixed(0)} frames per second`);
      await new Promise(requestAnimationFrame); // waits while the page is hidden
    }
  }

  function capture(canvas) {
    const video = part("video");
    const scale = Math.min(1, MAX_SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(scale * video.videoWidth);
    canvas.height = Math.round(scale * video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  }

  async function predict(frame) {
    const checkpoint = document.querySelector("#checkpoint input").value;
    try {
      const response = await fetch(`live?visitor=${visitor}&checkpoint=${encodeURIComponent(checkpoint)}`, {
        method: "POST",
        body: frame,
      });
      return response.ok || response.status === 400 ? await response.json() : { error: "The server refused a frame." };
    } catch {
      return { error: "The server can't be reached." };
    }
  }

  // The frame that was sent hides the video, which has moved on, so that the points lie on the face.
  function draw(found, sent) {
    const canvas = part("drawing");
    if (!canvas) return;
    canvas.width = sent.width;
    canvas.height = sent.height;
    const pen = canvas.getContext("2d");
    pen.drawImage(sent, 0, 0);
    for (const face of found.faces) {
      const [left, top, right, bottom] = face.box;
      const size = Math.max((right - left) / 150, 1);
      pen.lineWidth = size;
      pen.strokeStyle = BOX;
      pen.strokeRect(left, top, right - left, bottom - top);
      pen.strokeStyle = LINE;
      for (const line of found.lines) {
        pen.beginPath();
        line.map((k) => face.points[k]).filter(Boolean).forEach(([x, y]) => pen.lineTo(x + 0.5, y + 0.5));
        pen.stroke();
      }
      face.points.forEach((point, k) => {
        if (!point) return;
        circle(pen, point, face.errors ? 0.75 * size : 2.5 * size, POINT, null); // as in drawing.py
        if (face.errors) circle(pen, point, face.errors[k], null, ERROR);
      });
    }
  }

  function circle(pen, [x, y], radius, fill, stroke) {
    pen.beginPath();
    pen.arc(x + 0.5, y + 0.5, radius, 0, 2 * Math.PI);
    if (fill) { pen.fillStyle = fill; pen.fill(); }
    if (stroke) { pen.strokeStyle = stroke; pen.stroke(); }
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest || !event.target.closest("#live [data-part=button]")) return;
    if (stream) stop("Stopped."); else start();
  });
})();

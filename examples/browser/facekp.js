// Finds faces and their keypoints in a photo, with a network that facekp exported to ONNX.
//
// It does in a browser what docs/how-to/export.md describes ("Without facekp"), and explains the numbers below.
// Axes: N faces, K keypoints, H and W height and width of a crop.

const DETECTOR_SIDE = 640 // pixels of YuNet's input
const BORDER = 0.2 // around the photo, as a fraction of its longer side: faces that fill the photo are found, too
const STRIDES = [8, 16, 32] // pixels of YuNet's input for each cell of its outputs
const MIN_SCORE = 0.6 // of a box
const MAX_OVERLAP = 0.4 // of two boxes, as a fraction of the smaller one; above it they show the same face
const RAISE = 0.011 // how far the crop is above YuNet's box, as a fraction of its side
const MARGIN = 1.03 // side of the crop as a multiple of that of a square with the area of YuNet's box
const MIN_CONFIDENCE = 0.5 // mean of a face's keypoints; below it, it is hardly a face

/** Finds faces and predicts their keypoints. */
export class FaceFinder {
  /**
   * @param ort the module onnxruntime-web
   * @param {string} network URL of a file that `facekp.export` wrote
   * @param {string} detector URL of face_detection_yunet_2023mar.onnx
   */
  static async load(ort, network, detector) {
    const files = await Promise.all([network, detector].map(download))
    const sessions = await Promise.all(files.map((file) => ort.InferenceSession.create(file)))
    return new FaceFinder(ort, ...sessions, describe(files[0]))
  }

  constructor(ort, network, detector, about) {
    Object.assign(this, { ort, network, detector, about })
    this.names = about.keypoints.names // of the K keypoints
  }

  /**
   * Find the faces of a photo.
   *
   * @param {ImageData} photo upright
   * @returns {Promise<Object[]>} for each face: `points`, K times [x, y] in pixels of the photo, where (0, 0) is the
   *   centre of its first pixel; `confidence`, K numbers from 0 to about 1; `expectedError`, K numbers of pixels, or
   *   null where the network is not calibrated; and `placement`, which `follow` needs
   */
  async find(photo) {
    return this.predict(photo, await this.findSquares(photo))
  }

  /**
   * Find the faces of an earlier frame of a video again, near their points; faster than `find`.
   *
   * @param {ImageData} photo the next frame
   * @param faces of `find` or `follow`
   * @returns those that are still there, as `find` returns them
   */
  async follow(photo, faces) {
    const placements = faces.map(({ placement }) => placement)
    const squares = faces.map(({ points }, i) => squareAround(points, placements[i]))
    return this.predict(photo, squares, placements)
  }

  /** The square around each face, {left, top, side} in whole pixels of the photo. */
  async findSquares(photo) {
    const factor = Math.min(1, DETECTOR_SIDE / ((1 + 2 * BORDER) * Math.max(photo.width, photo.height)))
    const small = factor < 1 ? await shrink(photo, factor) : photo
    const border = Math.round(BORDER * Math.max(small.width, small.height))
    const shape = [1, 3, DETECTOR_SIDE, DETECTOR_SIDE]
    const input = new this.ort.Tensor("float32", withBorder(small, border, DETECTOR_SIDE), shape)
    const boxes = withoutOverlaps(decode(await this.detector.run({ input })))
    return boxes.map(({ x, y, width, height }) => {
      const side = Math.sqrt(width * height)
      const pixels = Math.max(Math.round((MARGIN * side) / factor), 1)
      const first = (middle) => Math.round((middle - border) / factor - 0.5 - (pixels - 1) / 2)
      return { left: first(x), top: first(y - RAISE * side), side: pixels }
    })
  }

  /** The faces in squares, as `find` returns them, each with the placement of its points in a square. */
  async predict(photo, squares, placements) {
    if (!squares.length) return []
    const [height, width] = this.about.size
    const channels = this.about.image_channels
    const length = channels * height * width
    const levels = new Uint8Array(squares.length * length)
    squares.forEach((square, i) => levels.set(crop(photo, square, width, height, channels === 1), i * length))
    const inputs = { images: new this.ort.Tensor("uint8", levels, [squares.length, channels, height, width]) }
    if (this.about.source === null) {
      inputs.source = new this.ort.Tensor("int64", new BigInt64Array(squares.length)) // the first source
    }
    const outputs = await this.network.run(inputs)
    const faces = squares.map((square, i) => {
      const face = toPhoto(outputs, i, square, width, this.names.length)
      return { ...face, placement: placements ? placements[i] : placementOf(face.points, square) }
    })
    return faces.filter(({ confidence }) => mean(confidence) >= MIN_CONFIDENCE) // false for NaN
  }
}

async function download(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`)
  return new Uint8Array(await response.arrayBuffer())
}

/** What an exported file says of itself: the metadata entry `facekp`. */
function describe(file) {
  const text = new TextDecoder()
  for (const [number, entry] of fields(file)) {
    if (number !== 14) continue // metadata_props of ONNX's ModelProto
    const [key, value] = [...fields(entry)].map(([, content]) => text.decode(content))
    if (key === "facekp") return JSON.parse(value)
  }
  throw new Error("the network was not exported by facekp: its metadata have no entry facekp")
}

/** Number and content of each field of a protobuf message, without its numbers. */
function* fields(message) {
  let at = 0
  const number = () => {
    let [value, factor] = [0, 1]
    for (; message[at] > 127; factor *= 128) value += (message[at++] & 127) * factor
    return value + message[at++] * factor
  }
  while (at < message.length) {
    const [key, length] = [number(), number()] // a field that is a number has it in place of the length
    if ((key & 7) !== 2) continue
    yield [key >> 3, message.subarray(at, (at += length))]
  }
}

async function shrink(photo, factor) {
  const [width, height] = [photo.width, photo.height].map((side) => Math.max(Math.round(side * factor), 1))
  const options = { resizeWidth: width, resizeHeight: height, resizeQuality: "high" }
  const canvas = new OffscreenCanvas(width, height).getContext("2d")
  canvas.drawImage(await createImageBitmap(photo, options), 0, 0)
  return canvas.getImageData(0, 0, width, height)
}

/** The levels of a photo in a square, float32 (3, side, side), blue, green, red; the edge pixels are repeated. */
function withBorder(photo, border, side) {
  const levels = new Float32Array(3 * side * side)
  for (let y = 0; y < photo.height + 2 * border; y++) {
    for (let x = 0; x < photo.width + 2 * border; x++) {
      const pixel = pixelAt(photo, x - border, y - border)
      for (let c = 0; c < 3; c++) levels[(c * side + y) * side + x] = photo.data[pixel + 2 - c]
    }
  }
  return levels
}

/** Where the levels of a pixel begin; outside the photo, of the nearest one. */
function pixelAt(photo, x, y) {
  const [column, row] = [clip(x, photo.width), clip(y, photo.height)]
  return 4 * (row * photo.width + column)
}

function clip(value, length) {
  return Math.min(Math.max(value, 0), length - 1)
}

/** The boxes in YuNet's outputs: {score, x, y, width, height} with the centre (x, y), in pixels of its input. */
function decode(outputs) {
  const boxes = []
  for (const stride of STRIDES) {
    const [cls, obj, box] = ["cls", "obj", "bbox"].map((name) => outputs[`${name}_${stride}`].data)
    const columns = DETECTOR_SIDE / stride
    for (let cell = 0; cell < cls.length; cell++) {
      const score = Math.sqrt(Math.min(cls[cell], 1) * Math.min(obj[cell], 1))
      if (!(score >= MIN_SCORE)) continue
      const [dx, dy, width, height] = box.subarray(4 * cell, 4 * cell + 4)
      const [x, y] = [((cell % columns) + dx) * stride, (Math.floor(cell / columns) + dy) * stride]
      boxes.push({ score, x, y, width: Math.exp(width) * stride, height: Math.exp(height) * stride })
    }
  }
  return boxes
}

/** The boxes that overlap no better one. */
function withoutOverlaps(boxes) {
  const kept = []
  for (const box of boxes.sort((a, b) => b.score - a.score)) {
    if (kept.every((better) => overlap(box, better) <= MAX_OVERLAP)) kept.push(box)
  }
  return kept
}

/** The intersection of two boxes as a fraction of the smaller one. */
function overlap(a, b) {
  const common = (middle, length) => {
    const ends = [a, b].map((box) => box[middle] + box[length] / 2)
    const starts = [a, b].map((box) => box[middle] - box[length] / 2)
    return Math.max(Math.min(...ends) - Math.max(...starts), 0)
  }
  return (common("x", "width") * common("y", "height")) / Math.min(a.width * a.height, b.width * b.height)
}

/** The levels of a square of the photo, uint8 (1, height, width) in grey, or (3, height, width) in red, green, blue. */
function crop(photo, { left, top, side }, width, height, grey) {
  const channels = Array.from({ length: grey ? 1 : 3 }, () => new Uint8Array(side * side))
  for (let y = 0, i = 0; y < side; y++) {
    for (let x = 0; x < side; x++, i++) {
      const pixel = pixelAt(photo, left + x, top + y)
      const [red, green, blue] = photo.data.subarray(pixel, pixel + 3)
      const levels = grey ? [(4899 * red + 9617 * green + 1868 * blue + 8192) >> 14] : [red, green, blue]
      levels.forEach((level, channel) => (channels[channel][i] = level))
    }
  }
  const resized = channels.map((levels) => {
    const narrow = resizeRows(transpose(levels, side), side, side, width) // (width, side)
    return resizeRows(transpose(narrow, side), width, side, height) // (height, width)
  })
  return resized.length === 1 ? resized[0] : Uint8Array.from(resized.flatMap((levels) => [...levels]))
}

/** The levels (rows, columns) as (columns, rows). */
function transpose(levels, columns) {
  const rows = levels.length / columns
  return levels.map((_, i) => levels[(i % rows) * columns + Math.floor(i / rows)])
}

/** The levels (rows, columns) with another number of rows, as by OpenCV: cubic, or by areas if they become fewer. */
function resizeRows(levels, columns, rows, wanted) {
  const resized = new Uint8ClampedArray(wanted * columns) // rounds
  const weightsOf = rows > wanted ? areaWeights : cubicWeights
  for (let row = 0; row < wanted; row++) {
    const { first, weights } = weightsOf(row, rows / wanted)
    for (let column = 0; column < columns; column++) {
      let sum = 0
      weights.forEach((weight, i) => (sum += weight * levels[clip(first + i, rows) * columns + column]))
      resized[row * columns + column] = sum
    }
  }
  return new Uint8Array(resized.buffer)
}

/** The first row that becomes part of a row of the result, and the weights of this one and the next ones. */
function areaWeights(row, scale) {
  const [start, end] = [row * scale, (row + 1) * scale]
  const first = Math.floor(start)
  const covered = (i) => Math.min(end, first + i + 1) - Math.max(start, first + i)
  const count = Math.ceil(end - 1e-9) - first
  return { first, weights: Array.from({ length: count }, (_, i) => covered(i) / scale) }
}

function cubicWeights(row, scale) {
  const middle = (row + 0.5) * scale - 0.5
  const below = Math.floor(middle)
  const near = (x) => (1.25 * x - 2.25) * x * x + 1 // the cubic with A = -0.75, up to a distance of 1
  const far = (x) => ((-0.75 * x + 3.75) * x - 6) * x + 3 // and from 1 to 2
  const x = middle - below
  return { first: below - 1, weights: [far(x + 1), near(x), near(1 - x), far(2 - x)] }
}

/** The keypoints of face i in pixels of the photo. */
function toPhoto(outputs, i, { left, top, side }, width, keypoints) {
  const scale = side / width // pixels of the photo for each pixel of the crop
  const part = (name, count) => Array.from(outputs[name].data.subarray(i * count, (i + 1) * count))
  const flat = part("points", 2 * keypoints)
  const points = Array.from({ length: keypoints }, (_, k) =>
    [left, top].map((start, axis) => (flat[2 * k + axis] + 0.5) * scale - 0.5 + start),
  )
  const errors = outputs.expected_error && part("expected_error", keypoints).map((error) => error * scale)
  return { points, confidence: part("confidence", keypoints), expectedError: errors ?? null }
}

/** Where points are in a square, independent of its place and size. */
function placementOf(points, { left, top, side }) {
  const { x, y, spread } = extentOf(points)
  return { sides: side / spread, x: (x - left) / side, y: (y - top) / side }
}

/** The square in which points have a placement. */
function squareAround(points, placement) {
  const { x, y, spread } = extentOf(points)
  const side = Math.max(Math.round(placement.sides * spread), 1)
  return { left: Math.round(x - placement.x * side), top: Math.round(y - placement.y * side), side }
}

/** The centre of points, and their root mean squared distance from it. */
function extentOf(points) {
  const [x, y] = [0, 1].map((axis) => mean(points.map((point) => point[axis])))
  return { x, y, spread: Math.sqrt(mean(points.map((point) => (point[0] - x) ** 2 + (point[1] - y) ** 2))) }
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

// Points in the plane on two canvases, by WebGL or, where no graphics card would do it, by pixels.
// It knows where points are and of which colour; what they stand for is told elsewhere.

const HIDDEN = 255;
const MOST_COLOURS = 16;
const FARTHEST = 0.5, NEAREST = 4000;
// How far from a point, in pixels, a pointer still means it, and how far a click may wander.
const REACH = 12, STILL = 5;
const DIM = 0.1;
// Farther than any two points are.
const ASIDE = 1e6;

const VERTEX = `
attribute vec2 place;
attribute vec2 style;
uniform vec4 view;
uniform float size, turn;
uniform vec3 colours[${MOST_COLOURS}];
varying vec3 colour;
void main() {
  bool shown = style.x < ${HIDDEN}.0 && style.y == turn;
  gl_Position = shown ? vec4(place * view.xy + view.zw, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = size;
  colour = colours[int(min(style.x, ${MOST_COLOURS - 1}.0))];
}`;

const FRAGMENT = `
precision mediump float;
varying vec3 colour;
uniform float width, alpha;
void main() {
  float edge = width * (0.5 - length(gl_PointCoord - 0.5));
  float covered = clamp(edge, 0.0, 1.0) * alpha;
  gl_FragColor = vec4(colour * covered, covered);
}`;

/** A colour such as #8ab4f8 as three numbers from 0 to 1. */
function parts(colour) {
  const number = parseInt(colour.slice(1), 16);
  return [(number >> 16) / 255, ((number >> 8) & 255) / 255, (number & 255) / 255];
}

/** All points in an order that favours no colour: always the same one. */
function shuffled(count) {
  const order = new Uint32Array(count);
  let state = 1;
  for (let at = 0; at < count; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = state % (at + 1);
    order[at] = order[other];
    order[other] = at;
  }
  return order;
}

function inOrder(places, order) {
  const ordered = new Float32Array(places.length);
  order.forEach((point, row) => {
    ordered[2 * row] = places[2 * point];
    ordered[2 * row + 1] = places[2 * point + 1];
  });
  return ordered;
}

/** Whether the browser has WebGL, and a graphics card does its work. */
function hasGraphics() {
  const gl = document.createElement("canvas")
    .getContext("webgl", { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const known = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/** Draws by WebGL; null where the browser has none. */
function glPainter(canvas, places, order) {
  const gl = canvas.getContext("webgl", { antialias: false, depth: false });
  if (!gl) return null;
  let at, styles;
  const ordered = inOrder(places, order);

  function prepare() {
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "place");
    gl.bindAttribLocation(program, 1, "style");
    gl.linkProgram(program);
    gl.useProgram(program);
    at = Object.fromEntries(["view", "size", "turn", "colours", "width", "alpha"].map(
      (name) => [name, gl.getUniformLocation(program, name)]));
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, ordered, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 2, gl.UNSIGNED_BYTE, false, 0, 0);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    if (styles) gl.bufferData(gl.ARRAY_BUFFER, styles, gl.DYNAMIC_DRAW);
  }
  prepare();
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", prepare);

  return {
    name: "WebGL",
    close() { gl.getExtension("WEBGL_lose_context")?.loseContext(); },
    style(given) {
      styles = given;
      gl.bufferData(gl.ARRAY_BUFFER, styles, gl.DYNAMIC_DRAW);
    },
    draw({ scale, x, y, width, height, ratio, radius, alpha, colours, someDim }) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clear(gl.COLOR_BUFFER_BIT);
      const across = 2 * scale / width, up = 2 * scale / height;
      gl.uniform4f(at.view, across, up, -x * across, -y * up);
      gl.uniform3fv(at.colours, colours.flatMap(parts));
      const size = 2 * radius * ratio + 1;
      gl.uniform1f(at.size, size);
      gl.uniform1f(at.width, size);
      for (const turn of someDim ? [0, 1] : [1]) {
        gl.uniform1f(at.turn, turn);
        gl.uniform1f(at.alpha, turn ? alpha : alpha * DIM);
        gl.drawArrays(gl.POINTS, 0, order.length);
      }
    },
  };
}

/** Draws pixel by pixel: without a graphics card this is faster than WebGL. */
function pixelPainter(canvas, places, order) {
  const context = canvas.getContext("2d");
  const ordered = inOrder(places, order);
  let styles, image, words;
  return {
    name: "pixels",
    style(given) { styles = given; },
    draw({ scale, x, y, width, height, ratio, radius, colours, someDim }) {
      const reach = Math.ceil(radius * ratio) + 2;
      const across = canvas.width + 2 * reach, down = canvas.height + 2 * reach;
      if (!image || image.width !== across || image.height !== down) {
        image = context.createImageData(across, down);
        words = new Uint32Array(image.data.buffer);
      }
      words.fill(0);
      const colour = colours.map((each) => {
        const [red, green, blue] = parts(each).map((part) => Math.round(255 * part));
        return (blue << 16) | (green << 8) | red;
      });
      for (const turn of someDim ? [0, 1] : [1]) {
        const strength = 255 * (turn ? 1 : DIM);
        let whole = [], edge = [], alphas = [];
        for (let up = -reach; up <= reach; up++)
          for (let right = -reach; right <= reach; right++) {
            const covered = radius * ratio + 0.5 - Math.hypot(up, right);
            if (covered >= 1) {
              whole.push(up * across + right);
            } else if (covered > 0.1) {
              edge.push(up * across + right);
              alphas.push(Math.round(covered * strength));
            }
          }
        [whole, edge, alphas] = [whole, edge, alphas].map((each) => Int32Array.from(each));
        const full = Math.round(strength) << 24, end = ordered.length / 2;
        const middle = width / 2 - x * scale, centre = height / 2 + y * scale;
        for (let row = 0; row < end; row++) {
          if (styles[2 * row] === HIDDEN || styles[2 * row + 1] !== turn) continue;
          const left = Math.round((middle + ordered[2 * row] * scale) * ratio);
          const top = Math.round((centre - ordered[2 * row + 1] * scale) * ratio);
          if (left < -1 || top < -1 || left > canvas.width || top > canvas.height) continue;
          const at = (top + reach) * across + left + reach, ink = colour[styles[2 * row]];
          for (let step = 0; step < whole.length; step++) words[at + whole[step]] = full | ink;
          for (let step = 0; step < edge.length; step++) {
            const place = at + edge[step], alpha = alphas[step];
            if (words[place] >>> 24 < alpha) words[place] = (alpha << 24) | ink;
          }
        }
      }
      context.putImageData(image, -reach, -reach);
    },
  };
}

/** Points by the cells of a grid that they are in. */
function gridOf(places) {
  const count = places.length / 2;
  const side = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(count / 4))));
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let at = 0; at < places.length; at++) {
    low[at % 2] = Math.min(low[at % 2], places[at]);
    high[at % 2] = Math.max(high[at % 2], places[at]);
  }
  if (!count) low.fill(0) && high.fill(0);
  const step = [0, 1].map((axis) => (high[axis] - low[axis]) / side || 1);
  const cell = (value, axis) =>
    Math.max(0, Math.min(side - 1, Math.floor((value - low[axis]) / step[axis])));
  const starts = new Uint32Array(side * side + 1);
  const cellOf = (point) => cell(places[2 * point + 1], 1) * side + cell(places[2 * point], 0);
  for (let point = 0; point < count; point++) starts[cellOf(point) + 1]++;
  for (let at = 0; at < side * side; at++) starts[at + 1] += starts[at];
  const points = new Uint32Array(count), next = starts.slice();
  for (let point = 0; point < count; point++) points[next[cellOf(point)]++] = point;
  return {
    low, high,
    /** Call a function with each point in a rectangle, and some around it. */
    within(left, bottom, right, top, found) {
      const first = cell(left, 0), last = cell(right, 0);
      for (let row = cell(bottom, 1); row <= cell(top, 1); row++)
        for (let at = starts[row * side + first]; at < starts[row * side + last + 1]; at++)
          found(points[at]);
    },
  };
}

/**
 * A scatter plot that is panned, zoomed, pointed at, clicked and lassoed.
 *
 * canvas, overlay: canvases of one size, one over the other; the upper one takes the pointer.
 * places: Float32Array of x and y, from -1 to 1 about.
 * slowWillDo: whether WebGL is taken even if the processor has to do its work.
 * onHover(point, x, y), onPick(point), onLasso(points, corners): points are numbers; -1 is none.
 * onView(): what is shown of the plane has changed.
 */
function createScatter({
  canvas, overlay, places, slowWillDo, onHover, onPick, onLasso, onView = () => {},
}) {
  const count = places.length / 2;
  const order = shuffled(count);
  const painter = ((slowWillDo || hasGraphics()) && glPainter(canvas, places, order))
    || pixelPainter(canvas, places, order);
  const grid = gridOf(places);
  const above = overlay.getContext("2d");
  let colours = [], ink = "#888", marked = -1, hovered = -1, someDim = false, lassoing = false;
  let kinds = new Uint8Array(count), bright = new Uint8Array(count).fill(1);
  let lasso = null, waiting = false, frames = 0, ringed = [], isClosed = false;
  let width = 1, height = 1, ratio = 1, fitted = 1;
  const view = { scale: 1, x: 0, y: 0 };

  const zoom = () => view.scale / fitted;
  const base = count < 300 ? 6 : count < 3000 ? 4.5 : count < 30000 ? 3 : 1.9;
  const radius = () => base * Math.min(1.2, Math.max(0.6, Math.sqrt(Math.min(width, height) / 750)))
    * Math.min(3, Math.max(0.7, zoom() ** 0.3));
  const left = (point) => width / 2 + (places[2 * point] - view.x) * view.scale;
  const top = (point) => height / 2 - (places[2 * point + 1] - view.y) * view.scale;
  const isShown = (point) => kinds[point] !== HIDDEN && (!someDim || bright[point]);

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (isClosed || !colours.length) return;
      frames++;
      painter.draw({ ...view, width, height, ratio, radius: radius(),
        alpha: count > 20000 ? 0.7 : 0.88, colours, someDim });
      drawAbove();
    });
  }

  function drawAbove() {
    above.setTransform(ratio, 0, 0, ratio, 0, 0);
    above.clearRect(0, 0, width, height);
    const rings = [...ringed.map((point) => [point, 1]), [hovered, 2], [marked, 3]];
    for (const [point, wide] of rings) {
      if (point < 0 || kinds[point] === HIDDEN) continue;
      above.beginPath();
      above.arc(left(point), top(point), radius() + 3, 0, 2 * Math.PI);
      above.lineWidth = wide;
      above.strokeStyle = ink;
      above.stroke();
    }
    if (lasso) {
      above.beginPath();
      lasso.forEach(([x, y]) => above.lineTo(x, y));
      above.closePath();
      above.lineWidth = 1.5;
      above.strokeStyle = ink;
      above.setLineDash([5, 4]);
      above.stroke();
      above.setLineDash([]);
      above.globalAlpha = 0.08;
      above.fillStyle = ink;
      above.fill();
      above.globalAlpha = 1;
    }
  }

  function resize() {
    const box = overlay.getBoundingClientRect();
    const before = fitted;
    [width, height] = [Math.max(1, box.width), Math.max(1, box.height)];
    ratio = window.devicePixelRatio || 1;
    for (const each of [canvas, overlay]) {
      each.width = Math.round(width * ratio);
      each.height = Math.round(height * ratio);
    }
    const wide = Math.max(grid.high[0] - grid.low[0], 1e-6);
    const high = Math.max(grid.high[1] - grid.low[1], 1e-6);
    fitted = Math.min((width - 48) / wide, (height - 48) / high);
    fitted = Math.max(1, Math.min(fitted, Math.max(width, height)));
    view.scale *= fitted / before;
    redraw();
  }

  function fit() {
    view.scale = fitted;
    view.x = (grid.low[0] + grid.high[0]) / 2;
    view.y = (grid.low[1] + grid.high[1]) / 2;
    redraw();
    onView();
  }

  function zoomBy(factor, x = width / 2, y = height / 2) {
    const scale = Math.max(FARTHEST * fitted, Math.min(NEAREST * fitted, view.scale * factor));
    view.x += (x - width / 2) * (1 / view.scale - 1 / scale);
    view.y -= (y - height / 2) * (1 / view.scale - 1 / scale);
    view.scale = scale;
    redraw();
    onView();
  }

  function panBy(x, y) {
    view.x -= x / view.scale;
    view.y += y / view.scale;
    redraw();
    onView();
  }

  function pointAt(x, y) {
    const reach = Math.max(REACH, radius() + 4) / view.scale;
    const across = view.x + (x - width / 2) / view.scale;
    const up = view.y - (y - height / 2) / view.scale;
    let best = -1, least = reach * reach;
    grid.within(across - reach, up - reach, across + reach, up + reach, (point) => {
      const far = (places[2 * point] - across) ** 2 + (places[2 * point + 1] - up) ** 2;
      if (isShown(point) && (far < least || (far === least && point < best))) {
        best = point;
        least = far;
      }
    });
    return best;
  }

  /** How many shown points are where one is, itself counted. */
  function atPlaceOf(point) {
    const [x, y] = places.subarray(2 * point, 2 * point + 2);
    let found = 0;
    grid.within(x, y, x, y, (other) => {
      if (places[2 * other] === x && places[2 * other + 1] === y && isShown(other)) found++;
    });
    return found;
  }

  const inPlane = ([x, y]) =>
    [view.x + (x - width / 2) / view.scale, view.y - (y - height / 2) / view.scale];

  /** The points within a polygon of the plane, ascending; by default those that are shown. */
  function inside(corners, isMeant = isShown) {
    const xs = corners.map(([x]) => x), ys = corners.map(([, y]) => y);
    const found = [];
    grid.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (point) => {
      if (!isMeant(point)) return;
      const x = places[2 * point], y = places[2 * point + 1];
      let odd = false;
      for (let at = 0, from = corners.length - 1; at < corners.length; from = at++) {
        const [ax, ay] = corners[at], [bx, by] = corners[from];
        if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) odd = !odd;
      }
      if (odd) found.push(point);
    });
    return found.sort((one, other) => one - other);
  }

  // The pointer: one pans, clicks or draws a lasso; two pinch.
  const down = new Map();
  let began = null;
  const placeOf = (event) => {
    const box = overlay.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  function hover(point, x, y) {
    if (point !== hovered) {
      hovered = point;
      overlay.style.cursor = lassoing ? "crosshair" : point < 0 ? "grab" : "pointer";
      drawAbove();
    }
    onHover(point, x, y);
  }
  overlay.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    const place = placeOf(event);
    overlay.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place);
    if (down.size > 1) {
      began = lasso = null;
      redraw();
      return;
    }
    began = place;
    if (lassoing || event.shiftKey) lasso = [place];
    else overlay.style.cursor = "grabbing";
  });
  overlay.addEventListener("pointermove", (event) => {
    const place = placeOf(event), before = down.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") hover(pointAt(...place), ...place);
      return;
    }
    const others = [...down].filter(([id]) => id !== event.pointerId).map(([, each]) => each);
    down.set(event.pointerId, place);
    if (others.length) {
      const far = (one) => Math.hypot(one[0] - others[0][0], one[1] - others[0][1]) || 1;
      zoomBy(far(place) / far(before), ...others[0]);
    } else if (lasso) {
      lasso.push(place);
      redraw();
    } else if (began && Math.hypot(place[0] - began[0], place[1] - began[1]) < STILL) {
      down.set(event.pointerId, before);
    } else {
      began = null;
      hover(-1, ...place);
      panBy(place[0] - before[0], place[1] - before[1]);
    }
  });
  function up(event) {
    const was = lasso, place = placeOf(event);
    if (!down.delete(event.pointerId)) return;
    lasso = null;
    overlay.style.cursor = lassoing ? "crosshair" : "grab";
    if (event.type === "pointercancel") {
      began = null;
    } else if (was && was.length > 2) {
      const corners = was.map(inPlane);
      onLasso(inside(corners), corners);
    } else if (began) {
      const point = pointAt(...began);
      if (event.pointerType === "touch") hover(point, ...place);
      onPick(point);
    }
    began = null;
    redraw();
  }
  overlay.addEventListener("pointerup", up);
  overlay.addEventListener("pointercancel", up);
  overlay.addEventListener("pointerleave", () => { if (!down.size) hover(-1, 0, 0); });
  overlay.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 24 : event.deltaMode === 2 ? 400 : 1;
    zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), ...placeOf(event));
    hover(-1, 0, 0);
  }, { passive: false });
  canvas.addEventListener("webglcontextrestored", () => { restyle(); redraw(); });

  function restyle() {
    const styles = new Uint8Array(2 * count);
    order.forEach((point, row) => {
      styles[2 * row] = kinds[point];
      styles[2 * row + 1] = someDim ? bright[point] : 1;
    });
    painter.style(styles);
    redraw();
  }

  /** The nearest shown point on one side of another: right, left, up or down; -1 for none. */
  function beside(point, right, up) {
    const [x, y] = places.subarray(2 * point, 2 * point + 2);
    let best = -1, least = Infinity;
    for (let other = 0; other < count; other++) {
      if (other === point || !isShown(other)) continue;
      const across = places[2 * other] - x, over = places[2 * other + 1] - y;
      const along = right * across + up * over, aside = right * over - up * across;
      // Those at one place follow each other by their numbers; those aside come last.
      const far = along > 0 ? along ** 2 + 4 * aside ** 2 + (Math.abs(aside) > 2 * along ? ASIDE : 0)
        : !along && !aside && (other - point) * (right - up) > 0 ? -1 / Math.abs(other - point)
          : Infinity;
      if (far < least) {
        best = other;
        least = far;
      }
    }
    return best;
  }

  /** The shown point that is nearest to the middle of what is seen; -1 for none. */
  function middle() {
    let best = -1, least = Infinity;
    for (let point = 0; point < count; point++) {
      const far = (places[2 * point] - view.x) ** 2 + (places[2 * point + 1] - view.y) ** 2;
      if (far < least && isShown(point)) {
        best = point;
        least = far;
      }
    }
    return best;
  }

  const watching = new ResizeObserver(resize);
  watching.observe(overlay);
  resize();
  fit();
  restyle();

  return {
    painter: painter.name,
    fit, zoomBy, panBy, atPlaceOf, inside, beside, middle,
    get frames() { return frames; },
    /** The middle of what is shown, and how many times as large as all of it. */
    get view() { return { x: view.x, y: view.y, zoom: zoom() }; },
    /** Whether it is all. */
    get isFitted() {
      return Math.abs(zoom() - 1) < 1e-6 && view.x === (grid.low[0] + grid.high[0]) / 2
        && view.y === (grid.low[1] + grid.high[1]) / 2;
    },
    /** The corners of what is seen, in the plane. */
    frame: () => [[0, 0], [width, 0], [width, height], [0, height]].map(inPlane),
    look({ x, y, zoom: times }) {
      const scale = Math.max(FARTHEST, Math.min(NEAREST, times)) * fitted;
      Object.assign(view, { x, y, scale });
      redraw();
    },
    place: (point) => [left(point), top(point)],
    /** Colours by number, as #rrggbb, and that of rings and lassos. */
    paint(given, forInk) {
      colours = given;
      ink = forInk;
      redraw();
    },
    /** The number of each point's colour; HIDDEN for none. */
    colour(given) {
      kinds = given;
      restyle();
    },
    /** Which points stand out: Uint8Array of 0 and 1, or null for none. */
    highlight(given) {
      someDim = given !== null;
      if (given) bright = given;
      restyle();
    },
    mark(point) {
      marked = point;
      redraw();
    },
    /** Points that have thin rings. */
    ring(points) {
      ringed = points;
      redraw();
    },
    /** Bring a point into the middle unless it is to be seen. */
    show(point) {
      const x = left(point), y = top(point);
      if (x < 0 || y < 0 || x > width || y > height) {
        [view.x, view.y] = places.subarray(2 * point, 2 * point + 2);
        redraw();
        onView();
      }
    },
    lassoing(is) {
      lassoing = is;
      overlay.style.cursor = is ? "crosshair" : "grab";
    },
    cancel() {
      lasso = null;
      redraw();
    },
    /** Let go of the canvases; they cannot be used again. */
    close() {
      isClosed = true;
      watching.disconnect();
      painter.close?.();
    },
  };
}

export { HIDDEN, createScatter };

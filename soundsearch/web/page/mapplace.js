// Places of a map in its address: what is in view, and a line around clips.

// Corners of a lasso that the address has room for.
const CORNERS = 48;

/** So many digits tell places apart that are a pixel from each other. */
const digitsFor = (zoom) => Math.min(8, Math.max(3, Math.ceil(Math.log10(zoom)) + 3));

const short = (number, digits) => String(Number(number.toFixed(digits)));

function numbersOf(text) {
  const numbers = (text ?? "").split(",").map(Number);
  return text && numbers.every(Number.isFinite) ? numbers : null;
}

/** What an address shows of the plane; null for all of it. */
export function viewOf(text) {
  const numbers = numbersOf(text);
  if (numbers?.length !== 3 || numbers[2] <= 0) return null;
  const [x, y, zoom] = numbers;
  return { x, y, zoom };
}

/** What a scatter plot shows, for its address; null for all. */
export function viewText(scatter) {
  const { x, y, zoom } = scatter.view, digits = digitsFor(zoom);
  if (scatter.isFitted) return null;
  return [short(x, digits), short(y, digits), Number(zoom.toPrecision(4))].join(",");
}

/** The corners of a lasso in an address; null for none. */
export function cornersOf(text) {
  const numbers = numbersOf(text);
  if (!numbers || numbers.length < 6 || numbers.length % 2) return null;
  return Array.from({ length: numbers.length / 2 }, (_, at) => numbers.slice(2 * at, 2 * at + 2));
}

/** How far a corner is from the line between two others. */
function far([x, y], [ax, ay], [bx, by]) {
  const across = bx - ax, up = by - ay, length = Math.hypot(across, up);
  return length ? Math.abs(across * (y - ay) - up * (x - ax)) / length : Math.hypot(x - ax, y - ay);
}

/** The corners that matter most, by Douglas and Peucker's method. */
function simpler(line, tolerance) {
  const kept = new Set([0, line.length - 1]), spans = [[0, line.length - 1]];
  while (spans.length) {
    const [first, end] = spans.pop();
    let most = tolerance, best = -1;
    for (let at = first + 1; at < end; at += 1) {
      const off = far(line[at], line[first], line[end]);
      if (off > most) [most, best] = [off, at];
    }
    if (best >= 0) {
      kept.add(best);
      spans.push([first, best], [best, end]);
    }
  }
  return line.filter((_, at) => kept.has(at));
}

/** A lasso for an address, with as few corners as that has room for. */
export function lassoText(line, zoom) {
  let found = line;
  for (let tolerance = 0.0005 / zoom; found.length > CORNERS; tolerance *= 1.6) found = simpler(line, tolerance);
  const digits = digitsFor(zoom);
  return found.flat().map((number) => short(number, digits)).join(",");
}

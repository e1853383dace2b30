// What the data of a map say of clips, which they hold in columns, and how clips are coloured.

// What is shown of a name: what acts on a line of text is written out.
const ACTING =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu;
const NONE = 0xffff;

function unpacked(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Kind(bytes.buffer);
}

function shown(text) {
  return text.replace(ACTING, (character) => {
    const code = character.codePointAt(0);
    return code >= 0xdc80 && code <= 0xdcff ? `\\x${(code - 0xdc00).toString(16)}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

const clock = (seconds) => seconds >= 60
  ? `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`
  : `${seconds.toFixed(1)} s`;
const several = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

/**
 * The clips of a map, by their numbers.
 *
 * columns: what they can be coloured by; `ofAll()` gives each clip the number of one of `values`,
 * -1 for none.
 */
function readClips(data) {
  const count = data.names.length;
  const folderOf = unpacked(data.folder, Uint32Array);
  const labels = unpacked(data.labels, Uint16Array);
  const scores = unpacked(data.scores, Uint8Array);
  const category = unpacked(data.category, Uint16Array);
  const perClip = count ? labels.length / count : 0;
  // The tags of each clip that has some: their numbers, and those of their values, in turn.
  const tagged = new Map();
  const tags = data.tags.map(({ key, values, clips, of }, number) => {
    const tag = {
      key, values, clips: unpacked(clips, Uint32Array), of: unpacked(of, Uint32Array),
    };
    tag.clips.forEach((clip, at) => {
      if (!tagged.has(clip)) tagged.set(clip, []);
      tagged.get(clip).push(number, tag.of[at]);
    });
    return tag;
  });

  const nameOf = (clip) => data.names[clip];
  const folderNameOf = (clip) => data.folders[folderOf[clip]];
  const givenOf = (clip) => (data.given[clip] || []).map((number) => data.classes[number]);

  function uriOf(clip) {
    if (clip in data.uris) return data.uris[clip];
    const folder = folderNameOf(clip), name = nameOf(clip);
    return !folder || folder.endsWith(data.separator) ? folder + name
      : folder + data.separator + name;
  }

  function predictedOf(clip) {
    const found = [];
    for (let at = perClip * clip; at < perClip * (clip + 1); at++)
      if (labels[at] !== NONE) found.push([data.classes[labels[at]], scores[at] / 100]);
    return found;
  }

  function tagsOf(clip) {
    const numbers = tagged.get(clip) || [], found = [];
    for (let at = 0; at < numbers.length; at += 2) {
      const tag = tags[numbers[at]];
      found.push([tag.key, tag.values[numbers[at + 1]]]);
    }
    return found;
  }

  const labelsText = (clip) => [
    ...givenOf(clip),
    ...predictedOf(clip).map(([name, score]) => `${name} ${score.toFixed(2)}`),
  ].join(", ");
  /** What a search looks in. */
  const textOf = (clip) => [uriOf(clip), ...givenOf(clip),
    ...predictedOf(clip).map(([name]) => name), ...tagsOf(clip).flat()].join("\n").toLowerCase();

  const ofEach = (of) => Int32Array.from({ length: count }, (_, clip) => of(clip));
  function ofTag(tag) {
    const values = new Int32Array(count).fill(-1);
    tag.clips.forEach((clip, at) => { values[clip] = tag.of[at]; });
    return values;
  }
  const columns = [
    {
      key: "category", name: "Category", values: data.categories,
      ofAll: () => ofEach((clip) => category[clip] === NONE ? -1 : category[clip]),
    },
    {
      key: "label", name: "Label", values: data.classes,
      ofAll: () => ofEach((clip) => data.given[clip]?.length ? data.given[clip][0]
        : perClip && labels[perClip * clip] !== NONE ? labels[perClip * clip] : -1),
    },
    {
      key: "folder", name: "Folder", values: data.folders,
      ofAll: () => ofEach((clip) => folderNameOf(clip) ? folderOf[clip] : -1),
    },
    ...tags.map((tag) => ({
      key: `tag[${tag.key}]`, name: `Tag: ${shown(tag.key)}`, values: tag.values,
      ofAll: () => ofTag(tag),
    })),
  ];
  return {
    count, columns, nameOf, folderNameOf, uriOf, givenOf, predictedOf, tagsOf, labelsText, textOf,
    durations: unpacked(data.durations, Float32Array),
  };
}

/** The words of a search: a clip is found whose text has all of them. */
const wordsOf = (typed) => typed.toLowerCase().split(/\s+/).filter(Boolean);

/**
 * A colour for each clip by a column, and what colours mean: the `own` most frequent values have
 * their own, one is for the others, one for clips without.
 */
function coloursBy(column, own) {
  const values = column.ofAll(), counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  const none = counts.get(-1) || 0;
  counts.delete(-1);
  const name = (value) => column.values[value];
  const sorted = [...counts].sort((one, other) => other[1] - one[1]
    || (name(one[0]) < name(other[0]) ? -1 : name(one[0]) > name(other[0]) ? 1 : 0));
  const numbers = new Map(sorted.slice(0, own).map(([value], at) => [value, at]));
  const kinds = Uint8Array.from(values, (value) => value < 0 ? own + 1 : numbers.get(value) ?? own);
  const legend = sorted.slice(0, own).map(([value, of], at) =>
    ({ name: shown(name(value)) || "(empty)", kind: at, count: of }));
  const rest = sorted.slice(own);
  if (rest.length) legend.push({ name: `${several(rest.length, "other")}`, kind: own,
    count: rest.reduce((sum, [, of]) => sum + of, 0) });
  if (none) legend.push({ name: "none", kind: own + 1, count: none });
  return { kinds, legend };
}

export { clock, coloursBy, readClips, several, shown, unpacked, wordsOf };

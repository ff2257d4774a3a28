// The charts' colours, from the page's own; taken anew when the scheme changes.
//
// Sentiments keep the colours and the order that they have everywhere.  Lines of one chart differ in
// dash as well as in colour, stacked bars in pattern.

const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

// Bottom to top in a stack, left to right in a bar.
export const SENTIMENTS = ["negative", "neutral", "positive"];

export function look() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    font: style.fontFamily,
    still: still.matches,
    ink: read("ink"),
    muted: read("muted"),
    line: read("line"),
    surface: read("surface"),
    veil: read("veil"),
    tones: [read("tone-1"), read("tone-2"), read("tone-3"), read("tone-4")],
    positive: read("positive"),
    neutral: read("neutral"),
    negative: read("negative"),
    other: read("accent"),
  };
}

export function onLookChange(change) {
  dark.addEventListener("change", change);
  still.addEventListener("change", change);
}

// Labels in the order in which they are shown: the three that we know, then a model's own.
export function ordered(labels) {
  const known = SENTIMENTS.filter((label) => labels.includes(label));
  return [...known, ...labels.filter((label) => !SENTIMENTS.includes(label)).sort()];
}

const DASHES = ["solid", [7, 4], [2, 3], [10, 3, 2, 3]];

export function dash(place) {
  return DASHES[place % DASHES.length];
}

// A pattern beside the colour: stripes down for negative, dots for neutral, none for positive.
export function decal(label, looks) {
  const color = looks.veil;
  if (label === "negative") {
    return { symbol: "rect", color, dashArrayX: [1, 0], dashArrayY: [1.5, 6], rotation: Math.PI / 4 };
  }
  if (label === "neutral") {
    return { symbol: "circle", color, symbolSize: 0.7, dashArrayX: [[4, 4], [0, 4, 4, 0]], dashArrayY: [4, 0] };
  }
  return { symbol: "none" };
}

const TEXT_PX = 12;

export function axisText(looks) {
  return { color: looks.muted, fontFamily: looks.font, fontSize: TEXT_PX };
}

// What all charts have in common.
export function base(looks) {
  return {
    animation: !looks.still,
    animationDuration: 250,
    animationDurationUpdate: 0,
    textStyle: { fontFamily: looks.font, color: looks.muted },
    grid: { left: 8, right: 14, top: 14, bottom: 4, containLabel: true },
  };
}

export function valueAxis(looks, write, more = {}) {
  return {
    type: "value",
    min: 0,
    splitNumber: 4,
    axisLabel: { ...axisText(looks), formatter: write },
    splitLine: { lineStyle: { color: looks.line } },
    axisLine: { show: false },
    axisTick: { show: false },
    ...more,
  };
}

export function categoryAxis(looks, names, write, more = {}) {
  return {
    type: "category",
    data: names,
    axisLabel: { ...axisText(looks), formatter: write, hideOverlap: true },
    axisLine: { lineStyle: { color: looks.line } },
    axisTick: { show: false },
    ...more,
  };
}

// Charts of tweets over time: how many of each label, and how large a part of all tweets.

import { tone } from "../elements.js";
import { count, percent, plural, short } from "../words.js";
import { base, categoryAxis, decal, ordered, valueAxis } from "./looks.js";

const STEP_MS = { hour: 3_600_000, day: 86_400_000, week: 7 * 86_400_000 };
// More places than pixels help nobody.
const MOST_PLACES = 1000;

const WHEN = {
  hour: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false },
  day: { day: "numeric", month: "short" },
  week: { day: "numeric", month: "short" },
};

// Buckets are cut in UTC, so that is how they are named.
function when(start, bucket, more = {}) {
  return new Date(start).toLocaleString("en-GB", { ...WHEN[bucket], ...more, timeZone: "UTC" });
}

function title(start, bucket) {
  const words = when(start, bucket, { weekday: "short", year: "numeric" });
  return bucket === "week" ? `Week of ${words}` : bucket === "hour" ? `${words} UTC` : words;
}

// Buckets in a row without holes; the API leaves empty ones out.
export function filled(buckets, bucket) {
  const step = STEP_MS[bucket];
  const known = new Map(buckets.map((one) => [Date.parse(one.start), one]));
  const starts = [...known.keys()].sort((a, b) => a - b);
  if (starts.length === 0) return [];
  const places = (starts.at(-1) - starts[0]) / step + 1;
  const wanted =
    places > MOST_PLACES ? starts : Array.from({ length: Math.round(places) }, (_, i) => starts[0] + i * step);
  return wanted.map((start) => ({ start, ...(known.get(start) ?? { total: 0, labels: {}, meanScores: {} }), at: start }));
}

export function labelsOf(items) {
  return ordered([...new Set(items.flatMap((item) => Object.keys(item.labels)))]);
}

export function legendOf(labels, looks) {
  return labels.map((label) => ({ name: label, color: looks[tone(label)], tone: tone(label) }));
}

export function valuesOf(item, labels, looks) {
  return labels.map((label) => {
    const amount = item.labels[label] ?? 0;
    const share = item.total > 0 ? ` (${percent(amount / item.total)})` : "";
    return { name: label, text: `${count(amount)}${share}`, color: looks[tone(label)] };
  });
}

function timeAxis(data, looks) {
  return categoryAxis(looks, data.places.map((one) => one.at), (at) => when(Number(at), data.bucket));
}

function pixel(chart, i) {
  return chart.convertToPixel({ xAxisIndex: 0 }, i);
}

// data: {places, bucket, total, shares}, see `course`
export function courseKind({ id, title: name, controls = null, empty, classes = "" }) {
  return {
    id,
    title: name,
    controls,
    class: classes,
    empty,
    isEmpty: (data) => data.places.length === 0,
    summary: (data) => {
      const most = data.places.reduce((best, one) => (one.total > best.total ? one : best));
      return `${plural(data.total, "tweet")}; most, ${count(most.total)}, on ${title(most.at, data.bucket)}.`;
    },
    legend: (data, looks) => legendOf(labelsOf(data.places), looks),
    option: (data, looks) => ({
      ...base(looks),
      xAxis: timeAxis(data, looks),
      yAxis: valueAxis(looks, short, { minInterval: 1 }),
      series: labelsOf(data.places).map((label) => ({
        type: "bar",
        name: label,
        stack: "all",
        data: data.places.map((one) => one.labels[label] ?? 0),
        barCategoryGap: data.places.length > 60 ? "10%" : "25%",
        barMaxWidth: 36,
        itemStyle: { color: looks[tone(label)], decal: data.places.length > 60 ? undefined : decal(label, looks) },
        emphasis: { disabled: true },
      })),
    }),
    table: (data) => {
      const labels = labelsOf(data.places);
      return {
        columns: [data.bucket, "tweets", ...labels, ...labels.map((label) => `mean score ${label}`)],
        rows: data.places.map((one) => [
          new Date(one.at).toISOString(),
          one.total,
          ...labels.map((label) => one.labels[label] ?? 0),
          ...labels.map((label) => one.meanScores[label] ?? null),
        ]),
      };
    },
    write: (column, value) =>
      typeof value === "string" ? title(value, column) : column.startsWith("mean") ? value.toFixed(3) : count(value),
    points: (data, looks) =>
      data.places.map((one) => ({
        title: `${title(one.at, data.bucket)}: ${plural(one.total, "tweet")}`,
        values: valuesOf(one, labelsOf(data.places), looks),
      })),
    pixel,
  };
}

export function course(told) {
  return { places: filled(told.buckets, told.bucket), bucket: told.bucket, total: told.total, shares: told.shares };
}

// data: {places: [{at, total, all, share}], bucket, share, of}
export function shareKind({ id, title: name }) {
  return {
    id,
    title: name,
    isEmpty: (data) => data.places.length === 0,
    empty: { title: "Nothing to compare with", text: "The tweets of this topic have no time." },
    summary: (data) => `${percent(data.share)} of all ${count(data.of)} tweets speak of it.`,
    legend: () => [],
    option: (data, looks) => ({
      ...base(looks),
      xAxis: timeAxis(data, looks),
      yAxis: valueAxis(looks, (value) => `${Number((value * 100).toPrecision(2))} %`),
      series: [
        {
          type: "line",
          data: data.places.map((one) => one.share),
          color: looks.other,
          areaStyle: { opacity: 0.14 },
          lineStyle: { width: 2 },
          symbol: "circle",
          symbolSize: 5,
          showAllSymbol: false,
          emphasis: { disabled: true },
        },
      ],
    }),
    table: (data) => ({
      columns: [data.bucket, "share of all tweets", "tweets on it", "all tweets"],
      rows: data.places.map((one) => [new Date(one.at).toISOString(), one.share, one.total, one.all]),
    }),
    write: (column, value) =>
      typeof value === "string" ? title(value, column) : column.startsWith("share") ? percent(value) : count(value),
    points: (data, looks) =>
      data.places.map((one) => ({
        title: title(one.at, data.bucket),
        values: [
          { name: "share", text: one.share === null ? "–" : percent(one.share), color: looks.other },
          { name: "tweets", text: `${count(one.total)} of ${count(one.all)}`, color: looks.line },
        ],
      })),
    pixel,
  };
}

export function shares(topic, all) {
  const totals = new Map(all.buckets.map((one) => [Date.parse(one.start), one.total]));
  const known = new Map(topic.buckets.map((one) => [Date.parse(one.start), one.total]));
  const places = filled(all.buckets, all.bucket).map(({ at }) => {
    const total = known.get(at) ?? 0;
    const whole = totals.get(at) ?? 0;
    return { at, total, all: whole, share: whole > 0 ? total / whole : null };
  });
  return { places, bucket: all.bucket, share: all.total > 0 ? topic.total / all.total : 0, of: all.total };
}

// Mean scores as lines: how sure the model was, not only what it chose.
export function scoresKind({ id, title: name }) {
  return {
    id,
    title: name,
    isEmpty: (data) => data.places.length === 0,
    empty: { title: "No tweet with a time" },
    summary: (data) => {
      const [label, share] = Object.entries(data.shares).sort((a, b) => b[1] - a[1])[0] ?? ["", 0];
      return label === "" ? "" : `Most often ${label}: ${percent(share)} of the tweets.`;
    },
    legend: (data, looks) => legendOf(labelsOf(data.places), looks),
    option: (data, looks) => ({
      ...base(looks),
      xAxis: timeAxis(data, looks),
      yAxis: valueAxis(looks, (value) => value.toFixed(2), { max: 1, interval: 0.25 }),
      series: labelsOf(data.places).map((label) => ({
        type: "line",
        name: label,
        data: data.places.map((one) => one.meanScores[label] ?? null),
        connectNulls: true,
        color: looks[tone(label)],
        lineStyle: { width: 2, type: { negative: [7, 4], neutral: [2, 3] }[label] ?? "solid" },
        symbol: { negative: "triangle", neutral: "rect", positive: "triangle" }[label] ?? "circle",
        symbolRotate: label === "negative" ? 180 : 0,
        symbolSize: 7,
        showAllSymbol: false,
        emphasis: { disabled: true },
      })),
    }),
    table: (data) => {
      const labels = labelsOf(data.places);
      return {
        columns: [data.bucket, ...labels],
        rows: data.places.map((one) => [new Date(one.at).toISOString(), ...labels.map((label) => one.meanScores[label] ?? null)]),
      };
    },
    write: (column, value) => (typeof value === "string" ? title(value, column) : value.toFixed(3)),
    points: (data, looks) =>
      data.places.map((one) => ({
        title: title(one.at, data.bucket),
        values: labelsOf(data.places).map((label) => {
          const mean = one.meanScores[label];
          return { name: label, text: mean === undefined ? "–" : mean.toFixed(3), color: looks[tone(label)] };
        }),
      })),
    pixel,
  };
}


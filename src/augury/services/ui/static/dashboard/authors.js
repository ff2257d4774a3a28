// The chart of the most active authors: names are links, bars can be clicked.

import { element, tone } from "../elements.js";
import { count, percent, plural, short } from "../words.js";
import { labelsOf, legendOf, valuesOf } from "./courses.js";
import { axisText, base, categoryAxis, decal, valueAxis } from "./looks.js";

// One line of the list of names is one bar of the chart; dashboard.css knows it as well.
const ROW_PX = 34;
const AXIS_PX = 26;

export function authorName(author) {
  if (author.username) return `@${author.username}`;
  return author.name || `Author ${author.id}`;
}

export function authorAddress(author) {
  return `#tweets/author/${encodeURIComponent(author.id)}`;
}

export const authorsKind = {
  id: "authors",
  title: "Most active authors",
  class: "authors",
  vertical: true,
  keys: "Arrow keys read the bars, Enter opens an author; the names are links, too.",
  isEmpty: (data) => data.authors.length === 0,
  empty: {
    title: "No tweets yet",
    text: "Score a file of tweets, or ask for one by its address on the first page.",
    command: "augury tweets score FILE",
  },
  summary: ({ authors, total }) => {
    const [first] = authors;
    const [label, share] = Object.entries(first.shares).sort((a, b) => b[1] - a[1])[0];
    return `${authorName(first)} leads ${plural(total, "author")} with ${plural(first.total, "tweet")}, ${percent(share)} ${label}.`;
  },
  legend: ({ authors }, looks) => legendOf(labelsOf(authors), looks),
  height: ({ authors }) => authors.length * ROW_PX + AXIS_PX,
  aside: ({ authors }) => [
    element(
      "ol",
      { class: "names" },
      authors.map((author) =>
        element("li", {}, element("a", { href: authorAddress(author), dir: "auto", title: author.name ?? "" }, authorName(author))),
      ),
    ),
  ],
  option: ({ authors }, looks, file) => ({
    ...base(looks),
    // On the page the names are links beside the bars; a file needs them in the picture.
    grid: file
      ? { left: 8, right: 40, top: 4, bottom: 4, containLabel: true }
      : { left: 8, right: 44, top: 0, bottom: AXIS_PX },
    xAxis: valueAxis(looks, short, { minInterval: 1 }),
    yAxis: categoryAxis(looks, authors.map(authorName), (name) => name.slice(0, 24), {
      inverse: true,
      axisLabel: { ...axisText(looks), show: file },
    }),
    series: labelsOf(authors).map((label, i, labels) => ({
      type: "bar",
      name: label,
      stack: "all",
      barWidth: 18,
      data: authors.map((author) => author.labels[label] ?? 0),
      itemStyle: { color: looks[tone(label)], decal: decal(label, looks) },
      // The last of the stack carries the sum.
      label:
        i === labels.length - 1
          ? { show: true, position: "right", formatter: ({ dataIndex }) => count(authors[dataIndex].total), ...axisText(looks) }
          : undefined,
      cursor: "pointer",
      emphasis: { disabled: true },
    })),
  }),
  table: ({ authors }) => {
    const labels = labelsOf(authors);
    return {
      columns: ["author", "name", "id", "tweets", ...labels],
      rows: authors.map((one) => [authorName(one), one.name ?? null, one.id, one.total, ...labels.map((label) => one.labels[label] ?? 0)]),
    };
  },
  write: (_, value) => (typeof value === "number" ? count(value) : value),
  points: ({ authors }, looks) =>
    authors.map((author) => ({
      title: `${authorName(author)}: ${plural(author.total, "tweet")}`,
      values: valuesOf(author, labelsOf(authors), looks),
    })),
  pixel: (_, i) => (i + 0.5) * ROW_PX,
  open: (i, { authors }) => {
    location.hash = authorAddress(authors[i]);
  },
};

// The view of the service: how many ask, how fast they are answered, and what that costs.

import { element, shape } from "../elements.js";
import { clock, count, percent, plural, precise } from "../words.js";
import { axisText, base, dash, valueAxis } from "./looks.js";
import { Panel } from "./panel.js";
import { tile } from "./tiles.js";

const ms = (seconds) => (seconds >= 1 ? `${precise(seconds)} s` : `${precise(seconds * 1000)} ms`);
const perSecond = (value) => precise(value);
const cores = (value) => String(Number(value.toFixed(2)));
const MIB = 1024 * 1024;
const mebibytes = (amount) => `${count(amount)} MiB`;
const resident = (sample) => (sample.memory_bytes === null ? null : Math.round((sample.memory_bytes / MIB) * 10) / 10);

// name: in legend and table; of(sample): the value or null; tone: which of the four colours
const CHARTS = [
  {
    id: "requests",
    title: "Requests per second",
    stacked: true,
    write: perSecond,
    series: [
      { name: "answered", tone: 0, of: (s) => s.requests_per_s.ok },
      { name: "refused (4xx)", tone: 1, of: (s) => s.requests_per_s.refused },
      { name: "failed (5xx)", tone: 2, of: (s) => s.requests_per_s.failed },
    ],
    summary: (samples) => {
      const all = samples.map((s) => total(s.requests_per_s));
      const lost = samples.reduce((sum, s) => sum + s.requests_per_s.failed * s.seconds, 0);
      return `${perSecond(all.at(-1))} now, ${perSecond(Math.max(...all))} at most; ${plural(Math.round(lost), "failure")}.`;
    },
  },
  {
    id: "latency",
    title: "Time to answer",
    write: ms,
    series: quantiles((s) => s.latency_s),
    summary: (samples) => lastQuantiles(samples, (s) => s.latency_s, "No request yet in this time."),
  },
  {
    id: "queue-wait",
    title: "Time in the queue",
    write: ms,
    series: quantiles((s) => s.queue_s),
    summary: (samples) => lastQuantiles(samples, (s) => s.queue_s, "Nothing has waited in this time."),
  },
  {
    id: "queue",
    title: "Rows in the queue",
    least: 1,
    write: precise,
    area: true,
    series: [{ name: "waiting", tone: 1, of: (s) => s.queue_rows }],
    summary: (samples) => {
      const most = Math.max(...samples.map((s) => s.queue_rows));
      return `${plural(samples.at(-1).queue_rows, "row waits", "rows wait")} now, ${count(most)} at most.`;
    },
  },
  {
    id: "batches",
    title: "Rows in a batch",
    write: precise,
    series: [
      { name: "mean", tone: 0, of: (s) => s.batches.mean_rows },
      { name: "99 % (p99)", tone: 2, of: (s) => s.batches.p99_rows },
    ],
    summary: (samples) => {
      const last = samples.findLast((s) => s.batches.mean_rows !== null);
      if (last === undefined) return "No batch yet in this time.";
      return `Batches of ${precise(last.batches.mean_rows)} on average, ${precise(last.batches.per_s)} a second (${clock(last.at)}).`;
    },
  },
  {
    id: "cache",
    title: "Cache, rows/s",
    stacked: true,
    write: perSecond,
    series: [
      { name: "hit in the process", tone: 0, of: (s) => s.cache_per_s.process?.hit ?? 0 },
      { name: "hit in the store", tone: 3, of: (s) => s.cache_per_s.store?.hit ?? 0 },
      { name: "shared", tone: 1, of: (s) => s.cache_per_s.process?.shared ?? 0 },
      { name: "computed", tone: 2, of: computed },
    ],
    summary: (samples) => {
      const part = hitPart(samples);
      return part === null ? "Nothing looked up in this time." : `${percent(part)} of the rows needed no computing.`;
    },
  },
  {
    id: "features",
    title: "Store, lookups/s",
    stacked: true,
    write: perSecond,
    series: [
      { name: "hit", tone: 0, of: (s) => s.features_per_s.hit },
      { name: "miss", tone: 1, of: (s) => s.features_per_s.miss },
      { name: "unavailable", tone: 2, of: (s) => s.features_per_s.unavailable },
    ],
    summary: (samples) => {
      const sum = (name) => samples.reduce((all, s) => all + s.features_per_s[name] * s.seconds, 0);
      const [hit, miss, down] = ["hit", "miss", "unavailable"].map(sum);
      const all = hit + miss + down;
      if (all < 0.5) return "Nothing looked up in this time.";
      const lost = down >= 0.5 ? `, ${plural(Math.round(down), "lookup")} unavailable` : "";
      return `${percent(hit / all)} found${lost}.`;
    },
  },
  {
    id: "cpu",
    title: "Processor, cores",
    write: cores,
    area: true,
    series: [{ name: "cores", tone: 0, of: (s) => s.cpu_cores }],
    summary: (samples) => {
      const all = samples.map((s) => s.cpu_cores);
      return `${cores(all.at(-1))} now, ${cores(Math.max(...all))} at most.`;
    },
  },
  {
    id: "memory",
    title: "Memory",
    write: mebibytes,
    area: true,
    series: [{ name: "resident MiB", tone: 0, of: resident }],
    summary: (samples) => {
      const all = samples.map(resident).filter((amount) => amount !== null);
      return all.length === 0 ? "This system does not tell." : `${mebibytes(all.at(-1))} now, ${mebibytes(Math.max(...all))} at most.`;
    },
  },
];

function total(numbers) {
  return Object.values(numbers).reduce((sum, value) => sum + value, 0);
}

// What no level knew; with two levels the second is asked for what the first lacks.
function computed(sample) {
  const { process, store } = sample.cache_per_s;
  return store && total(store) > 0 ? store.miss + store.unavailable : (process?.miss ?? 0);
}

function hitPart(samples) {
  let spared = 0;
  let all = 0;
  for (const sample of samples) {
    const { process, store } = sample.cache_per_s;
    const found = ((process?.hit ?? 0) + (process?.shared ?? 0) + (store?.hit ?? 0)) * sample.seconds;
    spared += found;
    all += found + computed(sample) * sample.seconds;
  }
  return all > 0 ? spared / all : null;
}

function quantiles(of) {
  return [
    { name: "half (p50)", tone: 0, of: (s) => of(s).p50 },
    { name: "90 % (p90)", tone: 1, of: (s) => of(s).p90 },
    { name: "99 % (p99)", tone: 2, of: (s) => of(s).p99 },
  ];
}

function lastQuantiles(samples, of, none) {
  const last = samples.findLast((sample) => of(sample).p50 !== null);
  if (last === undefined) return none;
  return `Half within ${ms(of(last).p50)}, 99 % within ${ms(of(last).p99)} (${clock(last.at)}).`;
}

// A break in the samples is a break in the line; a sample between two silences is a dot.
function points(history, of) {
  const made = [];
  let before = null;
  for (const sample of history.samples) {
    const at = Date.parse(sample.at);
    if (before !== null && at - before > 2.5 * history.interval_s * 1000) made.push([before + 1, null]);
    made.push([at, of(sample)]);
    before = at;
  }
  const silent = (place) => (made[place]?.[1] ?? null) === null;
  return made.map((value, place) =>
    !silent(place) && silent(place - 1) && silent(place + 1) ? { value, symbol: "circle", symbolSize: 5 } : value,
  );
}

// A server that has just begun gets no empty chart: the axis grows to its full length.
function reach(history) {
  const first = Date.parse(history.samples[0].at);
  const last = Date.parse(history.samples.at(-1).at);
  const full = history.keep * history.interval_s * 1000;
  return { min: last - Math.min(full, Math.max(last - first, full / 8)), max: last };
}

function steps(history) {
  const { min, max } = reach(history);
  return max - min < 300_000 ? "{HH}:{mm}:{ss}" : "{HH}:{mm}";
}

function chartKind(chart) {
  const series = (history, looks) =>
    chart.series.map(({ name, tone, of }, place) => ({
      type: "line",
      name,
      data: points(history, of),
      stack: chart.stacked ? "all" : undefined,
      areaStyle: chart.stacked || chart.area ? { opacity: chart.stacked ? 0.88 : 0.18 } : undefined,
      itemStyle: chart.stacked ? { decal: pattern(place, looks) } : undefined,
      symbol: "none",
      color: looks.tones[tone],
      // In a stack the line of a part that is zero would lie on the part below it.
      lineStyle: { width: chart.stacked ? 0 : 2, type: dash(place) },
      emphasis: { disabled: true },
    }));
  return {
    id: chart.id,
    title: chart.title,
    summary: (history) => chart.summary(history.samples),
    isEmpty: (history) => history.samples.length === 0,
    empty: { title: "No sample yet", text: "The first comes within seconds." },
    legend: (_, looks) =>
      chart.series.length < 2
        ? []
        : chart.series.map(({ name, tone }, place) => ({ name, color: looks.tones[tone], dash: chart.stacked ? undefined : dash(place) })),
    option: (history, looks) => ({
      ...base(looks),
      animation: false,
      xAxis: {
        type: "time",
        ...reach(history),
        splitNumber: 3,
        axisLabel: { ...axisText(looks), formatter: steps(history), hideOverlap: true },
        axisLine: { lineStyle: { color: looks.line } },
        axisTick: { show: false },
        splitLine: { show: false },
      },
      yAxis: valueAxis(looks, chart.write, { minInterval: chart.least }),
      series: series(history, looks),
    }),
    table: (history) => ({
      columns: ["time", ...chart.series.map(({ name }) => name)],
      rows: history.samples.map((sample) => [sample.at, ...chart.series.map(({ of }) => of(sample) ?? null)]),
    }),
    write: (column, value) => (column === "time" ? clock(value) : chart.write(value)),
    points: (history, looks) =>
      history.samples.map((sample) => ({
        title: clock(sample.at),
        values: chart.series.map(({ name, tone, of }) => {
          const value = of(sample);
          return { name, text: value === null ? "–" : chart.write(value), color: looks.tones[tone] };
        }),
      })),
    pixel: (drawn, i, history) => drawn.convertToPixel({ xAxisIndex: 0 }, Date.parse(history.samples[i].at)),
  };
}

function pattern(place, looks) {
  if (place === 0) return { symbol: "none" };
  const turn = place === 1 ? Math.PI / 4 : -Math.PI / 4;
  return { symbol: "rect", color: looks.veil, dashArrayX: [1, 0], dashArrayY: [1.5, 6], rotation: turn };
}

const STATES = { ready: "positive", failed: "negative" };

export class ServiceView {
  constructor(live) {
    this.live = live;
    this.tiles = element("div", { class: "tiles" });
    this.models = element("tbody");
    this.panels = CHARTS.map((chart) => new Panel(chartKind(chart)));
    this.root = element(
      "div",
      { class: "service" },
      this.tiles,
      element("div", { class: "line section" }, element("h2", {}, "Over time"), this.#ranges()),
      element("div", { class: "grid" }, this.panels.map((panel) => panel.root)),
      element(
        "section",
        { class: "card models", "aria-labelledby": "models-title" },
        element("h2", { id: "models-title" }, "Models"),
        element(
          "div",
          { class: "wide", tabIndex: 0, role: "region", "aria-label": "Models: table" },
          element(
            "table",
            {},
            element("thead", {}, element("tr", {}, ["Model", "Version", "State", "Labels", "Runtime", "Reason"].map((name) => element("th", { scope: "col" }, name)))),
            this.models,
          ),
        ),
      ),
    );
    if (live.history !== null) this.history(live.history);
  }

  history(history) {
    this.#showTiles(history.samples);
    for (const panel of this.panels) panel.update(history);
    this.showModels(history.models);
  }

  sample() {
    if (this.live.history === null || this.live.range !== "15m") return;
    this.#showTiles(this.live.history.samples);
    for (const panel of this.panels) panel.update(this.live.history);
  }

  fault(fault) {
    this.tiles.replaceChildren();
    for (const panel of this.panels) panel.fault(fault, () => this.live.load());
  }

  retheme() {
    for (const panel of this.panels) panel.draw();
  }

  dispose() {
    for (const panel of this.panels) panel.dispose();
  }

  showModels(models) {
    if (models.length === 0) {
      this.models.replaceChildren(element("tr", {}, element("td", { colSpan: 6, class: "none" }, "No model is wanted by this server.")));
      return;
    }
    this.models.replaceChildren(
      ...models.map((one) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, one.model),
          element("td", {}, one.version, one.answers ? element("span", { class: "note" }, " by default") : null),
          element("td", {}, element("span", { class: `state ${STATES[one.state] ?? "neutral"}` }, shape(STATES[one.state] ?? "neutral"), one.state)),
          element("td", {}, one.labels.join(", ") || "–"),
          element("td", {}, one.runtime ?? "–"),
          element("td", { class: "reason" }, one.reason || "–"),
        ),
      ),
    );
  }

  #showTiles(samples) {
    const last = samples.at(-1);
    if (last === undefined) return;
    const requests = total(last.requests_per_s);
    const failing = last.requests_per_s.failed;
    const timed = samples.findLast((sample) => sample.latency_s.p99 !== null);
    const part = hitPart(samples);
    this.tiles.replaceChildren(
      tile("Requests", `${perSecond(requests)}/s`, requests > 0 && failing > 0 ? `${percent(failing / requests)} failed` : "none failed"),
      tile("99 % answered within", timed ? ms(timed.latency_s.p99) : "–", timed ? `half within ${ms(timed.latency_s.p50)}` : "no request yet"),
      tile("Waiting", plural(last.queue_rows, "row"), last.batches.mean_rows === null ? "no batch now" : `batches of ${precise(last.batches.mean_rows)}`),
      tile("From the cache", part === null ? "–" : percent(part), "of the rows in this time"),
      tile("Processor", cores(last.cpu_cores), "cores in use"),
      tile("Memory", last.memory_bytes === null ? "–" : mebibytes(resident(last)), "resident"),
    );
  }

  #ranges() {
    const button = (range, words) =>
      element(
        "button",
        {
          type: "button",
          "aria-pressed": String(this.live.range === range),
          onclick: () => {
            for (const other of group.children) other.setAttribute("aria-pressed", String(other === made[range]));
            for (const panel of this.panels) panel.loading();
            this.live.setRange(range);
          },
        },
        words,
      );
    const made = { "15m": button("15m", "15 minutes"), "24h": button("24h", "24 hours") };
    const group = element("div", { class: "segments", role: "group", "aria-label": "Range" }, Object.values(made));
    return group;
  }
}

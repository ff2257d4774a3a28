// One chart with all that belongs to it: title, a sentence that says what is to be seen, legend, table,
// files, and what stands in its place while there is nothing to draw.

import { element, faultCard, shape } from "../elements.js";
import { saveCsv, savePng } from "./export.js";
import { look } from "./looks.js";
import { Readout } from "./readout.js";

const HEIGHT_PX = 220;
const KEYS = "Arrow keys read the values.";

export class Panel {
  // kind:
  //   id, title          for addresses and files, for people
  //   summary(data)      one sentence on what is to be seen
  //   legend(data, look) [{name, color, dash or tone}]
  //   option(data, look, file) for the library; `file` when it is for a PNG
  //   table(data)        {columns, rows}, plain values; what the CSV holds
  //   write(column, value) how the table shows a value; default: as it is
  //   points(data)       [{title, values: [{name, text, color}]}], one for each place on the axis
  //   pixel(chart, i, data) where a point is along the axis
  //   empty              {title, text, command}; shown when `isEmpty(data)`
  //   height(data), open(i, data), vertical, aside(data, look), keys
  constructor(kind) {
    this.kind = kind;
    this.data = null;
    this.chart = null;
    this.summary = element("p", { class: "summary" });
    this.legend = element("ul", { class: "legend", "aria-hidden": "true" });
    this.drawing = element("div", { class: "drawing", "aria-hidden": "true" });
    this.plot = element("div", { class: "plot", tabIndex: 0, role: "group" }, this.drawing);
    this.plot.setAttribute("aria-roledescription", "chart");
    this.aside = element("div", { class: "aside" });
    this.stage = element("div", { class: "stage" }, this.aside, this.plot);
    this.sheet = element("div", { class: "sheet", hidden: true, tabIndex: 0, role: "region" });
    this.sheet.setAttribute("aria-label", `${kind.title}: table`);
    this.instead = element("div", { class: "instead", hidden: true });
    this.tools = this.#makeTools();
    this.root = element(
      "figure",
      { class: `card panel ${kind.class ?? ""}`, id: `panel-${kind.id}` },
      element(
        "div",
        { class: "head" },
        element("figcaption", {}, element("h3", {}, kind.title)),
        this.tools,
        this.summary,
      ),
      kind.controls ?? null,
      this.legend,
      this.stage,
      this.sheet,
      this.instead,
    );
    this.readout = new Readout(this.plot, {
      places: () => this.data === null ? [] : this.#places(),
      tell: (i) => this.kind.points(this.data, look())[i],
      open: kind.open ? (i) => kind.open(i, this.data) : null,
      vertical: kind.vertical ?? false,
    });
    this.resizer = new ResizeObserver(() => this.#fit());
    this.resizer.observe(this.plot);
    this.loading();
  }

  loading() {
    this.data = null;
    this.root.setAttribute("aria-busy", "true");
    this.summary.textContent = "Loading…";
    this.#instead(element("div", { class: "skeleton", "aria-hidden": "true" }));
  }

  fault(fault, retry) {
    this.data = null;
    this.root.removeAttribute("aria-busy");
    this.summary.textContent = "";
    const card = faultCard(fault, retry);
    card.setAttribute("role", "alert");
    this.#instead(card);
  }

  update(data) {
    this.root.removeAttribute("aria-busy");
    if (this.kind.isEmpty?.(data)) {
      this.data = null;
      this.summary.textContent = "";
      this.#instead(emptyNote(this.kind.empty));
      return;
    }
    this.data = data;
    this.instead.hidden = true;
    this.instead.replaceChildren();
    this.#toggle();
    this.draw();
  }

  // Draw what is there, with the colours of now.
  draw() {
    if (this.data === null) return;
    const looks = look();
    const { kind, data } = this;
    const words = kind.summary(data);
    this.summary.textContent = words;
    this.plot.setAttribute("aria-label", `${kind.title}. ${words} ${kind.keys ?? KEYS}`);
    this.legend.replaceChildren(...kind.legend(data, looks).map(legendItem));
    this.drawing.style.height = `${kind.height?.(data) ?? HEIGHT_PX}px`;
    this.aside.replaceChildren(...(kind.aside?.(data, looks) ?? []));
    this.chart ??= echarts.init(this.drawing, null, { renderer: "canvas" });
    this.chart.setOption(kind.option(data, looks, false), { notMerge: true });
    this.#fit();
    this.readout.refresh();
    if (!this.sheet.hidden) this.#fillSheet();
  }

  dispose() {
    this.resizer.disconnect();
    this.chart?.dispose();
    this.chart = null;
  }

  picture() {
    const { kind, data } = this;
    const looks = look();
    return {
      title: kind.title,
      summary: kind.summary(data),
      legend: kind.legend(data, looks),
      option: kind.option(data, looks, true),
      height: Math.max(360, kind.height?.(data) ?? 0),
      looks,
    };
  }

  #makeTools() {
    const named = (words, does, more) =>
      element("button", { type: "button", class: "tool", onclick: does, "aria-label": `${this.kind.title}: ${more}` }, words);
    this.tabled = named("Table", () => this.#toggle(this.sheet.hidden), "show as table");
    this.tabled.setAttribute("aria-pressed", "false");
    return element(
      "div",
      { class: "tools" },
      this.tabled,
      named("CSV", () => saveCsv(this.kind.table(this.data), this.#file()), "download as CSV"),
      named("PNG", () => savePng(this.picture(), this.#file()), "download as PNG"),
    );
  }

  #file() {
    return `augury-${this.kind.id}`;
  }

  #toggle(tabled = this.tabled.getAttribute("aria-pressed") === "true") {
    this.tabled.setAttribute("aria-pressed", String(tabled));
    this.tools.hidden = false;
    this.sheet.hidden = !tabled;
    this.stage.hidden = this.legend.hidden = tabled;
    if (tabled && this.data !== null) this.#fillSheet();
  }

  #fillSheet() {
    const { columns, rows } = this.kind.table(this.data);
    const write = this.kind.write ?? ((_, value) => value);
    const cells = (row) =>
      row.map((value, i) => {
        const shown = value === null ? "–" : String(write(columns[i], value));
        const tag = i === 0 ? "th" : "td";
        return element(tag, { scope: i === 0 ? "row" : null, class: typeof value === "number" ? "number" : null, dir: "auto" }, shown);
      });
    const { scrollTop } = this.sheet;
    this.sheet.replaceChildren(
      element(
        "table",
        {},
        element("caption", { class: "unseen" }, this.kind.title),
        element("thead", {}, element("tr", {}, columns.map((name) => element("th", { scope: "col" }, name)))),
        element("tbody", {}, rows.map((row) => element("tr", {}, cells(row)))),
      ),
    );
    this.sheet.scrollTop = scrollTop;
  }

  #instead(content) {
    this.readout.hide();
    this.tools.hidden = true;
    this.stage.hidden = this.legend.hidden = this.sheet.hidden = true;
    this.instead.replaceChildren(content);
    this.instead.hidden = false;
  }

  #fit() {
    if (this.chart === null || this.drawing.clientWidth === 0) return;
    this.chart.resize({ width: this.drawing.clientWidth, height: this.drawing.clientHeight });
  }

  #places() {
    const { kind, data, chart } = this;
    return kind.points(data, look()).map((_, i) => kind.pixel(chart, i, data));
  }
}

function legendItem({ name, color, dash, tone }) {
  if (tone !== undefined) return element("li", { class: tone }, shape(tone), name);
  const swatch = element("i", { class: dash === undefined ? "block" : "stroke" });
  if (dash === undefined) swatch.style.background = color;
  else {
    swatch.style.borderTopColor = color;
    swatch.style.borderTopStyle = dash === "solid" ? "solid" : dash[0] > 4 ? "dashed" : "dotted";
  }
  return element("li", {}, swatch, name);
}

// What stands where nothing is yet, and what to do about it.
export function emptyNote({ title, text, command }) {
  return element(
    "div",
    { class: "empty" },
    element("div", { class: "birds", "aria-hidden": "true" }),
    element("p", { class: "title" }, title),
    text ? element("p", {}, text) : null,
    command ? copyable(command) : null,
  );
}

function copyable(command) {
  const button = element("button", { type: "button", class: "tool", "aria-label": `Copy: ${command}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy it";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return element("p", { class: "command" }, element("code", {}, command), button);
}

// Reading a chart's values: by pointer, by touch, and with the arrow keys.
//
// A box of plain elements over the chart, not the library's tooltip: that one is made of HTML strings
// with inline styles, which our content security policy forbids.

import { element } from "../elements.js";

const MARGIN_PX = 8;

export class Readout {
  // `places()` gives for each point its pixel along the axis, `tell(i)` its title and values.
  constructor(plot, { places, tell, open = null, vertical = false }) {
    this.plot = plot;
    this.places = places;
    this.tell = tell;
    this.open = open;
    this.vertical = vertical;
    this.at = -1;
    this.hair = element("div", { class: `hair${vertical ? " lying" : ""}`, hidden: true });
    this.box = element("div", { class: "readout", hidden: true });
    // What the keys move to is said; what the pointer passes is not.
    this.said = element("div", { class: "unseen", role: "status" });
    plot.append(this.hair, this.box, this.said);
    plot.addEventListener("pointermove", (event) => this.#near(event));
    plot.addEventListener("pointerdown", (event) => this.#near(event));
    plot.addEventListener("pointerleave", () => this.hide());
    plot.addEventListener("blur", () => this.hide());
    plot.addEventListener("keydown", (event) => this.#key(event));
    if (open) plot.addEventListener("click", () => this.at >= 0 && open(this.at));
  }

  hide() {
    this.at = -1;
    this.box.hidden = this.hair.hidden = true;
  }

  // The data have changed: what is read stays in place, with its new values.
  refresh() {
    if (this.at < 0) return;
    if (this.at < this.places().length) this.#show(this.at);
    else this.hide();
  }

  #near(event) {
    const frame = this.plot.getBoundingClientRect();
    const pixel = this.vertical ? event.clientY - frame.top : event.clientX - frame.left;
    const places = this.places();
    let best = -1;
    for (let i = 0; i < places.length; i += 1) {
      if (best < 0 || Math.abs(places[i] - pixel) < Math.abs(places[best] - pixel)) best = i;
    }
    if (best >= 0) this.#show(best);
  }

  #key(event) {
    const last = this.places().length - 1;
    if (last < 0) return;
    const from = this.at < 0 ? (this.vertical ? -1 : last + 1) : this.at;
    const to = {
      ArrowRight: from + 1,
      ArrowDown: from + 1,
      ArrowLeft: from - 1,
      ArrowUp: from - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === "Escape") this.hide();
    else if (event.key === "Enter" && this.open && this.at >= 0) this.open(this.at);
    else if (to !== undefined) {
      this.#show(Math.max(0, Math.min(last, to)));
      const { title, values } = this.tell(this.at);
      this.said.textContent = [title, ...values.map(({ name, text }) => `${name} ${text}`)].join(", ");
    } else return;
    event.preventDefault();
  }

  #show(place) {
    this.at = place;
    const { title, values } = this.tell(place);
    this.box.replaceChildren(
      element("p", { class: "when", dir: "auto" }, title),
      element("dl", {}, values.map(({ name, text, color }) => {
        const swatch = element("i", { "aria-hidden": "true" });
        swatch.style.background = color;
        return element("div", {}, element("dt", {}, swatch, name), element("dd", {}, text));
      })),
    );
    this.box.hidden = this.hair.hidden = false;
    const pixel = this.places()[place];
    const { width, height } = this.plot.getBoundingClientRect();
    const { offsetWidth, offsetHeight } = this.box;
    if (this.vertical) {
      this.hair.style.top = `${pixel}px`;
      const below = pixel + 20 + offsetHeight <= height;
      this.box.style.left = `${Math.max(0, width - offsetWidth - MARGIN_PX)}px`;
      this.box.style.top = `${below ? pixel + 20 : pixel - offsetHeight - 20}px`;
    } else {
      this.hair.style.left = `${pixel}px`;
      const right = pixel + MARGIN_PX + offsetWidth <= width;
      const left = right ? pixel + MARGIN_PX : pixel - offsetWidth - MARGIN_PX;
      this.box.style.left = `${Math.max(0, Math.min(left, width - offsetWidth))}px`;
      this.box.style.top = `${MARGIN_PX}px`;
    }
  }
}

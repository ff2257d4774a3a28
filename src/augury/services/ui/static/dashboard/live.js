// The server's samples as they come: history first, then the stream, and honest words when it breaks.

import { fetchJson } from "../asking.js";
import { clock } from "../words.js";

// A stream that is silent for so many samples is stale, even if nobody has closed it.
const SILENT_SAMPLES = 3;
// A tab that nobody looks at gives its connection back: a browser has but six for one server.
const HIDDEN_MS = 10_000;
const RETRY_MS = [2000, 4000, 8000, 15_000];

export class Live {
  // told: {state(name, words), history(data), sample(sample), models(models), fault(fault)}
  constructor(told) {
    this.told = told;
    this.range = "15m";
    this.history = null;
    this.source = null;
    this.failures = 0;
    this.lastAt = null;
    this.state = "";
    this.asked = 0;
    this.timer = setInterval(() => this.#watch(), 1000);
    // A page that is left may be kept alive by the browser, and its connection with it.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.leaving);
      if (document.hidden) this.leaving = setTimeout(() => this.#close(), HIDDEN_MS);
      else if (this.source === null) this.open();
    });
  }

  open() {
    this.#close();
    this.#say("connecting", "Connecting");
    const source = (this.source = new EventSource("/api/ui/live"));
    source.addEventListener("open", () => {
      this.failures = 0;
      this.lastAt = Date.now();
      this.load();
    });
    source.addEventListener("sample", (event) => this.#sample(JSON.parse(event.data)));
    source.addEventListener("models", (event) => this.told.models(JSON.parse(event.data)));
    source.addEventListener("error", () => this.#broken(source));
  }

  // Ask for the past anew: at the beginning, after a break, and when the range changes.
  async load() {
    const asked = (this.asked += 1);
    try {
      const history = await fetchJson(`/api/ui/history?range=${this.range}`);
      if (asked !== this.asked) return;
      this.history = history;
      this.told.history(history);
      this.#say("live", "Live");
    } catch (fault) {
      if (asked === this.asked) this.told.fault(fault);
    }
  }

  setRange(range) {
    this.range = range;
    return this.load();
  }

  #close() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  #sample(sample) {
    this.lastAt = Date.now();
    this.#say("live", "Live");
    const { history } = this;
    if (history !== null && this.range === "15m") {
      const last = history.samples.at(-1);
      if (last === undefined || sample.at > last.at) history.samples.push(sample);
      history.samples.splice(0, Math.max(0, history.samples.length - history.keep));
    }
    this.told.sample(sample);
  }

  #broken(source) {
    if (source !== this.source) return;
    const since = this.lastAt === null ? "" : `, last heard at ${clock(this.lastAt)}`;
    this.#say("reconnecting", `Reconnecting${since}`);
    // The browser comes back by itself from a break, but not from a refusal.
    if (source.readyState !== EventSource.CLOSED) return;
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    if (this.history === null) this.load();
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.open(), wait);
  }

  #watch() {
    if (this.state !== "live" || this.lastAt === null || this.source === null) return;
    const interval = this.range === "15m" ? (this.history?.interval_s ?? 5) : 5;
    if (Date.now() - this.lastAt > SILENT_SAMPLES * interval * 1000) {
      this.#say("stale", `Stale since ${clock(this.lastAt)}`);
    }
  }

  #say(state, words) {
    if (this.state === state) return;
    this.state = state;
    this.told.state(state, words);
  }
}

// The view of tweets: all of them at a glance.

import { fetchJson } from "../asking.js";
import { element } from "../elements.js";
import { count, day, plural } from "../words.js";
import { authorsKind } from "./authors.js";
import { course, courseKind } from "./courses.js";
import { TopicList, TweetList } from "./lists.js";
import { Panel } from "./panel.js";
import { shareTile, tile } from "./tiles.js";

const AUTHORS = 12;

const NONE = {
  title: "No tweets yet",
  text: "Score a file of tweets: JSON lines, or the archive that X sends you.",
  command: "augury tweets score FILE",
};

// Kept while the page is open, so that coming back from an author finds it as it was.
const chosen = { bucket: "day", order: "active", kind: "all" };

export function bucketChoice(bucket, choose) {
  const made = {};
  for (const name of ["hour", "day", "week"]) {
    made[name] = element("button", { type: "button", "aria-pressed": String(name === bucket) }, `By ${name}`);
    made[name].addEventListener("click", () => {
      for (const other of Object.values(made)) other.setAttribute("aria-pressed", String(other === made[name]));
      choose(name);
    });
  }
  return element("div", { class: "segments", role: "group", "aria-label": "Step of time" }, Object.values(made));
}

export class TweetsView {
  constructor() {
    this.tiles = element("div", { class: "tiles" }, Array.from({ length: 3 }, () => element("div", { class: "tile card skeleton", "aria-hidden": "true" })));
    this.authors = new Panel(authorsKind);
    this.course = new Panel(
      courseKind({
        id: "tweets",
        title: "All tweets over time",
        empty: NONE,
        controls: bucketChoice(chosen.bucket, (bucket) => {
          chosen.bucket = bucket;
          this.#loadCourse();
        }),
      }),
    );
    this.recent = new TweetList({ title: "Recent predictions", address: "/v1/tweets", empty: NONE });
    this.topics = new TopicList(chosen);
    this.root = element(
      "div",
      { class: "overview" },
      this.tiles,
      element(
        "div",
        { class: "columns" },
        element("div", { class: "column" }, this.authors.root, this.topics.root),
        element("div", { class: "column" }, this.course.root, this.recent.root),
      ),
    );
    this.aborter = new AbortController();
    this.load();
  }

  async load() {
    await Promise.all([this.#loadCourse(), this.#loadAuthors()]);
    const { signal } = this.aborter;
    await Promise.all([this.topics.load(signal), this.recent.load(signal)]);
  }

  retheme() {
    this.authors.draw();
    this.course.draw();
  }

  dispose() {
    this.aborter.abort();
    this.authors.dispose();
    this.course.dispose();
  }

  async #loadAuthors() {
    try {
      const said = await fetchJson(`/v1/authors?order=active&offset=0&limit=${AUTHORS}`, this.aborter);
      this.authors.update(said);
      this.authorTotal = said.total;
      this.#showTiles();
    } catch (fault) {
      if (fault.name !== "AbortError") this.authors.fault(fault, () => this.load());
    }
  }

  async #loadCourse() {
    try {
      this.all = await fetchJson(`/v1/tweets/sentiment?bucket=${chosen.bucket}`, this.aborter);
      this.topics.setAll(this.all.total);
      this.course.update(course(this.all));
      this.#showTiles();
    } catch (fault) {
      if (fault.name === "AbortError") return;
      this.tiles.replaceChildren();
      this.course.fault(fault, () => this.load());
    }
  }

  #showTiles() {
    const { all, authorTotal } = this;
    if (all === undefined || authorTotal === undefined) return;
    if (all.total === 0) {
      this.tiles.replaceChildren();
      return;
    }
    const span = all.firstAt && all.lastAt ? `${day(all.firstAt)} to ${day(all.lastAt)}` : "";
    this.tiles.replaceChildren(
      tile("Tweets judged", count(all.total), span),
      tile("Authors", count(authorTotal), `${plural(Math.round(all.total / Math.max(1, authorTotal)), "tweet")} each, on average`),
      shareTile("How they sound", all.shares),
    );
  }
}

// One author or one topic: the course over time, how sure the model was, and the tweets themselves.

import { fetchJson } from "../asking.js";
import { element, faultCard } from "../elements.js";
import { count, moment, percent } from "../words.js";
import { authorName } from "./authors.js";
import { course, courseKind, scoresKind, shareKind, shares } from "./courses.js";
import { TweetList } from "./lists.js";
import { Panel } from "./panel.js";
import { shareTile, tile } from "./tiles.js";
import { bucketChoice } from "./tweets.js";

const UNDATED = { title: "No tweet with a time", text: "These tweets came without the time at which they were written." };

class Drilldown {
  constructor({ address, back, name, list, panels }) {
    this.address = address;
    this.bucket = "day";
    this.aborter = new AbortController();
    this.title = element("h2", { tabIndex: -1, dir: "auto" }, name);
    this.note = element("p", { class: "note", dir: "auto" });
    this.tiles = element("div", { class: "tiles" });
    this.course = new Panel(
      courseKind({
        id: "course",
        title: "Tweets over time",
        empty: UNDATED,
        controls: bucketChoice("day", (bucket) => {
          this.bucket = bucket;
          this.load();
        }),
      }),
    );
    this.panels = [this.course, ...panels];
    this.list = new TweetList({
      title: list,
      address: `${address}/tweets`,
      empty: { title: "None is held any more", text: "Predictions are held for 60 days; what they add up to stays." },
    });
    this.body = element(
      "div",
      { class: "columns" },
      element("div", { class: "column" }, this.panels.map((panel) => panel.root)),
      element("div", { class: "column" }, this.list.root),
    );
    this.root = element(
      "div",
      { class: "drilldown" },
      element("a", { class: "back", href: "#tweets" }, `← ${back}`),
      element("div", { class: "who" }, this.title, this.note),
      this.tiles,
      this.body,
    );
    this.load();
  }

  // Where the keyboard goes on from, when somebody came by a link.
  focus() {
    this.title.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  async load() {
    try {
      await Promise.all([this.show(), this.list.load(this.aborter.signal)]);
    } catch (fault) {
      if (fault.name === "AbortError") return;
      this.tiles.replaceChildren(faultCard(fault, () => this.load()));
      this.body.hidden = true;
      return;
    }
    this.body.hidden = false;
  }

  ask(address) {
    return fetchJson(address, this.aborter);
  }

  sentiment(address = this.address) {
    return this.ask(`${address}/sentiment?bucket=${this.bucket}`);
  }

  retheme() {
    for (const panel of this.panels) panel.draw();
  }

  dispose() {
    this.aborter.abort();
    for (const panel of this.panels) panel.dispose();
  }

  tilesOf(told, ...more) {
    this.tiles.replaceChildren(
      tile("Tweets judged", count(told.total), told.lastAt ? `the last on ${moment(told.lastAt)}` : ""),
      ...more,
      shareTile("How they sound", told.shares),
    );
  }
}

export class AuthorView extends Drilldown {
  constructor(id) {
    const scores = new Panel(scoresKind({ id: "scores", title: "Mean scores over time" }));
    super({ address: `/v1/authors/${encodeURIComponent(id)}`, back: "All authors", name: `Author ${id}`, list: "Their tweets", panels: [scores] });
    this.scores = scores;
  }

  async show() {
    const told = await this.sentiment();
    const data = course(told);
    this.course.update(data);
    this.scores.update(data);
    this.tilesOf(told);
    // Who it is stands with their tweets.
    const { tweets } = await this.ask(`${this.address}/tweets?offset=0&limit=1`);
    const author = tweets[0]?.author;
    if (author) {
      this.title.textContent = authorName(author);
      this.note.textContent = author.username && author.name ? author.name : "";
    }
  }
}

export class TopicView extends Drilldown {
  constructor(topic) {
    const share = new Panel(shareKind({ id: "share", title: "Share of all tweets" }));
    super({ address: `/v1/topics/${encodeURIComponent(topic)}`, back: "All topics", name: topic, list: "Tweets that speak of it", panels: [share] });
    this.share = share;
  }

  async show() {
    const [told, all] = await Promise.all([this.sentiment(), this.sentiment("/v1/tweets")]);
    this.title.textContent = told.topic;
    this.course.update(course(told));
    this.share.update(shares(told, all));
    const part = all.total > 0 ? told.total / all.total : 0;
    this.tilesOf(told, tile("Share of all tweets", percent(part), `of ${count(all.total)}`));
  }
}

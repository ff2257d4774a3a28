// Lists of the view of tweets: recent predictions, and topics to choose from.

import { fetchJson } from "../asking.js";
import { element, faultCard } from "../elements.js";
import { count, moment, percent, precise } from "../words.js";
import { authorAddress, authorName } from "./authors.js";
import { emptyNote } from "./panel.js";
import { chip, shareBar } from "./tiles.js";

const PAGE = 10;
const TOPICS = 12;
// A tweet has at most 25,000 characters; a list shows the beginning.
const SHOWN_CHARS = 400;

function cut(text) {
  return text.length > SHOWN_CHARS ? `${[...text.slice(0, SHOWN_CHARS)].join("")}…` : text;
}

function skeletons(rows) {
  return Array.from({ length: rows }, () => element("li", { class: "skeleton row", "aria-hidden": "true" }));
}

export function topicAddress(topic) {
  return `#tweets/topic/${encodeURIComponent(topic)}`;
}

function tweetItem(tweet) {
  const link = /^\d+$/.test(tweet.tweetId ?? "")
    ? element("a", { href: `https://x.com/i/web/status/${tweet.tweetId}`, rel: "noopener noreferrer" }, "on X")
    : null;
  const author = tweet.author?.id
    ? element("a", { href: authorAddress(tweet.author), dir: "auto" }, authorName(tweet.author))
    : null;
  const time = tweet.createdAt ? element("time", { dateTime: tweet.createdAt }, moment(tweet.createdAt)) : null;
  return element(
    "li",
    { class: "tweet" },
    chip(tweet.sentimentAnalyst, tweet.scores?.[tweet.sentimentAnalyst]),
    element("p", { class: "text", dir: "auto" }, cut(tweet.textInput)),
    element("p", { class: "by" }, author, time, link),
  );
}

export class TweetList {
  constructor({ title, address, empty }) {
    this.address = address;
    this.empty = empty;
    this.list = element("ol", { class: "tweets" });
    this.instead = element("div");
    this.more = element("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.#append() }, "Show more");
    this.root = element(
      "section",
      { class: "card list", "aria-label": title },
      element("div", { class: "head" }, element("h3", {}, title)),
      this.list,
      this.instead,
      this.more,
    );
    this.list.replaceChildren(...skeletons(4));
  }

  async load(signal) {
    try {
      const said = await this.#ask(0, signal);
      this.list.replaceChildren(...said.tweets.map(tweetItem));
      this.instead.replaceChildren(...(said.tweets.length === 0 ? [emptyNote(this.empty)] : []));
      this.#next(said);
    } catch (fault) {
      if (fault.name === "AbortError") return;
      this.list.replaceChildren();
      this.more.hidden = true;
      this.instead.replaceChildren(faultCard(fault, () => this.load(signal)));
    }
  }

  async #append() {
    try {
      const said = await this.#ask(this.next);
      const items = said.tweets.map(tweetItem);
      this.list.append(...items);
      this.#next(said);
      items[0]?.querySelector("a")?.focus();
    } catch (fault) {
      this.instead.replaceChildren(faultCard(fault, () => this.#append()));
    }
  }

  #ask(offset, signal) {
    return fetchJson(`${this.address}?offset=${offset}&limit=${PAGE}`, { signal });
  }

  #next({ next }) {
    this.next = next;
    this.more.hidden = next === null || next === undefined;
  }
}

const KINDS = [
  ["all", "All kinds"],
  ["hashtag", "#hashtags"],
  ["cashtag", "$cashtags"],
  ["word", "Words"],
];

// "#coffee" counts as the word "coffee", too; when nobody said it otherwise, it need not stand twice.
function withoutEchoes(topics) {
  const tags = new Map(topics.map(({ topic, total }) => [topic, total]));
  return topics.filter(({ topic, total }) => ["#", "$"].every((sign) => tags.get(sign + topic) !== total));
}

export class TopicList {
  // `chosen` survives the view: it is the person's choice of order and kind.
  constructor(chosen) {
    this.chosen = chosen;
    this.list = element("ol", { class: "topics" });
    this.instead = element("div");
    this.all = 0;
    this.root = element(
      "section",
      { class: "card list", "aria-label": "Topics" },
      element("div", { class: "head" }, element("h3", {}, "Topics"), this.#orders()),
      element("div", { class: "picking" }, this.#search(), this.#kinds()),
      this.list,
      this.instead,
    );
    this.list.replaceChildren(...skeletons(6));
  }

  async load(signal) {
    const { order, kind } = this.chosen;
    try {
      const said = await fetchJson(`/v1/topics?order=${order}&kind=${kind}&window=week&limit=${2 * TOPICS}`, { signal });
      if (order !== this.chosen.order || kind !== this.chosen.kind) return;
      const shown = withoutEchoes(said.topics).slice(0, TOPICS);
      this.list.replaceChildren(...shown.map((topic) => this.#item(topic)));
      const none =
        order === "rising"
          ? { title: "Nothing rises", text: "No topic has been spoken of more in the last week than before." }
          : { title: "No topics yet", text: "Hashtags, cashtags and words of the tweets will stand here." };
      this.instead.replaceChildren(...(said.topics.length === 0 ? [emptyNote(none)] : []));
    } catch (fault) {
      if (fault.name === "AbortError") return;
      this.list.replaceChildren();
      this.instead.replaceChildren(faultCard(fault, () => this.load(signal)));
    }
  }

  setAll(total) {
    this.all = total;
  }

  #item(topic) {
    const part = this.all > 0 ? `${percent(topic.total / this.all)} of all` : "";
    const rising =
      this.chosen.order === "rising"
        ? `${count(topic.recent)} this week, ${precise(topic.expected)} expected`
        : part;
    return element(
      "li",
      {},
      element("a", { href: topicAddress(topic.topic), dir: "auto" }, topic.topic),
      shareBar(topic.shares),
      element("span", { class: "amount" }, count(topic.total)),
      element("span", { class: "note" }, rising),
    );
  }

  #orders() {
    const button = (order, words) =>
      element(
        "button",
        {
          type: "button",
          "aria-pressed": String(this.chosen.order === order),
          onclick: () => {
            this.chosen.order = order;
            for (const other of group.children) other.setAttribute("aria-pressed", String(other === made[order]));
            this.load();
          },
        },
        words,
      );
    const made = { active: button("active", "Most active"), rising: button("rising", "Rising") };
    const group = element("div", { class: "segments", role: "group", "aria-label": "Order of topics" }, Object.values(made));
    return group;
  }

  #kinds() {
    const select = element(
      "select",
      { "aria-label": "Kind of topic" },
      KINDS.map(([kind, words]) => element("option", { value: kind, selected: kind === this.chosen.kind }, words)),
    );
    select.addEventListener("change", () => {
      this.chosen.kind = select.value;
      this.load();
    });
    return select;
  }

  #search() {
    const input = element("input", { type: "search", placeholder: "Any topic: coffee, #coffee", maxLength: 50, enterKeyHint: "go", autocomplete: "off" });
    input.setAttribute("aria-label", "Go to a topic");
    const form = element("form", { class: "go", role: "search" }, input, element("button", { type: "submit", class: "tool" }, "Show"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const topic = input.value.trim();
      if (topic !== "") location.hash = topicAddress(topic);
    });
    return form;
  }
}

// The dashboard: which view is shown, and what the server says of itself.
//
// Addresses: #tweets, #tweets/author/ID, #tweets/topic/TOPIC, #service.

import { element, shape } from "../elements.js";
import { clock, count } from "../words.js";
import { AuthorView, TopicView } from "./drilldown.js";
import { Live } from "./live.js";
import { onLookChange } from "./looks.js";
import { emptyNote } from "./panel.js";
import { ServiceView } from "./service.js";
import { TweetsView } from "./tweets.js";

// New predictions show within so long; what another process wrote, a little later.
const REFRESH_MS = 15_000;
const REFRESH_ALWAYS_MS = 60_000;

const page = Object.fromEntries(
  ["main", "try", "to-tweets", "to-service", "live", "live-words", "banner", "view", "version", "skip"].map((id) => [
    id,
    document.getElementById(id),
  ]),
);

let view = null;
let address = null;
let refreshedAt = Date.now();
let predictedSince = false;
let storeDownAt = null;

const live = new Live({
  state(name, words) {
    page.live.dataset.state = name;
    page["live-words"].textContent = words;
  },
  history(history) {
    page.try.hidden = !history.tweets;
    page.version.textContent = `Augury ${history.version}`;
    const shown = view;
    if (location.hash === "" && !history.tweets) location.replace("#service");
    else if (view === null || (view.needsTweets && !history.tweets)) route();
    view?.history?.(history);
    if (history.samples.length > 0) showStore(history.samples.at(-1));
    // After a break the tweets may have changed, too.
    if (shown !== null && view === shown && view.load) refresh();
  },
  sample(sample) {
    view?.sample?.(sample);
    showStore(sample);
    predictedSince ||= predictions(sample) > 0;
    const waited = Date.now() - refreshedAt;
    if (view?.load && !document.hidden && (waited > REFRESH_ALWAYS_MS || (predictedSince && waited > REFRESH_MS))) refresh();
  },
  models(models) {
    if (live.history !== null) live.history.models = models;
    view?.showModels?.(models);
  },
  fault(fault) {
    if (view === null) route();
    if (live.history === null) view?.fault?.(fault);
  },
});

function predictions(sample) {
  const rows = Object.values(sample.cache_per_s).flatMap((level) => Object.values(level));
  return [...rows, ...Object.values(sample.features_per_s)].reduce((sum, value) => sum + value, 0);
}

function refresh() {
  refreshedAt = Date.now();
  predictedSince = false;
  view.load();
}

function showStore({ at, store }) {
  if (store.up !== false) {
    storeDownAt = null;
    page.banner.replaceChildren();
    return;
  }
  storeDownAt ??= at;
  const waiting = store.buffered ? ` ${count(store.buffered)} writes wait for it.` : "";
  const words = `The store cannot be reached since ${clock(storeDownAt)}. Predictions go on; what is held of tweets may be old or missing.${waiting}`;
  if (page.banner.textContent === words) return;
  page.banner.replaceChildren(element("p", { class: "banner" }, shape("fault"), element("span", {}, words)));
}

class NoTweets {
  constructor() {
    this.root = element(
      "div",
      { class: "card" },
      emptyNote({
        title: "The tweet application is not served here",
        text: "This server answers for its own models only; the view of the service tells how they are. To add the application:",
        command: "augury serve REPOSITORY --app tweets",
      }),
    );
  }
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function viewOf(parts) {
  if (parts[0] === "service") return new ServiceView(live);
  if (live.history !== null && !live.history.tweets) return new NoTweets();
  const made =
    parts[1] === "author" && parts[2]
      ? new AuthorView(decode(parts[2]))
      : parts[1] === "topic" && parts[2]
        ? new TopicView(decode(parts[2]))
        : new TweetsView();
  made.needsTweets = true;
  return made;
}

function route() {
  const wanted = location.hash.slice(1);
  // The skip link, too, is an address.
  if (wanted === "main") return;
  const moved = address !== null && address !== wanted;
  address = wanted;
  const parts = wanted.split("/");
  view?.dispose?.();
  view = viewOf(parts);
  page.view.replaceChildren(view.root);
  const service = parts[0] === "service";
  for (const [link, shown] of [[page["to-tweets"], !service], [page["to-service"], service]]) {
    if (shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${service ? "Service" : "Tweets"} · Augury`;
  refreshedAt = Date.now();
  if (moved) view.focus?.();
}

page.skip.addEventListener("click", (event) => {
  event.preventDefault();
  page.view.querySelector("a, button, [tabindex]")?.focus();
});
addEventListener("hashchange", route);
onLookChange(() => view?.retheme?.());

// The view comes with the history: only then it is known what is served here.
live.open();

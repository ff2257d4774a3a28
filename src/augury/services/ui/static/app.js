// The page's behaviour: tell texts from tweets, ask the server, show what it says.
//
// Everything that is shown is set as text (textContent), never as HTML: what comes from tweets, and
// what people type, is foreign.  The session's questions stay in this tab.

const ASKED_KEY = "augury.asked";
const KEPT_QUESTIONS = 6;
// The server gives up on X after 10 s; a little more than that means that it is gone.
const PATIENCE_MS = 30_000;

const WEB_ADDRESS = /^<?\s*(?:https?:\/\/\S+|(?:www\.|mobile\.|m\.)?(?:x|twitter)\.com\/\S+)\s*>?$/i;
const BARE_ID = /^\d{5,19}$/;

// One shape for each sentiment, since colour alone does not reach everybody.
const SHAPES = {
  positive: "M12 3 22 20H2z",
  neutral: "M3 9h18v6H3z",
  negative: "M12 21 2 4h20z",
  other: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  fault: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm-1.2 5h2.4l-.3 6.5h-1.8zM12 15.2a1.3 1.3 0 1 1 0 2.6 1.3 1.3 0 0 1 0-2.6z",
};

const page = Object.fromEntries(
  ["form", "input", "kind", "ask", "ask-words", "fault", "result", "history", "asked", "forget"].map(
    (id) => [id, document.getElementById(id)],
  ),
);

let underWay = null;

// ---- building elements ----

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function tone(label) {
  return label in SHAPES && label !== "fault" ? label : "other";
}

function shape(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("fill", "currentColor");
  svg.setAttribute("fill-rule", "evenodd");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", SHAPES[name]);
  path.setAttribute("stroke-linejoin", "round");
  svg.append(path);
  return element("span", { class: "shape", "aria-hidden": "true" }, svg);
}

// ---- words for numbers ----

function percent(share) {
  return new Intl.NumberFormat("en", {
    style: "percent",
    minimumFractionDigits: 1,
    maximumFractionDigits: 1,
  }).format(share);
}

function duration(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

function moment(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return null;
  const words = time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return element("time", { dateTime: iso }, words);
}

function sureness(share) {
  if (share >= 0.85) return "Quite sure";
  if (share >= 0.6) return "Fairly sure";
  return "Not sure";
}

// ---- asking ----

function isTweet(question) {
  return WEB_ADDRESS.test(question) || BARE_ID.test(question);
}

class Fault extends Error {
  constructor(title, detail, retryable) {
    super(detail);
    this.title = title;
    this.retryable = retryable;
  }
}

async function fetchJson(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") {
      throw new Fault("No answer", "The server took over 30 seconds. Try again in a while.", true);
    }
    throw new Fault(
      "The server cannot be reached",
      "Is it still running, and are you still connected? Start it with “augury serve”.",
      true,
    );
  }
  let body;
  try {
    body = await response.json();
  } catch {
    body = null;
  }
  if (response.ok && body !== null) return body;
  throw new Fault(
    body?.title ?? `The server answered ${response.status}`,
    sentence(body?.detail ?? "It did not say why; its log may."),
    body?.retryable ?? response.status >= 500,
  );
}

function sentence(text) {
  const words = String(text);
  const first = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}

async function askTweet(question, signal) {
  const query = new URLSearchParams({ tweetUrl: question });
  const said = await fetchJson(`/v1/inference?${query}`, { signal });
  return {
    label: said.sentimentAnalyst,
    scores: said.scores,
    text: said.textInput,
    cached: said.cached,
    model: said.model,
    version: said.version,
    tweetId: said.tweetId,
    author: said.author,
    createdAt: said.createdAt,
  };
}

async function askText(question, signal) {
  const said = await fetchJson("/v1/sentiment", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ texts: [question] }),
    signal,
  });
  const [row] = said.results;
  if (row.error) throw new Fault(row.error.title, sentence(row.error.detail), false);
  return {
    label: row.label,
    scores: row.scores,
    text: question,
    cached: row.cached,
    model: said.model,
    version: said.version,
    serverMs: said.timing.total_ms,
  };
}

async function ask() {
  const question = page.input.value.trim();
  if (question === "") {
    showFault(new Fault("Nothing to judge yet", "Write a text or paste a tweet’s address above.", false));
    page.input.focus();
    return;
  }
  underWay?.abort();
  const mine = new AbortController();
  underWay = mine;
  setBusy(true);
  const started = performance.now();
  try {
    const signal = AbortSignal.any([mine.signal, AbortSignal.timeout(PATIENCE_MS)]);
    const answer = await (isTweet(question) ? askTweet : askText)(question, signal);
    if (underWay !== mine) return;
    showAnswer(answer, performance.now() - started);
    keep(question, answer);
  } catch (error) {
    if (underWay !== mine) return;
    if (error instanceof Fault) showFault(error);
    else showFault(new Fault("The page failed", "Reload it; if that does not help, tell us.", false));
  } finally {
    if (underWay === mine) {
      underWay = null;
      setBusy(false);
    }
  }
}

// ---- showing ----

function setBusy(busy) {
  page.form.setAttribute("aria-busy", String(busy));
  // Not `disabled`: that would take the keyboard's focus away.
  page.ask.setAttribute("aria-disabled", String(busy));
  page["ask-words"].textContent = busy ? "Asking…" : "Tell me";
}

function showKind() {
  const question = page.input.value.trim();
  const tweet = isTweet(question);
  page.kind.textContent = question === "" ? "" : tweet ? "A tweet, fetched for you" : "A text";
  page.kind.classList.toggle("tweet", tweet);
}

function fit() {
  page.input.style.height = "auto";
  page.input.style.height = `${page.input.scrollHeight}px`;
}

function bar(name, share, chosen) {
  const fill = element("div", { class: "fill" });
  fill.style.setProperty("--share", String(share));
  return element(
    "li",
    { class: `${tone(name)}${chosen ? " chosen" : ""}` },
    element("span", { class: "name" }, shape(tone(name)), name),
    element("div", { class: "track", "aria-hidden": "true" }, fill),
    element("span", { class: "number" }, percent(share)),
  );
}

function fact(name, ...values) {
  const told = values.filter((value) => value !== null && value !== "");
  if (told.length === 0) return null;
  return element("div", {}, element("dt", {}, name), element("dd", {}, ...told));
}

function authorName(author) {
  if (!author) return "";
  const handle = author.username ? `@${author.username}` : "";
  return [author.name, handle].filter(Boolean).join(" ") || author.id || "";
}

function tweetLink(id) {
  if (!/^\d+$/.test(id ?? "")) return null;
  const link = element("a", { href: `https://x.com/i/web/status/${id}` }, "on X");
  link.rel = "noopener noreferrer";
  return link;
}

function showAnswer(answer, tookMs) {
  const sure = answer.scores[answer.label] ?? 0;
  const order = Object.entries(answer.scores);
  const inside = answer.serverMs === undefined ? "" : `, ${duration(answer.serverMs)} of it on the server`;
  const card = element(
    "article",
    { class: `card answer ${tone(answer.label)}` },
    element(
      "div",
      { class: "verdict" },
      shape(tone(answer.label)),
      element(
        "div",
        {},
        element("h2", {}, answer.label),
        element("p", {}, `${sureness(sure)}: ${percent(sure)}`),
      ),
    ),
    element("blockquote", { dir: "auto" }, answer.text),
    element(
      "ul",
      { class: "bars", "aria-label": "Scores" },
      ...order.map(([name, share]) => bar(name, share, name === answer.label)),
    ),
    element(
      "dl",
      { class: "facts" },
      fact("Author", authorName(answer.author)),
      fact("Written", answer.createdAt ? moment(answer.createdAt) : null),
      fact("Tweet", tweetLink(answer.tweetId)),
      fact("Model", `${answer.model}, version ${answer.version}`),
      fact("Answer", answer.cached ? "remembered" : "computed now"),
      fact("Time", `${duration(tookMs)}${inside}`),
    ),
  );
  page.fault.replaceChildren();
  page.result.replaceChildren(card);
}

function showFault(fault) {
  const again = element("button", { type: "button", class: "quiet" }, "Try again");
  again.addEventListener("click", ask);
  page.result.replaceChildren();
  page.fault.replaceChildren(
    element(
      "div",
      { class: "card fault" },
      shape("fault"),
      element(
        "div",
        {},
        element("h2", {}, fault.title),
        element("p", {}, fault.message),
        fault.retryable ? again : null,
      ),
    ),
  );
}

// ---- what was asked before ----

function asked() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(ASKED_KEY) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

function store(questions) {
  try {
    sessionStorage.setItem(ASKED_KEY, JSON.stringify(questions));
  } catch {
    // A full or forbidden storage costs the history, not the answer.
  }
}

function keep(question, answer) {
  const { label, text, scores } = answer;
  const words = text.slice(0, 200);
  const now = { question: question.slice(0, 30_000), words, label, share: scores[label] ?? 0 };
  store([now, ...asked().filter((old) => old.question !== now.question)].slice(0, KEPT_QUESTIONS));
  showHistory();
}

function showHistory() {
  const questions = asked();
  page.history.hidden = questions.length === 0;
  page.asked.replaceChildren(
    ...questions.map(({ question, words, label, share }) => {
      const again = element(
        "button",
        { type: "button", class: `again ${tone(label)}` },
        shape(tone(label)),
        element("span", { class: "words", dir: "auto" }, words),
        element("span", { class: "said" }, `${label} ${percent(share)}`),
      );
      again.addEventListener("click", () => askFor(question));
      return element("li", {}, again);
    }),
  );
}

function askFor(question) {
  page.input.value = question;
  showKind();
  fit();
  page.form.requestSubmit();
}

// ---- wiring ----

page.form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

page.input.addEventListener("keydown", (event) => {
  // While an input method composes, Enter belongs to it.
  if (event.key !== "Enter" || event.isComposing) return;
  if (event.shiftKey || event.altKey) return;
  event.preventDefault();
  page.form.requestSubmit();
});

page.input.addEventListener("input", () => {
  showKind();
  fit();
});

page.forget.addEventListener("click", () => {
  store([]);
  showHistory();
  page.input.focus();
});

for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => askFor(chip.textContent));
}

showKind();
showHistory();

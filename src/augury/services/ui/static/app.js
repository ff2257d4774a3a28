// The page at /: tell texts from tweets, ask the server, show what it says.
//
// Everything that is shown is set as text (textContent), never as HTML: what comes from tweets, and
// what people type, is foreign.  The session's questions stay in this tab.

import { Fault, fetchJson } from "./asking.js";
import { element, faultCard, shape, tone } from "./elements.js";
import { duration, moment, percent, sentence } from "./words.js";

const ASKED_KEY = "augury.asked";
const KEPT_QUESTIONS = 6;
// The server gives up on X after 10 s; a little more than that means that it is gone.
const PATIENCE_MS = 30_000;

const WEB_ADDRESS = /^<?\s*(?:https?:\/\/\S+|(?:www\.|mobile\.|m\.)?(?:x|twitter)\.com\/\S+)\s*>?$/i;
const BARE_ID = /^\d{5,19}$/;

const page = Object.fromEntries(
  ["form", "input", "kind", "ask", "ask-words", "fault", "result", "history", "asked", "forget"].map(
    (id) => [id, document.getElementById(id)],
  ),
);

let underWay = null;

function sureness(share) {
  if (share >= 0.85) return "Quite sure";
  if (share >= 0.6) return "Fairly sure";
  return "Not sure";
}

// ---- asking ----

function isTweet(question) {
  return WEB_ADDRESS.test(question) || BARE_ID.test(question);
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

function written(iso) {
  const words = iso ? moment(iso) : "";
  return words === "" ? null : element("time", { dateTime: iso }, words);
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
      fact("Written", written(answer.createdAt)),
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
  page.result.replaceChildren();
  page.fault.replaceChildren(faultCard(fault, ask));
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

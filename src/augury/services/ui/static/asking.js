// Asking the server, and telling what went wrong in its own words.

import { sentence } from "./words.js";

export class Fault extends Error {
  constructor(title, detail, retryable, status = 0) {
    super(detail);
    this.title = title;
    this.retryable = retryable;
    this.status = status;
  }
}

const CREDENTIALS =
  "Sign in as the server's superuser when the browser asks, or ask its operator for a key with the scope “read”.";

export async function fetchJson(url, options) {
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
  const refused = response.status === 401 || response.status === 403;
  const detail = sentence(body?.detail ?? "It did not say why; its log may.");
  throw new Fault(
    body?.title ?? `The server answered ${response.status}`,
    refused ? `${detail} ${CREDENTIALS}` : detail,
    body?.retryable ?? (refused || response.status >= 500),
    response.status,
  );
}

// Small pieces that both views show: tiles, bars of shares, chips of labels.

import { element, shape, tone } from "../elements.js";
import { percent } from "../words.js";
import { ordered } from "./looks.js";

export function tile(name, value, note = "") {
  return element(
    "div",
    { class: "tile card" },
    element("p", { class: "name" }, name),
    element("p", { class: "value" }, value),
    element("p", { class: "note" }, note),
  );
}

// One bar of all labels; the words beside it say the same.
export function shareBar(shares) {
  const bar = element("div", { class: "shares", "aria-hidden": "true" });
  for (const label of ordered(Object.keys(shares))) {
    const part = element("span", { class: tone(label) });
    part.style.flexGrow = String(shares[label]);
    if (shares[label] > 0) bar.append(part);
  }
  return bar;
}

export function shareTile(name, shares) {
  return element(
    "div",
    { class: "tile card two" },
    element("p", { class: "name" }, name),
    shareBar(shares),
    element(
      "ul",
      { class: "keys-of-shares" },
      ordered(Object.keys(shares)).map((label) =>
        element("li", { class: tone(label) }, shape(tone(label)), `${label} `, element("b", {}, percent(shares[label]))),
      ),
    ),
  );
}

export function chip(label, score) {
  const sure = score === undefined ? "" : ` ${percent(score)}`;
  return element("span", { class: `label ${tone(label)}` }, shape(tone(label)), `${label}${sure}`);
}

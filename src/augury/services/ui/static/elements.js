// Building elements.  Whatever is shown is set as text, never as HTML: it is foreign.

const SVG = "http://www.w3.org/2000/svg";

// One shape for each sentiment, since colour alone does not reach everybody.
const SHAPES = {
  positive: "M12 3 22 20H2z",
  neutral: "M3 9h18v6H3z",
  negative: "M12 21 2 4h20z",
  other: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  fault: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm-1.2 5h2.4l-.3 6.5h-1.8zM12 15.2a1.3 1.3 0 1 1 0 2.6 1.3 1.3 0 0 1 0-2.6z",
};

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function tone(label) {
  return label in SHAPES && label !== "fault" ? label : "other";
}

export function shape(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("fill", "currentColor");
  svg.setAttribute("fill-rule", "evenodd");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  path.setAttribute("stroke-linejoin", "round");
  svg.append(path);
  return element("span", { class: "shape", "aria-hidden": "true" }, svg);
}

export function faultCard(fault, retry = null) {
  return element(
    "div",
    { class: "card fault" },
    shape("fault"),
    element(
      "div",
      {},
      element("h2", {}, fault.title),
      element("p", {}, fault.message),
      retry && fault.retryable
        ? element("button", { type: "button", class: "quiet", onclick: retry }, "Try again")
        : null,
    ),
  );
}

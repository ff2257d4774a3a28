// Words for numbers and times, as people read them.

const number = (options) => {
  const format = new Intl.NumberFormat("en", options);
  return (value) => format.format(value);
};

export const percent = number({
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
export const count = number({ maximumFractionDigits: 0 });
export const short = number({ notation: "compact", maximumFractionDigits: 1 });
export const precise = number({ maximumSignificantDigits: 3 });

// One language for the whole page: its words are English, so are its dates; 24 hours, local time.
const DATES = "en-GB";

export function duration(ms) {
  if (ms === 0) return "0 ms";
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

export function plural(amount, one, many = `${one}s`) {
  return `${count(amount)} ${amount === 1 ? one : many}`;
}

export function sentence(text) {
  const words = String(text);
  const first = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}

export function moment(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return "";
  return time.toLocaleString(DATES, { dateStyle: "medium", timeStyle: "short" });
}

export function day(iso) {
  return new Date(iso).toLocaleDateString(DATES, { dateStyle: "medium" });
}

export function clock(time) {
  return new Date(time).toLocaleTimeString(DATES, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  });
}

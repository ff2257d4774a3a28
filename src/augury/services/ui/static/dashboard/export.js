// A chart as a file: its numbers as CSV, its picture as PNG.

// A cell that begins so is a formula to a spreadsheet, and tweets may begin with anything.
const FORMULA = /^[\s]*[=+\-@\t\r]/;

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// RFC 4180, UTF-8.
export function toCsv({ columns, rows }) {
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function saveCsv(table, name) {
  save(new Blob([toCsv(table)], { type: "text/csv;charset=utf-8" }), `${name}.csv`);
}

const SCALE = 2;
const WIDTH = 960;
const HEAD = 92;
const EDGE = 24;

// Title, legend and chart on one ground, large enough for a slide.
export function toCanvas({ title, summary, legend, option, height, looks }) {
  const holder = document.createElement("div");
  const chart = echarts.init(holder, null, {
    width: WIDTH - 2 * EDGE,
    height,
    devicePixelRatio: SCALE,
  });
  chart.setOption({ ...option, animation: false });
  const drawn = chart.renderToCanvas({ pixelRatio: SCALE });
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH * SCALE;
  canvas.height = (HEAD + height + EDGE) * SCALE;
  const pen = canvas.getContext("2d");
  pen.scale(SCALE, SCALE);
  pen.fillStyle = looks.surface;
  pen.fillRect(0, 0, WIDTH, canvas.height);
  pen.fillStyle = looks.ink;
  pen.font = `600 20px ${looks.font}`;
  pen.fillText(title, EDGE, 38, WIDTH - 2 * EDGE);
  pen.fillStyle = looks.muted;
  pen.font = `14px ${looks.font}`;
  pen.fillText(summary, EDGE, 60, WIDTH - 2 * EDGE);
  let left = EDGE;
  for (const { name, color } of legend) {
    pen.fillStyle = color;
    pen.fillRect(left, 72, 12, 12);
    pen.fillStyle = looks.muted;
    pen.fillText(name, left + 18, 83);
    left += 18 + pen.measureText(name).width + 20;
  }
  pen.drawImage(drawn, EDGE, HEAD, WIDTH - 2 * EDGE, height);
  chart.dispose();
  return canvas;
}

export function savePng(picture, name) {
  toCanvas(picture).toBlob((blob) => save(blob, `${name}.png`), "image/png");
}

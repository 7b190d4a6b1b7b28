"use strict";
// Draws the page from the JSON object in #content. Everything shown is set as text, never as markup.
const content = JSON.parse(document.getElementById("content").textContent);
const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function shown(value, digits) {
  if (value === null || value === undefined) return "";
  return digits === null || typeof value !== "number" ? String(value) : value.toFixed(digits);
}

function buttons(label, names, chosen, onChoose) {
  const group = make("span", { class: "choice", role: "group", "aria-label": label });
  for (const name of names) {
    const button = make("button", { type: "button", "aria-pressed": name === chosen }, name);
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-pressed", other === button);
      onChoose(name);
    });
    group.append(button);
  }
  return group;
}

// Tables

function compare(a, b, sign) {
  const [noA, noB] = [a, b].map((value) => value === null || value === undefined || value === "");
  if (noA || noB) return noA - noB;
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
}

function shadeOf(column, rows) {
  const values = rows.filter((row) => !row.apart).map((row) => row[column.key]).filter((value) => typeof value === "number");
  const low = Math.min(...values), high = Math.max(...values);
  return (value) => `rgb(227 98 9 / ${(high > low ? (38 * (value - low)) / (high - low) : 0).toFixed(0)}%)`;
}

function tableOf({ name, columns, rows }) {
  const head = make("tr"), body = make("tbody");
  const shades = columns.map((column) => (column.shade ? shadeOf(column, rows) : null));
  const fill = (sorted) => body.replaceChildren(...sorted.map((row) => rowOf(row, columns, shades)));
  columns.forEach((column) => {
    const button = make("button", { type: "button" }, column.label);
    const cell = make("th", { scope: "col", title: column.hint ?? "", "aria-sort": "none" }, button);
    if (column.digits !== null) cell.classList.add("number");
    if (column.shade) cell.classList.add("narrow");
    button.addEventListener("click", () => {
      const down = cell.getAttribute("aria-sort") === "ascending";
      for (const other of head.children) other.setAttribute("aria-sort", "none");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = (a, b) => !!a.apart - !!b.apart || compare(a[column.key], b[column.key], down ? -1 : 1);
      fill([...rows].sort(order));
    });
    head.append(cell);
  });
  fill(rows);
  return make("div", { class: "scroll" }, make("table", { id: name }, make("thead", {}, head), body));
}

function rowOf(row, columns, shades) {
  const line = make("tr", row.apart ? { class: "apart" } : {});
  columns.forEach((column, i) => {
    const value = row[column.key];
    const cell = make("td", {}, shown(value, column.digits === null ? null : row.digits ?? column.digits));
    if (column.digits !== null) cell.classList.add("number");
    if (column.shade) cell.classList.add("shaded");
    if (i === 0) cell.title = shown(value, column.digits);
    if (shades[i] && !row.apart && typeof value === "number") cell.style.backgroundColor = shades[i](value);
    line.append(cell);
  });
  return line;
}

// Figures

function figureOf({ name, figure, pick }) {
  const bar = make("div", { class: "bar" });
  const target = make("div", { id: name });
  for (const [axis, options] of Object.entries(figure.choices ?? {})) {
    const titles = Object.keys(options);
    if (titles.length < 2) continue;
    bar.append(make("span", {}, `${axis} axis:`));
    bar.append(buttons(axis, titles, figure.layout[`${axis}axis`].title.text, (title) => {
      Plotly.update(target, { [axis]: options[title] }, { [`${axis}axis.title.text`]: title, [`${axis}axis.autorange`]: true });
    }));
  }
  if (figure.choices) {
    bar.append(buttons("scale", ["logarithmic", "linear"], "logarithmic", (scale) => {
      Plotly.relayout(target, { "yaxis.type": scale === "linear" ? "linear" : "log", "yaxis.autorange": true });
    }));
  }
  if (pick && figure.data.length > 1) {
    bar.append(make("span", {}, "show:"));
    for (const [label, test] of [["all", () => true], [`first ${pick}`, (i) => i < pick], ["none", () => false]]) {
      const button = make("button", { type: "button" }, label);
      button.addEventListener("click", () => {
        Plotly.restyle(target, { visible: figure.data.map((_, i) => (test(i) ? true : "legendonly")) });
      });
      bar.append(button);
    }
  }
  const settings = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  later.push(() => Plotly.newPlot(target, figure.data, figure.layout, settings));
  const scroll = make("div", { class: figure.layout.height > 640 ? "scroll wide" : "" }, target);
  return make("div", {}, bar, scroll);
}

// Faces

function faceOf(face) {
  const [width, height] = face.size;
  const unit = width / 96;
  const picture = draw("svg", { viewBox: `-0.5 -0.5 ${width} ${height}`, role: "img", "aria-label": face.caption });
  picture.append(draw("image", { href: content.images[face.image], x: -0.5, y: -0.5, width, height }));
  for (const point of face.points) {
    const mark = draw("g"), name = draw("title");
    name.textContent = point.name;
    mark.append(name);
    if (point.ring && point.dot) {
      const [[x1, y1], [x2, y2]] = [point.ring, point.dot];
      mark.append(draw("line", { class: "error", x1, y1, x2, y2, "stroke-width": 0.7 * unit }));
    }
    if (point.ring) {
      const [cx, cy] = point.ring;
      mark.append(draw("circle", { class: "ring", cx, cy, r: 1.9 * unit, "stroke-width": 0.8 * unit }));
    }
    if (point.dot) mark.append(draw("circle", { class: "dot", cx: point.dot[0], cy: point.dot[1], r: 1.1 * unit }));
    picture.append(mark);
  }
  const caption = make("figcaption", {}, face.caption, make("small", {}, face.note));
  return make("figure", {}, picture, caption);
}

function facesOf({ name, choices }) {
  const target = make("div", { id: name });
  const show = (choice) => target.replaceChildren(...choice.groups.flatMap((group) => [
    make("h3", {}, group.label), make("div", { class: "faces" }, ...group.faces.map(faceOf)),
  ]));
  show(choices[0]);
  if (choices.length === 1) return target;
  const select = selectOf(choices, 0, `${name}-run`);
  select.addEventListener("change", () => show(choices[select.selectedIndex]));
  return make("div", {}, make("div", { class: "bar" }, make("span", {}, "run:"), select), target);
}

function selectOf(named, chosen, id) {
  const select = make("select", { id }, ...named.map(({ name }) => make("option", {}, name)));
  select.selectedIndex = chosen;
  return select;
}

// Comparing two runs

function versusOf({ name, units, pairs, keys, scores }) {
  const selects = [0, 1].map((i) => selectOf(units, i, `${name}-${"ab"[i]}`));
  const target = make("div", { id: name });
  const show = () => {
    const [a, b] = selects.map((select) => select.selectedIndex);
    const tables = make("div", { class: "beside" }, scoresOf(a, b, units, scores), settingsOf(a, b, units, keys));
    target.replaceChildren(make("p", { class: "verdict" }, verdict(a, b, pairs)), tables);
  };
  for (const select of selects) select.addEventListener("change", show);
  show();
  const bar = make("div", { class: "bar" }, make("span", {}, "A:"), selects[0], make("span", {}, "B:"), selects[1]);
  return make("div", {}, bar, target);
}

function verdict(a, b, pairs) {
  if (a === b) return "A and B are the same.";
  const pair = pairs[`${Math.min(a, b)},${Math.max(a, b)}`];
  if (!pair) return "A and B have no images in common, so the difference can't be tested. Compare groups of runs over all folds.";
  const sign = a < b ? 1 : -1;
  const [low, high] = [pair.low * sign, pair.high * sign].sort((x, y) => x - y);
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
  const result = low > 0 ? "B is better." : high < 0 ? "A is better." : "No significant difference: the interval contains 0.";
  const interval = `95 % interval ${signed(low)} to ${signed(high)}`;
  return `${result} RMSE of A − RMSE of B = ${signed(pair.value * sign)} px, ${interval}, on ${pair.images} images in common.`;
}

function scoresOf(a, b, units, scores) {
  const rows = scores.map(({ key, label, digits }) => {
    const [first, second] = [a, b].map((i) => units[i].metrics[key] ?? null);
    return { label, digits, first, second, change: first === null || second === null ? null : first - second };
  });
  const columns = [["label", "metric", null], ["first", "A", 3], ["second", "B", 3], ["change", "A − B", 3]];
  return tableOf({ name: "versus-scores", rows, columns: columns.map(([key, label, digits]) => ({ key, label, digits })) });
}

function settingsOf(a, b, units, keys) {
  const rows = keys.map((key) => ({ key, first: units[a].config[key], second: units[b].config[key] }));
  const differ = rows.filter((row) => row.first !== row.second);
  if (!differ.length) return make("p", { class: "note" }, "All settings are equal.");
  const columns = [["key", "setting that differs"], ["first", "A"], ["second", "B"]];
  return tableOf({ name: "versus-settings", rows: differ, columns: columns.map(([key, label]) => ({ key, label, digits: null })) });
}

// The page

const later = []; // plotly draws a figure once its element is part of the page and has a width
const kinds = {
  text: ({ lines }) => make("div", {}, ...lines.map((line) => make("p", {}, line))),
  table: tableOf,
  figure: figureOf,
  faces: facesOf,
  versus: versusOf,
};
document.body.append(make("h1", {}, content.title));
const links = make("nav");
document.body.append(links);
content.sections.forEach((section, i) => {
  const part = make("section", { id: `section-${i}`, class: i === 0 ? "summary" : "" });
  if (i > 0) {
    part.append(make("h2", {}, section.title));
    links.append(make("a", { href: `#section-${i}` }, section.title));
  }
  if (section.note) part.append(make("p", { class: "note" }, section.note));
  part.append(...section.blocks.map((block) => kinds[block.kind](block)));
  document.body.append(part);
});
Promise.all(later.map((task) => task())).then(() => document.body.setAttribute("data-ready", "true"));

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

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
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

const LONG = 16; // letters from which a column's title may wrap

function compare(a, b, sign) {
  const [noA, noB] = [a, b].map((value) => value === null || value === undefined || value === "");
  if (noA || noB) return noA - noB;
  const difference = parseFloat(a) - parseFloat(b); // texts such as "9.5 to 10.1" by their first number; NaN of others
  return sign * (difference || String(a).localeCompare(String(b)));
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
    else if (column.label.length > LONG) cell.classList.add("long");
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
    if (i === 0) cell.title = row.title ?? shown(value, column.digits);
    else if (typeof value === "string") cell.title = value; // long ones are cut
    if (shades[i] && !row.apart && typeof value === "number") cell.style.backgroundColor = shades[i](value);
    line.append(cell);
  });
  return line;
}

// Figures

const NARROW = matchMedia("(max-width: 600px)");
const DARK = matchMedia("(prefers-color-scheme: dark)");
const LEGEND_LINE = 20, LEGEND_PADDING = 12, LEGEND_LINES = 12; // px, px, and the lines that need no scrolling
const MODEBAR = [["zoom2d", "pan2d", "resetScale2d", "toImage"]];
const drawn = []; // figures, each with its element

// Colours of the page, as plotly's layout has them
function colours() {
  const style = getComputedStyle(document.documentElement);
  const [page, ink, grid, axis] = ["--page", "--ink", "--grid", "--axis"].map((name) => style.getPropertyValue(name).trim());
  const axes = ["xaxis", "yaxis"].flatMap((name) => [[`${name}.gridcolor`, grid], [`${name}.linecolor`, axis]]);
  return { paper_bgcolor: page, plot_bgcolor: page, "font.color": ink, "legend.bgcolor": page, ...Object.fromEntries(axes) };
}

// On narrow screens the legend is below the plot, and a finger scrolls the page instead of zooming the plot
function narrowLook({ data, layout, narrow }) {
  const legend = layout.showlegend ? LEGEND_LINE * Math.min(data.length, LEGEND_LINES) + LEGEND_PADDING : 0;
  return {
    height: layout.height + legend,
    dragmode: false,
    "margin.b": layout.margin.b + (legend ? legend + 8 : 0),
    "margin.r": 8,
    "legend.orientation": "v",
    "legend.yref": "container",
    "legend.yanchor": "bottom",
    "legend.y": 0,
    "legend.xanchor": "left",
    "legend.x": 0,
    "legend.maxheight": legend || null,
    ...narrow,
  };
}

function at(layout, path) {
  return path.split(".").reduce((part, key) => part?.[key], layout) ?? null;
}

// What the width and the colours of the page change in a figure's layout, by dotted key
function lookOf(figure) {
  const narrow = narrowLook(figure);
  const wide = Object.keys(narrow).map((path) => [path, at(figure.layout, path)]);
  return { ...(NARROW.matches ? narrow : Object.fromEntries(wide)), ...colours() };
}

function drawFigures() {
  const settings = { responsive: true, displaylogo: false, displayModeBar: NARROW.matches ? false : "hover", modeBarButtons: MODEBAR };
  return Promise.all(drawn.map(async ({ target, figure }) => {
    await Plotly.newPlot(target, figure.data, structuredClone(figure.layout), settings);
    return Plotly.relayout(target, lookOf(figure));
  }));
}

for (const media of [NARROW, DARK]) {
  media.addEventListener("change", () => drawn.forEach(({ target, figure }) => Plotly.relayout(target, lookOf(figure))));
}

const PRINTED = 1000; // px, the width of figures on paper, where their elements have no width in time
addEventListener("beforeprint", () => drawn.forEach(({ target }) => Plotly.relayout(target, { width: PRINTED })));
addEventListener("afterprint", () => drawn.forEach(({ target }) => Plotly.relayout(target, { width: null, autosize: true })));

function figureOf({ name, figure, pick }) {
  const bar = make("div", { class: "bar" });
  const target = make("div", { id: name });
  for (const [axis, options] of Object.entries(figure.choices ?? {})) {
    const titles = Object.keys(options);
    if (titles.length < 2) continue;
    bar.append(make("span", {}, `${axis} axis:`));
    bar.append(buttons(axis, titles, figure.layout[`${axis}axis`].title.text, (title) => {
      const look = { "title.text": title, autorange: true, dtick: figure.steps?.[title] ?? null };
      const entries = Object.entries(look).map(([key, value]) => [`${axis}axis.${key}`, value]);
      Plotly.update(target, { [axis]: options[title] }, Object.fromEntries(entries));
    }));
  }
  if (figure.choices) {
    bar.append(buttons("scale", ["logarithmic", "linear"], "logarithmic", (scale) => {
      Plotly.relayout(target, { "yaxis.type": scale === "linear" ? "linear" : "log", "yaxis.autorange": true });
    }));
  }
  if (pick && figure.data.length > pick) {
    bar.append(make("span", { class: "show" }, "show:"));
    for (const [label, test] of [["all", () => true], [`first ${pick}`, (i) => i < pick], ["none", () => false]]) {
      const button = make("button", { type: "button", class: "show" }, label);
      button.addEventListener("click", () => {
        Plotly.restyle(target, { visible: figure.data.map((_, i) => (test(i) ? true : "legendonly")) });
      });
      bar.append(button);
    }
  }
  drawn.push({ target, figure });
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

const FACE = 150, GAP = 12; // px

// How many of some faces a row has, so that all rows are as long as each other if possible
function evenColumns(faces, width) {
  const most = Math.max(1, Math.min(faces, Math.floor((width + GAP) / (FACE + GAP))));
  for (let columns = most; columns > most / 2; columns--) if (faces % columns === 0) return columns;
  return Math.ceil(faces / Math.ceil(faces / most));
}

// Keeps the rows even when the width of the page changes
function watchRows() {
  return new ResizeObserver((entries) => entries.forEach(({ target, contentRect }) => {
    target.style.setProperty("--columns", evenColumns(target.children.length, contentRect.width));
  }));
}

function groupOf({ label, faces }, watch) {
  const rows = make("div", { class: "faces" }, ...faces.map(faceOf));
  watch.observe(rows);
  return [make("h3", {}, label), rows];
}

function facesOf({ name, choices }) {
  const target = make("div", { id: name }), watch = watchRows();
  const show = (choice) => {
    watch.disconnect();
    target.replaceChildren(...choice.groups.flatMap((group) => groupOf(group, watch)));
  };
  show(choices[0]);
  if (choices.length === 1) return target;
  const select = selectOf(choices, 0, `${name}-run`, "run");
  select.addEventListener("change", () => show(choices[select.selectedIndex]));
  return make("div", {}, make("div", { class: "bar" }, make("span", {}, "run:"), select), target);
}

function selectOf(named, chosen, id, label) {
  const select = make("select", { id, "aria-label": label }, ...named.map(({ name, title }) => make("option", { title: title ?? name }, name)));
  select.selectedIndex = chosen;
  return select;
}

// Comparing two runs

function versusOf({ name, units, pairs, keys, scores }) {
  const selects = [0, 1].map((i) => selectOf(units, i, `${name}-${"ab"[i]}`, "AB"[i]));
  const target = make("div", { id: name });
  const show = () => {
    const [a, b] = selects.map((select) => select.selectedIndex);
    const tables = make("div", { class: "beside" }, scoresOf(a, b, units, scores), settingsOf(a, b, units, keys));
    target.replaceChildren(make("p", { class: "verdict" }, verdict(a, b, units, pairs)), tables);
  };
  for (const select of selects) select.addEventListener("change", show);
  show();
  const bar = make("div", { class: "bar" }, make("span", {}, "A:"), selects[0], make("span", {}, "B:"), selects[1]);
  return make("div", {}, bar, target);
}

function signed(value) {
  return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
}

function verdict(a, b, units, pairs) {
  if (a === b) return "A and B are the same.";
  const pair = pairs[`${Math.min(a, b)},${Math.max(a, b)}`];
  if (!pair) return whyUntested(units[a], units[b]);
  const sign = a < b ? 1 : -1;
  const [low, high] = [pair.low * sign, pair.high * sign].sort((x, y) => x - y);
  const result = low > 0 ? "B is better." : high < 0 ? "A is better." : "No significant difference: the interval contains 0.";
  const difference = `RMSE of A − RMSE of B = ${signed(pair.value * sign)} px, 95 % interval ${signed(low)} to ${signed(high)}`;
  return `${result} ${difference}, ${sharedImages(a, b, units, pair)}`;
}

function sharedImages(a, b, units, pair) {
  const [ofA, ofB] = [units[a].images, units[b].images];
  if (pair.images === ofA && pair.images === ofB) return `on ${counted(pair.images, "image")} in common.`;
  const [rmseA, rmseB] = a < b ? [pair.first, pair.second] : [pair.second, pair.first];
  return `on the ${counted(pair.images, "image")} that both predicted (of ${ofA} of A and ${ofB} of B). On these, A has an RMSE of ` +
    `${rmseA.toFixed(3)} px and B of ${rmseB.toFixed(3)} px; the table shows the RMSE on all images of each.`;
}

function whyUntested(a, b) {
  const missing = [["A", a], ["B", b]].filter(([, unit]) => !unit.images).map(([name]) => name);
  if (missing.length) return `The difference can't be tested, as ${missing.join(" and ")} has no predictions.csv.`;
  return `The difference can't be tested: A was validated on ${counted(a.images, "image")} (${a.split}), B on ` +
    `${counted(b.images, "image")} (${b.split}), and both predicted fewer than two that are not near-duplicates. Train ` +
    "both on the same images, of the same size, with the same data.fold and data.split_seed, or compare runs over all " +
    "folds.";
}

function scoresOf(a, b, units, scores) {
  const rows = scores.map(({ key, label, digits }) => {
    const [first, second] = [a, b].map((i) => units[i].metrics[key] ?? null);
    return { label, digits, first, second, change: first === null || second === null ? null : first - second };
  });
  const known = rows.filter((row) => row.first !== null || row.second !== null); // others are of other runs' schemes
  const columns = [["label", "metric", null], ["first", "A", 3], ["second", "B", 3], ["change", "A − B", 3]];
  return tableOf({ name: "versus-scores", rows: known, columns: columns.map(([key, label, digits]) => ({ key, label, digits })) });
}

function settingsOf(a, b, units, keys) {
  const rows = keys.map((key) => ({ key, first: units[a].config[key], second: units[b].config[key] }));
  const differ = rows.filter((row) => row.first !== row.second);
  if (!differ.length) return make("p", { class: "note" }, "All settings are equal.");
  const columns = [["key", "setting that differs"], ["first", "A"], ["second", "B"]];
  return tableOf({ name: "versus-settings", rows: differ, columns: columns.map(([key, label]) => ({ key, label, digits: null })) });
}

// The page

const kinds = {
  text: ({ lines, style }) => make("div", { class: style }, ...lines.map((line) => make("p", {}, line))),
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
// plotly draws a figure once its element is part of the page and has a width
drawFigures().then(() => document.body.setAttribute("data-ready", "true"));

"use strict";
// Saved pages are this document as it was loaded, so it is copied before anything is added.
const original = document.documentElement.cloneNode(true);
const $ = id => document.getElementById(id);
const read = id => JSON.parse($(id).textContent);
const gallery = read("gallery"), ratings = new Map(Object.entries(read("ratings")));
const order = new Intl.Collator("en", { numeric: true }).compare;
const STARS = ["no rating", "★", "★★", "★★★", "★★★★", "★★★★★"];
const MOST_CHOICES = 40, LARGEST_SCALE = 32;

const images = gallery.images.map(([name, href, source, width, height, words, places, scores], index) => {
  const settings = { ...gallery.common };
  gallery.columns.forEach((column, i) => { if (places[i] >= 0) settings[column.name] = column.values[places[i]]; });
  const measured = Object.fromEntries(gallery.scores.map((key, i) => [key, scores[i]]).filter(([, value]) => value !== null));
  const link = href ?? name, command = words.map(word => gallery.words[word]).join(" ");
  return { index, name, href: link, source: source ?? link, width, height, command, settings, scores: measured };
});
const byName = image => image.name;
const rating = image => Number(ratings.get(image.name)) || 0;
const prompt = image => String(image.settings.prompt ?? "");
let shown = [], chosen = [], current = null, scale = 0, fitted = true;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
/* An open dialog hides the rest of the page from screen readers, so it has a status of its own. */
const say = text => { (document.querySelector("dialog[open] .note") ?? $("status")).textContent = text; };
const number = value => typeof value === "number" && !Number.isInteger(value) ? String(+value.toPrecision(6)) : String(value);
const options = select => STARS.forEach((stars, value) => select.append(element("option", { value, textContent: stars })));

/* Cards */
function card(image) {
  const facts = ["scheduler", "steps", "seed"].filter(key => key in image.settings).map(key => key === "scheduler" ? image.settings[key] : `${key} ${image.settings[key]}`);
  const open = element("button", { type: "button", className: "picture" },
    element("img", { src: image.source, width: image.width, height: image.height, loading: "lazy", decoding: "async", alt: prompt(image) || image.name }));
  open.setAttribute("aria-label", `Enlarge: ${prompt(image) || image.name}`);
  open.addEventListener("click", () => enlarge(image));
  const mark = element("input", { type: "checkbox" });
  mark.addEventListener("change", () => choose(image, mark.checked));
  const stars = element("select", { className: "stars" });
  stars.setAttribute("aria-label", "Rating");
  options(stars);
  stars.addEventListener("change", () => rate(image, Number(stars.value)));
  const tools = element("div", { className: "tools" }, element("label", {}, mark, "Compare"), stars);
  if (image.command) {
    const copy = element("button", { type: "button", textContent: "Copy" });
    copy.setAttribute("aria-label", "Copy command");
    copy.addEventListener("click", () => copyCommand(image));
    tools.append(copy);
  }
  const item = element("li", { className: "card" }, open,
    element("p", { className: "prompt", textContent: prompt(image) || image.name, dir: "auto" }));
  if (facts.length) item.append(element("p", { className: "quiet", textContent: facts.join(" · "), dir: "auto" }));
  const score = element("p", { className: "quiet", hidden: true });
  item.append(score, tools);
  return { item, open, mark, stars, score };
}
const cards = images.map(card);

function rate(image, value) {
  if (value) ratings.set(image.name, value); else ratings.delete(image.name);
  cards[image.index].stars.value = value;
  $("zoom-rating").value = value;
  say(value ? `Rated ${value} of 5: ${image.name}` : `Rating removed: ${image.name}`);
}

function choose(image, on) {
  chosen = chosen.filter(other => other !== image);
  if (on) chosen = [...chosen, image].slice(-2);
  cards.forEach((one, i) => { const is = chosen.includes(images[i]); one.mark.checked = is; one.item.classList.toggle("chosen", is); });
  $("compare").disabled = chosen.length < 2;
  say(`${chosen.length} of 2 images selected for a comparison`);
}

async function copyCommand(image) {
  if (!image.command) return say("The command of this image is not known");
  try { await navigator.clipboard.writeText(image.command); }
  catch { copyBySelection(image.command); }
  say(`Copied: ${image.command}`);
}
function copyBySelection(text) {
  const field = element("textarea", { value: text, readOnly: true });
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/* Filters */
const filters = [];
function addFilter(column) {
  const values = [...column.values].sort((a, b) => order(String(a), String(b)));
  if (column.name === "prompt" && values.length > MOST_CHOICES) return;
  const input = values.length > MOST_CHOICES ? element("input", { type: "text", placeholder: "text, 7 or 1..9" }) : element("select");
  if (input.tagName === "SELECT") {
    input.append(element("option", { value: "", textContent: "any" }));
    values.forEach((value, i) => input.append(element("option", { value: String(i), textContent: String(value) || "(empty)" })));
  }
  const matches = value => {
    if (!input.value) return true;
    if (value === undefined) return false;
    return input.tagName === "SELECT" ? value === values[Number(input.value)] : matchesText(value, input.value.trim());
  };
  input.setAttribute("aria-label", column.name);
  filters.push({ name: column.name, input, matches });
  input.addEventListener("input", update);
  $("fields").append(element("label", {}, column.name, input));
}
function matchesText(value, wanted) {
  const range = wanted.match(/^(-?[\d.]+)\s*\.\.\s*(-?[\d.]+)$/);
  if (range) return Number(value) >= Number(range[1]) && Number(value) <= Number(range[2]);
  return typeof value === "number" && wanted !== "" && !Number.isNaN(Number(wanted)) ? value === Number(wanted) : String(value).toLowerCase().includes(wanted.toLowerCase());
}

const keys = new Map([["name", byName], ["rating", rating]]);
for (const column of gallery.columns) keys.set(column.name, image => image.settings[column.name]);
for (const score of gallery.scores) keys.set(score, image => image.scores[score]);

function compareKeys(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : order(String(a), String(b));
}
function sorted(list) {
  const key = keys.get($("sort").value), sign = $("direction").getAttribute("aria-pressed") === "true" ? -1 : 1;
  const has = list.filter(image => key(image) !== undefined), lacks = list.filter(image => key(image) === undefined);
  return [...has.sort((a, b) => sign * compareKeys(key(a), key(b)) || a.index - b.index), ...lacks];
}

function update() {
  const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean), least = Number($("rated").value);
  shown = sorted(images.filter(image => {
    const text = prompt(image).toLowerCase();
    return words.every(word => word.length > 1 && word[0] === "-" ? !text.includes(word.slice(1)) : text.includes(word))
      && rating(image) >= least && filters.every(filter => filter.matches(image.settings[filter.name]));
  }));
  const sortKey = $("sort").value;
  for (const image of shown) {
    const line = cards[image.index].score, value = image.scores[sortKey];
    line.hidden = value === undefined;
    line.textContent = value === undefined ? "" : `${sortKey} ${number(value)}`;
  }
  $("grid").replaceChildren(...shown.map(image => cards[image.index].item));
  $("none").hidden = shown.length > 0;
  const active = filters.filter(filter => filter.input.value).length;
  $("active").textContent = active ? `(${active} active)` : "";
  say(shown.length === images.length ? `${images.length} images` : `${shown.length} of ${images.length} images`);
}

/* The enlarged image */
function enlarge(image) {
  current = image;
  $("zoom").querySelector(".note").textContent = "";
  $("zoom-title").textContent = image.name;
  Object.assign($("zoom-image"), { src: image.source, alt: prompt(image) || image.name });
  $("zoom-prompt").textContent = prompt(image);
  $("zoom-facts").replaceChildren(...Object.entries({ ...image.settings, ...image.scores }).filter(([key]) => key !== "prompt")
    .map(([key, value]) => element("div", {}, element("dt", { textContent: key }), element("dd", { textContent: number(value) }))));
  $("zoom-command").textContent = image.command || "not known";
  $("copy").disabled = !image.command;
  $("zoom-file").href = image.href;
  $("zoom-rating").value = rating(image);
  const place = shown.indexOf(image);
  $("previous").disabled = place <= 0;
  $("next").disabled = place < 0 || place >= shown.length - 1;
  if (!$("zoom").open) $("zoom").showModal();
  fit();
}
function fit() { fitted = true; setScale(Math.min(($("zoom-stage").clientWidth - 8) / current.width, ($("zoom-stage").clientHeight - 8) / current.height)); }
function setScale(value) {
  scale = Math.min(LARGEST_SCALE, Math.max(1 / LARGEST_SCALE, value));
  $("zoom-image").style.width = `${current.width * scale}px`;
  $("zoom-image").style.height = `${current.height * scale}px`;
  $("zoom-image").classList.toggle("crisp", scale >= 2);
  $("scale").textContent = `${Math.round(scale * 100)} %`;
}
const zoomBy = factor => { fitted = false; setScale(scale * factor); };
const step = by => { const to = shown[shown.indexOf(current) + by]; if (to) enlarge(to); };

/* The comparison */
function comparePair() {
  if (chosen.length < 2) return say("Select two images first");
  const [a, b] = chosen;
  for (const [side, image] of [["left", a], ["right", b]]) {
    Object.assign($(side), { src: image.source, alt: `${side}: ${prompt(image) || image.name}` });
    $(side).classList.toggle("crisp", image.width <= 256);
    $(`${side}-name`).textContent = image.name;
  }
  const facts = image => ({ ...image.settings, ...image.scores, rating: rating(image) });
  const [first, second] = [facts(a), facts(b)];
  const names = [...new Set([...Object.keys(first), ...Object.keys(second)])].filter(key => first[key] !== second[key]);
  $("differences").replaceChildren(...names.map(key => element("tr", {}, element("th", { scope: "row", textContent: key }),
    ...[first, second].map(side => element("td", { textContent: side[key] === undefined ? "–" : number(side[key]) })))));
  if (!$("pair").open) $("pair").showModal();
  moveDivider();
}
function moveDivider() {
  const at = Number($("divider").value), box = $("split").getBoundingClientRect(), left = $("left").getBoundingClientRect();
  $("split").style.setProperty("--at", `${left.width ? (at * left.width) / 100 : box.width / 2}px`);
  $("divider").setAttribute("aria-valuetext", `${at} % of the left image, ${100 - at} % of the right image`);
}
function dragDivider(event) {
  if (event.type === "pointermove" && !(event.buttons & 1)) return;
  const left = $("left").getBoundingClientRect();
  $("divider").value = Math.round(100 * (event.clientX - left.left) / left.width);
  moveDivider();
}

/* Ratings are kept in a file: a page opened from a disk has no storage that can be relied on. */
function download(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}
const asJson = value => JSON.stringify(value).replace(/</g, "\\u003c");
function savePage() {
  original.querySelector("#ratings").textContent = asJson(Object.fromEntries(ratings));
  download("gallery.html", "text/html", `<!doctype html>\n${original.outerHTML}\n`);
  say(`Saved the page with ${ratings.size} ratings`);
}
function saveRatings() {
  download("ratings.json", "application/json", `${JSON.stringify({ schema: "sdcli/ratings/1", ratings: Object.fromEntries(ratings) }, null, 1)}\n`);
  say(`Saved ${ratings.size} ratings`);
}

/* Keyboard */
function columnCount() {
  const tops = [...$("grid").children].map(item => item.offsetTop);
  const below = tops.findIndex(top => top !== tops[0]);
  return below < 0 ? tops.length : below;
}
const MOVES = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: columnCount, ArrowUp: () => -columnCount(), Home: () => -Infinity, End: () => Infinity };
const ACTIONS = { x: image => choose(image, !chosen.includes(image)), c: copyCommand };
const ZOOM_KEYS = { "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), f: fit, ArrowRight: () => step(1), ArrowLeft: () => step(-1) };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]),select,textarea")) return;
  if ($("pair").open) return;
  const onCard = cards.findIndex(one => one.item.contains(document.activeElement));
  const image = $("zoom").open ? current : images[onCard];
  const stage = event.target.id === "zoom-stage" && !fitted && event.key.startsWith("Arrow");
  if ($("zoom").open && ZOOM_KEYS[event.key] && !stage) ZOOM_KEYS[event.key]();
  else if (image && /^[0-5]$/.test(event.key)) rate(image, Number(event.key));
  else if (image && ACTIONS[event.key]) ACTIONS[event.key](image);
  else if ($("zoom").open) return;
  else if (event.key === "v") comparePair();
  else if (event.key === "/") $("words").focus();
  else if (onCard >= 0 && MOVES[event.key]) {
    const to = Math.min(shown.length - 1, Math.max(0, shown.indexOf(image) + MOVES[event.key]()));
    cards[shown[to].index].open.focus();
  } else return;
  event.preventDefault();
}

function reset() {
  $("words").value = ""; $("rated").value = "0";
  filters.forEach(filter => { filter.input.value = ""; });
  update();
}

gallery.columns.forEach(addFilter);
$("filters").hidden = !filters.length;
for (const key of keys.keys()) $("sort").append(element("option", { value: key, textContent: key }));
options($("zoom-rating"));
images.forEach(image => { cards[image.index].stars.value = rating(image); });
for (const id of ["words", "sort", "rated"]) $(id).addEventListener("input", update);
$("size").addEventListener("input", () => document.documentElement.style.setProperty("--size", `${$("size").value}px`));
$("direction").addEventListener("click", () => { $("direction").setAttribute("aria-pressed", $("direction").getAttribute("aria-pressed") !== "true"); update(); });
$("reset").addEventListener("click", reset);
$("compare").addEventListener("click", comparePair);
$("save").addEventListener("click", savePage);
$("export").addEventListener("click", saveRatings);
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("larger").addEventListener("click", () => zoomBy(1.5));
$("smaller").addEventListener("click", () => zoomBy(1 / 1.5));
$("fit").addEventListener("click", fit);
$("copy").addEventListener("click", () => copyCommand(current));
$("zoom-rating").addEventListener("change", () => rate(current, Number($("zoom-rating").value)));
$("zoom").addEventListener("close", () => cards[current.index].open.focus());
$("side").addEventListener("click", () => {
  const on = $("split").classList.toggle("side");
  $("side").setAttribute("aria-pressed", on);
  $("divider").disabled = on;
  moveDivider();
});
$("swap").addEventListener("click", () => { chosen.reverse(); comparePair(); });
$("divider").addEventListener("input", moveDivider);
$("split").addEventListener("pointerdown", dragDivider);
$("split").addEventListener("pointermove", dragDivider);
$("split").addEventListener("dragstart", event => event.preventDefault());
for (const button of document.querySelectorAll("dialog .close")) button.addEventListener("click", () => button.closest("dialog").close());
addEventListener("resize", () => { if ($("zoom").open && fitted) fit(); if ($("pair").open) moveDivider(); });
addEventListener("keydown", onKey);
update();

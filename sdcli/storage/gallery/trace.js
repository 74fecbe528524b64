"use strict";
const byId = (id) => document.getElementById(id);
const run = JSON.parse(byId("run").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
const ramp = bytes(run.ramp);
const maps = run.words.map((word) => bytes(word.maps));
const total = run.predicted.length;
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
let step = total;
let word = -1;
let pinned = -1;
let timer = 0;

function drawHeat() {
  const canvas = byId("heat");
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (word < 0) return;
  const { rows, columns } = run.words[word];
  const start = (step - 1) * rows * columns;
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const image = new ImageData(columns, rows);
  maps[word].subarray(start, start + rows * columns).forEach((level, i) => {
    image.data.set(ramp.subarray(3 * level, 3 * level + 3), 4 * i);
    image.data[4 * i + 3] = 60 + level * 0.7;
  });
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function show() {
  const source = (list) => `data:image/webp;base64,${list[step - 1]}`;
  byId("noisy").src = source(run.noisy);
  byId("predicted").src = byId("under").src = source(run.predicted);
  const scrub = byId("scrub");
  scrub.value = step;
  scrub.setAttribute("aria-valuetext", `step ${step} of ${total}`);
  byId("number").textContent = `${step} of ${total}`;
  byId("fact").textContent = run.facts[step - 1];
  for (const line of document.querySelectorAll(".now")) {
    // A plot without a value for the first step begins later.
    const first = Number(line.dataset.first);
    const last = Number(line.dataset.last);
    const share = last > first ? (step - first) / (last - first) : 0;
    const x = run.plot.left + share * (run.plot.right - run.plot.left);
    line.setAttribute("visibility", step < first || step > last ? "hidden" : "visible");
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  }
  const shown = word < 0 ? null : run.words[word];
  byId("which").textContent = shown ? `to “${shown.text}”` : "choose a word";
  byId("heat").setAttribute(
    "aria-label",
    shown ? `Map of “${shown.text}”, highest ${shown.peaks[step - 1]}` : "No word chosen",
  );
  byId("under").classList.toggle("dim", Boolean(shown));
  document.querySelectorAll("#words button").forEach((button, i) => {
    button.setAttribute("aria-pressed", String(i === pinned));
    button.classList.toggle("lit", i === word);
  });
  drawHeat();
}

function goTo(number) {
  step = Math.min(total, Math.max(1, number));
  show();
}

function play(isOn) {
  clearInterval(timer);
  timer = isOn ? setInterval(() => goTo((step % total) + 1), isStill.matches ? 1200 : 200) : 0;
  byId("play").textContent = isOn ? "Pause" : "Play";
  byId("fact").setAttribute("aria-live", isOn ? "off" : "polite");
}

function choose(number) {
  word = number;
  show();
}

byId("scrub").addEventListener("input", (event) => {
  play(false);
  goTo(Number(event.target.value));
});
byId("play").addEventListener("click", () => play(!timer));
run.words.forEach((shown, i) => {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const share = document.createElement("small");
  button.type = "button";
  share.textContent = shown.share;
  button.append(shown.text, " ", share);
  for (const name of ["pointerenter", "focus"]) button.addEventListener(name, () => choose(i));
  for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => choose(pinned));
  button.addEventListener("click", () => {
    pinned = pinned === i ? -1 : i;
    choose(pinned);
  });
  item.append(button);
  byId("words").append(item);
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const isRange = event.target.id === "scrub";
  const steps = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: 1, End: total };
  if (event.key in steps && !isRange) {
    event.preventDefault();
    play(false);
    goTo(steps[event.key]);
  } else if (event.key === " " && !event.target.closest("button,summary")) {
    event.preventDefault();
    play(!timer);
  } else if (event.key === "Escape") {
    pinned = -1;
    choose(-1);
  }
});
show();

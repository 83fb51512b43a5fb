"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [typeBox, searchBox, whole, matched, comments, pane, space, canvas, told] =
    ["type", "search", "whole", "matched", "comments", "pane", "space", "graph", "told"].map((id) => document.getElementById(id));
  const ROW = 18, NARROWEST = 0.5, LETTER_FONT = "11px ui-monospace,Menlo,Consolas,monospace";
  const pen = canvas.getContext("2d");

  // The chosen sample type: a tree with what each node has with all below it.
  let view;
  // The node that fills the width, and what is searched for.
  let top = 0, wanted = "";
  // What was drawn where: for each row, bars from left to right.
  let rows = [];

  const choices = data.profiles.flatMap((profile, at) => profile.types.map((type, column) => ({ profile, at, type, column })));
  choices.forEach((choice, index) => {
    const option = document.createElement("option");
    option.value = index;
    const { profile, type } = choice;
    const when = profile.time_unix_nano ? new Date(profile.time_unix_nano / 1e6).toISOString().slice(0, 19) + "Z" : "";
    option.textContent = [profile.service, type.kind || "samples", type.unit && `(${type.unit})`, data.profiles.length > 1 && when]
      .filter(Boolean).join(" ");
    typeBox.append(option);
  });

  function choose(index) {
    const { profile, type, column } = choices[index];
    const totals = Float64Array.from(profile.own[column]);
    for (let node = totals.length - 1; node > 0; node--) totals[profile.parents[node]] += totals[node];
    const children = Array.from(totals, () => []);
    for (let node = 1; node < totals.length; node++) if (totals[node] > 0) children[profile.parents[node]].push(node);
    const name = (node) => (node === 0 ? "all" : data.frames[profile.frames[node]][0]);
    const file = (node) => (node === 0 ? "" : data.frames[profile.frames[node]][1]);
    for (const list of children) list.sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : a - b));
    // the same frames may stand in another profile under other numbers: zoom starts anew
    if (!view || view.profile !== profile) top = 0;
    view = { profile, own: profile.own[column], totals, children, name, file, unit: type.unit };
    if (totals[top] === 0) top = 0;
    comments.textContent = profile.comments.join("\n");
    arrange();
  }

  // Places every bar wide enough to be seen: the ancestors of the top over the whole width, and all below it.
  function arrange() {
    const width = pane.clientWidth, scale = width / (view.totals[top] || 1);
    rows = [];
    const put = (depth, x, w, node) => (rows[depth] ??= []).push({ x, w, node });
    const above = [];
    for (let node = top; node !== 0; node = view.profile.parents[node]) above.unshift(view.profile.parents[node]);
    above.forEach((node, depth) => put(depth, 0, width, node));
    const waiting = [[top, 0, above.length]];
    while (waiting.length) {
      const [node, x, depth] = waiting.pop();
      put(depth, x, view.totals[node] * scale, node);
      let next = x;
      const below = [];
      for (const child of view.children[node]) {
        const w = view.totals[child] * scale;
        if (w >= NARROWEST) below.push([child, next, depth + 1]);
        next += w;
      }
      waiting.push(...below.reverse());
    }
    for (const row of rows) row.sort((a, b) => a.x - b.x);
    space.style.height = rows.length * ROW + "px";
    whole.disabled = top === 0;
    count();
    draw();
  }

  const matches = (node) =>
    wanted !== "" && node !== 0 &&
    (view.name(node).toLowerCase().includes(wanted) || view.file(node).toLowerCase().includes(wanted));

  // How much of the top lies in frames that match; a match below a match counts once.
  function count() {
    matched.textContent = "";
    if (wanted === "") return;
    let sum = 0;
    const waiting = [top];
    while (waiting.length) {
      const node = waiting.pop();
      if (matches(node)) sum += view.totals[node];
      else for (const child of view.children[node]) waiting.push(child);
    }
    matched.textContent = `matched ${share(sum, view.totals[top])}`;
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1, width = pane.clientWidth, height = pane.clientHeight;
    canvas.width = width * ratio;
    canvas.style.height = Math.min(height, rows.length * ROW) + "px";
    canvas.height = Math.min(height, rows.length * ROW) * ratio;
    pen.scale(ratio, ratio);
    pen.font = LETTER_FONT;
    pen.textBaseline = "middle";
    const letter = pen.measureText("m").width;
    const depthOfTop = rows.findIndex((row) => row.some((bar) => bar.node === top));
    const first = Math.floor(pane.scrollTop / ROW), last = Math.min(rows.length, Math.ceil((pane.scrollTop + height) / ROW));
    for (let depth = first; depth < last; depth++) {
      const y = depth * ROW - pane.scrollTop;
      for (const bar of rows[depth]) {
        const name = view.name(bar.node);
        pen.globalAlpha = depth < depthOfTop ? 0.55 : 1;
        pen.fillStyle = matches(bar.node) ? "hsl(290 85% 72%)" : colour(name);
        pen.fillRect(bar.x, y, Math.max(bar.w - (bar.w > 3 ? 1 : 0), NARROWEST), ROW - 1);
        const letters = Math.floor((bar.w - 6) / letter);
        if (letters >= 3) {
          pen.fillStyle = "#1b1f24";
          pen.fillText(name.length > letters ? name.slice(0, letters - 2) + ".." : name, bar.x + 3, y + ROW / 2);
        }
      }
    }
    pen.globalAlpha = 1;
  }

  // A warm colour, always the same for a name.
  function colour(name) {
    let hash = 0x811c9dc5;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
    return `hsl(${8 + (hash % 42)} ${78 + ((hash >>> 8) % 18)}% ${62 + ((hash >>> 16) % 12)}%)`;
  }

  const share = (part, all) => `${(all ? (part * 100) / all : 0).toFixed(2)} %`;

  function quantity(value) {
    const scaled = (steps, smallest) => {
      const step = steps.find(([size]) => Math.abs(value) >= size);
      return step ? `${(value / step[0]).toFixed(2)} ${step[1]}` : `${value} ${smallest}`;
    };
    switch (view.unit) {
      case "nanoseconds": case "ns":
        return scaled([[3.6e12, "h"], [6e10, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"]], "ns");
      case "bytes": case "byte": case "By":
        return scaled([[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]], "B");
      default: {
        const unit = view.unit === "count" || view.unit === "1" ? "" : view.unit;
        return `${value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, " ")} ${unit}`.trim();
      }
    }
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    const row = rows[Math.floor((event.clientY - box.top + pane.scrollTop) / ROW)];
    const x = event.clientX - box.left;
    return row?.find((bar) => x >= bar.x && x < bar.x + Math.max(bar.w, NARROWEST))?.node;
  }

  function tell(node) {
    told.textContent = "";
    if (node === undefined) return;
    const name = document.createElement("b");
    name.textContent = view.name(node);
    const figures = `${quantity(view.totals[node])}, ${share(view.totals[node], view.totals[0])} of all` +
      (top ? `, ${share(view.totals[node], view.totals[top])} of what is shown` : "") + `; itself ${quantity(view.own[node])}`;
    told.append(name, view.file(node) ? `  ${view.file(node)}` : "", document.createElement("br"), figures);
  }

  function zoom(node) {
    if (node === undefined || node === top) return;
    top = node;
    pane.scrollTop = 0;
    arrange();
  }

  typeBox.addEventListener("change", () => choose(+typeBox.value));
  searchBox.addEventListener("input", () => { wanted = searchBox.value.trim().toLowerCase(); count(); draw(); });
  whole.addEventListener("click", () => zoom(0));
  canvas.addEventListener("mousemove", (event) => {
    const node = at(event);
    canvas.style.cursor = node === undefined ? "" : "pointer";
    tell(node);
  });
  canvas.addEventListener("click", (event) => zoom(at(event)));
  pane.addEventListener("scroll", draw);
  window.addEventListener("resize", arrange);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      searchBox.value = wanted = "";
      searchBox.blur();
      if (top === 0) { count(); draw(); } else zoom(0);
    } else if (event.key === "/" && document.activeElement !== searchBox) {
      event.preventDefault();
      searchBox.focus();
    }
  });

  const first = choices.findIndex((choice) => choice.at === 0 && choice.column === choice.profile.default);
  typeBox.value = Math.max(first, 0);
  if (choices.length) choose(+typeBox.value);
})();

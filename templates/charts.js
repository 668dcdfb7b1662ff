// Lets readers zoom into figures over time and read their values, by uPlot. A figure holds its numbers; without scripts it is a picture.
{
  const DAY = 86400;
  const numbers = (text) => text.split(",").map((one) => (one === "" ? undefined : one === "n" ? null : +one));
  const places = (text) => { let at = 0; return text.split(",").map((step) => (at += +step)); };
  const amount = (one) => (one == null ? "–" : one.toLocaleString("en", { maximumSignificantDigits: 4 }));
  // as the pictures write it: 2.8G
  const short = (one) => {
    const power = one ? Math.min(Math.max(Math.floor(Math.log10(Math.abs(one)) / 3), 0), 4) : 0;
    return one == null ? "" : (one / 1000 ** power).toLocaleString("en", { maximumSignificantDigits: 4 }) + ["", "k", "M", "G", "T"][power];
  };
  const clock = (seconds) => {
    const text = new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
    return text.endsWith("00:00:00") ? text.slice(0, 10) : text.endsWith(":00") ? text.slice(0, 16) : text;
  };
  const tick = (seconds, step) => (step < DAY && seconds % DAY ? clock(seconds).slice(11) : clock(seconds));
  const element = (name, more) => Object.assign(document.createElement(name), more);

  // of a figure that names marks of the style sheet, not colours: what they are in this scheme
  function colourOf(mark, name = "--c") {
    const probe = element("span", { className: mark, hidden: true });
    document.body.append(probe);
    const colour = getComputedStyle(probe).getPropertyValue(name).trim();
    probe.remove();
    return colour;
  }

  function seriesOf(one, name) {
    const few = one.y.split(",").filter(Boolean).length <= 30;
    const look = { label: name, stroke: one.c, width: 1.5, ...(name ? {} : { class: "unnamed" }), value: (u, value) => amount(value), points: { show: few, size: 5, fill: one.c } };
    if (one.k === "points") return { ...look, paths: () => null, points: { show: true, size: 5, fill: one.c, stroke: one.c } };
    if (one.k === "bars") return { ...look, fill: one.c, paths: uPlot.paths.bars({ size: [0.8, 40] }) };
    if (one.k === "area") return { ...look, width: 0, points: { show: false } };
    return look;
  }

  // what is drawn behind the series: stretches of time, and of values that are usual
  function shade(u, panel) {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    u.ctx.fillStyle = "#8883";
    for (const [from, to] of panel.along) u.ctx.fillRect(u.valToPos(from, "x", true), top, u.valToPos(to, "x", true) - u.valToPos(from, "x", true), height);
    for (const [low, high] of panel.across) u.ctx.fillRect(left, u.valToPos(high, "y", true), width, u.valToPos(low, "y", true) - u.valToPos(high, "y", true));
    u.ctx.restore();
  }

  // the nearest x at which a series has a value, within 40 pixels of the cursor
  function nearest(u, number, at, x) {
    const has = (i) => u.data[number][i] != null && Math.abs(u.valToPos(u.data[0][i], "x") - u.valToPos(x, "x")) <= 40;
    for (let off = 0; off < 200; off += 1) {
      if (at - off >= 0 && has(at - off)) return at - off;
      if (at + off < u.data[0].length && has(at + off)) return at + off;
    }
    return at;
  }

  function draw(panel, place) {
    const data = [places(panel.x)], series = [{ label: panel.unit || "time, UTC", value: (u, at) => (at == null ? "–" : panel.unit ? amount(at) : clock(at)) }], bands = [];
    const themed = panel.series.some((one) => one.mark);
    place.classList.toggle("themed", themed);
    for (const one of panel.series) {
      if (one.mark) one.c = colourOf(one.mark);
      if (one.low) {
        data.push(numbers(one.low));
        series.push(seriesOf(one, ""));
        bands.push({ series: [series.length, series.length - 1], fill: one.c + "66" });
      }
      data.push(numbers(one.y));
      series.push(seriesOf(one, one.name));
    }
    const [ink, line] = themed ? [colourOf("", "--quiet"), colourOf("", "--line")] : ["#59636e", "#d5dbe1"];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
    const u = new uPlot({
      width: place.clientWidth, height: 260, padding: [8, 38, 0, 0], series, bands, // room for half a date
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { x: { time: !panel.unit }, y: { distr: panel.log ? 3 : 1 } },
      axes: [
        { ...axis, space: 84, ...(panel.unit ? {} : { values: (u, ticks, i, space, step) => ticks.map((one) => tick(one, step)) }) },
        { ...axis, size: 62, values: (u, ticks) => ticks.map(short) },
      ],
      cursor: { dataIdx: (u, number, at, x) => (number && at != null ? nearest(u, number, at, x) : at), drag: { x: true, y: false } },
      hooks: { drawClear: [(u) => shade(u, panel)] },
    }, data, place);
    new ResizeObserver(() => u.setSize({ width: place.clientWidth, height: 260 })).observe(place);
    return u;
  }

  function zoom(u, factor) {
    const x = u.data[0], all = [x[0], x.at(-1)];
    const { min, max } = u.scales.x, middle = u.cursor.idx == null ? (min + max) / 2 : Math.min(Math.max(x[u.cursor.idx], min), max);
    const [from, to] = factor ? [middle - (middle - min) * factor, middle + (max - middle) * factor] : all;
    u.setScale("x", { min: Math.max(from, all[0]), max: Math.min(to, all[1]) });
  }

  // reads the next value; one that lies outside takes the window along
  function step(u, by) {
    const x = u.data[0], { min, max } = u.scales.x, last = x.length - 1;
    const at = u.cursor.idx == null ? (by > 0 ? x.findIndex((one) => one >= min) : x.findLastIndex((one) => one <= max)) : Math.min(Math.max(u.cursor.idx + by, 0), last);
    const beyond = Math.min(x[at] - min, 0) || Math.max(x[at] - max, 0);
    if (beyond) u.setScale("x", { min: min + beyond, max: max + beyond });
    const read = () => u.setCursor({ left: Math.min(Math.max(u.valToPos(x[at], "x"), 0), u.over.clientWidth), top: u.over.clientHeight / 2 });
    beyond ? queueMicrotask(read) : read(); // uPlot moves the window in a task of its own
    u.root.querySelector(".u-legend").setAttribute("aria-live", "polite");
  }

  const keys = { ArrowLeft: (u) => step(u, -1), ArrowRight: (u) => step(u, 1), "+": (u) => zoom(u, 0.5), "-": (u) => zoom(u, 2), 0: (u) => zoom(u), Escape: (u) => zoom(u) };

  for (const figure of document.querySelectorAll("figure[data-series]")) {
    const line = element("p", { className: "zoom" }), toggle = element("button", { type: "button", textContent: "Zoom and read values" });
    const hint = element("span", { className: "quiet", hidden: true }), plots = element("div", { className: "plots", hidden: true }), drawn = [];
    const controls = [["+", "Zoom in", 0.5], ["−", "Zoom out", 2], ["All", "Show all", 0]].map(([words, title, factor]) => {
      const button = element("button", { type: "button", textContent: words, title, hidden: true });
      button.setAttribute("aria-label", title);
      button.addEventListener("click", () => drawn.forEach((u) => zoom(u, factor)));
      return button;
    });
    const fill = () => {
      const { panels } = JSON.parse(figure.dataset.series);
      for (const panel of panels) {
        const place = element("div", { tabIndex: 0 });
        place.setAttribute("role", "group");
        place.setAttribute("aria-label", `${panel.title || figure.querySelector("[alt]")?.alt || figure.getAttribute("aria-label")}: arrow keys read values, plus and minus zoom, 0 shows all`);
        plots.append(place);
        if (panel.title) place.append(element("strong", { textContent: panel.title }));
        place.append(element("span", { className: "quiet", textContent: panel.y + (panel.of ? `; thinned from ${panel.of.toLocaleString("en")} points` : "") }));
        const u = draw(panel, place);
        drawn.push(u);
        place.addEventListener("keydown", (event) => {
          if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
          keys[event.key](u);
          event.preventDefault();
        });
      }
      hint.textContent = "Drag over a part to enlarge it, double-click for all; arrow keys read values.";
    };
    toggle.setAttribute("aria-expanded", "false");
    toggle.addEventListener("click", () => {
      plots.hidden = !plots.hidden;
      figure.classList.toggle("zoomed", !plots.hidden);
      if (!drawn.length) fill();
      for (const one of [...controls, hint]) one.hidden = plots.hidden;
      toggle.textContent = plots.hidden ? "Zoom and read values" : "Show the picture";
      toggle.setAttribute("aria-expanded", String(!plots.hidden));
    });
    line.append(toggle, ...controls, hint);
    figure.append(plots, line);
  }
}

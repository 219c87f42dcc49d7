"use strict";
// Filters the tables, draws the charts as they come into sight, and lays out the curves' numbers.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const form = document.getElementById("filters");
  const fields = [...form.elements].filter((field) => field.name);
  const items = [...document.querySelectorAll("[data-algorithm]")];
  const boards = items.filter((item) => item.classList.contains("board"));

  const filter = () => {
    const wanted = fields
      .filter((field) => field.value !== "")
      .map((field) => [field.name, field.selectedOptions[0].dataset.value]);
    for (const item of items) {
      item.hidden = !wanted.every(([name, value]) => item.dataset[name] === value);
    }
    const shown = boards.filter((board) => !board.hidden).length;
    document.getElementById("shown").textContent = `${shown} of ${boards.length} tables`;
    document.getElementById("none").hidden = shown > 0;
  };

  // A custom property may hold a colour of either theme; only an element's own is settled.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  const theme = () => {
    const [ink, soft, line, mark, paper] = ["ink", "soft", "line", "mark", "paper"].map(colour);
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: null,
      font,
      view: { stroke: null },
      range: {
        ramp: ["ramp-0", "ramp-1", "ramp-2", "ramp-3"].map(colour),
        diverging: ["against", "paper", "along"].map(colour),
      },
      axis: {
        labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
        labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
      },
      legend: {
        labelColor: soft, titleColor: soft, titleFontWeight: "normal", labelFontSize: 12,
        titleFontSize: 12, titleOrient: "left", gradientLength: 160, gradientThickness: 10,
      },
      style: {
        reference: { color: soft, strokeDash: [5, 4], strokeWidth: 1.5 },
        "reference-label": { color: soft, fontSize: 12 },
        interval: { color: mark, strokeWidth: 2, opacity: 0.6 },
        clear: { color: mark, filled: true, size: 80, opacity: 1 },
        unclear: { color: mark, fill: paper, strokeWidth: 2, size: 70, opacity: 1 },
        curve: { strokeWidth: 1.8, opacity: 0.95 },
        "curve-whole": { color: ink, strokeWidth: 2.6 },
        target: { opacity: 0, size: 60 },
        "pair-label": { color: ink, fontSize: 12 },
        pair: { stroke: paper, strokeWidth: 2 },
        "point-label": { color: soft, fontSize: 11 },
      },
    };
  };

  const spread = (curves) =>
    curves.flatMap((curve) =>
      curve.success.map((success, iteration) => ({
        selection: curve.selection, layer: curve.layer, iteration, success,
      })),
    );

  const draw = async (place) => {
    const board = data.boards[place.dataset.board] ?? {};
    const datasets = { ...board, curves: spread(board.curves ?? []) };
    const spec = { ...data.forms[place.dataset.form], datasets };
    // In an element of its own: vega names what it draws in, and this place has a better name.
    const inner = document.createElement("div");
    inner.setAttribute("aria-hidden", "true");
    place.replaceChildren(inner);
    const drawn = await vegaEmbed(inner, spec, {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, config: theme(),
      tooltip: { disableDefaultStyle: true },
      // Errors alone: of marks that a table has none of, vega warns that their extent is infinite.
      logLevel: 1,
    });
    place.finish?.();
    place.finish = drawn.finalize;
  };

  const drawn = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting || drawn.has(target)) continue;
      drawn.add(target);
      draw(target);
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll(".draw").forEach((place) => watcher.observe(place));
  root.addEventListener("themechange", () => drawn.forEach(draw));

  const cell = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  const layOut = (place) => {
    const { curves } = data.boards[place.dataset.curves];
    const table = document.createElement("table");
    table.createCaption().textContent = "Success in training by iteration, the mean over seeds";
    const head = table.createTHead().insertRow();
    head.append(cell("th", "Iteration", { scope: "col" }));
    for (const { selection } of curves) head.append(cell("th", selection, { scope: "col", class: "num" }));
    const body = table.createTBody();
    const length = Math.max(...curves.map((curve) => curve.success.length));
    for (let iteration = 0; iteration < length; iteration += 1) {
      const row = body.insertRow();
      row.append(cell("th", String(iteration), { scope: "row" }));
      for (const { success } of curves) {
        row.append(cell("td", success[iteration]?.toFixed(2) ?? "", { class: "num" }));
      }
    }
    place.append(table);
  };

  for (const details of document.querySelectorAll("details.numbers")) {
    details.addEventListener("toggle", () => {
      const place = details.querySelector("[data-curves]");
      if (details.open && place && !place.hasChildNodes()) layOut(place);
    });
  }

  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    const closed = target?.closest("details");
    if (!closed) return;
    closed.open = true;
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", reveal);
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
  reveal();
})();

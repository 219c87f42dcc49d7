"use strict";
// Filters the list, and shows an episode's turns when it is opened. Text from episodes enters the
// page as text nodes alone.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const items = [...document.querySelectorAll("#episodes > li")];
  const form = document.getElementById("filters");
  const names = [...form.elements].filter((field) => field.name);

  const make = (tag, className, ...content) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...content);
    return element;
  };
  const signed = (value) => {
    const text = value.toFixed(2);
    if (Number(text) === 0) return "0.00";
    return value > 0 ? `+${text}` : text.replace("-", "−");
  };
  const number = (value) => String(Number(value.toFixed(4))).replace("-", "−");

  const filter = () => {
    const wanted = names
      .filter((field) => field.value !== "")
      .map((field) => [field.name, field.selectedOptions[0].dataset.value]);
    let shown = 0;
    let won = 0;
    for (const item of items) {
      const passes = wanted.every(([name, value]) => item.dataset[name] === value);
      item.hidden = !passes;
      shown += passes;
      won += passes && item.dataset.result === "won";
    }
    document.getElementById("shown").textContent =
      `${shown} of ${items.length} episodes, ${won} won`;
    document.getElementById("none").hidden = shown > 0;
  };

  // Most environments add to the observation, which stands beside it.
  const anchorText = (turn) => {
    const [anchor, observation] = [data.texts[turn.anchor], data.texts[turn.observation]];
    return anchor.startsWith(observation) ? `…${anchor.slice(observation.length)}` : anchor;
  };

  const worth = (turn) => {
    const list = make("dl", "worth");
    const line = (name, text, kind) =>
      list.append(make("dt", kind?.part ? "part" : "", name), make("dd", kind?.sign, text));
    const sign = (value) => (value >= 0.005 ? "plus" : value <= -0.005 ? "minus" : "");
    line("reward", number(turn.reward));
    if (turn.score === null) {
      line("return, advantage", "not computed");
      return list;
    }
    const [value, advantage, episode, step, anchor, met] = turn.score;
    line("return", signed(value).replace("+", ""));
    line("advantage", signed(advantage), { sign: sign(advantage) });
    line("episode part", signed(episode), { part: true });
    line("step part", signed(step), { part: true });
    line("anchor group", `${anchor}, ${met} ${met === 1 ? "turn" : "turns"}`);
    if (turn.anchor !== null) list.append(make("dd", "wide", anchorText(turn)));
    return list;
  };

  const action = (turn) => {
    const said = turn.action === null ? null : data.texts[turn.action];
    const line = make("p", "act", make("span", "label", "action"), said ?? "none could be read");
    if (!turn.valid) {
      line.classList.add("invalid");
      line.append(make("span", "badge bad", "not admissible"));
    }
    return line;
  };

  const admissible = (turn) => {
    const actions = data.lists[turn.admissible];
    if (actions.length === 0) return make("p", "soft", "The environment listed no actions.");
    const list = make("ul", "admissible");
    for (const place of actions) {
      const item = make("li", "", data.texts[place]);
      if (place === turn.action) item.setAttribute("aria-current", "true");
      list.append(item);
    }
    const title = `${actions.length} admissible ${actions.length === 1 ? "action" : "actions"}`;
    return make("details", "", make("summary", "", title), list);
  };

  const show = (turn, place) => {
    const middle = make("div", "", make("p", "said", data.texts[turn.observation]));
    if (turn.response !== turn.action) {
      const response = make("p", "said response", make("span", "label", "response"));
      response.append(data.texts[turn.response]);
      middle.append(response);
    }
    middle.append(action(turn), admissible(turn));
    return make("li", "turn", make("h3", "", `Turn ${place + 1}`), middle, worth(turn));
  };

  const open = (details) => {
    const place = details.querySelector(".turns");
    if (!details.open || place.hasChildNodes()) return;
    const turns = data.episodes[Number(details.id.split("-")[1])].map((values) =>
      Object.fromEntries(data.turn.map((name, index) => [name, values[index]])),
    );
    place.append(
      turns.length ? make("ol", "", ...turns.map(show)) : make("p", "soft", "No turn was played."),
    );
  };

  for (const details of document.querySelectorAll("#episodes > li > details")) {
    details.addEventListener("toggle", () => open(details));
  }
  const linked = document.getElementById(location.hash.slice(1));
  if (linked instanceof HTMLDetailsElement) linked.open = true;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
})();

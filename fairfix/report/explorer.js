"use strict";
// The figures of decisions at thresholds that the reader chooses. "E" has the functions of the
// figures, which tests call; the last part draws them.
const E = {
  cells(column, g, i) {
    const [no, yes] = column.above[g];
    return {tp: yes[i], fp: no[i], fn: yes[0] - yes[i], tn: no[0] - no[i]};
  },
  counts: (column, at) => at.map((i, g) => E.cells(column, g, i)),
  total(counts) {
    const sum = key => counts.reduce((all, c) => all + c[key], 0);
    return {tp: sum("tp"), fp: sum("fp"), fn: sum("fn"), tn: sum("tn")};
  },
  share(rate, counts, labeled) {
    const sum = cells => cells.reduce((all, cell) => all + counts[cell], 0);
    const known = labeled || !rate.labels;
    return {hits: known ? sum(rate.hits) : 0, trials: known ? sum(rate.trials) : 0};
  },
  value: share => share.trials > 0 ? share.hits / share.trials : NaN,
  // Gaps: of two groups the first minus the second, of more the largest minus the smallest.
  spread: v => v.length === 2 ? v[0] - v[1] : E.ends(v)[1] - E.ends(v)[0],
  ends: v => v.some(Number.isNaN) ? [NaN, NaN] : [Math.min(...v), Math.max(...v)],
  gap(metric, data, counts) {
    const rates = metric.rates.map(key =>
      counts.map(c => E.value(E.share(data.rates[key], c, data.labeled))));
    const spreads = rates.map(E.spread);
    if (metric.contrast === "ratio") {
      const [low, high] = rates[0].length === 2 ? rates[0] : E.ends(rates[0]);
      const ratio = low / high;
      return {value: ratio, size: 1 - Math.min(ratio, 1 / ratio)};
    }
    let value = spreads[0];
    if (metric.contrast === "mean_difference")
      value = E.spread(rates[0].map((rate, g) => (rate + rates[1][g]) / 2));
    if (metric.contrast === "mean_absolute")
      value = (Math.abs(spreads[0]) + Math.abs(spreads[1])) / 2;
    if (metric.contrast === "largest") value = Math.max(...spreads.map(Math.abs));
    return {value, size: Math.abs(value)};
  },
  performance(key, c) {
    if (key === "accuracy") return (c.tp + c.tn) / (c.tp + c.fp + c.fn + c.tn);
    if (key === "f1") return 2 * c.tp / (2 * c.tp + c.fp + c.fn);
    if (key === "precision") return c.tp / (c.tp + c.fp);
    if (key === "recall") return c.tp / (c.tp + c.fn);
    return (c.tp / (c.tp + c.fn) + c.tn / (c.fp + c.tn)) / 2;
  },
  // Wilson's interval with continuity correction; exact below 10 hits or misses.
  interval(hits, trials, data, effect) {
    const x = hits / effect, n = trials / effect;
    if (!(n > 0) || !data.intervals) return null;
    if (data.exact || Math.min(x, n - x) < data.few)
      return [x <= 0 ? 0 : E.betaInverse(data.alpha, x, n - x + 1),
        n - x <= 0 ? 1 : E.betaInverse(1 - data.alpha, x + 1, n - x)];
    const z = data.z, limit = (h, side) =>
      (h + z * z / 2 + side * z * Math.sqrt(h * (n - h) / n + z * z / 4)) / (n + z * z);
    return [Math.max(0, limit(Math.max(x - 0.5, 0), -1)),
      Math.min(1, limit(Math.min(x + 0.5, n), 1))];
  },
  logGamma(x) {
    if (x < 9) return E.logGamma(x + 1) - Math.log(x);
    const y = 1 / (x * x);
    return (x - 0.5) * Math.log(x) - x + 0.9189385332046727 +
      (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x;
  },
  // Regularized incomplete beta function, by its continued fraction (Lentz).
  beta(x, a, b) {
    if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - E.beta(1 - x, b, a);
    const tiny = 1e-300, front = Math.exp(E.logGamma(a + b) - E.logGamma(a) - E.logGamma(b) +
      a * Math.log(x) + b * Math.log1p(-x)) / a;
    let c = 1, d = 1 / (1 - (a + b) * x / (a + 1) || tiny), f = d;
    for (let m = 1; m < 1000; m++) {
      const even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
      const odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
      let step = 1;
      for (const term of [even, odd]) {
        d = 1 / (1 + term * d || tiny);
        c = 1 + term / c || tiny;
        step = c * d;
        f *= step;
      }
      if (Math.abs(step - 1) < 1e-14) break;
    }
    return front * f;
  },
  betaInverse(p, a, b) {
    let low = 0, high = 1;
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (E.beta(middle, a, b) < p) low = middle; else high = middle;
    }
    return (low + high) / 2;
  },
  // The metric of the claim; another one if thresholds do not change that.
  shown(data) {
    return data.metrics.find(m => m.key === data.claim.metric) || data.metrics[0];
  },
  // Positions of one threshold for all on the trade-off curve, from the smallest gap.
  tradeoff(data, column) {
    const metric = E.shown(data);
    const points = data.edges.map((_, i) => {
      const counts = E.counts(column, column.groups.map(() => i));
      const gap = E.gap(metric, data, counts).size;
      return {i, gap, performance: E.performance(data.performance, E.total(counts))};
    }).filter(p => !Number.isNaN(p.gap + p.performance));
    points.sort((a, b) => a.gap - b.gap || b.performance - a.performance);
    let best = -1;
    return points.filter(p => p.performance > best && ((best = p.performance), true));
  },
  // The rule with the chosen thresholds, and the command that tests it on new rows.
  rule(data, column, at) {
    const rule = {...data.rule}, names = column.names;
    if (new Set(at).size === 1) return {...rule, threshold: data.edges[at[0]], needs_group: false};
    const thresholds = Object.fromEntries(names.map((name, g) => [name, data.edges[at[g]]]));
    return {...rule, thresholds, needs_group: true, group_column: column.name};
  },
  command(data, column, at) {
    const how = new Set(at).size === 1 && !data.rule.score_model
      ? `--threshold ${data.edges[at[0]]}` : "--rule chosen.rule.json";
    return `${data.gate} ${how} --budget ${data.budget}`;
  },
  number(value, digits = 3) {
    if (value === null || Number.isNaN(value)) return "undefined";
    if (!Number.isFinite(value)) return value > 0 ? "inf" : "\u2212inf";
    const text = value.toFixed(digits);
    return Number(text) ? text.replace("-", "\u2212") : text.replace("-", "");
  },
  threshold: value => String(Number(value.toPrecision(4))).replace("-", "\u2212"),
  rows: value => Math.round(value).toLocaleString("en-US"),
};
if (typeof module === "object") module.exports = E;
if (typeof document === "object") (() => {
  const find = id => document.getElementById(`explorer-${id}`);
  const data = JSON.parse(find("data").textContent);
  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const cell = (text, low) => make("td", {class: "n"}, text, ...low ? [make("small", {}, low)] : []);
  const head = (text, kind = "") => make("th", {scope: "col", class: kind}, text);
  const capital = text => text[0].toUpperCase() + text.slice(1);
  const row = text => make("th", {scope: "row"}, make("bdi", {}, text));
  const fill = (id, header, rows) => find(id).replaceChildren(
    make("thead", {}, make("tr", {}, ...header.map((text, i) => head(text, i ? "n" : "")))),
    make("tbody", {}, ...rows.map(cells => make("tr", {}, ...cells))));
  let column, at, start, sliders, curve;

  function slider(id, label, value, most, chosen) {
    const input = make("input", {type: "range", id, min: 0, max: most, step: 1});
    input.value = value;
    input.addEventListener("input", () => { chosen(Number(input.value)); draw(); });
    input.addEventListener("change", announce);
    const output = make("output", {for: id});
    const line = make("div", {class: "slider"}, make("label", {for: id}, make("bdi", {}, label)),
      input, output);
    return {line, input, output};
  }
  const threshold = i => E.threshold(data.edges[i]);
  const shared = () => !find("each").checked;
  function open(index) {
    column = data.columns[index];
    const begin = column.start || column.groups.map(() => data.fallback);
    start = begin.map(value => data.edges.indexOf(value));
    at = [...start];
    curve = E.tradeoff(data, column);
    find("each").checked = new Set(at).size > 1;
    controls();
  }
  function controls() {
    const last = data.edges.length - 1;
    sliders = shared()
      ? [slider("explorer-all", "All groups", at[0], last, i => at.fill(i))]
      : column.groups.map((name, g) =>
          slider(`explorer-at-${g}`, name, at[g], last, i => { at[g] = i; }));
    if (shared()) at.fill(at[0]);
    if (shared() && curve.length > 1)
      sliders.push(slider("explorer-curve", "Along the trade-off curve", 0, curve.length - 1,
        k => at.fill(curve[k].i)));
    find("sliders").replaceChildren(...sliders.map(s => s.line));
    draw();
    announce();
  }
  function draw() {
    sliders.forEach((s, k) => {
      const along = s.input.id === "explorer-curve";
      let text;
      if (along) {
        const nearest = curve.reduce((best, p, j) =>
          Math.abs(p.i - at[0]) < Math.abs(curve[best].i - at[0]) ? j : best, 0);
        s.input.value = nearest;
        text = curve[nearest].i === at[0] ? `gap ${E.number(curve[nearest].gap)}` : "not on it";
      } else {
        s.input.value = at[shared() ? 0 : k];
        text = threshold(at[shared() ? 0 : k]);
      }
      s.output.textContent = text;
      s.input.setAttribute("aria-valuetext", text);
    });
    const counts = E.counts(column, at), all = E.total(counts);
    const shares = (c, effect) => data.shown.map(key => {
      const s = E.share(data.rates[key], c, data.labeled);
      const ends = effect && E.interval(s.hits, s.trials, data, effect);
      return cell(E.number(E.value(s)), ends && ends.map(e => E.number(e)).join(" to "));
    });
    const sides = c => ["tp", "fp", "fn", "tn"].map(key => cell(E.rows(c[key])));
    const rows = [...column.groups.map((name, g) => [name, counts[g], column.effects[g]]),
      ["All", all, column.effect]];
    fill("rates", ["group", "threshold", ...data.shown.map(key => data.rates[key].title)],
      rows.map(([name, c, effect], g) => [row(name),
        cell(g < at.length ? threshold(at[g]) : ""), ...shares(c, effect)]));
    if (data.labeled)
      fill("counts", ["group", "true positives", "false positives", "false negatives",
        "true negatives"], rows.map(([name, c]) => [row(name), ...sides(c)]));
    const before = E.counts(column, start);
    fill("gaps", ["metric", column.start ? "in use" : "at first", "chosen"],
      data.metrics.map(metric => {
        const found = E.gap(metric, data, counts), claimed = metric.key === data.claim.metric;
        const held = found.size < data.claim.budget;
        const word = claimed ? `${held ? "within" : "beyond"} ${data.claim.budget}` : "";
        const chosen = cell(E.number(found.value), word);
        chosen.classList.toggle("flag", claimed && !held);
        return [row(capital(metric.title)), cell(E.number(E.gap(metric, data, before).value)),
          chosen];
      }));
    const facts = data.performances.map(([key, title]) =>
      [title, E.performance(key, all), E.performance(key, E.total(before))]);
    find("facts").replaceChildren(...facts.map(([title, now, was]) => make("div", {},
      make("dt", {}, capital(title)), make("dd", {}, E.number(now), make("small", {},
        `${column.start ? "in use" : "at first"} ${E.number(was)}`)))));
    find("sign").textContent = column.sign;
    find("command").textContent = E.command(data, column, at);
    find("rule").textContent = JSON.stringify(E.rule(data, column, at), null, 1);
    find("file").hidden = !find("command").textContent.includes("--rule");
    follow();
  }
  // Move the line of each chart, and the operating points on the curves by group.
  function follow() {
    const here = data.columns.indexOf(column) === 0;
    for (const mark of document.querySelectorAll("#explorer svg[data-group]")) {
      const {group, x, y} = mark.dataset;
      const of = key =>
        E.value(E.share(data.rates[key], E.cells(column, group, at[group]), data.labeled));
      const seen = here && !Number.isNaN(of(x) + of(y));
      mark.setAttribute("visibility", seen ? "visible" : "hidden");
      if (!seen) continue;
      mark.setAttribute("x", `${100 * of(x)}%`);
      mark.setAttribute("y", `${100 - 100 * of(y)}%`);
    }
    const one = new Set(at).size === 1, x = `${100 * Math.min(1, Math.max(0, data.edges[at[0]]))}%`;
    for (const line of document.querySelectorAll("#explorer line.chosen")) {
      line.setAttribute("visibility", one ? "visible" : "hidden");
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
  }
  function announce() {
    const metric = E.shown(data);
    const gap = E.gap(metric, data, E.counts(column, at));
    const [[key, title]] = data.performances.length ? data.performances : [["", ""]];
    const kept = key && `, ${title} ${E.number(E.performance(key, E.total(E.counts(column, at))))}`;
    find("status").textContent = `${capital(metric.title)} ${E.number(gap.value)}${kept}.`;
  }
  find("each").addEventListener("change", controls);
  find("reset").addEventListener("click", () => open(data.columns.indexOf(column)));
  const choice = find("column");
  if (choice) choice.addEventListener("change", () => open(Number(choice.value)));
  addEventListener("click", event => {
    const link = event.target.closest("nav a");
    const fold = link && document.querySelector(`${link.hash} > details`);
    if (fold) fold.open = true;
  });
  open(0);
  find("panel").hidden = false;
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details.fold")) each.open = true;
  });
})();

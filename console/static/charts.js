// Charts of the last hour on uPlot (global, from its own file). Colours are the stylesheet's.

const EVERY_MS = 5000;
const POINTS = 360;
const WHOLE = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

function colour(element, tone) {
  element.className = tone;
  return getComputedStyle(element).getPropertyValue("--tone").trim();
}

// light-dark() reaches us unresolved in a custom property: let the browser resolve it.
function resolved(probe, value) {
  probe.style.color = value;
  return getComputedStyle(probe).color;
}

function compact(value) {
  if (value == null) return "";
  if (Math.abs(value) >= 10_000) return `${Math.round(value / 1000)}k`;
  return String(Math.round(value * 10) / 10);
}

export function startCharts() {
  const place = document.querySelector("[data-charts]");
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const sync = window.uPlot.sync("overview");
  let data = null;
  let charts = [];
  let timer = 0;
  const minutes = () => Number(place.querySelector("[name=span]:checked")?.value ?? 60);
  // No wider than what there is to show, but for five minutes at least.
  const span = () => Math.min(minutes() * 60, Math.max(300, Date.now() / 1000 - (data?.[0]?.at ?? Date.now()) / 1000));

  function options(chart, series) {
    const style = getComputedStyle(document.documentElement);
    const muted = resolved(probe, style.getPropertyValue("--muted"));
    const line = resolved(probe, style.getPropertyValue("--line"));
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return {
      width: Math.max(200, chart.clientWidth), height: Math.max(120, chart.clientHeight), legend: { show: false },
      cursor: { sync: { key: sync.key, setSeries: false }, points: { size: 6 }, y: false, drag: { x: false, y: false } },
      padding: [8, 8, 0, 0],
      scales: {
        x: { time: true, range: () => [Date.now() / 1000 - span(), Date.now() / 1000] },
        y: { range: (_, low, high) => [0, Math.max(4, (high ?? 1) * 1.15)] },
      },
      axes: [
        { stroke: muted, font, grid: { show: false }, ticks: { stroke: line, size: 4 }, size: 26, space: 70,
          values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toTimeString().slice(0, 5)) },
        { stroke: muted, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 40, space: 32, incrs: WHOLE,
          values: (_, ticks) => ticks.map(compact) },
      ],
      series: [{}, ...series.map(({ tone, label }) => {
        const stroke = resolved(probe, colour(probe, tone));
        return { label, stroke, width: 1.75, points: { show: false }, spanGaps: false,
          fill: series.length === 1 ? stroke.replace("rgb(", "rgba(").replace(")", ", .12)") : undefined };
      })],
      hooks: { setCursor: [(plot) => tell(chart, plot, series)] },
    };
  }

  function tell(chart, plot, series) {
    const index = plot.cursor.idx;
    const header = chart.closest(".card").querySelector(".legend");
    [...header.children].forEach((part, i) => {
      const value = index == null ? null : plot.data[i + 1][index];
      part.textContent = value == null ? series[i].label : `${compact(value)} ${series[i].label}`;
    });
  }

  function draw() {
    for (const chart of charts) chart.plot.destroy();
    charts = [...place.querySelectorAll("[data-chart]")].map((element) => {
      const series = element.dataset.series.split(",").map((text) => {
        const [key, tone, label, factor] = text.split(":");
        return { key, tone, label, factor: Number(factor) };
      });
      const plot = new window.uPlot(options(element, series), columns(series), element);
      return { element, series, plot };
    });
  }

  function columns(series) {
    return [data.map((point) => point.at / 1000), ...series.map(({ key, factor }) => data.map((point) => point[key] * factor))];
  }

  async function ask() {
    if (!document.hidden) {
      try {
        const answer = await fetch(`${place.dataset.charts}?minutes=${minutes()}&points=${POINTS}`);
        if (answer.ok) {
          data = (await answer.json()).points;
          if (charts.length === 0) draw();
          else for (const chart of charts) chart.plot.setData(columns(chart.series));
        }
      } catch { /* the page says that the console does not answer */ }
    }
    clearTimeout(timer);
    timer = setTimeout(ask, EVERY_MS);
  }

  place.addEventListener("change", ask);
  document.addEventListener("headrace:theme", () => data && draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => data && draw());
  new ResizeObserver(() => {
    for (const { element, plot } of charts) {
      if (Math.abs(plot.width - element.clientWidth) > 1) plot.setSize({ width: element.clientWidth, height: element.clientHeight });
    }
  }).observe(place);
  ask();
}

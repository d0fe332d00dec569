// The charts of the overview: uPlot over what the server says, in the colours of the page.

const drawn = new Map();
const HEIGHT = 150;

const two = (number) => String(number).padStart(2, "0");

// Hours and minutes as everybody at night reads them; at midnight, and where days pass, the day.
function moments(plot, marks) {
  const days = plot.scales.x.max - plot.scales.x.min > 172_800;
  return marks.map((mark) => {
    const at = new Date(mark * 1000);
    const midnight = at.getHours() === 0 && at.getMinutes() === 0;
    return days || midnight
      ? `${at.getDate()} ${at.toLocaleString("en", { month: "short" })}`
      : `${two(at.getHours())}:${two(at.getMinutes())}`;
  });
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function value(number, unit) {
  if (number === null || number === undefined) return "–";
  if (unit === "seconds") {
    if (number === 0) return "0";
    if (number < 0.001) return `${Math.round(number * 1e6)} µs`;
    if (number < 1) return `${number < 0.01 ? (number * 1e3).toFixed(1) : Math.round(number * 1e3)} ms`;
    if (number < 60) return `${number < 10 ? number.toFixed(1) : Math.round(number)} s`;
    if (number < 3600) return `${(number / 60).toFixed(1)} min`;
    return `${(number / 3600).toFixed(1)} h`;
  }
  const large = Math.abs(number);
  const suffix = unit === "rate" ? "/s" : "";
  if (large >= 1e6) return `${(number / 1e6).toFixed(1)}M${suffix}`;
  if (large >= 1e4) return `${(number / 1e3).toFixed(0)}k${suffix}`;
  if (large >= 1e3) return `${(number / 1e3).toFixed(1)}k${suffix}`;
  if (Number.isInteger(number)) return `${number}${suffix}`;
  return `${number.toFixed(large < 1 ? 2 : 1)}${suffix}`;
}

// The points between gaps, which no line leads to.
function lone(plot, series) {
  const values = plot.data[series];
  const is = (at) => values[at] !== null && values[at] !== undefined;
  return [...values.keys()].filter((at) => is(at) && !is(at - 1) && !is(at + 1));
}

function options(figure, chart) {
  const unit = chart.unit;
  const ink = colour("--ink-2");
  const grid = { stroke: colour("--line"), width: 1 };
  return {
    width: Math.max(200, figure.clientWidth),
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    cursor: { y: false, sync: { key: "overview" }, points: { size: 6 } },
    legend: { live: true },
    scales: {
      x: { time: true },
      y: {
        range: (_, least, most) => [0, most > 0 ? most * 1.1 : 1],
      },
    },
    axes: [
      { stroke: ink, grid, ticks: grid, font: "11px system-ui, sans-serif", space: 60, size: 28, values: moments },
      {
        stroke: ink, grid, ticks: grid, font: "11px system-ui, sans-serif", size: unit === "seconds" ? 60 : 44, space: 28,
        values: (_, marks) => marks.map((mark) => value(mark, unit)),
      },
    ],
    series: [
      {
        label: "At",
        value: (_, at) => {
          if (at === null) return "–";
          const moment = new Date(at * 1000);
          return `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
        },
      },
      ...chart.series.map((line) => ({
        label: line.label,
        stroke: colour(`--${line.colour}`),
        width: 1.5,
        fill: line.fill ? `${colour(`--${line.colour}`)}22` : undefined,
        points: { show: true, size: unit === "seconds" ? 3 : 4, fill: colour(`--${line.colour}`), filter: unit === "seconds" ? undefined : lone },
        spanGaps: false,
        value: (_, number) => value(number, unit),
      })),
    ],
  };
}

function draw(figure) {
  const chart = JSON.parse(figure.dataset.chart);
  const known = drawn.get(figure);
  const shape = JSON.stringify(chart.series.map((line) => line.label));
  if (known && known.shape === shape) {
    known.plot.setData([chart.at, ...chart.series.map((line) => line.values)]);
    return;
  }
  known?.plot.destroy();
  figure.replaceChildren();
  figure.setAttribute("data-drawn", "");
  const plot = new uPlot(options(figure, chart), [chart.at, ...chart.series.map((line) => line.values)], figure);
  drawn.set(figure, { plot, shape });
}

const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const known = drawn.get(target);
    if (known) known.plot.setSize({ width: Math.max(200, target.clientWidth), height: HEIGHT });
  }
});

function find() {
  for (const [figure, { plot }] of drawn) {
    if (!figure.isConnected) {
      plot.destroy();
      widths.unobserve(figure);
      drawn.delete(figure);
    }
  }
  for (const figure of document.querySelectorAll("[data-chart]:not([data-drawn])")) {
    draw(figure);
    widths.observe(figure);
    figure.addEventListener("backroom:data", () => draw(figure));
  }
}

function again() {
  for (const [figure, { plot }] of drawn) {
    plot.destroy();
    drawn.delete(figure);
    draw(figure);
  }
}

export function begin() {
  if (typeof uPlot === "undefined") return; // The pages without charts do not load it.
  find();
  document.addEventListener("backroom:page", find);
  document.addEventListener("backroom:theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}

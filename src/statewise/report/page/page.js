// Draws the figures: each one when it is first scrolled near, and again when the selection, the colour scheme or the medium changes.
"use strict";
(function () {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const plots = Array.from(document.querySelectorAll(".plot"));
  const drawn = new Set();

  // "@ink" -> the value of --ink in the style sheet, in a deep copy.
  function coloured(value, styles) {
    if (typeof value === "string") {
      return value.startsWith("@") ? styles.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.map((item) => coloured(item, styles));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, styles)]));
    }
    return value;
  }

  function chosen(figure, role, fallback) {
    const box = document.querySelector(`.controls[data-for="${figure}"] select[data-role="${role}"]`);
    return box ? box.value : fallback;
  }

  function traces(figure, panel) {
    const sequence = chosen(figure, "sequence", figures[figure].sequence);
    const model = chosen(figure, "model", figures[figure].model);
    const window = chosen(figure, "window", "all");
    const keys = new Set(["", model + sequence, sequence]);
    const picked = Array.from(keys).flatMap((key) => panel.traces[key] || []);
    return picked.filter((trace) => window === "all" || !trace.meta || String(trace.meta.window) === window);
  }

  function layout(plot, panel) {
    const own = panel.layout;
    const axis = { linecolor: "@axis", tickcolor: "@axis", zeroline: false, automargin: true, fixedrange: touch, minexponent: 6 };
    const title = (given) => (given && given.title ? { title: { ...given.title, standoff: 6, font: { size: 12 } } } : {});
    const family = getComputedStyle(document.body).fontFamily;
    return {
      autosize: true,
      margin: { l: 48, r: 26, t: 8, b: 32 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family, size: 12, color: "@muted" },
      showlegend: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: "@card", bordercolor: "@axis", align: "left", font: { family, color: "@ink", size: 12 } },
      dragmode: touch ? false : "zoom",
      shapes: own.shapes || [],
      xaxis: {
        ...axis,
        showgrid: false,
        showline: true,
        ticks: "outside",
        nticks: Math.max(3, Math.floor(plot.clientWidth / 95)),
        ...own.xaxis,
        ...title(own.xaxis),
      },
      yaxis: { ...axis, gridcolor: "@grid", nticks: 6, separatethousands: true, ...own.yaxis, ...title(own.yaxis) },
    };
  }

  function draw(plot) {
    const figure = plot.dataset.figure;
    const panel = figures[figure].panels[Number(plot.dataset.panel)];
    const styles = getComputedStyle(root);
    const first = !drawn.has(plot);
    drawn.add(plot);
    Plotly.react(plot, coloured(traces(figure, panel), styles), coloured(layout(plot, panel), styles), {
      responsive: true,
      displayModeBar: false,
      doubleClick: "reset",
    });
    if (first) {
      plot.dispatchEvent(new CustomEvent("drawn", { bubbles: true }));
    }
  }

  function redraw(which) {
    drawn.forEach((plot) => {
      if (!which || plot.dataset.figure === which) {
        draw(plot);
      }
    });
  }

  function showTwin(figure) {
    const model = chosen(figure, "model", figures[figure].model);
    document.querySelectorAll(`[data-twin-of="${figure}"]`).forEach((twin) => {
      twin.hidden = twin.dataset.model !== model;
    });
  }

  document.querySelectorAll(".controls").forEach((controls) => {
    controls.hidden = controls.querySelector("select") === null;
    showTwin(controls.dataset.for);
    controls.addEventListener("change", () => {
      showTwin(controls.dataset.for);
      redraw(controls.dataset.for);
    });
  });

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          watcher.unobserve(entry.target);
          draw(entry.target);
        }
      }
    },
    { rootMargin: "400px" },
  );
  plots.forEach((plot) => watcher.observe(plot));

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  window.addEventListener("beforeprint", () => {
    root.dataset.printing = "";
    plots.forEach(draw);
  });
  window.addEventListener("afterprint", () => {
    delete root.dataset.printing;
    redraw();
  });
})();

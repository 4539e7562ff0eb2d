// A click on a row of a heat map selects that row in the box above it, where there is one for it.
(function () {
  document.addEventListener("drawn", (event) => {
    const plot = event.target;
    const box = document.querySelector(`.controls[data-for="${plot.dataset.figure}"] select[data-role="sequence"]`);
    if (box === null) {
      return;
    }
    plot.on("plotly_click", (clicked) => {
      const point = clicked.points[0];
      if (point.data.type !== "heatmap") {
        return;
      }
      const rows = Array.from(box.options).filter((option) => option.value.startsWith("r"));
      const distance = (option) => Math.abs(Number(option.value.slice(1)) - point.y);
      const nearest = rows.reduce((best, option) => (distance(option) < distance(best) ? option : best), rows[0]);
      box.value = box.value === nearest.value ? "all" : nearest.value;
      box.dispatchEvent(new Event("change", { bubbles: true }));
    });
  });
})();

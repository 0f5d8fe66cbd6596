// Letters on charts follow the theme: they are painted, so no style sheet reaches them.
"use strict";

(() => {
  function paint() {
    const style = getComputedStyle(document.documentElement);
    Chart.defaults.color = style.getPropertyValue("--ink-soft").trim();
    for (const canvas of document.querySelectorAll("canvas.chart")) {
      const chart = Chart.getChart(canvas);
      if (chart) chart.update();
    }
  }

  paint();
  new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ["class"] });
})();

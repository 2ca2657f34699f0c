// The slider of "Threshold against cost": draws the cost of every threshold for errors of another cost.
(() => {
  const place = document.getElementById("costs");
  if (!place) return;
  const data = JSON.parse(document.getElementById("cost-data").textContent);
  const [curve, area] = ["curve", "area"].map((name) => place.querySelector(`[id$="-${name}"]`));
  const slider = document.getElementById("ratio");
  const told = document.getElementById("told");
  const box = (area.querySelector("path") || area).getBBox();

  const relative = (ratio) => {
    const without = Math.min(data.negatives, ratio * data.positives);
    return data.false.map((count, i) => (count + ratio * data.missed[i]) / without);
  };

  const show = () => {
    const ratio = data.ratios[slider.value];
    const costs = relative(ratio);
    const best = costs.indexOf(Math.min(...costs));
    const points = costs.map((cost, i) => {
      const x = box.x + box.width * data.threshold[i];
      const y = box.y + box.height * (1 - Math.min(cost, data.top) / data.top);
      return `${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    (curve.querySelector("path") || curve).setAttribute("d", `M ${points.join(" L ")}`);
    const times = ratio === 1 ? "as much as a false alarm" : `${ratio} times a false alarm`;
    slider.setAttribute("aria-valuetext", times);
    told.textContent =
      `${times}: the best threshold is ${data.threshold[best].toFixed(3)}, at ` +
      `${(100 * costs[best]).toFixed(0)}\u00a0% of the cost without a model; the model's threshold costs ` +
      `${(100 * costs[data.chosen]).toFixed(0)}\u00a0%.`;
  };

  slider.addEventListener("input", show);
  document.querySelector(".slider").hidden = false;
  show();
})();

"use strict";
// The server writes the page. This fetches it again and changes what is different, node by node, so that nothing is
// drawn in two ways, and focus, selection and what is unfolded stay. Without it the page is a snapshot.
(() => {
  const EVERY_MS = 3000;
  const ANSWER_WITHIN_MS = 10000;
  const PLOT = { width: 600, height: 160 };
  const byId = (id) => document.getElementById(id);
  let token = "";

  const refresh = async () => {
    if (document.hidden) return null;
    try {
      const headers = token ? { Authorization: "Bearer " + token } : {};
      const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
      const answer = await fetch("/", { headers, signal, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.title = fresh.title;
      for (const part of ["header", "main"]) become(document.querySelector(part), fresh.querySelector(part));
      return fresh;
    } catch {
      const since = byId("now").textContent;
      byId("stale").textContent = "lethe does not answer. What is shown is as of " + since + " UTC.";
      return null;
    }
  };

  // Makes a node what it is now.
  const become = (old, now) => {
    if (old.isEqualNode(now) || old.hasAttribute?.("data-own")) return;
    if (old.nodeName !== now.nodeName || !old.attributes) {
      old.replaceWith(now.cloneNode(true));
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!now.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of now.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const [children, those] = [[...old.childNodes], [...now.childNodes]];
    children.slice(those.length).forEach((child) => child.remove());
    those.forEach((that, at) => (at < children.length ? become(children[at], that) : old.append(that.cloneNode(true))));
  };

  // The values under the pointer, in the legend's place.
  const point = (graph, event) => {
    const svg = graph.querySelector(".plot svg");
    const box = svg.getBoundingClientRect();
    const x = Math.min(PLOT.width, Math.max(0, ((event.clientX - box.left) / box.width) * PLOT.width));
    const values = graph.querySelectorAll(".legend b");
    svg.querySelectorAll("[data-points]").forEach((line, at) => {
      const points = line.dataset.points.split(";").filter(Boolean).map((text) => text.split(":"));
      const nearer = (one, other) => (Math.abs(other[0] - x) < Math.abs(one[0] - x) ? other : one);
      if (points.length > 0) values[at].textContent = points.reduce(nearer)[1];
    });
    let mark = svg.querySelector(".at");
    if (!mark) {
      mark = document.createElementNS(svg.namespaceURI, "path");
      mark.setAttribute("class", "at");
      svg.append(mark);
    }
    mark.setAttribute("d", "M" + x + " 0V" + PLOT.height);
  };

  for (const graph of document.querySelectorAll(".graph")) {
    graph.addEventListener("pointermove", (event) => {
      if (event.target.closest(".plot")) point(graph, event);
    });
    graph.addEventListener("pointerleave", refresh);
  }

  byId("token-form")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    token = byId("token").value;
    const fresh = await refresh();
    if (fresh && byId("token-form")) {
      token = "";
      byId("token-says").textContent = "This token may not read them.";
    }
  });

  document.documentElement.classList.add("script");
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, EVERY_MS);
})();

// Keeps the page true while it is open. It works without: every form does.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const state = byId("state"), left = byId("left"), warning = byId("warning");
  let until = left ? performance.now() + 1000 * Number(left.dataset.seconds) : 0;

  const clock = (s) => {
    const two = (n) => String(n).padStart(2, "0");
    return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  };
  const show = () => {
    if (left) left.textContent = clock(Math.max(0, Math.round((until - performance.now()) / 1000)));
  };
  if (left) setInterval(show, 1000);

  const source = new EventSource("/.ara/events");
  source.addEventListener("state", (e) => {
    const s = JSON.parse(e.data);
    const body = document.body.dataset;
    const pin = byId("pin");
    if (s.state !== body.state || s.extension !== body.extension) {
      if (s.state === body.state && document.activeElement && document.activeElement.tagName === "INPUT") {
        body.extension = s.extension;
      } else if (!(pin && pin.value && s.state === body.state)) {
        source.close();
        location.replace("/.ara/"); // what can be done now is another
        return;
      }
    }
    if (state.textContent !== s.text) state.textContent = s.text;
    until = performance.now() + 1000 * s.remaining;
    if (warning) warning.hidden = !s.warn;
    show();
    if (s.state !== "requested" && s.state !== "pending" && s.state !== "active") source.close();
  });
})();

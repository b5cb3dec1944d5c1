// A terminal: what is typed goes to the gateway, which speaks SSH with the target.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const show = (id, on) => { byId(id).hidden = !on; };

  // The terminal makes style elements, which the page's policy lets in by this nonce.
  const create = document.createElement.bind(document);
  document.createElement = (name, options) => {
    const element = create(name, options);
    if (name === "style") element.nonce = document.body.dataset.nonce;
    return element;
  };

  // Time left, and the warning.
  const left = byId("left");
  let until = performance.now() + 1000 * Number(left.dataset.seconds);
  const two = (n) => String(n).padStart(2, "0");
  const clock = () => {
    const s = Math.max(0, Math.round((until - performance.now()) / 1000));
    left.textContent = `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  };
  setInterval(clock, 1000);
  const source = new EventSource("/.ara/events");
  source.addEventListener("state", (e) => {
    const s = JSON.parse(e.data);
    byId("state").textContent = s.text;
    until = performance.now() + 1000 * s.remaining;
    show("warning", s.warn);
    clock();
    if (s.state !== "requested" && s.state !== "pending" && s.state !== "active") source.close();
  });

  const term = new Terminal({ cursorBlink: true, fontSize: 15, scrollback: 5000, fontFamily: "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" });
  const fit = new FitAddon.FitAddon();
  term.loadAddon(fit);
  let socket, ready = false, over = false;
  const say = (m) => { if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(m)); };

  const end = (text) => {
    if (over) return;
    over = true;
    for (const id of ["login", "connecting", "trust", "ask"]) show(id, false);
    if (ready) term.write(`\r\n\x1b[0;7m ${text} \x1b[0m\r\n`);
    term.options.disableStdin = true;
    byId("outcome").textContent = text;
    show("ended", true);
  };

  const encoder = new TextEncoder();
  const type = (bytes) => {
    for (let i = 0; i < bytes.length; i += 16384) {
      if (ready && socket.readyState === WebSocket.OPEN) socket.send(bytes.subarray(i, i + 16384));
    }
  };
  term.onData((text) => type(encoder.encode(text)));
  term.onBinary((text) => type(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  term.onResize(({ cols, rows }) => { if (ready) say({ type: "size", columns: cols, rows }); });

  const ask = (m) => {
    byId("instruction").textContent = m.text || "";
    const list = byId("prompts");
    list.replaceChildren(...m.prompts.map((p, i) => {
      const label = create("label"), input = create("input"), row = create("p");
      label.textContent = p.text;
      label.htmlFor = input.id = `prompt-${i}`;
      input.type = p.echo ? "text" : "password";
      input.autocomplete = "off";
      row.append(label, input);
      return row;
    }));
    show("connecting", false);
    show("ask", true);
    list.querySelector("input").focus();
  };

  const heard = (m) => {
    switch (m.type) {
      case "recorded":
        show("recorded", true);
        break;
      case "key":
        byId("fingerprint").textContent = `${m.algorithm} ${m.fingerprint}`;
        show("key", true);
        show("pinned", m.pinned);
        if (!m.pinned) { show("connecting", false); show("trust", true); }
        break;
      case "ask":
        ask(m);
        break;
      case "ready":
        ready = true;
        document.body.dataset.ready = "";
        for (const id of ["connecting", "ask", "trust"]) show(id, false);
        say({ type: "size", columns: term.cols, rows: term.rows });
        term.focus();
        break;
      case "end":
        if (m.reason === "over") { show("again", false); show("stop", false); }
        end(m.code ? `${m.text} (${m.code})` : m.error ? `${m.text} (${m.error})` : m.text);
        break;
    }
  };

  byId("login").addEventListener("submit", (e) => {
    e.preventDefault();
    show("login", false);
    show("connecting", true);
    show("screen", true);
    term.open(byId("screen"));
    fit.fit();
    new ResizeObserver(() => fit.fit()).observe(byId("screen"));
    socket = new WebSocket(`wss://${location.host}/.ara/shell`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => say({ type: "login", user: byId("user").value, columns: term.cols, rows: term.rows });
    socket.onmessage = (e) => {
      if (typeof e.data === "string") { heard(JSON.parse(e.data)); return; }
      const bytes = new Uint8Array(e.data);
      term.write(bytes, () => say({ type: "shown", bytes: bytes.length }));
    };
    socket.onclose = () => end(byId("outcome").dataset.lost);
  });
  byId("trust").addEventListener("submit", (e) => {
    e.preventDefault();
    show("trust", false);
    show("connecting", true);
    say({ type: "trust" });
  });
  byId("ask").addEventListener("submit", (e) => {
    e.preventDefault();
    const inputs = [...byId("prompts").querySelectorAll("input")];
    say({ type: "answer", answers: inputs.map((i) => i.value) });
    byId("prompts").replaceChildren();
    show("ask", false);
    show("connecting", true);
  });
  byId("user").focus();
})();

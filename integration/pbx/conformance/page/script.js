"use strict";
// Each check throws what is wrong, and returns what is worth telling.

const size = () => Number(document.getElementById("size").value) * 1e6;
const pause = ms => new Promise(done => setTimeout(done, ms));

function equal(got, want, what) {
	if (got !== want) throw new Error(`${what}: ${got}, not ${want}`);
}

async function json(path, options) {
	const r = await fetch(path, options);
	if (!r.ok) throw new Error(`${path}: ${r.status}`);
	return r.json();
}

// fill writes the pattern: blocks of 4096 bytes that begin with their number.
function fill(bytes, at) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	for (let i = 0; i < bytes.length; i += 4096) {
		for (let k = 8; k < 4096; k++) bytes[i + k] = k % 251;
		view.setBigUint64(i, BigInt((at + i) / 4096));
	}
}

function progress(done, all, began) {
	document.getElementById("progress").value = all ? done / all : 0;
	document.getElementById("rate").textContent = `${(done / 1e6).toFixed(0)} MB, ${(done / 1e3 / (performance.now() - began + 1)).toFixed(1)} MB/s`;
}

function xhr(method, path, body, login, watch) {
	return new Promise((done, failed) => {
		const x = new XMLHttpRequest();
		login ? x.open(method, path, true, login.user, login.password) : x.open(method, path);
		if (watch) x.upload.onprogress = watch;
		x.onload = () => done(x);
		x.onerror = () => failed(new Error(`${path}: no answer`));
		x.send(body);
	});
}

const checks = {
	async "form, urlencoded"() {
		const fields = { text: "Grüße & Küsse", plus: "a+b c", empty: "" };
		const got = await json("form", { method: "POST", body: new URLSearchParams(fields) });
		for (const k in fields) equal(got.fields[k], fields[k], k);
		equal(got.type, "application/x-www-form-urlencoded", "type");
	},
	async "form, multipart with a file"() {
		const data = new FormData();
		data.set("text", "line\r\nline");
		data.set("file", new Blob([new Uint8Array(10000)]), "ü.bin");
		const got = await json("form", { method: "POST", body: data });
		equal(got.fields.text, "line\r\nline", "text");
		equal(got.fields.file, "ü.bin 10000", "file");
	},
	async "form, then see other"() {
		const r = await fetch("form", { method: "POST", body: new URLSearchParams({ see: "other", a: "ä" }) });
		equal(r.redirected, true, "redirected");
		equal(new URL(r.url).origin, location.origin, "origin");
		equal((await r.json()).fields.a, "ä", "a");
	},
	async "cookies"() {
		await fetch("cookies", { method: "POST" });
		const got = await json("cookies");
		equal(got.conformance_plain, "a b&c", "plain");
		equal(got.conformance_hidden, "h", "hidden");
		equal(got.conformance_host, "d", "host");
		equal(document.cookie.includes("conformance_plain"), true, "plain in the script");
		equal(document.cookie.includes("conformance_hidden"), false, "hidden in the script");
		await fetch("cookies", { method: "DELETE" });
		equal(Object.keys(await json("cookies")).length, 0, "after deleting");
	},
	async "WebSocket"() {
		const url = new URL("ws", location.href);
		url.protocol = url.protocol.replace("http", "ws");
		const ws = new WebSocket(url, "echo");
		ws.binaryType = "arraybuffer";
		const next = () => new Promise((done, failed) => {
			ws.onmessage = e => done(e.data);
			ws.onclose = ws.onerror = () => failed(new Error("closed"));
		});
		await new Promise((done, failed) => { ws.onopen = done; ws.onclose = ws.onerror = () => failed(new Error("not opened")); });
		equal(ws.protocol, "echo", "protocol");
		const began = performance.now();
		for (let i = 0; i < 100; i++) {
			const answer = next();
			ws.send(`message ${i}`);
			equal(await answer, `message ${i}`, "text");
		}
		const took = (performance.now() - began) / 100;
		const large = next();
		ws.send(new Uint8Array(500000));
		equal((await large).byteLength, 500000, "binary");
		const closed = new Promise(done => { ws.onclose = e => done(e.code); });
		ws.close(1000);
		equal(await closed, 1000, "close code");
		return `${took.toFixed(1)} ms there and back`;
	},
	async "Server-Sent Events, at once"() {
		const source = new EventSource("clock?every=300");
		const times = [];
		await new Promise((done, failed) => {
			source.addEventListener("time", () => { times.push(performance.now()); if (times.length === 4) done(); });
			source.onerror = () => failed(new Error("broken off"));
		});
		source.close();
		const gaps = times.slice(1).map((t, i) => t - times[i]);
		if (Math.min(...gaps) < 30) throw new Error(`events come in heaps: ${gaps.map(Math.round)}`);
		return `${gaps.map(Math.round)} ms apart`;
	},
	async "long poll"() {
		const before = (await json("poll", { method: "POST" })).number;
		const waiting = json(`poll?after=${before}`);
		await pause(300);
		const made = (await json("poll", { method: "POST" })).number;
		const got = (await waiting).number;
		if (got <= before || got > made + 100) throw new Error(`${got}, made ${made}`);
	},
	async "redirects"() {
		for (const status of [301, 302, 303, 307, 308]) {
			for (const form of ["", "&absolute"]) {
				const r = await fetch(`redirect/${status}?n=3${form}`);
				equal(new URL(r.url).origin, location.origin, "origin");
				equal((await r.json()).hops, 3, `${status}${form}`);
			}
		}
	},
	async "absolute links"() {
		equal((await json("absolute")).url, new URL(".", location.href).href, "link");
	},
	async "login by Basic"() {
		const r = await fetch("basic", { headers: { Authorization: "Basic " + btoa("conformance:conformance") } });
		equal(r.status, 200, "status");
	},
	async "login by Digest"() {
		const x = await xhr("GET", "digest", null, { user: "conformance", password: "conformance" });
		equal(x.status, 200, "status");
	},
	async "methods and large headers"() {
		for (const method of ["GET", "PUT", "PATCH", "DELETE"]) equal((await json("echo", { method })).method, method, "method");
		const got = await json("echo", { headers: { "X-Large": "x".repeat(6000) } });
		equal(got.headers["X-Large"][0].length, 6000, "header");
	},
	async "range"() {
		const r = await fetch("download?size=10000000", { headers: { Range: "bytes=4096-12287" } });
		equal(r.status, 206, "status");
		equal(r.headers.get("Content-Range"), "bytes 4096-12287/10000000", "range");
		const got = new Uint8Array(await r.arrayBuffer()), want = new Uint8Array(8192);
		fill(want, 4096);
		equal(got.length, 8192, "bytes");
		equal(got.every((b, i) => b === want[i]), true, "intact");
	},
	async "upload"() {
		const n = size(), parts = [], step = 1 << 20;
		for (let at = 0; at < n; at += step) {
			const part = new Uint8Array(step);
			fill(part, at);
			parts.push(new Blob([at + step > n ? part.subarray(0, n - at) : part]));
		}
		const began = performance.now();
		let seen = 0;
		const x = await xhr("POST", "upload", new Blob(parts), null, e => { seen++; progress(e.loaded, e.total, began); });
		equal(x.status, 200, "status");
		const got = JSON.parse(x.responseText);
		equal(got.bytes, n, "bytes");
		equal(got.intact, true, "intact");
		return `${(n / 1e3 / (performance.now() - began)).toFixed(1)} MB/s, progress ${seen} times`;
	},
	async "download"() {
		const n = size(), began = performance.now();
		const r = await fetch(`download?size=${n}`);
		equal(r.headers.get("Content-Length"), String(n), "Content-Length");
		const reader = r.body.getReader();
		let got = 0, head = [];
		for (;;) {
			const { done, value } = await reader.read();
			if (done) break;
			// The number of each block: it has to be where it belongs.
			for (let i = (8192 - got % 4096) % 4096; i < value.length; i += 4096) {
				const at = got + i;
				if (i + 8 <= value.length) {
					const block = Number(new DataView(value.buffer, value.byteOffset + i, 8).getBigUint64(0));
					equal(block, at / 4096, "block");
				}
			}
			got += value.length;
			progress(got, n, began);
		}
		equal(got, n, "bytes");
		return `${(n / 1e3 / (performance.now() - began)).toFixed(1)} MB/s`;
	},
};

async function run() {
	const results = document.getElementById("results"), summary = document.getElementById("summary");
	results.replaceChildren();
	delete document.documentElement.dataset.done;
	let failed = 0;
	for (const [name, check] of Object.entries(checks)) {
		const row = results.insertRow();
		row.insertCell().textContent = name;
		const result = row.insertCell(), detail = row.insertCell();
		result.textContent = "…";
		try {
			detail.textContent = await check() || "";
			row.dataset.result = "passed";
		} catch (e) {
			failed++;
			detail.textContent = e.message;
			row.dataset.result = "failed";
		}
		result.textContent = row.dataset.result;
	}
	summary.textContent = `${results.rows.length - failed} of ${results.rows.length} passed`;
	document.documentElement.dataset.done = failed ? "failed" : "passed";
}

const query = new URLSearchParams(location.search);
if (query.has("size")) document.getElementById("size").value = query.get("size");
document.getElementById("start").addEventListener("submit", e => { e.preventDefault(); run(); });
if (query.has("run")) run();

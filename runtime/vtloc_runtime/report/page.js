"use strict";
(() => {
  const ROW = 72, SPARE_ROWS = 6, STRIP = 16, FEW = 5, COLUMNS = 1000, COPY = "Copy times";
  const id = (name) => document.getElementById(name);
  const data = JSON.parse(id("page-data").textContent);
  const list = id("list"), rows = id("rows"), player = id("player"), still = id("still");
  const narrow = matchMedia("(max-width: 56rem)");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  let items = [];        // every answer: {film, answer, order, text}
  let shown = [];        // those that the filters let through, in order
  let summary = "";
  let selected = null;
  let film = null;       // the film in the player
  let playable = false;
  let time = 0;          // where the playhead is, seconds
  let stopAt = null;     // where a moment that is being played ends, seconds

  // Elements are made here and filled with text only: nothing in the data becomes markup.
  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name.includes("-") || name === "role") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  function svg(tag, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }
  const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

  function clock(seconds) {
    const tenths = Math.round(seconds * 10), minutes = Math.floor(tenths / 600);
    const rest = `${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
    const hours = Math.floor(minutes / 60);
    return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  }
  function timecode(seconds) {
    const ms = Math.round(seconds * 1000), two = (number) => String(Math.floor(number)).padStart(2, "0");
    return `${two(ms / 3600000)}:${two(ms / 60000 % 60)}:${two(ms / 1000 % 60)}.${String(ms % 1000).padStart(3, "0")}`;
  }
  const image = (owner, frame) => `data:image/jpeg;base64,${owner.images[frame.image]}`;
  function frameAt(owner, seconds) {
    let best = null;
    for (const frame of owner.frames) {
      if (best === null || Math.abs(frame.time - seconds) < Math.abs(best.time - seconds)) best = frame;
    }
    return best;
  }
  const inside = (answer, seconds) => answer.moments.some((m) => m.start <= seconds && seconds < m.end);
  function framesIn(owner, moment) {
    const found = owner.frames.filter((f) => moment.start <= f.time && f.time <= moment.end);
    const seen = new Set();
    return found.filter((f) => !seen.has(f.image) && seen.add(f.image)).slice(0, FEW);
  }
  const best = (answer) => answer.moments.length ? answer.moments[0] : null;
  const place = (seconds, owner) => 100 * Math.min(1, Math.max(0, seconds / (owner.duration || 1)));
  function span(element, moment, owner) {
    element.style.left = `${place(moment.start, owner)}%`;
    element.style.width = `${place(moment.end, owner) - place(moment.start, owner)}%`;
    return element;
  }
  function mini(answer, owner) {
    return make("div", {className: "mini"}, ...answer.moments.map((m) => span(make("i"), m, owner)));
  }

  // ---- the list ------------------------------------------------------------------------------

  function collect() {
    items = [];
    for (const owner of data.films) {
      if (owner.error) continue;
      for (const answer of owner.answers) {
        items.push({film: owner, answer, order: items.length, text: `${owner.name}\n${answer.query}`.toLowerCase()});
      }
    }
    const broken = data.films.filter((one) => one.error);
    const readable = data.films.length - broken.length;
    const found = items.filter((item) => item.answer.moments.length).length;
    summary = `${plural(readable, "film")}, ${plural(items.length, "answer")}, ${found.toLocaleString("en")} found`;
    const box = id("unreadable");
    box.hidden = !broken.length;
    box.querySelector("summary").textContent = `${plural(broken.length, "film")} could not be read`;
    box.querySelector("ul").replaceChildren(...broken.map((one) =>
      make("li", {}, make("b", {}, make("bdi", {textContent: one.name})), " ", make("bdi", {textContent: one.error}))));
    document.body.classList.toggle("one", items.length <= 1 && !data.live);
  }

  const alphabet = new Intl.Collator(undefined, {numeric: true});
  const orders = {
    asked: (a, b) => a.order - b.order,
    score: (a, b) => (best(b.answer)?.score ?? -1) - (best(a.answer)?.score ?? -1),
    presence: (a, b) => (b.answer.presence ?? -Infinity) - (a.answer.presence ?? -Infinity) || 0,
    film: (a, b) => alphabet.compare(a.film.name, b.film.name),
    start: (a, b) => (best(a.answer)?.start ?? Infinity) - (best(b.answer)?.start ?? Infinity) || 0,
  };
  function filter() {
    const words = id("search").value.toLowerCase().split(/\s+/).filter(Boolean), only = id("only").value;
    shown = items.filter(({answer, text}) => words.every((word) => text.includes(word))
      && (only === "all" || (only === "found") === answer.moments.length > 0));
    const order = orders[id("sort").value];
    shown.sort((a, b) => order(a, b) || a.order - b.order);
    const some = shown.length < items.length ? `, ${shown.length.toLocaleString("en")} shown` : "";
    id("counts").textContent = summary + some;
    rows.style.height = `${shown.length * ROW}px`;
    id("nothing").hidden = shown.length > 0;
    list.hidden = !shown.length;
    list.scrollTop = 0;
    drawRows();
  }
  // Only the rows in sight exist, so that thousands of answers cost no more than twenty.
  function drawRows() {
    let top = list.scrollTop, height = list.clientHeight;
    if (narrow.matches) {
      top = Math.max(0, -list.getBoundingClientRect().top);
      height = innerHeight;
    }
    const first = Math.max(0, Math.floor(top / ROW) - SPARE_ROWS);
    const last = Math.min(shown.length, Math.ceil((top + height) / ROW) + SPARE_ROWS);
    rows.replaceChildren(...shown.slice(first, last).map((item, index) => row(item, first + index)));
    const position = shown.indexOf(selected);
    if (first <= position && position < last) list.setAttribute("aria-activedescendant", `row-${position}`);
    else list.removeAttribute("aria-activedescendant");
  }
  function row(item, position) {
    const {film: owner, answer} = item, top = best(answer);
    const frame = frameAt(owner, top ? (top.start + top.end) / 2 : owner.duration / 2);
    const verdict = answer.error ? "failed" : top ? top.score.toFixed(2) : "none";
    const element = make("div", {
      className: "row", id: `row-${position}`, role: "option", "aria-selected": String(item === selected),
      "aria-setsize": shown.length, "aria-posinset": position + 1,
      onclick: () => { select(item); list.focus({preventScroll: true}); },
    },
    frame ? make("img", {src: image(owner, frame), alt: "", loading: "lazy"}) : make("div", {className: "blank"}),
    make("bdi", {className: "sentence", textContent: answer.query}),
    make("span", {className: "score", textContent: verdict}),
    make("bdi", {className: "name", textContent: owner.name, title: owner.name}),
    mini(answer, owner));
    element.style.top = `${position * ROW}px`;
    return element;
  }
  function step(by) {
    const at = shown.indexOf(selected);
    const next = shown[Math.min(shown.length - 1, Math.max(0, at + by))];
    if (!next || next === selected) return;
    select(next, {open: false});
    const y = shown.indexOf(next) * ROW;
    if (y < list.scrollTop) list.scrollTop = y;
    else if (y + ROW > list.scrollTop + list.clientHeight) list.scrollTop = y + ROW - list.clientHeight;
    drawRows();
  }

  // ---- the answer ----------------------------------------------------------------------------

  function select(item, {open = true} = {}) {
    selected = item;
    const {film: owner, answer} = item;
    id("query").replaceChildren("“", make("bdi", {textContent: answer.query}), "”");
    const verdict = id("verdict");
    verdict.classList.toggle("none", !answer.moments.length);
    const presence = answer.presence === null ? "" : `, presence ${answer.presence.toFixed(2)}`;
    const top = best(answer), more = answer.moments.length - 1;
    verdict.textContent = answer.error || (top
      ? `${clock(top.start)} – ${clock(top.end)}${more ? ` and ${more} more` : ""}${presence}`
      : `No such moment in this film${presence}`);
    id("film-name").textContent = owner.name;
    id("film-length").textContent = owner.duration ? clock(owner.duration) : "";
    id("notes").replaceChildren(...[...owner.warnings, ...answer.warnings].map((note) =>
      make("li", {}, make("bdi", {textContent: note}))));
    const changed = owner !== film;
    if (changed) load(owner);
    drawTracks(owner, answer);
    drawMoments(owner, answer);
    drawOthers(item);
    seek(best(answer)?.start ?? (changed ? 0 : time));
    if (open) {
      document.body.classList.add("detail-open");
      if (narrow.matches) scrollTo(0, 0);
    }
    drawRows();
  }

  function load(owner) {
    film = owner;
    player.pause();
    const carried = owner.carried ? id(owner.carried) : null;
    if (player.src.startsWith("blob:")) URL.revokeObjectURL(player.src);
    const coming = owner.carried && !carried;
    const source = carried ? blobOf(carried.textContent, owner.kind) : coming ? "" : owner.source;
    playable = Boolean(source);
    player.hidden = !playable;
    if (playable) player.src = source;
    else { player.removeAttribute("src"); player.load(); }
    const first = owner.frames[0];
    player.poster = first ? image(owner, first) : "";
    showStill(playable || coming ? "" : "The film is not where this page can reach it.");
  }
  function blobOf(text, kind) {
    const raw = atob(text.trim()), bytes = new Uint8Array(raw.length);
    for (let index = 0; index < raw.length; index++) bytes[index] = raw.charCodeAt(index);
    return URL.createObjectURL(new Blob([bytes], {type: kind}));
  }
  function showStill(why) {
    const note = id("player-note");
    note.hidden = playable || !why;
    note.textContent = why;
    still.hidden = playable || !film.frames.length;
    drawStill();
  }
  function drawStill() {
    const frame = still.hidden ? null : frameAt(film, time);
    if (frame) {
      still.src = image(film, frame);
      still.alt = `The film at ${clock(frame.time)}`;
    }
  }
  player.addEventListener("error", () => {
    if (!player.getAttribute("src")) return;
    playable = false;
    player.hidden = true;
    showStill("The film cannot be played here: it was moved, or this browser does not know its format. "
      + "The pictures are from the film.");
  });
  player.addEventListener("loadedmetadata", () => { if (Math.abs(player.currentTime - time) > .05) player.currentTime = time; });
  player.addEventListener("timeupdate", follow);
  player.addEventListener("seeked", follow);
  player.addEventListener("play", function tick() {
    follow();
    if (!player.paused) requestAnimationFrame(tick);
  });
  function follow() {
    if (!playable || player.readyState === 0 || player.seeking) return;
    if (stopAt !== null && !player.paused && player.currentTime >= stopAt) {
      player.pause();
      stopAt = null;
    }
    time = player.currentTime;
    drawTime();
  }
  function seek(seconds) {
    stopAt = null;
    time = Math.min(Math.max(0, seconds), film.duration || 0);
    if (playable && player.readyState > 0) player.currentTime = time;
    drawTime();
    drawStill();
  }
  function playMoment(moment) {
    seek(moment.start);
    if (!playable) return;
    stopAt = moment.end;
    player.play().catch(() => {});
  }
  function toggle() {
    if (!playable) return;
    stopAt = null;
    if (player.paused) player.play().catch(() => {});
    else player.pause();
  }
  function drawTime() {
    const head = id("playhead"), axis = id("axis");
    head.hidden = !film.duration;
    head.style.left = `calc(var(--gutter) + (100% - var(--gutter)) * ${place(time, film) / 100})`;
    axis.setAttribute("aria-valuemax", film.duration);
    axis.setAttribute("aria-valuenow", time.toFixed(1));
    axis.setAttribute("aria-valuetext", `${clock(time)} of ${clock(film.duration)}`);
  }

  // ---- the tracks: pictures, moments, curve and words over one axis of time --------------------

  function track(label, plot) {
    return make("div", {className: "track"}, label instanceof Node ? label : make("span", {textContent: label}), plot);
  }
  function drawTracks(owner, answer) {
    const tracks = id("tracks");
    tracks.querySelectorAll(".track").forEach((old) => old.remove());
    tracks.hidden = !owner.duration;
    const made = [];
    if (owner.frames.length) made.push(track("film", strip(owner, answer)));
    made.push(track("moments", make("div", {className: "plot bars"}, ...answer.moments.map((moment, index) =>
      span(make("button", {
        type: "button", textContent: index + 1, title: `${clock(moment.start)} – ${clock(moment.end)}`,
        "aria-label": `Moment ${index + 1}, ${clock(moment.start)} to ${clock(moment.end)}, score ${moment.score.toFixed(2)}`,
        onclick: (event) => { event.stopPropagation(); playMoment(moment); },
      }), moment, owner)))));
    if (answer.curve) made.push(track("similarity", curve(owner, answer)));
    if (answer.words.length && answer.weights) made.push(words(owner, answer));
    id("axis").before(...made);
    drawAxis(owner);
  }
  function strip(owner, answer) {
    const pictures = [];
    for (let slot = 0; slot < STRIP; slot++) {
      const middle = (slot + .5) * owner.duration / STRIP, frame = frameAt(owner, middle);
      pictures.push(make("img", {
        src: image(owner, frame), alt: "", className: inside(answer, middle) ? "inside" : "",
      }));
    }
    return make("div", {className: "plot strip", role: "img", "aria-label": "Pictures of the film"}, ...pictures);
  }
  function curve(owner, answer) {
    const values = answer.curve, low = Math.min(...values), high = Math.max(...values);
    const range = high - low || 1, x = (seconds) => place(seconds, owner) * 10;
    const y = (value) => 94 - 88 * (value - low) / range;
    const points = values.map((value, index) => `${x(owner.times[index]).toFixed(1)},${y(value).toFixed(1)}`);
    const end = x(owner.duration).toFixed(1), line = `M${points.join("L")}H${end}`;
    const picture = svg("svg", {viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true"});
    for (const moment of answer.moments) {
      picture.append(svg("rect", {class: "span", x: x(moment.start), y: 0, width: x(moment.end) - x(moment.start), height: 100}));
    }
    picture.append(svg("path", {class: "area", d: `${line}V100H${x(owner.times[0]).toFixed(1)}Z`}));
    picture.append(svg("path", {class: "line", d: line}));
    const peak = owner.times[values.indexOf(high)];
    return make("div", {
      className: "plot curve", role: "img",
      "aria-label": `Similarity of each frame to the sentence, ${low.toFixed(2)} to ${high.toFixed(2)}, highest at ${clock(peak)}`,
    }, picture, make("small", {textContent: high.toFixed(2)}), make("small", {textContent: low.toFixed(2)}));
  }
  function words(owner, answer) {
    const raw = atob(answer.weights), width = owner.times.length, height = answer.words.length;
    const canvas = make("canvas", {width: COLUMNS, height, "aria-hidden": "true"}), pen = canvas.getContext("2d");
    const pixels = pen.createImageData(COLUMNS, height);
    const [red, green, blue] = colour(getComputedStyle(document.documentElement).getPropertyValue("--mark"));
    let peak = 1;
    for (let index = 0; index < raw.length; index++) peak = Math.max(peak, raw.charCodeAt(index));
    // The canvas has columns of equal length; frames lie where the film shows them.
    let source = 0;
    for (let column = 0; column < COLUMNS; column++) {
      const seconds = (column + .5) * owner.duration / COLUMNS;
      while (source + 1 < width && owner.times[source + 1] <= seconds) source++;
      for (let word = 0; word < height; word++) {
        const at = 4 * (word * COLUMNS + column);
        pixels.data.set([red, green, blue, 255 * raw.charCodeAt(word * width + source) / peak], at);
      }
    }
    pen.putImageData(pixels, 0, 0);
    const labels = make("span", {className: "words-labels"},
      ...answer.words.map((word) => make("span", {textContent: word, title: word})));
    const plot = make("div", {
      className: "plot words", role: "img", "aria-label": `Which words each second has to do with: ${answer.words.join(" ")}`,
    }, canvas);
    plot.style.height = `${20 * height}px`;
    return track(labels, plot);
  }
  function colour(text) {
    const digits = text.trim().slice(1, 7);
    return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
  }
  function drawAxis(owner) {
    const axis = id("axis"), room = Math.max(2, Math.floor((axis.clientWidth || 600) / 70));
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
    const gap = steps.find((one) => owner.duration / one <= room) || 28800;
    const marks = [];
    for (let at = 0; at < owner.duration - gap / 2; at += gap) marks.push(at);
    axis.replaceChildren(...marks.flatMap((at) => [tick(at, owner, ""), label(at, owner, "")]),
      tick(owner.duration, owner), label(owner.duration, owner, "last"));
  }
  function tick(at, owner) {
    const mark = make("i");
    mark.style.left = `${place(at, owner)}%`;
    return mark;
  }
  function label(at, owner, kind) {
    const text = make("span", {className: kind, textContent: kind ? clock(at) : clock(at).replace(/\.0$/, "")});
    text.style.left = `${place(at, owner)}%`;
    return text;
  }

  function drawMoments(owner, answer) {
    id("moments").replaceChildren(...answer.moments.map((moment, index) => {
      const name = `${clock(moment.start)} – ${clock(moment.end)}`;
      const copy = make("button", {type: "button", className: "copy", textContent: COPY, title: "Copy time codes"});
      copy.onclick = () => copyText(`${timecode(moment.start)} ${timecode(moment.end)}`, copy);
      const bar = make("i");
      bar.style.width = `${100 * moment.score}%`;
      return make("li", {},
        make("span", {className: "rank", textContent: index + 1}),
        make("button", {type: "button", className: "go", textContent: name, title: "Play this moment", onclick: () => playMoment(moment)}),
        make("span", {className: "score", title: "Score"}, make("span", {className: "mini"}, bar), moment.score.toFixed(2)),
        copy,
        make("span", {className: "frames"}, ...framesIn(owner, moment).map((frame) =>
          make("button", {type: "button", title: clock(frame.time), onclick: () => seek(frame.time)},
            make("img", {src: image(owner, frame), alt: `The film at ${clock(frame.time)}`, loading: "lazy"})))));
    }));
  }
  async function copyText(text, button) {
    let copied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", {value: text});
      document.body.append(area);
      area.select();
      copied = document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = copied ? "Copied" : text;
    setTimeout(() => { if (copied) button.textContent = COPY; }, 1500);
  }
  function drawOthers(item) {
    const others = items.filter((one) => one.film === item.film && one !== item);
    id("others").hidden = !others.length;
    id("other-rows").replaceChildren(...others.slice(0, 200).map((one) =>
      make("button", {type: "button", className: "other", onclick: () => { select(one); }},
        make("bdi", {textContent: one.answer.query}), mini(one.answer, one.film),
        make("span", {className: "soft", textContent: best(one.answer)?.score.toFixed(2) ?? "none"}))));
  }

  // ---- pointing and keys -----------------------------------------------------------------------

  const tracks = id("tracks");
  function secondsAt(event) {
    const box = id("axis").getBoundingClientRect();
    return film.duration * Math.min(1, Math.max(0, (event.clientX - box.left) / (box.width || 1)));
  }
  let dragging = false;
  tracks.addEventListener("pointerdown", (event) => {
    if (event.button || !event.target.closest(".plot, .axis") || event.target.closest("button")) return;
    dragging = true;
    tracks.setPointerCapture(event.pointerId);
    seek(secondsAt(event));
  });
  tracks.addEventListener("pointermove", (event) => {
    if (dragging) seek(secondsAt(event));
    const hover = id("hover"), over = event.pointerType === "mouse" && event.target.closest(".plot, .axis");
    hover.hidden = !over || !film.duration;
    if (hover.hidden) return;
    const seconds = secondsAt(event), frame = frameAt(film, seconds), box = tracks.getBoundingClientRect();
    hover.querySelector("img").hidden = !frame;
    if (frame) hover.querySelector("img").src = image(film, frame);
    hover.querySelector("span").textContent = clock(seconds);
    hover.style.left = `${Math.min(box.width - 60, Math.max(60, event.clientX - box.left))}px`;
  });
  for (const name of ["pointerup", "pointercancel"]) tracks.addEventListener(name, () => { dragging = false; });
  tracks.addEventListener("pointerleave", () => { id("hover").hidden = true; });

  const jumps = {ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10};
  id("axis").addEventListener("keydown", (event) => {
    if (event.key === "Home") seek(0);
    else if (event.key === "End") seek(film.duration);
    else if (event.key in jumps) seek(time + jumps[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !selected) return;
    const target = event.target, typing = target.matches("input, select, textarea, video");
    if (event.key === "Escape" && target === id("search")) {
      id("search").value = "";
      filter();
      list.focus();
    } else if (typing) return;
    else if (event.key === "/") id("search").focus();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") step(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") seek(time + jumps[event.key]);
    else if (event.key === " " && !target.matches("button, summary")) toggle();
    else if (event.key === "Enter" && target === list) { document.body.classList.add("detail-open"); id("axis").focus(); }
    else if (/^[1-9]$/.test(event.key) && selected.answer.moments[event.key - 1]) playMoment(selected.answer.moments[event.key - 1]);
    else return;
    event.preventDefault();
  });
  list.addEventListener("scroll", drawRows, {passive: true});
  addEventListener("scroll", () => { if (narrow.matches) drawRows(); }, {passive: true});
  addEventListener("resize", () => { drawRows(); if (film) drawAxis(film); });
  dark.addEventListener("change", () => { if (selected) drawTracks(selected.film, selected.answer); });
  id("back").addEventListener("click", () => {
    document.body.classList.remove("detail-open");
    player.pause();
    list.focus({preventScroll: true});
    scrollTo(0, shown.indexOf(selected) * ROW);
    drawRows();
  });
  for (const name of ["search", "only", "sort"]) id(name).addEventListener("input", filter);
  id("filters").addEventListener("submit", (event) => event.preventDefault());

  // ---- live: a server answers questions with films of the same model ---------------------------

  function startLive(live) {
    const form = id("ask"), state = id("ask-state");
    form.hidden = false;
    id("ask-film").replaceChildren(...live.films.map((name) => make("option", {value: name, textContent: name})));
    id("ask-upload").hidden = !live.upload;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      state.textContent = "Looking…";
      try {
        let video = id("ask-film").value;
        const file = id("ask-file").files[0];
        if (file) {
          const address = `${live.upload}?name=${encodeURIComponent(file.name)}`;
          const headers = {"Content-Type": "application/octet-stream"};
          video = (await answerOf(await fetch(address, {method: "POST", headers, body: file}))).video;
        }
        const question = JSON.stringify({video, query: id("ask-query").value});
        const answer = await answerOf(await fetch(live.ask, {
          method: "POST", headers: {"Content-Type": "application/json"}, body: question,
        }));
        add(answer.films);
        state.textContent = "";
      } catch (error) {
        state.textContent = error.message;
      } finally {
        button.disabled = false;
      }
    });
  }
  async function answerOf(response) {
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(body.error || `The server answered ${response.status}.`);
    return body;
  }
  function add(films) {
    data.films.unshift(...films);
    collect();
    filter();
    id("detail").hidden = !items.length;
    if (items.length) select(items[0]);
  }

  function ran() {
    const run = data.run, lines = [["vtloc", run.version], ["bundle", run.bundle], ["digest", run.digest],
      ["backend", run.backend], ["command", run.command], ["written", run.written]];
    id("ran").replaceChildren(...lines.filter(([, value]) => value).flatMap(([name, value]) =>
      [make("dt", {textContent: name}), make("dd", {}, make("bdi", {textContent: value}))]));
  }

  document.title = data.title;
  id("title").textContent = data.title;
  ran();
  collect();
  filter();
  if (data.live) startLive(data.live);
  const start = shown.find((item) => item.answer.moments.length) || shown[0];
  if (start) select(start, {open: items.length <= 1});
  id("detail").hidden = !start;
  // Films that are carried in the page come after this script.
  document.addEventListener("DOMContentLoaded", () => {
    if (film && film.carried) load(film);
  });
})();

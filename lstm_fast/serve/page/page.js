// The page: buttons to sources, a source to a client, answers to what is seen.

import { AudioProblem, microphone, recording } from "./audio.js";
import { Client } from "./client.js";
import { Timeline } from "./view.js";

const $ = (id) => document.getElementById(id);
const timeline = new Timeline($("timeline"));
const fragment = new URLSearchParams(location.hash.slice(1)); // is not sent to the server
if (fragment.has("token")) {
  $("token").value = fragment.get("token");
  history.replaceState(null, "", location.pathname); // nor left to be seen
}

let source = null;
let client = null;
let latencies = [];
let turns = 0;
let rows = [];
let run = 0; // which start is the latest: what an older one still does is dropped

// For tests, and for those who look from the console
export const page = { windows: [], segments: [], turns: [], latencies: [] };
window.page = page;

const seconds = (value) => `${value.toFixed(2)} s`;

function say(kind, text) {
  $("status").dataset.kind = kind;
  $("status").textContent = text;
}

function complain(text) {
  $("problem").textContent = text ?? "";
  $("problem").hidden = !text;
}

function buttons(isRunning) {
  $("microphone").disabled = $("file").disabled = isRunning;
  $("stop").disabled = !isRunning;
  $("threshold").disabled = $("pause").disabled = $("token").disabled = isRunning;
  if (isRunning) $("stop").focus();
}

function reset(rate) {
  timeline.clear(rate);
  timeline.threshold = Number($("threshold").value);
  latencies = [];
  turns = 0;
  rows = [];
  Object.assign(page, { windows: [], segments: [], turns: [], latencies });
  $("segments").replaceChildren();
  $("nothing").hidden = false;
  for (const id of ["latency", "worst"]) $(id).textContent = "–";
  for (const id of ["segments-count", "turns-count"]) $(id).textContent = "0";
  $("time").textContent = "0.0 s";
}

function row(kind, what, from, to) {
  const line = document.createElement("tr");
  line.dataset.kind = kind;
  for (const text of [what, from, to, ""]) line.append(document.createElement("td"));
  fill(line, [what, from, to, ""]);
  $("segments").prepend(line);
  $("nothing").hidden = true;
  return line;
}

function fill(line, texts) {
  texts.forEach((text, n) => (line.cells[n].textContent = text));
}

function happen(event) {
  const at = event.seconds;
  if (event.type === "speech_start") {
    const segment = { from: at, to: null };
    page.segments.push(segment);
    timeline.segments.push(segment);
    rows.push(row("speech", "Speech", seconds(at), "…"));
    $("segments-count").textContent = page.segments.length;
  } else if (event.type === "speech_end") {
    const segment = page.segments.at(-1);
    segment.to = at;
    const length = seconds(at - segment.from);
    fill(rows.at(-1), ["Speech", seconds(segment.from), seconds(at), length]);
  } else if (event.type === "turn_end") {
    page.turns.push(at);
    timeline.turns.push(at);
    row("turn", "End of turn", seconds(at), "");
    $("turns-count").textContent = ++turns;
  }
  const isSpeaking = page.segments.length > 0 && page.segments.at(-1).to === null;
  $("state").dataset.speaking = isSpeaking;
  $("state").textContent = isSpeaking ? "Speech" : "Silence";
}

function answer(message, latency) {
  const { probability, samples } = message;
  const time = samples / timeline.rate;
  page.windows.push({ time, probability });
  timeline.windows.push({ time: time - 0.016, probability });
  $("probability").value = probability;
  $("probability-text").textContent = probability.toFixed(2);
  $("time").textContent = `${time.toFixed(1)} s`;
  for (const event of message.events ?? []) happen(event);
  if (latency !== null) measure(latency);
  timeline.paint();
}

function measure(latency) {
  latencies.push(latency);
  if (latencies.length > 300) latencies.shift(); // some ten seconds
  const ordered = [...latencies].sort((a, b) => a - b);
  const at = (share) => ordered[Math.min(ordered.length - 1, Math.floor(share * ordered.length))];
  $("latency").textContent = `${at(0.5).toFixed(1)} ms`;
  $("worst").textContent = `${at(0.99).toFixed(1)} ms`;
}

async function start(open, what) {
  const mine = ++run;
  complain(null);
  buttons(true);
  say("waiting", "Starting…");
  let waiting = []; // heard before there is a client
  let opened;
  try {
    opened = await open((pcm) => {
      if (mine !== run) return;
      timeline.hear(pcm);
      if (waiting) waiting.push(pcm);
      else client?.send(pcm);
    });
    if (mine === run) {
      reset(opened.rate);
      await opened.start();
    }
  } catch (error) {
    if (!(error instanceof AudioProblem)) console.error(error);
    if (mine !== run) return;
    complain(error instanceof AudioProblem ? error.message : `There is no sound: ${error.message}`);
    finish("bad", "Not connected");
    return;
  }
  if (mine !== run) {
    await opened.stop();
    return;
  }
  source = opened;
  const told = {
    rate: source.rate,
    threshold: Number($("threshold").value),
    turn_pause_ms: Number($("pause").value),
    token: $("token").value,
  };
  client = new Client(told, {
    ready(message) {
      say("live", `Live: ${what}, ${source?.rate ?? message.rate} Hz`);
      complain(null);
    },
    answer,
    done(message) {
      for (const event of message.events) happen(event);
    },
    waiting(attempt) {
      say("waiting", `Connection lost, attempt ${attempt}`);
      complain("The connection is lost. Trying to go on: what is heard meanwhile is sent then.");
    },
    closed(code, problem) {
      complain(problem);
      stop(problem ? "bad" : "idle", problem ? "Not connected" : "Done");
      if (code === 4401) {
        $("token-row").hidden = false;
        $("token").focus();
      }
    },
  });
  for (const pcm of waiting) client.send(pcm);
  waiting = null;
}

// End the session, and say so once the last answers are there.
async function leave() {
  if (!client) {
    run++;
    finish("idle", "Not connected");
    return;
  }
  const [ending, sound] = [client, source];
  source = null;
  $("stop").disabled = true;
  say("waiting", "Stopping…");
  await sound?.stop();
  ending.end();
  if (ending.isOver) finish("idle", "Not connected");
}

async function stop(kind, text) {
  const sound = source;
  source = client = null;
  finish(kind, text);
  await sound?.stop();
}

function finish(kind, text) {
  client = null;
  buttons(false);
  say(kind, text);
  $("state").dataset.speaking = false;
  $("state").textContent = "Not listening";
}

const gone = (text) => {
  complain(text);
  leave();
};

$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("microphone").disabled) start((take) => microphone(take, gone), "microphone");
});
$("file").addEventListener("click", () => $("chooser").click());
$("chooser").addEventListener("change", () => {
  const [file] = $("chooser").files;
  $("chooser").value = ""; // so that the same one can be chosen again
  if (file) start((take) => recording(file, take, leave), file.name);
});
$("stop").addEventListener("click", leave);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("stop").disabled) leave();
});

// A token is asked for only where the server wants one.
fetch("healthz")
  .then((answered) => answered.json())
  .then(({ token }) => ($("token-row").hidden = !token))
  .catch(() => complain("There is no connection to the server. Is it running?"));

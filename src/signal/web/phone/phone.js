// The page: fields and buttons on one side, the user agent and its one call on the other. Fields are
// filled from the URL's fragment, which never leaves the browser:
// #user=1001&password=…&number=100&quick=100:echo,101:speech

import { UserAgent } from "./user_agent.js";
import { LineView, drawHistory } from "./line_view.js";
import { Cadence, Meter, audioContext, click, share } from "./sound.js";

const KEYS = [
  ["1", ""], ["2", "ABC"], ["3", "DEF"], ["4", "GHI"], ["5", "JKL"], ["6", "MNO"],
  ["7", "PQRS"], ["8", "TUV"], ["9", "WXYZ"], ["*", ""], ["0", "+"], ["#", ""],
];
const KEY_NAMES = { "*": "star", "#": "hash" };
const READING_MS = 1000;
// The scale of the histories never ends below these, so that nothing looks like something.
const ROUND_TRIP_TOP_MS = 20;
const LOSS_TOP_PERCENT = 5;
const MICROPHONE = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } };

const element = (id) => document.getElementById(id);
const cadence = new Cadence();
let agent = null;
let call = null;
// While the browser asks the person for the microphone.
let asking = false;
let meters = {};
let view = null;

// Account

element("account-form").addEventListener("submit", (event) => {
  event.preventDefault();
  register();
});

async function register() {
  const [user, password] = [element("user").value.trim(), element("password").value];
  if (!user || !password) return;
  await agent?.stop();
  agent = new UserAgent({
    url: `wss://${location.host}/sip`,
    domain: document.querySelector("meta[name=sip-domain]").content,
    user,
    password,
  });
  agent.addEventListener("registration", ({ detail: { state, text } }) => {
    element("registration").dataset.state = state;
    element("registration-text").textContent = text;
    if (state === "registered") element("account").open = false;
    if (state === "refused") element("account").open = true;
    show();
  });
  agent.addEventListener("call", ({ detail }) => take(detail));
  agent.start();
}

// Dialling

element("dial-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const number = element("number").value.replace(/[\s()/-]/g, "");
  if (!number || isBusy() || asking) return;
  audioContext();
  const stream = await microphone();
  if (stream && isBusy()) stream.getTracks().forEach((track) => track.stop());
  else if (stream) take(agent.call(number, stream));
});

element("answer").addEventListener("click", async () => {
  audioContext();
  const ringing = call;
  const stream = await microphone();
  if (stream) ringing.answer(stream);
});

element("hang-up").addEventListener("click", () => call?.hangUp());

element("mute").addEventListener("click", () => {
  const muted = element("mute").getAttribute("aria-pressed") !== "true";
  element("mute").setAttribute("aria-pressed", muted);
  element("mute").textContent = muted ? "Unmute" : "Mute";
  call?.setMuted(muted);
});

async function microphone() {
  asking = true;
  try {
    return await navigator.mediaDevices.getUserMedia(MICROPHONE);
  } catch (error) {
    const words = {
      NotAllowedError: "The microphone is blocked: allow it for this page",
      NotFoundError: "There is no microphone",
      NotReadableError: "Another program holds the microphone",
    };
    say(words[error.name] ?? `The microphone does not work: ${error.message}`);
    return null;
  } finally {
    asking = false;
  }
}

function isBusy() {
  return call !== null && !call.isEnded;
}

// Keypad: digits are sent while there is a call, and dialled while there is none.

for (const [key, letters] of KEYS) {
  const button = document.createElement("button");
  button.type = "button";
  button.id = keyId(key);
  button.setAttribute("aria-label", KEY_NAMES[key] ?? key);
  button.append(key);
  const small = document.createElement("small");
  small.textContent = letters;
  button.append(small);
  button.addEventListener("click", () => press(key));
  element("keypad").append(button);
}

addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!KEYS.some(([key]) => key === event.key)) return;
  const button = element(keyId(event.key));
  button.classList.add("pressed");
  setTimeout(() => button.classList.remove("pressed"), 120);
  press(event.key);
});

function keyId(key) {
  return `key-${KEY_NAMES[key] ?? key}`;
}

function press(key) {
  click(key);
  if (isBusy()) call.sendDigit(key);
  else element("number").value += key;
}

// The call

function take(next) {
  call = next;
  if (call.state === "incoming") element("number").value = call.peer;
  call.addEventListener("change", show);
  call.addEventListener("track", ({ detail: stream }) => {
    element("remote-audio").srcObject = stream;
    measure("heard", stream);
  });
  show();
}

function measure(side, stream) {
  meters[side]?.close();
  meters[side] = new Meter(stream);
}

function say(text) {
  element("call-text").textContent = text;
}

/** Brings the page in line with the agent and the call. */
function show() {
  const state = call?.state ?? "idle";
  const busy = isBusy();
  document.body.dataset.call = state;
  if (call) say(call.text);
  element("call").hidden = busy;
  element("call").disabled = element("registration").dataset.state !== "registered";
  element("answer").hidden = state !== "incoming";
  element("hang-up").hidden = !busy;
  element("hang-up").textContent = { incoming: "Decline", talking: "Hang up" }[state] ?? "Cancel";
  element("number").readOnly = busy;
  element("mute").disabled = !busy;
  element("timer").hidden = !call?.talkingSince;
  cadence.set({ ringing: "ringback", incoming: "ring" }[state] ?? null);
  if (busy && call.connection) {
    if (call.stream && !meters.said) measure("said", call.stream);
    view ??= new LineView(call.connection);
  }
  if (!busy) {
    for (const meter of Object.values(meters)) meter.close();
    meters = {};
    view = null;
    element("remote-audio").srcObject = null;
    element("mute").setAttribute("aria-pressed", false);
    element("mute").textContent = "Mute";
  }
}

// Figures

function drawMeters() {
  for (const side of ["said", "heard"]) {
    const level = meters[side]?.level() ?? -60;
    const bar = element(`${side}-meter`);
    bar.style.setProperty("--level", share(level).toFixed(3));
    bar.setAttribute("aria-valuenow", Math.round(level));
  }
  if (call?.talkingSince && !call.isEnded) {
    const seconds = Math.floor((performance.now() - call.talkingSince) / 1000);
    element("timer").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
  requestAnimationFrame(drawMeters);
}

async function readLine() {
  if (!view) return;
  const { history } = view;
  const { heard, said, roundTripMs, security } = await view.read();
  const figure = (value, digits, unit) => (value === undefined ? "–" : `${value.toFixed(digits)}${unit}`);
  for (const [name, side] of Object.entries({ heard, said })) {
    const share = side.packets ? (100 * side.lost) / (side.packets + side.lost) : 0;
    element(`${name}-codec`).textContent = side.codec ?? "–";
    element(`${name}-rate`).textContent = figure(side.kbps, 0, " kb/s");
    element(`${name}-packets`).textContent = side.packets.toLocaleString("en");
    element(`${name}-lost`).textContent = `${side.lost} (${share.toFixed(1)} %)`;
    element(`${name}-jitter`).textContent = figure(side.jitterMs, 1, " ms");
  }
  element("round-trip").textContent = figure(roundTripMs, roundTripMs < 10 ? 1 : 0, " ms");
  element("loss").textContent = figure(Math.max(heard.lossPercent, said.lossPercent), 1, " %");
  element("security").textContent = security ?? "";
  drawHistory(element("round-trip-history"), history.roundTrip, ROUND_TRIP_TOP_MS);
  drawHistory(element("loss-history"), history.loss, LOSS_TOP_PERCENT);
}

// Start

const given = new URLSearchParams(location.hash.slice(1));
for (const name of ["user", "password", "number"]) element(name).value = given.get(name) ?? "";
for (const entry of (given.get("quick") ?? "").split(",").filter(Boolean)) {
  const [number, what] = entry.split(":");
  const button = document.createElement("button");
  const bold = document.createElement("b");
  button.type = "button";
  bold.textContent = number;
  button.append(bold, what ? ` ${what}` : "");
  button.addEventListener("click", () => {
    if (isBusy()) return;
    element("number").value = number;
    element("call").click();
  });
  element("quick").append(button);
  element("quick").hidden = false;
}
addEventListener("pagehide", () => call?.hangUp());
setInterval(readLine, READING_MS);
drawMeters();
show();
register();

// A session of the server: PCM16 there, answers back. Where the connection or the server is lost it
// is taken up again, with the samples that the server had not taken: nothing is lost.

const KEEP_SECONDS = 60; // of sound, for a server that comes back
const WAITS = [0.3, 0.7, 1.5, 3, 5, 8]; // s before each attempt

const CODE = {
  DONE: 1000,
  RESTART: 1012,
  BAD_TOKEN: 4401,
  IDLE: 4408,
  TAKEN_OVER: 4409,
  UNKNOWN: 4410,
  FULL: 4503,
};

const WORDS = {
  [CODE.BAD_TOKEN]: "The server wants a token, and this is not it. Write it into its field, and start again.",
  [CODE.IDLE]: "The server has heard nothing for too long.",
  [CODE.TAKEN_OVER]: "The session goes on in another window.",
  [CODE.UNKNOWN]: "The session is lost: the server has not kept it. Start again.",
  [CODE.FULL]: "The server is full. Try again later.",
};

export class Client {
  // told: {rate, threshold, turn_pause_ms, token}; on: {ready, answer, done, waiting, closed}
  constructor(told, on) {
    this.told = told;
    this.on = on;
    this.session = null;
    this.received = 0; // samples of the last answer
    this.taken = 0; // samples that were handed over, of which `messages` holds the latest
    this.messages = []; // {begin, end, pcm, sent}
    this.attempt = 0;
    this.isReady = this.isEnding = this.isOver = false;
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/stream`);
    this.socket = socket;
    socket.onopen = () => {
      const { token, ...rest } = this.told;
      const start = this.session ? { session: this.session, received: this.received } : rest;
      socket.send(JSON.stringify({ type: "start", ...start, ...(token ? { token } : {}) }));
    };
    socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.lose(code, reason);
  }

  hear(message) {
    if (message.type === "ready") {
      this.session = message.session;
      this.isReady = true;
      this.attempt = 0;
      this.delay = Math.round(message.delay_seconds * this.told.rate);
      for (const one of this.messages) {
        if (one.end > message.samples) this.post(one, Math.max(0, message.samples - one.begin));
      }
      this.on.ready(message);
      if (this.isEnding) this.socket.send('{"type":"end"}');
    } else if (message.type === "window") {
      this.received = message.samples;
      const needed = message.samples + this.delay;
      const by = this.messages.find((one) => one.end >= needed);
      const latency = by?.sent && !this.isEnding ? performance.now() - by.sent : null;
      this.on.answer(message, latency);
    } else if (message.type === "done") {
      this.on.done(message);
    }
  }

  lose(code, reason) {
    const wasReady = this.isReady;
    this.isReady = false;
    if (this.isOver) return;
    const mayGoOn = code === 1006 || code === CODE.RESTART || (code === CODE.FULL && this.session);
    if (mayGoOn && this.session && this.attempt < WAITS.length) {
      const seconds = WAITS[this.attempt++];
      this.on.waiting(this.attempt);
      this.timer = setTimeout(() => this.connect(), 1000 * seconds);
      return;
    }
    this.isOver = true;
    let problem = WORDS[code] ?? null;
    if (code === 1006 || code === CODE.RESTART) {
      problem = wasReady || this.session ? "The connection to the server is lost." : "There is no connection to the server. Is it running?";
    } else if (problem === null && code !== CODE.DONE) {
      problem = `The server has ended the session: ${reason || `code ${code}`}.`;
    }
    this.on.closed(code, problem);
  }

  send(pcm) {
    if (this.isOver) return;
    const message = { begin: this.taken, end: this.taken + pcm.length, pcm, sent: null };
    this.taken = message.end;
    this.messages.push(message);
    const oldest = this.taken - KEEP_SECONDS * this.told.rate;
    while (this.messages[0].end <= oldest) this.messages.shift();
    if (this.isReady) this.post(message, 0);
  }

  post(message, from) {
    message.sent = performance.now();
    this.socket.send(from ? message.pcm.subarray(from) : message.pcm);
  }

  end() {
    this.isEnding = true;
    if (this.isReady) this.socket.send('{"type":"end"}');
    else if (!this.session) this.leave();
  }

  leave() {
    this.isOver = true;
    clearTimeout(this.timer);
    this.socket.close(1000);
  }
}

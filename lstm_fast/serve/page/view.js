// The timeline: waveform, probability, speech and turns of the last seconds.

const SECONDS = 12;
const BUCKET = 0.01; // s, a bar of the waveform
const GAP = 22; // px between the two lanes, and below for the seconds

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear(16000);
    this.isDue = false;
    const colours = matchMedia("(prefers-color-scheme: dark)");
    colours.addEventListener("change", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  clear(rate) {
    this.rate = rate;
    this.samples = 0;
    this.bars = []; // {time, low, high}
    this.bar = null;
    this.windows = []; // {time, probability}
    this.segments = []; // {from, to}; to is null while it lasts
    this.turns = []; // times
    this.threshold = 0.5;
    this.paint();
  }

  hear(pcm) {
    const size = Math.round(this.rate * BUCKET);
    for (const value of pcm) {
      if (this.samples % size === 0) {
        this.bar = { time: this.samples / this.rate, low: value, high: value };
        this.bars.push(this.bar);
      }
      if (value < this.bar.low) this.bar.low = value;
      if (value > this.bar.high) this.bar.high = value;
      this.samples++;
    }
    const oldest = this.samples / this.rate - SECONDS - 1;
    while (this.bars.length && this.bars[0].time < oldest) this.bars.shift();
    while (this.windows.length && this.windows[0].time < oldest) this.windows.shift();
    this.paint();
  }

  paint() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const end = Math.max(SECONDS, this.samples / this.rate);
    const begin = end - SECONDS;
    const x = (time) => ((time - begin) / SECONDS) * width;
    const lane = (height - 2 * GAP) / 2;
    const lower = lane + GAP;

    context.fillStyle = colour("page");
    context.fillRect(0, 0, width, lane);
    context.fillRect(0, lower, width, lane);

    context.fillStyle = colour("speech");
    for (const { from, to } of this.segments) {
      const right = x(to ?? this.samples / this.rate);
      context.fillRect(x(from), 0, right - x(from), lane);
      context.fillRect(x(from), lower, right - x(from), lane);
    }

    context.fillStyle = colour("wave");
    const bar = Math.max(1, (BUCKET / SECONDS) * width - 0.3);
    for (const { time, low, high } of this.bars) {
      const top = lane / 2 - (high / 32768) * (lane / 2);
      const bottom = lane / 2 - (low / 32768) * (lane / 2);
      context.fillRect(x(time), top, bar, Math.max(1, bottom - top));
    }

    const y = (probability) => lower + lane - 2 - probability * (lane - 4);
    context.lineWidth = 1;
    context.strokeStyle = colour("soft");
    context.setLineDash([2, 4]);
    this.line(context, [[0, y(this.threshold)], [width, y(this.threshold)]]);
    context.setLineDash([]);
    context.lineWidth = 2;
    context.strokeStyle = colour("probability");
    this.line(context, this.windows.map(({ time, probability }) => [x(time), y(probability)]));

    context.strokeStyle = context.fillStyle = colour("turn");
    for (const time of this.turns) this.line(context, [[x(time), 0], [x(time), height - GAP]]);

    context.fillStyle = colour("soft");
    context.font = `12px ${style.fontFamily || "sans-serif"}`;
    context.textAlign = "center";
    for (let second = Math.ceil(begin / 2) * 2; second <= end; second += 2) {
      const at = Math.min(width - 14, Math.max(14, x(second)));
      context.fillText(`${second} s`, at, height - 5);
    }
    context.textAlign = "right";
    context.fillText(`threshold ${this.threshold}`, width - 6, y(this.threshold) - 5);
  }

  line(context, points) {
    context.beginPath();
    points.forEach(([px, py], n) => (n ? context.lineTo(px, py) : context.moveTo(px, py)));
    context.stroke();
  }
}

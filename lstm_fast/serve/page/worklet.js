// Runs beside the page: collects what is heard into messages of 32 ms of PCM16.

class Collector extends AudioWorkletProcessor {
  constructor() {
    super();
    this.message = new Int16Array(Math.round(sampleRate * 0.032));
    this.filled = 0;
    this.running = true;
    this.port.onmessage = () => {
      this.send(); // what is left
      this.running = false;
      this.port.postMessage(null);
    };
  }

  send() {
    const pcm = this.message.slice(0, this.filled);
    this.filled = 0;
    if (pcm.length) this.port.postMessage(pcm, [pcm.buffer]);
  }

  process(inputs) {
    const channels = inputs[0];
    if (!channels.length) return this.running; // nothing is connected yet, or any more
    const length = channels[0].length;
    for (let n = 0; n < length; n++) {
      let sum = 0;
      for (const channel of channels) sum += channel[n];
      const value = Math.round((sum / channels.length) * 32768);
      this.message[this.filled++] = Math.max(-32768, Math.min(32767, value));
      if (this.filled === this.message.length) this.send();
    }
    return this.running;
  }
}

registerProcessor("collector", Collector);

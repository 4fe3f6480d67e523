// Where sound comes from: the microphone as it is, or a recording that is played.

const UNCHANGED = {
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: false,
  channelCount: 1,
};

const REASONS = {
  NotAllowedError:
    "The browser does not let this page use the microphone. Allow it beside the address, and start again.",
  NotFoundError: "There is no microphone. Connect one, or choose a recording.",
  NotReadableError: "The microphone is used by another program, or does not work.",
  SecurityError: "The browser does not let this page use the microphone.",
};

export class AudioProblem extends Error {}

async function collector(context, take) {
  try {
    await context.audioWorklet.addModule("worklet.js");
  } catch {
    await context.close();
    throw new AudioProblem("There is no connection to the server. Is it running?");
  }
  const node = new AudioWorkletNode(context, "collector", { numberOfOutputs: 1 });
  let ended;
  const end = new Promise((resolve) => (ended = resolve));
  node.port.onmessage = ({ data }) => (data ? take(data) : ended());
  const silent = new GainNode(context, { gain: 0 }); // a node that leads nowhere is not run
  node.connect(silent).connect(context.destination);
  return {
    node,
    flush() {
      node.port.postMessage("end");
      return end;
    },
  };
}

// Each function prepares, and returns {rate, start, stop}: sound comes from `start` on.

export async function microphone(take, lost) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new AudioProblem(
      "The browser gives a microphone to pages of https:// or of this machine (localhost) only. " +
        "Choose a recording, or open the page under such an address.",
    );
  }
  const context = new AudioContext();
  const { node, flush } = await collector(context, take);
  let source, track;
  return {
    rate: context.sampleRate,
    async start() {
      let stream;
      try {
        stream = await navigator.mediaDevices.getUserMedia({ audio: UNCHANGED });
      } catch (error) {
        await context.close();
        throw new AudioProblem(REASONS[error.name] ?? `There is no sound: ${error.message}`);
      }
      source = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
      source.connect(node);
      [track] = stream.getTracks();
      track.onended = () => lost("The microphone is gone: it was disconnected, or taken away.");
      await context.resume();
    },
    async stop() {
      if (track) track.onended = null;
      source?.disconnect();
      await flush();
      track?.stop();
      await context.close();
    },
  };
}

export async function recording(file, take, ended) {
  const context = new AudioContext();
  let buffer;
  try {
    buffer = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    await context.close();
    throw new AudioProblem(`The browser cannot read ${file.name} as sound.`);
  }
  const source = new AudioBufferSourceNode(context, { buffer });
  const { node, flush } = await collector(context, take);
  source.connect(node);
  source.connect(context.destination);
  source.onended = ended;
  return {
    rate: context.sampleRate,
    async start() {
      await context.resume();
      source.start();
    },
    async stop() {
      source.onended = null;
      source.stop();
      source.disconnect();
      await flush();
      await context.close();
    },
  };
}

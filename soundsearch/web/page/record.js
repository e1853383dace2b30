// A sound from the microphone.
import { html, useEffect, useRef, useState } from "./vendor.js";
import { askWith, asking } from "./asking.js";
import { Icon } from "./icons.js";
import { time } from "./names.js";

// Longer recordings are ended, seconds.
const LONGEST = 600;
const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

const WHY = {
  NotAllowedError: "The browser does not let this page use the microphone; its settings for this site can.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone is used by another program.",
};
const INSECURE = "A browser gives the microphone only to pages of this machine itself and of https.";

/** Record until `stop`; gives what is recorded, or null where it was thrown away. */
async function begin() {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(INSECURE);
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(stream, { mimeType });
  const parts = [], samples = new Float32Array(analyser.fftSize);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const ended = new Promise((resolve) => { recorder.addEventListener("stop", resolve, { once: true }); });
  recorder.start();
  return {
    began: performance.now(),
    /** From 0, 60 dB below full scale, to 1. */
    level() {
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, each) => Math.max(most, Math.abs(each)), 1e-6);
      return Math.min(1, Math.max(0, 1 + Math.log10(peak) / 3));
    },
    async stop() {
      if (recorder.state !== "inactive") recorder.stop();
      await ended;
      for (const track of stream.getTracks()) track.stop();
      context.close();
      const type = recorder.mimeType.split(";")[0];
      const clock = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
      return new File(parts, `recording ${clock}.${type.split("/")[1]}`, { type });
    },
  };
}

export function Record() {
  const [recording, setRecording] = useState(null);
  const [{ level, seconds }, setNow] = useState({ level: 0, seconds: 0 });
  const current = useRef(null);
  current.current = recording;
  useEffect(() => () => current.current?.stop(), []);
  useEffect(() => {
    if (!recording) return undefined;
    const timer = setInterval(() => {
      const passed = (performance.now() - recording.began) / 1000;
      setNow({ level: recording.level(), seconds: passed });
      if (passed > LONGEST) finish();
    }, 80);
    return () => clearInterval(timer);
  }, [recording]);
  const start = () => begin().then(setRecording, (error) => {
    asking.set({ problem: WHY[error.name] ?? error.message });
  });
  const finish = async () => {
    setRecording(null);
    await askWith([await recording.stop()]);
  };
  const discard = () => {
    setRecording(null);
    recording.stop();
  };
  if (!recording) return html`<button type="button" onClick=${start}>Record</button>`;
  return html`
    <span class="recording" role="group" aria-label="Recording">
      <meter aria-label="Level" min="0" max="1" low="0.3" high="0.95" optimum="0.6" value=${level}></meter>
      <span class="time">${time(seconds)}</span>
      <button type="button" class="first" onClick=${finish}>Stop and ask</button>
      <button type="button" class="plain" aria-label="Throw the recording away" onClick=${discard}><${Icon} name="close" /></button>
    </span>`;
}

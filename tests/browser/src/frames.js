// What the browser's encoder gave to be sent, before it is encrypted: size, first bytes, payload
// type, RTP timestamp. A worker looks at each frame and passes it on untouched (W3C WebRTC Encoded
// Transform, the form that Chromium and Firefox share).

const WORKER = `
onrtctransform = ({ transformer }) => {
  transformer.readable.pipeThrough(new TransformStream({
    transform(frame, controller) {
      const bytes = new Uint8Array(frame.data);
      const { payloadType, rtpTimestamp } = frame.getMetadata();
      postMessage({
        at_ms: performance.timeOrigin + performance.now(),
        payload_type: payloadType,
        timestamp: rtpTimestamp ?? frame.timestamp,
        bytes: bytes.length,
        head: [...bytes.subarray(0, 8)],
      });
      controller.enqueue(frame);
    },
  })).pipeTo(transformer.writable);
};`;

export function watchFrames(sender, frames) {
  const url = URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' }));
  const worker = new Worker(url);
  worker.onmessage = ({ data: frame }) => frames.push(frame);
  sender.transform = new RTCRtpScriptTransform(worker);
}

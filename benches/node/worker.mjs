// A worker thread of Node as a child process of a benchmark job: `node worker.mjs EVENTS BYTES` posts so many messages
// with a fresh body of so many bytes to a worker, which counts them, and prints the nanoseconds from the first one until
// the worker has counted all.
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

if (isMainThread) {
  const [events, bytes] = process.argv.slice(2).map(Number);
  const worker = new Worker(new URL(import.meta.url), { workerData: { events } });
  worker.once("message", () => {
    worker.once("message", (handled) => {
      const nanos = Number(process.hrtime.bigint() - begun);
      console.log(JSON.stringify({ nanos, handled }));
      worker.terminate();
    });
    const begun = process.hrtime.bigint();
    for (let id = 0; id < events; id++) {
      worker.postMessage({ id, name: "order.placed", body: "x".repeat(bytes) });
    }
  });
} else {
  let handled = 0;
  parentPort.on("message", (event) => {
    if (event.body.length > 0 && ++handled === workerData.events) parentPort.postMessage(handled);
  });
  parentPort.postMessage("ready");
}

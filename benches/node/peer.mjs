// One event emitter of Node as a child process of a benchmark job.
//
// `node peer.mjs NAME` answers one JSON object a line on standard output: first what was started, then one for each
// question, which is a JSON object a line on standard input. It measures itself and answers nanoseconds: what it takes
// to ask is not in the figure.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { EventEmitter } from "node:events";

const EVENTS = ["order.placed", "order.paid", "order.sent", "order.closed"];

// Each answers `add(name, listener)` and `emit(name, event)`; those that match also what is needed for that.
const peers = {
  EventEmitter: async () => {
    const emitter = new EventEmitter();
    emitter.setMaxListeners(0);
    return { add: (name, f) => emitter.on(name, f), emit: (name, event) => emitter.emit(name, event) };
  },
  eventemitter3: async () => {
    const { default: EventEmitter3 } = await import("eventemitter3");
    const emitter = new EventEmitter3();
    return { add: (name, f) => emitter.on(name, f), emit: (name, event) => emitter.emit(name, event) };
  },
  eventemitter2: async () => {
    const { default: EventEmitter2 } = await import("eventemitter2");
    const emitter = new EventEmitter2({ maxListeners: 0 });
    const wild = new EventEmitter2({ wildcard: true, delimiter: ".", maxListeners: 0 });
    let found = 0;
    return {
      add: (name, f) => emitter.on(name, f),
      emit: (name, event) => emitter.emit(name, event),
      subscribe: (pattern, number) => wild.on(pattern, () => { found += number >= 0 ? 1 : 0; }),
      match: (topic) => {
        found = 0;
        wild.emit(topic, undefined);
        return found;
      },
    };
  },
  mitt: async () => {
    const { default: mitt } = await import("mitt");
    const emitter = mitt();
    return { add: (name, f) => emitter.on(name, f), emit: (name, event) => emitter.emit(name, event) };
  },
  qlobber: async () => {
    const { default: { Qlobber } } = await import("qlobber");
    const tree = new Qlobber({ separator: ".", wildcard_one: "*", wildcard_some: "#" });
    return {
      subscribe: (pattern, number) => tree.add(pattern.replace(/\*\*$/, "#"), number),
      match: (topic) => tree.match(topic).length,
    };
  },
};

// The four bodies of the other peers, each with a cell of its own.
let heard = 0;
function listener(turn) {
  const cell = { total: 0 };
  switch (turn % 4) {
    case 0: return (event) => { heard++; cell.total = (cell.total + event.cents) | 0; };
    case 1: return (event) => { heard++; cell.total ^= event.cents; };
    case 2: return (event) => { heard++; cell.total = Math.max(cell.total, event.cents); };
    default: return (event) => {
      heard++;
      if (event.cents % 2 === 0) cell.total = (cell.total - event.cents) | 0;
    };
  }
}

const lines = (file) => readFileSync(file, "utf8").split("\n").filter((line) => line !== "");
const nanos = (begun) => Number(process.hrtime.bigint() - begun);
const used = () => { globalThis.gc?.(); return process.memoryUsage().heapUsed; };

const questions = {
  // Registers listeners to four events, each list begun by another body.
  listen(peer, { listeners }) {
    EVENTS.forEach((name, first) => {
      for (let turn = first; turn < first + listeners; turn++) peer.add(name, listener(turn));
    });
    return {};
  },
  // Registers one listener to each of so many names.
  name(peer, { names }) {
    peer.names = Array.from({ length: names }, (_, at) => `order.kind-${at}.placed`);
    peer.names.forEach((name, turn) => peer.add(name, listener(turn)));
    return {};
  },
  // Emits so many events, the four in turn or all names in turn.
  emit(peer, { emissions }) {
    const names = peer.names ?? EVENTS, turns = Math.ceil(emissions / names.length);
    heard = 0;
    const begun = process.hrtime.bigint();
    for (let turn = 0; turn < turns; turn++) {
      for (let at = 0; at < names.length; at++) peer.emit(names[at], { cents: turn });
    }
    return { nanos: nanos(begun) / (turns * names.length), heard, emitted: turns * names.length };
  },
  // Reads patterns and topics, subscribes, and finds everything once.
  load(peer, { patterns, topics }) {
    const texts = lines(patterns), before = used();
    texts.forEach((pattern, number) => peer.subscribe(pattern, number));
    const bytes = (used() - before) / texts.length;
    peer.topics = lines(topics);
    return { bytes, found: peer.topics.reduce((sum, topic) => sum + peer.match(topic), 0) };
  },
  // Asks for so many topics, going on where it stopped, among the first `among` of them.
  match(peer, { count, among }) {
    const room = Math.min(among ?? peer.topics.length, peer.topics.length);
    let at = (peer.at ?? 0) % room, found = 0;
    const begun = process.hrtime.bigint();
    for (let turn = 0; turn < count; turn++) {
      found += peer.match(peer.topics[at]);
      if (++at === room) at = 0;
    }
    const took = nanos(begun);
    peer.at = at;
    return { nanos: took / count, found };
  },
};

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const name = process.argv[2];
try {
  const peer = await peers[name]();
  say({ started: name, node: process.version });
  for await (const line of createInterface({ input: process.stdin })) {
    const question = JSON.parse(line);
    say(questions[question.ask](peer, question));
  }
} catch (error) {
  say({ failed: String(error?.message ?? error).split("\n")[0] });
  process.exitCode = 1;
}

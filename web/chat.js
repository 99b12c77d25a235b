/* The conversation: its turns, the one that is running, and its memory in this browser. Knows nothing of the page. */

import { ApiError, analyze } from './api.js';
import { load, save } from './settings.js';

const KEY = 'qaio.conversation';
const MAX_TURNS = 200; // kept; older ones leave
const MAX_HISTORY_CHARS = 60000; // sent; the service shortens further to the model's context

const FINISHED = ['done', 'stopped', 'failed'];

/* way: the task that answers instead of the chat, or null. One that generates looks at the text alone: its turn is no part of the conversation. */
function newTurn(text, way) {
  const id = crypto.getRandomValues(new Uint32Array(2)).join('-');
  return { id, text, way: way?.name ?? null, isAlone: way?.kind === 'generate', ...blankAnswer([]) };
}

/* state: reading (no reply text yet) -> replying -> done | stopped | failed */
function blankAnswer(tasks) {
  return { state: 'reading', tasks, answers: [], route: null, notice: '', reply: '', finish: null, usage: null, timings: null, dropped: 0, error: null };
}

function isTurn(value) {
  return typeof value?.id === 'string' && typeof value.text === 'string' && typeof value.reply === 'string' && Array.isArray(value.answers);
}

export class Chat {
  turns = [];
  #run = null; // {turn, abort}
  #listener;

  /* listener(turn) after every change of a turn; listener(null) when the list itself changed. */
  constructor(listener) {
    this.#listener = listener;
    this.#load();
    addEventListener('pagehide', () => {
      this.stop(); // so that the end of the connection does not look like a failure
      this.#save();
    });
    addEventListener('storage', (event) => {
      if (event.key !== KEY || this.isBusy) return;
      this.#load();
      listener(null);
    });
  }

  get isBusy() {
    return this.#run !== null;
  }

  /* Both resolve with the turn when it has ended, in whatever way; they never reject. reading: {tasks, layout} of the labels. */
  send(text, reading, way) {
    const turn = newTurn(text, way);
    this.turns = [...this.turns, turn].slice(-MAX_TURNS);
    this.#listener(null);
    return this.#answer(turn, reading);
  }

  rerun(turn, reading) {
    return this.#answer(turn, reading);
  }

  stop() {
    this.#run?.abort.abort();
  }

  /* Returns what was there, for replace(). */
  clear() {
    this.stop();
    this.#run = null;
    const old = this.turns;
    this.replace([]);
    return old;
  }

  remove(turn) {
    this.replace(this.turns.filter((other) => other !== turn));
  }

  replace(turns) {
    this.turns = turns;
    this.#save();
    this.#listener(null);
  }

  async #answer(turn, { tasks, layout }) {
    const run = { turn, abort: new AbortController() };
    this.#run = run;
    Object.assign(turn, blankAnswer(tasks));
    this.#changed(turn);
    try {
      const body = { text: turn.text, tasks, reply: turn.way ?? true, history: turn.isAlone ? [] : this.#historyBefore(turn) };
      if (layout) body.layout = layout;
      for await (const { event, data } of analyze(body, run.abort.signal)) {
        if (run.abort.signal.aborted) break;
        this.#take(turn, event, data);
      }
      if (run.abort.signal.aborted) turn.state = 'stopped';
    } catch (error) {
      turn.state = run.abort.signal.aborted ? 'stopped' : 'failed';
      if (turn.state === 'failed') turn.error = error instanceof ApiError ? { kind: error.kind, detail: error.detail } : { kind: 'server', detail: String(error) };
    }
    if (this.#run === run) this.#run = null; // after a clear() another one may be running
    this.#changed(turn);
    this.#save();
    return turn;
  }

  #take(turn, event, data) {
    if (event === 'label') {
      turn.answers.push(data);
    } else if (event === 'route') {
      turn.route = data.route;
    } else if (event === 'delta' && data.crisis) {
      turn.notice = data.text.trim(); // ours, not the model's: it is no part of the history
    } else if (event === 'delta') {
      turn.state = 'replying';
      turn.reply += data.text;
    } else if (event === 'done') {
      turn.state = 'done';
      turn.finish = data.finish_reason;
      turn.usage = data.usage;
      turn.timings = data.timings;
      turn.dropped = data.dropped_messages ?? 0;
    }
    this.#changed(turn);
  }

  /* A turn that a clear() took away may still end; nobody shows it any more. */
  #changed(turn) {
    if (this.turns.includes(turn)) this.#listener(turn);
  }

  /* Whole turns with a reply, the newest that fit. */
  #historyBefore(turn) {
    const messages = [];
    let room = MAX_HISTORY_CHARS;
    for (const { text, reply, state, isAlone } of this.turns.slice(0, this.turns.indexOf(turn)).reverse()) {
      if (state === 'failed' || !reply || isAlone) continue;
      room -= text.length + reply.length;
      if (room < 0) break;
      messages.unshift({ role: 'user', content: text }, { role: 'assistant', content: reply });
    }
    return messages;
  }

  #load() {
    const stored = load(KEY, []);
    this.turns = Array.isArray(stored) ? stored.filter(isTurn) : [];
    for (const turn of this.turns) {
      if (!FINISHED.includes(turn.state)) turn.state = 'stopped'; // the page was left in the middle
    }
  }

  #save() {
    save(KEY, this.turns);
  }
}

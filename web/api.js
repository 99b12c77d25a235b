/* The service: its routes, its event stream, its errors. Addresses are relative, so that the page also works behind a prefix. */

const KEY = 'qaio.key';

/* kind: offline | busy | too_long | unauthorized | cut | refused | server; detail: the service's own words, may be empty */
export class ApiError extends Error {
  constructor(kind, detail = '') {
    super(detail || kind);
    this.kind = kind;
    this.detail = detail;
  }
}

export function keepKey(key) {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    /* no storage: the key is asked for again */
  }
}

function headers() {
  let key = null;
  try {
    key = sessionStorage.getItem(KEY);
  } catch {
    /* no storage, no key */
  }
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function kindOf(status, error) {
  if (status === 401 || status === 403) return 'unauthorized';
  if (status === 429 || status === 503 || error?.type === 'rate_limit_error') return 'busy';
  if (status === 413 || error?.code === 'context_length_exceeded') return 'too_long';
  if (status >= 500 || error?.type === 'server_error') return 'server';
  return 'refused';
}

function errorOf(status, body) {
  const error = body?.error;
  return new ApiError(kindOf(status, error), typeof error?.message === 'string' ? error.message : `HTTP ${status}`);
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: 'no-store', ...options, headers: { ...options.headers, ...headers() } });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('offline');
  }
  if (response.ok) return response;
  throw errorOf(response.status, await response.json().catch(() => null));
}

export async function listTasks() {
  return (await (await request('v1/tasks')).json()).data;
}

export async function modelName() {
  return (await (await request('v1/models')).json()).data[0].id;
}

/* The events of one analysis, {event: "label" | "delta" | "done", data}, in order; returns after "done", throws ApiError on every other end. */
export async function* analyze(body, signal) {
  const response = await request('v1/analyze', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
    signal,
  });
  try {
    for await (const { event, data } of serverEvents(response.body)) {
      if (event === 'error') throw errorOf(200, data); // the status is spent; the error's type tells
      yield { event, data };
      if (event === 'done') return;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError('cut');
  }
  throw new ApiError('cut');
}

/* Server-sent events of a byte stream as {event, data} with data parsed as JSON (HTML standard, section 9.2.6). */
export async function* serverEvents(stream) {
  let event = '';
  let data = [];
  for await (const line of lines(stream)) {
    if (line === '') {
      if (data.length) yield { event: event || 'message', data: JSON.parse(data.join('\n')) };
      event = '';
      data = [];
      continue;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === 'event') event = value;
    else if (field === 'data') data.push(value);
  }
}

/* Whole lines; they end in LF, CR or CRLF, and any of these may be cut between two reads. */
async function* lines(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const whole = /\r$/.test(rest) ? rest.length - 1 : rest.length; // its LF may be on the way
      const parts = rest.slice(0, whole).split(/\r\n|\r|\n/);
      rest = parts.pop() + rest.slice(whole);
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {}); // a reader that leaves early ends the request, and with it the generation
  }
}

/* A service whose every move the test decides: it serves web/ as the program does (same Content-Security-Policy) and answers /v1 as it is told.
 * For what the real program can't be asked to do on demand: hang, break off, refuse, ask for a key, reply with mark-up. */

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, extname, join } from 'node:path';

export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

function labels(...pairs) {
  return pairs.map(([id, text, emoji = '']) => ({ id, text, emoji }));
}

function task(name, zh, en, kind, list = [], more = {}) {
  return { name, version: 1, title: { zh, en }, kind, layout: 'own', labels: list, weak_with: [], ...more };
}

export const TASKS = [
  task('sentiment', '情感判断', 'Sentiment', 'label', labels(['positive', '正面', '😄'], ['negative', '负面', '😢'])),
  task('emotion', '情绪', 'Emotion', 'label', labels(['happy', '开心'], ['angry', '生气'], ['sad', '难过'], ['afraid', '害怕'], ['surprised', '惊讶'], ['calm', '平静'])),
  task('intent', '意图', 'Intent', 'label', labels(['question', '提问'], ['complaint', '抱怨'], ['thanks', '感谢'], ['request', '请求'], ['share', '分享'], ['chat', '闲聊'])),
  task('urgency', '紧急程度', 'Urgency', 'label', labels(['urgent', '紧急'], ['normal', '普通'], ['relaxed', '不急'])),
  task('crisis', '危机识别', 'Crisis', 'label', labels(['yes', '是', '🆘'], ['no', '否'])),
  task('keywords', '关键词', 'Keywords', 'generate', [], { constraint: { kind: 'keywords', separator: '、', max_items: 5, max_characters: 16 } }),
  task('summary', '一句话摘要', 'One-sentence summary', 'generate', [], { weak_with: ['another', 'qaio-mini-zh'] }),
  task('polish', '润色', 'Polish', 'generate', [], { weak_with: ['another'] }),
  task('raw', '续写', 'Go on', 'generate', [], { layout: 'plain' }),
  task('chat', '对话', 'Chat', 'chat'),
  task('service', '客服回复', 'Customer service', 'chat'),
];

export function answerOf(name, label, probability) {
  const { labels: all, version } = TASKS.find((one) => one.name === name);
  const { text, emoji } = all.find(({ id }) => id === label);
  const rest = (1 - probability) / (all.length - 1);
  const probabilities = Object.fromEntries(all.map(({ id }) => [id, id === label ? probability : rest]));
  return { task: name, label, text, emoji, probability, probabilities, raw: probabilities, calibrated: false, model: 'scripted', task_version: version };
}

export const DONE = {
  finish_reason: 'stop',
  usage: { prompt_tokens: 61, completion_tokens: 20, total_tokens: 81, prompt_tokens_details: { cached_tokens: 46 } },
  timings: { labels_ms: 5, first_token_ms: 6.2, total_ms: 480, tokens_per_second: 41.3 },
  dropped_messages: 0,
  model: 'scripted',
};

/* What a script gets: the parsed request, and the stream to write to. */
class Exchange {
  #response;
  isGone;

  constructor(request, response, body) {
    this.#response = response;
    this.body = body;
    this.headers = request.headers;
    this.isGone = new Promise((resolve) => response.on('close', resolve));
  }

  event(name, data) {
    if (!this.#response.headersSent) this.#response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    this.#response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  raw(bytes) {
    if (!this.#response.headersSent) this.#response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    return new Promise((resolve) => this.#response.write(bytes, resolve));
  }

  label(name, label, probability, more = {}) {
    this.event('label', { ...answerOf(name, label, probability), ...more });
  }

  say(...pieces) {
    for (const text of pieces) this.event('delta', { text });
  }

  done(changes = {}) {
    this.event('done', { ...DONE, ...changes });
    this.#response.end();
  }

  refuse(status, message, code = null) {
    this.#response.writeHead(status, { 'Content-Type': 'application/json' });
    this.#response.end(JSON.stringify({ error: { message, type: status < 500 ? 'invalid_request_error' : 'server_error', param: null, code } }));
  }

  breakOff() {
    this.#response.destroy();
  }
}

/* {url, requests: bodies seen by /v1/analyze, script: async (exchange) => …, key: null or what Authorization must carry, close()} */
export async function startScripted(webFolder, port = 0) {
  const scripted = { requests: [], script: null, key: null };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://127.0.0.1');
    if (!pathname.startsWith('/v1/')) return serveFile(webFolder, pathname, response);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const exchange = new Exchange(request, response, chunks.length ? JSON.parse(Buffer.concat(chunks)) : null);
    if (scripted.key && request.headers.authorization !== `Bearer ${scripted.key}`) return exchange.refuse(401, 'A key is needed.', 'invalid_api_key');
    if (pathname === '/v1/analyze') {
      scripted.requests.push(exchange.body);
      return scripted.script(exchange);
    }
    response.setHeader('Content-Type', 'application/json');
    if (pathname === '/v1/tasks') return response.end(JSON.stringify({ object: 'list', data: TASKS }));
    return response.end(JSON.stringify({ object: 'list', data: [{ id: 'qaio-mini-zh', object: 'model', created: 0, owned_by: 'qaio' }] }));
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  scripted.url = `http://127.0.0.1:${server.address().port}/`;
  scripted.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return scripted;
}

async function serveFile(folder, pathname, response) {
  const name = pathname === '/' ? 'index.html' : basename(pathname);
  try {
    const bytes = await readFile(join(folder, name));
    response.writeHead(200, { 'Content-Type': TYPES[extname(name)], 'Content-Security-Policy': POLICY });
    response.end(bytes);
  } catch {
    response.writeHead(404);
    response.end();
  }
}

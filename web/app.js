/* The page: joins the conversation (chat.js) with what shows it (turn.js, panel.js, composer.js, notice.js). */

import { keepKey, listTasks, modelName } from './api.js';
import { Chat } from './chat.js';
import { focusBox, hint, setBusy, setText, setUpComposer } from './composer.js';
import { language, t, taskTitle, translatePage } from './i18n.js';
import { announce, askKey, copyText, hideToast, showService, toast } from './notice.js';
import { closeDrawer, drawCurve, drawLayouts, drawTasks, isDrawerOpen, setUpDrawer } from './panel.js';
import { change, settings } from './settings.js';
import { TurnView, errorText, spoken } from './turn.js';
import { choose, chosenWay, drawWays, setUpWays, waysAmong } from './ways.js';

const RECONNECT_MS = 3000;
const NEAR_END_PX = 48; // closer to the end than this, the reader follows the reply

const $ = (id) => document.getElementById(id);
const talk = $('talk');
const narrow = matchMedia('(max-width: 560px)');
const dark = matchMedia('(prefers-color-scheme: dark)');

let tasks = []; // of the service
let labelTasks = [];
let service = { state: 'connecting', model: '' };
let reconnectTimer = 0;
let isAskingKey = false;
let wasKeyGiven = false;
const views = new Map(); // turn -> TurnView

const chat = new Chat((turn) => (turn ? showTurn(turn) : showAll()));

/* ---- the conversation ---- */

/* Moves to the end after a change only if the reader was there before it. */
function following(draw) {
  const wasAtEnd = isAtEnd();
  draw();
  if (wasAtEnd) scrollToEnd();
  showLatest();
}

function isAtEnd() {
  return talk.scrollHeight - talk.scrollTop - talk.clientHeight < NEAR_END_PX;
}

function scrollToEnd() {
  talk.scrollTop = talk.scrollHeight;
}

function showLatest() {
  $('latest').hidden = isAtEnd();
}

const actions = {
  again: (turn) => {
    answer(() => chat.rerun(turn, chosenReading()));
    focusBox();
  },
  edit: (turn) => {
    chat.remove(turn);
    setText(turn.text);
    choose(turn.way);
    $('message').focus();
  },
  copy: async (text) => toast(t((await copyText(text)) ? 'copied' : 'copyFailed')),
};

function viewOf(turn) {
  if (!views.has(turn)) views.set(turn, new TurnView(turn, () => tasks, actions));
  return views.get(turn);
}

function showAll() {
  for (const turn of views.keys()) if (!chat.turns.includes(turn)) views.delete(turn);
  following(() => {
    $('empty').hidden = chat.turns.length > 0;
    $('turns').replaceChildren(...chat.turns.map((turn) => viewOf(turn).root));
  });
  $('clear').disabled = chat.turns.length === 0;
  drawCurve(chat.turns);
  setBusy(chat.isBusy);
}

function showTurn(turn) {
  following(() => viewOf(turn).update());
  if (turn.state !== 'replying') drawCurve(chat.turns);
  setBusy(chat.isBusy);
}

function chosenReading() {
  const { layout } = settings;
  if (!labelTasks.length) return { tasks: settings.tasks, layout }; // the list has not arrived; the service knows
  return { tasks: labelTasks.map(({ name }) => name).filter((name) => settings.tasks.includes(name)), layout };
}

/* start() begins a turn and resolves with it when it has ended. */
async function answer(start) {
  if (chat.isBusy) return;
  hideToast();
  const end = start();
  scrollToEnd();
  const turn = await end;
  if (!chat.turns.includes(turn)) return; // cleared meanwhile
  if (turn.state !== 'failed') announce(spoken(turn, tasks));
  else announce(errorText(turn.error));
  if (turn.error?.kind === 'offline') connectSoon();
  if (turn.error?.kind === 'unauthorized' && (await obtainKey())) actions.again(turn);
}

function send(text) {
  if (chat.isBusy) return false;
  answer(() => chat.send(text, chosenReading(), chosenWay()));
  focusBox();
  return true;
}

function clear() {
  const old = chat.clear();
  toast(t('cleared'), { text: t('undo'), run: () => chat.replace([...old, ...chat.turns]) });
  focusBox();
}

/* ---- the service ---- */

async function connect() {
  clearTimeout(reconnectTimer);
  try {
    const [model, listed] = await Promise.all([modelName(), listTasks()]);
    tasks = listed;
    // A plain prompt is for base models, which do not chat.
    labelTasks = tasks.filter(({ kind, layout }) => kind === 'label' && layout !== 'plain');
    service = { state: 'ready', model };
    showEverything();
  } catch (error) {
    if (error.kind !== 'unauthorized') return connectSoon();
    service = { state: 'locked', model: '' };
    showService(service.state);
    if (await obtainKey()) connect();
  }
}

function connectSoon() {
  service.state = 'offline';
  showService(service.state);
  clearTimeout(reconnectTimer);
  reconnectTimer = setTimeout(connect, RECONNECT_MS);
}

/* Whether there is a new key to try. */
async function obtainKey() {
  if (isAskingKey) return false;
  isAskingKey = true;
  const key = await askKey(wasKeyGiven);
  isAskingKey = false;
  if (!key) return false;
  wasKeyGiven = true;
  keepKey(key);
  return true;
}

/* ---- the page ---- */

function toggleTheme() {
  const shown = settings.theme ?? (dark.matches ? 'dark' : 'light');
  const wanted = shown === 'dark' ? 'light' : 'dark';
  const isSystems = (wanted === 'dark') === dark.matches;
  change({ theme: isSystems ? null : wanted }); // back at the system's: follow it again
  if (isSystems) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
}

function toggleLanguage() {
  change({ language: language() === 'zh' ? 'en' : 'zh' });
  showEverything();
}

function showHint() {
  const way = chosenWay();
  hint(narrow.matches, way && taskTitle(way));
}

function showEverything() {
  translatePage();
  drawWays(waysAmong(tasks, service.model));
  showService(service.state, service.model);
  drawTasks(labelTasks);
  drawLayouts();
  views.clear();
  showAll();
}

function escape(event) {
  if (event.key !== 'Escape' || event.isComposing || event.keyCode === 229 || $('key-dialog').open) return;
  if (isDrawerOpen()) closeDrawer();
  else chat.stop();
}

setUpComposer({ onSend: send, onStop: () => chat.stop() });
setUpDrawer();
setUpWays(showHint);
for (const button of document.querySelectorAll('.examples button')) button.addEventListener('click', () => send(button.textContent));
$('language').addEventListener('click', toggleLanguage);
$('theme').addEventListener('click', toggleTheme);
$('clear').addEventListener('click', clear);
$('latest').addEventListener('click', scrollToEnd);
talk.addEventListener('scroll', showLatest, { passive: true });
narrow.addEventListener('change', showHint);
addEventListener('keydown', escape);
showEverything();
scrollToEnd();
connect();

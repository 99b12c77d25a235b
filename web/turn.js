/* One turn on the page: what the user said, the labels read from it, the reply as it grows, its figures, and what can be done with it. */

import { el, icon, width } from './dom.js';
import { duration, labelText, percent, t, taskTitle } from './i18n.js';

const MOOD_TASK = 'sentiment'; // the one that gets the badge; the others get chips
const MOODS = ['positive', 'negative'];

const ERROR_TEXTS = {
  offline: 'errorOffline',
  busy: 'errorBusy',
  too_long: 'errorTooLong',
  unauthorized: 'errorUnauthorized',
  cut: 'errorCut',
  server: 'errorServer',
  refused: 'errorRefused',
};

/* What a screen reader hears of a finished turn. */
export function spoken(turn, tasks) {
  const moods = turn.answers.filter(({ crisis }) => crisis !== false).map((answer) => `${titleOf(answer, tasks)} ${shownLabel(answer)} ${percent(answer.probability)}`);
  const reply = [turn.notice, turn.reply || t('noWords')].filter(Boolean).join(' ');
  const said = t('heard', { way: wayTitle(turn, tasks) ?? t('reply'), reply });
  return moods.length ? `${moods.join(t('comma'))}${t('period')}${said}` : said;
}

export function errorText({ kind, detail }) {
  return t(ERROR_TEXTS[kind] ?? 'errorServer', { message: detail });
}

function titleByName(name, tasks) {
  const task = tasks.find((one) => one.name === name);
  return task ? taskTitle(task) : name;
}

function titleOf(answer, tasks) {
  return titleByName(answer.task, tasks);
}

/* Of the task that answered instead of the chat, with the route that its labels chose; null: the chat. */
function wayTitle(turn, tasks) {
  if (!turn.way) return null;
  const title = titleByName(turn.way, tasks);
  return turn.route ? `${title} · ${taskTitle({ name: turn.route.id, title: turn.route.title })}` : title;
}

function shownLabel(answer) {
  return labelText({ id: answer.label, text: answer.text });
}

/* Decoration: the word beside it says the same. */
function emoji(labelled, otherwise = null) {
  const text = labelled.emoji || otherwise;
  return text && el('b', { class: 'emoji', text, 'aria-hidden': 'true' });
}

export class TurnView {
  #turn;
  #getTasks;
  #moods = el('div', { class: 'moods' });
  #spread = el('div', { class: 'spread', hidden: true });
  #opened = null; // the task whose probabilities are spread out
  #drawnAnswers = -1;
  #said = document.createTextNode('');
  #caret = el('span', { class: 'caret', 'aria-hidden': 'true' });
  #notice = el('div', { class: 'notice', role: 'note', lang: 'zh-CN', hidden: true });
  #by = el('p', { class: 'by', hidden: true });
  #words = el('ul', { class: 'keywords', hidden: true });
  #say = el('div', { class: 'say' });
  #foot = el('div', { class: 'meta' });
  #actions;

  /* getTasks() gives the service's task list; actions: {again(turn), edit(turn), copy(text)} */
  constructor(turn, getTasks, actions) {
    this.#turn = turn;
    this.#getTasks = getTasks;
    this.#actions = actions;
    this.#say.append(this.#by, this.#words, this.#said, this.#caret);
    this.root = el(
      'article',
      { class: 'turn' },
      el('div', { class: 'me' }, el('span', { class: 'unseen', text: `${t('you')}: ` }), el('span', { class: 'text', text: turn.text })),
      el('div', { class: 'it' }, this.#moods, this.#spread, this.#notice, this.#say, this.#foot),
    );
    this.update();
  }

  update() {
    const { state, answers, tasks } = this.#turn;
    this.root.dataset.state = state;
    if (answers.length !== this.#drawnAnswers || state !== 'replying') this.#drawMoods();
    this.#moods.hidden = tasks.length === 0 || this.#moods.childElementCount === 0;
    this.#drawNotice();
    this.#drawReply();
    this.#drawFoot();
  }

  #drawReply() {
    const { state, reply, way } = this.#turn;
    const tasks = this.#getTasks();
    const { constraint } = tasks.find(({ name }) => name === way) ?? {};
    const isList = constraint?.kind === 'keywords' && reply !== '';
    this.#say.hidden = !reply && (state === 'failed' || state === 'stopped');
    this.#caret.hidden = state !== 'reading' && state !== 'replying';
    this.#by.hidden = !way;
    this.#by.textContent = wayTitle(this.#turn, tasks) ?? '';
    this.#words.hidden = !isList;
    if (isList) this.#words.replaceChildren(...reply.split(constraint.separator).map((text) => el('li', { text })));
    const text = isList ? '' : state === 'done' && !reply ? t('noWords') : reply;
    if (text.startsWith(this.#said.data)) this.#said.appendData(text.slice(this.#said.data.length));
    else this.#said.data = text;
  }

  #drawNotice() {
    const { notice } = this.#turn;
    this.#notice.hidden = !notice;
    if (!notice || this.#notice.childElementCount) return;
    const parts = notice.split(/(?<!\d)(12356|110|120)(?!\d)/); // the numbers can be dialled
    const words = el('span', {}, ...parts.map((part, i) => (i % 2 ? el('a', { href: `tel:${part}`, text: part }) : document.createTextNode(part))));
    this.#notice.append(icon('warn'), words);
  }

  #drawMoods() {
    const { state, answers, tasks } = this.#turn;
    this.#drawnAnswers = answers.length;
    const shown = answers.filter(({ crisis }) => crisis !== false); // "no crisis" is no news
    const badges = shown.map((answer) => (answer.task === MOOD_TASK ? this.#badge(answer) : this.#chip(answer)));
    if (state === 'reading' && answers.length < tasks.length) badges.push(el('span', { class: 'waiting', text: t('reading') }));
    this.#moods.replaceChildren(...badges);
    this.#drawSpread();
  }

  #badge(answer) {
    const mood = MOODS.includes(answer.label) ? answer.label : 'unsure';
    const bar = el('span', { class: 'bar' }, width(el('i'), answer.probability));
    const words = el('span', { text: `${shownLabel(answer)} ${percent(answer.probability)}` });
    return this.#opener(answer, `mood ${mood}`, emoji(answer, '🤔'), words, bar);
  }

  #chip(answer) {
    const value = el('em', { text: `${shownLabel(answer)} ${percent(answer.probability)}` });
    return this.#opener(answer, 'chip', el('span', { text: titleOf(answer, this.#getTasks()) }), emoji(answer), value);
  }

  #opener(answer, className, ...children) {
    const label = t('spread', { title: titleOf(answer, this.#getTasks()), label: shownLabel(answer), p: percent(answer.probability) });
    const toggle = () => {
      this.#opened = this.#opened === answer.task ? null : answer.task;
      this.#drawMoods();
      this.#moods.querySelector(`[data-task="${CSS.escape(answer.task)}"]`).focus();
    };
    const isOpen = this.#opened === answer.task;
    return el('button', { class: className, type: 'button', 'data-task': answer.task, 'aria-expanded': String(isOpen), 'aria-label': label, onclick: toggle }, ...children);
  }

  #drawSpread() {
    const answer = this.#turn.answers.find(({ task }) => task === this.#opened);
    this.#spread.hidden = !answer;
    if (!answer) return;
    const labels = this.#getTasks().find(({ name }) => name === answer.task)?.labels ?? [];
    const rows = Object.entries(answer.probabilities).map(([id, probability]) => {
      const label = labels.find((one) => one.id === id) ?? { id, text: id === answer.label ? answer.text : '' };
      return el(
        'div',
        { class: id === answer.label ? 'row top' : 'row' },
        el('span', {}, emoji(label), el('span', { text: labelText(label) })),
        el('span', { class: 'bar' }, width(el('i'), probability)),
        el('span', { class: 'number', text: `${(probability * 100).toFixed(1)}%` }),
      );
    });
    this.#spread.replaceChildren(...rows);
  }

  #drawFoot() {
    const turn = this.#turn;
    this.#foot.hidden = turn.state === 'reading' || turn.state === 'replying';
    if (this.#foot.hidden) return;
    const children = turn.state === 'failed' ? [el('div', { class: 'failure', role: 'alert' }, icon('warn'), el('span', { text: errorText(turn.error) }))] : [el('span', { class: 'figures' }, ...this.#figures())];
    this.#foot.replaceChildren(...children, el('span', { class: 'buttons' }, ...this.#buttons()));
  }

  #figures() {
    const { state, finish, usage, timings, dropped } = this.#turn;
    const figures = [];
    const add = (text, help) => figures.push(el('span', { text, title: help }));
    if (state === 'stopped') add(t('stopped'));
    if (timings) {
      if (timings.first_token_ms !== null) add(t('firstToken', { v: duration(timings.first_token_ms) }), t('firstTokenHelp'));
      add(t('total', { v: duration(timings.total_ms) }));
      if (timings.tokens_per_second > 0) add(t('rate', { v: timings.tokens_per_second.toFixed(timings.tokens_per_second < 10 ? 1 : 0) }));
    }
    if (usage) {
      const counts = { a: usage.prompt_tokens_details?.cached_tokens ?? 0, b: usage.prompt_tokens };
      add(t('cached', counts), t('cachedHelp', counts));
    }
    if (finish === 'length') add(t('cutShort'));
    if (dropped > 0) add(t('dropped', { n: dropped }));
    return figures;
  }

  /* Those that act on the end of the conversation show on the last turn only (style.css). */
  #buttons() {
    const turn = this.#turn;
    const button = (name, text, className, act) => el('button', { type: 'button', class: className, onclick: act }, icon(name), el('span', { text }));
    const buttons = [];
    if (turn.reply) buttons.push(button('copy', t('copy'), 'copy', () => this.#actions.copy(turn.reply)));
    const again = turn.state === 'failed' ? t('retry') : t('regenerate');
    if (turn.error?.kind !== 'too_long') buttons.push(button('again', again, 'again last-only', () => this.#actions.again(turn)));
    if (turn.state === 'failed') buttons.push(button('edit', t('edit'), 'edit last-only', () => this.#actions.edit(turn)));
    return buttons;
  }
}

/* What the next message is for: talking, or one of the service's other tasks that answer with a text. A row of chips over the box. */

import { focusBox } from './composer.js';
import { el } from './dom.js';
import { t, taskTitle } from './i18n.js';

const row = document.getElementById('ways');

let offered = []; // tasks
let chosen = null; // the name of one of them; null: talking
let onChange = () => {};

export function setUpWays(listener) {
  onChange = listener;
}

/* Those that this model does well. A plain prompt is for base models; the first task that chats is what talking is. */
export function waysAmong(tasks, model) {
  const talking = tasks.find(({ kind }) => kind === 'chat');
  return tasks.filter((task) => task.kind !== 'label' && task !== talking && task.layout !== 'plain' && !task.weak_with?.includes(model));
}

export function drawWays(tasks) {
  offered = tasks;
  row.hidden = tasks.length === 0;
  choose(chosen);
}

/* The task, or null. */
export function chosenWay() {
  return offered.find(({ name }) => name === chosen) ?? null;
}

/* name: of a task, or null; one that is not offered is talking. */
export function choose(name) {
  chosen = offered.some((task) => task.name === name) ? name : null;
  row.replaceChildren(chip(null, t('talking')), ...offered.map((task) => chip(task.name, taskTitle(task))));
  onChange();
}

function chip(name, text) {
  const pick = (event) => {
    chosen = name;
    onChange();
    if (event.detail) focusBox(); // a click; arrow keys stay in the row
  };
  const radio = el('input', { type: 'radio', name: 'way', value: name ?? '', onclick: pick });
  radio.checked = name === chosen;
  return el('label', { class: 'way', 'data-way': name ?? 'talking' }, radio, el('span', { text }));
}

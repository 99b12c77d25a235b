/* The side panel: the mood curve, the switches of the label tasks, and how these are read. On narrow windows it is a drawer. */

import { moodCurve } from './curve.js';
import { el } from './dom.js';
import { labelText, percent, t, taskTitle } from './i18n.js';
import { LAYOUTS, change, settings } from './settings.js';

const $ = (id) => document.getElementById(id);
const narrow = matchMedia('(max-width: 900px)'); // as in style.css

export function drawCurve(turns) {
  const points = [];
  for (const { text, answers } of turns) {
    const positive = answers.find(({ task }) => task === 'sentiment')?.probabilities?.positive;
    if (typeof positive === 'number') points.push({ positive, text });
  }
  if (!points.length) return $('curve').replaceChildren(el('p', { class: 'note', text: t('curveEmpty') }));
  const label = t('curveLabel', { n: points.length, p: percent(points.at(-1).positive) });
  return $('curve').replaceChildren(moodCurve(points, label));
}

/* tasks: the service's label tasks, in its order */
export function drawTasks(tasks) {
  $('tasks').replaceChildren(...tasks.map(taskSwitch));
  $('tasks-note').textContent = tasks.length ? t('tasksNote') : t('tasksMissing');
}

function taskSwitch(task) {
  const labels = task.labels.map(labelText).join(t('comma'));
  const box = el('input', { type: 'checkbox', role: 'switch', checked: settings.tasks.includes(task.name), onchange: () => turn(task.name, box.checked) });
  const words = el('span', { class: 'words' }, el('span', { text: taskTitle(task) }), el('small', { text: labels }));
  return el('label', { class: 'task', 'data-task': task.name }, words, box);
}

function turn(name, isOn) {
  const others = settings.tasks.filter((one) => one !== name);
  change({ tasks: isOn ? [...others, name] : others });
}

/* The layouts of the label tasks (docs/tasks.md); the first choice leaves it to each task. */
export function drawLayouts() {
  $('layout').replaceChildren(...[null, ...LAYOUTS].map((name) => el('option', { value: name ?? '', text: t(`layout_${name ?? 'default'}`) })));
  $('layout').value = settings.layout ?? '';
}

/* ---- the drawer ---- */

export function isDrawerOpen() {
  return document.body.classList.contains('panel-open');
}

export function closeDrawer() {
  if (!isDrawerOpen()) return;
  setOpen(false);
  $('open-panel').focus();
}

function setOpen(isOpen) {
  document.body.classList.toggle('panel-open', isOpen);
  $('open-panel').setAttribute('aria-expanded', String(isOpen));
  $('shade').hidden = !isOpen;
  $('panel').inert = narrow.matches && !isOpen;
  for (const behind of document.querySelectorAll('header, main')) behind.inert = isOpen;
}

export function setUpDrawer() {
  $('layout').addEventListener('change', () => change({ layout: $('layout').value || null }));
  $('open-panel').addEventListener('click', () => {
    setOpen(true);
    $('close-panel').focus();
  });
  $('close-panel').addEventListener('click', closeDrawer);
  $('shade').addEventListener('click', closeDrawer);
  narrow.addEventListener('change', () => setOpen(false));
  setOpen(false);
}

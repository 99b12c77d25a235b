/* Short messages beside the conversation: the toast, what screen readers hear, the question for the key, the state of the service. */

import { t } from './i18n.js';

const $ = (id) => document.getElementById(id);
const TOAST_MS = 6000;
let toastTimer = 0;

/* With an action, a button that runs it once. */
export function toast(text, action = null) {
  const [words, button] = $('toast').children;
  words.textContent = text;
  button.hidden = !action;
  button.textContent = action?.text ?? '';
  button.onclick = () => {
    hideToast();
    action.run();
  };
  $('toast').hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(hideToast, TOAST_MS);
}

export function hideToast() {
  $('toast').hidden = true;
}

export function announce(text) {
  $('announcer').textContent = text;
}

/* Resolves with the key the user gave, or null. */
export function askKey(wasWrong) {
  const dialog = $('key-dialog');
  $('key').value = '';
  $('key-wrong').textContent = wasWrong ? t('keyWrong') : '';
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    $('key-cancel').onclick = () => dialog.close('');
    dialog.querySelector('form').onsubmit = () => {
      dialog.returnValue = 'given';
    };
    dialog.onclose = () => resolve(dialog.returnValue === '' ? null : $('key').value.trim() || null);
  });
}

/* state: connecting | ready | offline | locked */
export function showService(state, model) {
  const isHere = ['127.0.0.1', 'localhost', '[::1]'].includes(location.hostname);
  const words = { connecting: t('connecting'), offline: t('offline'), locked: t('locked'), ready: isHere ? `${model} · ${t('local')}` : model };
  $('service').dataset.state = state;
  $('service').textContent = words[state];
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // plain http from another machine has no clipboard API
  }
}

function copyBySelection(text) {
  const before = document.activeElement;
  const area = document.createElement('textarea');
  area.className = 'unseen';
  area.value = text;
  document.body.append(area);
  area.select();
  const isDone = document.execCommand('copy');
  area.remove();
  before?.focus();
  return isDone;
}

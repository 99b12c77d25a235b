/* Where the user writes: grows with its text, Enter sends, Shift+Enter breaks the line, and an Enter that belongs to an input method never sends. */

import { t } from './i18n.js';

const IME_SETTLES_MS = 50; // an Enter this close behind the end of a composition is still the one that confirmed it

const form = document.getElementById('composer');
const box = document.getElementById('message');
const button = document.getElementById('send');

let isBusy = false;
let composedAt = -Infinity;

/* onSend(text) returns whether the text was taken; onStop() */
export function setUpComposer({ onSend, onStop }) {
  const send = () => {
    const text = box.value.trim();
    if (!text || isBusy || !onSend(text)) return;
    setText('');
  };

  box.addEventListener('input', fit);
  box.addEventListener('compositionend', (event) => {
    composedAt = event.timeStamp;
  });
  box.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.ctrlKey || event.altKey || event.metaKey || isOfInputMethod(event)) return;
    event.preventDefault();
    if (!event.repeat) send();
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (isBusy) onStop();
    else send();
    focusBox();
  });
  addEventListener('resize', fit);
}

/* While a candidate is chosen, browsers set isComposing; Safari ends the composition first and marks the late keydown with 229 only. */
function isOfInputMethod(event) {
  return event.isComposing || event.keyCode === 229 || event.timeStamp - composedAt < IME_SETTLES_MS;
}

export function setBusy(value) {
  isBusy = value;
  button.classList.toggle('stops', isBusy);
  button.querySelector('use').setAttribute('href', isBusy ? '#icon-stop' : '#icon-send');
  button.querySelector('.word').textContent = t(isBusy ? 'stop' : 'send');
  enable();
}

export function setText(text) {
  box.value = text;
  fit();
}

/* Ready to write again; on a touch screen this would raise the keyboard over what is to be read. */
export function focusBox() {
  if (matchMedia('(pointer: fine)').matches) box.focus();
}

/* title: of what the text is for, or null: talking */
export function hint(isNarrow, title) {
  if (title) box.placeholder = t('placeholderWay', { title });
  else box.placeholder = t(isNarrow ? 'placeholderShort' : 'placeholder');
}

function fit() {
  box.style.height = 'auto';
  box.style.height = `${box.scrollHeight}px`; // style.css caps it
  enable();
}

function enable() {
  button.disabled = !isBusy && !box.value.trim();
}

/* What the user chose, kept in this browser. Storage may be missing or full (private windows): the page then works without memory. */

const KEY = 'qaio.settings';
export const LAYOUTS = ['own', 'shared', 'probe'];

export function load(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

export function save(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    /* full or forbidden: nothing to be done, nothing lost on screen */
  }
}

const stored = load(KEY, {});

export const settings = {
  theme: ['light', 'dark'].includes(stored.theme) ? stored.theme : null, // null: the system's
  language: ['zh', 'en'].includes(stored.language) ? stored.language : null, // null: the browser's
  layout: LAYOUTS.includes(stored.layout) ? stored.layout : null, // of the label tasks; null: each task's own
  tasks: Array.isArray(stored.tasks) ? stored.tasks.filter((name) => typeof name === 'string') : ['sentiment', 'crisis'],
  knowsCrisis: stored.knowsCrisis === true, // the choice was made when there was a switch for it
};
if (!settings.knowsCrisis) {
  settings.knowsCrisis = true;
  if (!settings.tasks.includes('crisis')) settings.tasks.push('crisis');
}

export function change(values) {
  Object.assign(settings, values);
  save(KEY, settings);
}

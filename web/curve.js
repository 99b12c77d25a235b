/* The mood over the conversation: the probability of "positive", one point a turn, as SVG. */

import { svg } from './dom.js';
import { percent } from './i18n.js';

const WIDTH = 260;
const HEIGHT = 112;
const LEFT = 30; // room for the faces
const RIGHT = 10;
const TOP = 14;
const BOTTOM = 14;
const MAX_POINTS = 24; // the newest; more would not be told apart

/* points: [{positive, text}]; label: what the picture says, for those who can't see it */
export function moodCurve(points, label) {
  const shown = points.slice(-MAX_POINTS);
  const step = shown.length > 1 ? (WIDTH - LEFT - RIGHT) / (shown.length - 1) : 0;
  const x = (i) => (shown.length > 1 ? LEFT + i * step : WIDTH / 2);
  const y = (positive) => TOP + (1 - positive) * (HEIGHT - TOP - BOTTOM);
  const places = shown.map(({ positive }, i) => [round(x(i)), round(y(positive))]);

  const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label });
  picture.append(face('😄', y(1)), face('😢', y(0)));
  for (const level of [1, 0.5, 0]) picture.append(svg('path', { class: level === 0.5 ? 'middle' : 'edge', d: `M${LEFT} ${y(level)}H${WIDTH}` }));
  if (places.length > 1) {
    const line = smooth(places);
    picture.append(svg('path', { class: 'area', d: `${line}L${places.at(-1)[0]} ${y(0)}L${places[0][0]} ${y(0)}Z` }));
    picture.append(svg('path', { class: 'line', d: line }));
  }
  places.forEach(([cx, cy], i) => {
    const kind = shown[i].positive >= 0.5 ? 'positive' : 'negative';
    const tip = svg('title');
    tip.textContent = `${percent(shown[i].positive)} · ${shown[i].text.slice(0, 40)}`;
    picture.append(svg('circle', { class: `${kind}${i === places.length - 1 ? ' last' : ''}`, cx, cy, r: i === places.length - 1 ? 5 : 3.5 }, tip));
  });
  return picture;
}

function face(emoji, y) {
  const node = svg('text', { class: 'face', x: 0, y: y + 5, 'aria-hidden': 'true' });
  node.textContent = emoji;
  return node;
}

/* Level at every point, so that the line never leaves the range of its neighbours. */
function smooth(places) {
  let d = `M${places[0].join(' ')}`;
  for (let i = 1; i < places.length; i++) {
    const [x0, y0] = places[i - 1];
    const [x1, y1] = places[i];
    const middle = round((x0 + x1) / 2);
    d += `C${middle} ${y0} ${middle} ${y1} ${x1} ${y1}`;
  }
  return d;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

/* Building elements. Text enters the page only as text: nothing here, and nothing that uses it, parses HTML. */

const SVG = 'http://www.w3.org/2000/svg';

/* el('button', {class, text, onclick, …attributes}, …children); null and false attributes and children are left out. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'text') node.textContent = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter(Boolean));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/* One of the symbols in index.html. */
export function icon(name) {
  return svg('svg', { class: 'icon', 'aria-hidden': 'true' }, svg('use', { href: `#icon-${name}` }));
}

/* The Content-Security-Policy forbids style attributes; the CSSOM is allowed. */
export function width(node, share) {
  node.style.width = `${Math.round(Math.min(1, Math.max(0, share)) * 100)}%`;
  return node;
}

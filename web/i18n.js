/* Chinese and English. Static elements carry data-t (text), data-t-label (aria-label and tooltip) or data-t-placeholder. */

import { settings } from './settings.js';

const zh = {
  comma: '、',
  period: '。',
  tagline: '一个模型，多种能力 · 情感分析 + 智能对话',
  local: '本机运行 · 不联网',
  connecting: '正在连接……',
  offline: '没有连上服务',
  locked: '需要密钥',
  otherLanguage: 'EN',
  switchLanguage: 'EN · Switch to English',
  switchTheme: '切换深色与浅色',
  clear: '清空',
  clearLabel: '清空对话',
  panel: '心情走势与任务',
  close: '关闭',
  conversation: '对话',
  greeting: '今天过得怎么样？',
  intro: '说一句话，我先读出它的心情，再好好回应你。',
  tryThese: '可以先试试这几句',
  placeholder: '说点什么……（Enter 发送，Shift+Enter 换行）',
  placeholderShort: '说点什么……',
  ways: '这句话用来',
  talking: '对话',
  placeholderWay: '写一段话，交给“{title}”……',
  reply: '回复',
  advanced: '高级',
  layout: '怎么读',
  layout_default: '由各个判断自己定',
  layout_own: '各用各的提示词',
  layout_shared: '合用一个提示词',
  layout_probe: '接在对话后面',
  layoutNote: '后两种更快，但没有为它训练过的模型会乱猜：先拿几句话试试。',
  message: '你的话',
  send: '发送',
  stop: '停止',
  footnote: '心情是从模型的概率里读出来的，不是生成的。小模型也会说错，要紧的事请再核实。',
  latest: '回到最新',
  curve: '心情走势',
  curveEmpty: '聊几句，这里会画出心情的起伏。',
  curveLabel: '共 {n} 次，最近一次正面 {p}',
  tasks: '每句话一起做的判断',
  tasksNote: '从下一句起生效',
  tasksMissing: '任务列表还没有读到。',
  noscript: '这个页面需要 JavaScript。',
  you: '你说',
  reading: '正在读心情……',
  unsure: '不确定',
  spread: '{title}：{label} {p}，查看各项概率',
  firstToken: '首字 {v}',
  firstTokenHelp: '从收到请求到回复的第一个字',
  total: '共 {v}',
  rate: '{v} 词元/秒',
  cached: '缓存 {a}/{b}',
  cachedHelp: '提示里的 {b} 个词元中，{a} 个不用再算',
  stopped: '已停止',
  cutShort: '到了长度上限',
  dropped: '太早的 {n} 条没有放进这次对话',
  noWords: '（没有回复）',
  copy: '复制',
  copied: '已复制',
  copyFailed: '没能复制，请手动选择',
  regenerate: '重新生成',
  retry: '重试',
  edit: '改一改再发',
  cleared: '对话已清空',
  undo: '撤销',
  heard: '{way}：{reply}',
  keyTitle: '需要访问密钥',
  keyText: '这个服务要求密钥。它只留在这个标签页里，关掉就忘记。',
  keyWrong: '这个密钥不对，请再试一次。',
  key: '密钥',
  keySave: '继续',
  keyCancel: '取消',
  errorOffline: '连不上服务，可能已经停了。重新启动 qaio 后再试。',
  errorBusy: '现在人有点多，稍等几秒再试。',
  errorTooLong: '这段话太长，模型一次读不完。分成几段再发吧。',
  errorUnauthorized: '这个服务需要密钥才能使用。',
  errorCut: '回复说到一半断了。',
  errorServer: '服务出了点问题：{message}',
  errorRefused: '这句话没能处理：{message}',
};

const en = {
  comma: ', ',
  period: '. ',
  tagline: 'One model, many skills · mood + conversation',
  local: 'runs on this machine · offline',
  connecting: 'connecting…',
  offline: 'service not reached',
  locked: 'key needed',
  otherLanguage: '中文',
  switchLanguage: '中文 · 切换到中文',
  switchTheme: 'Switch between dark and light',
  clear: 'Clear',
  clearLabel: 'Clear the conversation',
  panel: 'Mood curve and tasks',
  close: 'Close',
  conversation: 'Conversation',
  greeting: 'How was your day?',
  intro: 'Say something: its mood is read first, then you get an answer. The built-in model speaks Chinese.',
  tryThese: 'Try one of these',
  placeholder: 'Say something… (Enter sends, Shift+Enter for a new line)',
  placeholderShort: 'Say something…',
  ways: 'What the message is for',
  talking: 'Chat',
  placeholderWay: 'A text for “{title}”…',
  reply: 'Reply',
  advanced: 'Advanced',
  layout: 'How labels are read',
  layout_default: 'As each task says',
  layout_own: 'A prompt for each task',
  layout_shared: 'One prompt for all tasks',
  layout_probe: 'Behind the conversation',
  layoutNote: 'The last two are faster, but a model that was not trained for them guesses: try a few messages first.',
  message: 'Your message',
  send: 'Send',
  stop: 'Stop',
  footnote: "The mood is read from the model's probabilities, not generated. Small models make mistakes: check what matters.",
  latest: 'Latest',
  curve: 'Mood over time',
  curveEmpty: 'Talk a little and the ups and downs appear here.',
  curveLabel: '{n} readings, the latest {p} positive',
  tasks: 'Read from every message',
  tasksNote: 'Takes effect with the next message',
  tasksMissing: 'The list of tasks has not arrived yet.',
  noscript: 'This page needs JavaScript.',
  you: 'You said',
  reading: 'Reading the mood…',
  unsure: 'Unsure',
  spread: '{title}: {label} {p}, show all probabilities',
  firstToken: 'first token {v}',
  firstTokenHelp: "From the request's arrival to the first token of the reply",
  total: '{v} in all',
  rate: '{v} tokens/s',
  cached: 'cached {a}/{b}',
  cachedHelp: "{a} of the prompt's {b} tokens needed no computing",
  stopped: 'stopped',
  cutShort: 'length limit reached',
  dropped: '{n} early messages were left out of this turn',
  noWords: '(no reply)',
  copy: 'Copy',
  copied: 'Copied',
  copyFailed: 'Could not copy, please select it by hand',
  regenerate: 'Regenerate',
  retry: 'Try again',
  edit: 'Edit and resend',
  cleared: 'Conversation cleared',
  undo: 'Undo',
  heard: '{way}: {reply}',
  keyTitle: 'An access key is needed',
  keyText: 'This service asks for a key. It stays in this tab only and is forgotten when you close it.',
  keyWrong: 'That key was not accepted, please try again.',
  key: 'Key',
  keySave: 'Continue',
  keyCancel: 'Cancel',
  errorOffline: "The service can't be reached; it may have stopped. Start qaio again, then retry.",
  errorBusy: 'Busy right now. Give it a few seconds and try again.',
  errorTooLong: 'That is more than the model can read at once. Try sending it in parts.',
  errorUnauthorized: 'This service can only be used with a key.',
  errorCut: 'The reply broke off half-way.',
  errorServer: 'Something went wrong in the service: {message}',
  errorRefused: 'This message could not be handled: {message}',
};

const dictionaries = { zh, en };

export function language() {
  return settings.language ?? (/^zh\b/i.test(navigator.language) ? 'zh' : 'en');
}

export function t(key, values = {}) {
  return dictionaries[language()][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function translatePage() {
  document.documentElement.lang = language() === 'zh' ? 'zh-CN' : 'en';
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-t-label]')) {
    node.setAttribute('aria-label', t(node.dataset.tLabel));
    if (node.tagName === 'BUTTON') node.title = t(node.dataset.tLabel);
  }
}

/* A task's title as the service names it. */
export function taskTitle(task) {
  return task.title?.[language()] ?? task.name;
}

/* A label as shown: the model's own word in Chinese, its id in English. */
export function labelText(label) {
  if (label.id === 'unsure') return t('unsure');
  if (language() === 'zh') return label.text || label.id;
  const words = label.id.replace(/[-_]/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function percent(probability) {
  return `${Math.round(probability * 100)}%`;
}

export function duration(ms) {
  if (ms < 1) return '<1 ms';
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

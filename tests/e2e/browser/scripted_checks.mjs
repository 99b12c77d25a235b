/* The page against a service that does what the check needs. */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { eventually, gate } from './harness.mjs';
import { startScripted } from './scripted_server.mjs';

const EXAMPLES = ['今天考试没考好,心情很低落。', '我刚收到了梦寐以求的offer!', '天气真不错,适合出去走走。'];
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

const lastReply = (page) => page.locator('.turn:last-child .say');
const lastState = (page) => page.locator('.turn:last-child').getAttribute('data-state');
const ended = (page, state = 'done') => page.locator(`.turn:last-child[data-state="${state}"]`).waitFor();

/* Answers at once. */
function replying(...pieces) {
  return async (exchange) => {
    for (const name of exchange.body.tasks) exchange.label(name, { sentiment: 'positive', emotion: 'happy', intent: 'share', urgency: 'normal', crisis: 'no' }[name], 0.9, name === 'crisis' ? { crisis: false } : {});
    exchange.say(...pieces);
    exchange.done();
  };
}

async function say(page, text, state = 'done') {
  await page.fill('#message', text);
  await page.press('#message', 'Enter');
  await page.locator('.turn:last-child .me .text', { hasText: text }).waitFor();
  if (state) await ended(page, state);
}

/* A reply that stays open until the test lets it go on. */
function heldReply() {
  const pause = gate();
  const seen = gate();
  const script = async (exchange) => {
    seen.open(exchange);
    exchange.label('sentiment', 'negative', 0.97);
    exchange.say('没考好', '心里');
    await pause.opened;
    exchange.say('不好受。');
    exchange.done();
  };
  return { script, goOn: pause.open, exchange: seen.opened };
}

export async function scriptedChecks(harness, webFolder) {
  const service = await startScripted(webFolder);
  const on = (name, script, use, options) =>
    harness.check(name, () => {
      service.script = script;
      service.requests.length = 0;
      return harness.withPage(service.url, use, options);
    });

  await conversation(on, service);
  await writing(on, service);
  await trouble(on, service);
  await looks(on, service);
  await service.close();
}

async function conversation(on, service) {
  await on('the title and the three examples are there, the box is ready', null, async (page) => {
    assert.equal(await page.title(), 'Qwen All-in-One：情感分析 + 智能对话');
    assert.deepEqual(await page.locator('.examples button').allTextContents(), EXAMPLES);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'message');
    assert.match(await page.textContent('#service'), /qaio-mini-zh/);
  });

  const first = gate();
  const badgeFirst = async (exchange) => {
    exchange.label('sentiment', 'negative', 0.97);
    await first.opened;
    exchange.say('没事的。');
    exchange.done();
  };
  await on('the mood is on the page before the first word of the reply', badgeFirst, async (page) => {
    await page.click('.examples button >> nth=0');
    await page.locator('.mood.negative').waitFor();
    assert.equal(await page.textContent('.mood'), '😢负面 97%');
    assert.equal(await lastReply(page).textContent(), '');
    assert.equal(await page.locator('.caret').isVisible(), true);
    first.open();
    await ended(page);
    assert.equal(await lastReply(page).textContent(), '没事的。');
    assert.equal(await page.locator('.empty').isVisible(), false);
  });

  const growing = heldReply();
  await on('the reply grows as it arrives and ends with its figures', growing.script, async (page) => {
    await say(page, EXAMPLES[0], 'replying');
    await eventually('the first words', async () => (await lastReply(page).textContent()) === '没考好心里');
    assert.equal(await page.locator('.caret').isVisible(), true);
    assert.equal(await page.locator('.turn .meta').isVisible(), false);
    growing.goOn();
    await ended(page);
    assert.equal(await lastReply(page).textContent(), '没考好心里不好受。');
    assert.equal(await page.locator('.caret').isVisible(), false);
    assert.deepEqual(await page.locator('.figures span').allTextContents(), ['首字 6 ms', '共 480 ms', '41 词元/秒', '缓存 46/61']);
    assert.match(await page.textContent('#announcer'), /情感判断 负面 97%.*没考好心里不好受/);
  });

  for (const [how, act] of [['the stop button', (page) => page.click('#send.stops')], ['Escape', (page) => page.press('#message', 'Escape')]]) {
    const held = heldReply();
    await on(`${how} ends the request and keeps what was said`, held.script, async (page) => {
      await say(page, '你好', 'replying');
      await act(page);
      await ended(page, 'stopped');
      await (await held.exchange).isGone;
      assert.equal(await lastReply(page).textContent(), '没考好心里');
      assert.match(await page.textContent('.figures'), /已停止/);
      service.script = replying('好。');
      await say(page, '再来');
      assert.equal(service.requests.at(-1).history.length, 2);
    });
  }

  await on('the conversation is sent as history and survives a reload', replying('第一句。'), async (page) => {
    await say(page, '甲');
    service.script = replying('第二句。');
    await say(page, '乙');
    assert.deepEqual(service.requests[0], { text: '甲', tasks: ['sentiment', 'crisis'], reply: true, history: [], stream: true });
    assert.deepEqual(service.requests[1].history, [{ role: 'user', content: '甲' }, { role: 'assistant', content: '第一句。' }]);
    await page.reload();
    assert.deepEqual(await page.locator('.say').allTextContents(), ['第一句。', '第二句。']);
    assert.equal(await page.locator('.mood.positive').count(), 2);
    await say(page, '丙');
    assert.equal(service.requests[2].history.length, 4);
  });

  const left = heldReply();
  await on('a reply left in the middle by a reload is shown as stopped', left.script, async (page) => {
    await say(page, '你好', 'replying');
    await page.reload();
    await ended(page, 'stopped');
    assert.equal(await lastReply(page).textContent(), '没考好心里');
  });

  await on('regenerate asks again in the same place, only the last turn offers it', replying('旧。'), async (page) => {
    await say(page, '甲');
    await say(page, '乙');
    assert.equal(await page.locator('.again:visible').count(), 1);
    service.script = replying('新。');
    await page.click('.again:visible');
    await eventually('the new reply', async () => (await lastReply(page).textContent()) === '新。');
    assert.deepEqual(await page.locator('.say').allTextContents(), ['旧。', '新。']);
    assert.equal(service.requests[2].text, '乙');
    assert.equal(service.requests[2].history.length, 2);
  });

  await on('clear empties the conversation, undo brings it back', replying('好。'), async (page) => {
    assert.equal(await page.locator('#clear').isDisabled(), true);
    await say(page, '甲');
    await page.click('#clear');
    assert.equal(await page.locator('.turn').count(), 0);
    assert.equal(await page.locator('.empty').isVisible(), true);
    await page.click('#toast button');
    assert.equal(await page.locator('.turn').count(), 1);
    await page.click('#clear');
    await page.reload();
    assert.equal(await page.locator('.turn').count(), 0);
  });

  const clearedWhile = heldReply();
  await on('clear during a reply stops it, and the next message is answered', clearedWhile.script, async (page) => {
    await say(page, '甲', 'replying');
    await page.click('#clear');
    await (await clearedWhile.exchange).isGone;
    service.script = replying('好。');
    await say(page, '乙');
    assert.deepEqual(service.requests.at(-1).history, []);
    assert.equal(await page.locator('.turn').count(), 1);
  });

  await on('copy puts the reply on the clipboard', replying('抄这句。'), async (page, context) => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await say(page, '甲');
    await page.click('.copy');
    await page.locator('#toast', { hasText: '已复制' }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), '抄这句。');
  });

  const crisis = async (exchange) => {
    exchange.label('sentiment', 'negative', 0.97);
    exchange.label('crisis', 'yes', 0.91, { crisis: true });
    exchange.event('delta', { text: '请拨打 12356，有危险请拨打 110 或 120。\n\n', crisis: true });
    exchange.say('我在。');
    exchange.done();
  };
  await on('a crisis: the text with the hotline stands before the reply, can be dialled, is read out, and is no part of the history', crisis, async (page) => {
    await say(page, '我不想活了');
    assert.equal(await page.textContent('.notice'), '请拨打 12356，有危险请拨打 110 或 120。');
    assert.deepEqual(await page.locator('.notice a').evaluateAll((all) => all.map((a) => a.getAttribute('href'))), ['tel:12356', 'tel:110', 'tel:120']);
    assert.equal(await lastReply(page).textContent(), '我在。');
    assert.match(await page.textContent('.moods'), /危机识别.*是 91%/);
    assert.match(await page.textContent('#announcer'), /12356.*我在/);
    const order = await page.locator('.turn .it').evaluate((box) => [...box.children].map((child) => child.className));
    assert.ok(order.indexOf('notice') < order.indexOf('say'));
    await page.reload();
    assert.match(await page.textContent('.notice'), /12356/);
    service.script = replying('好。');
    await say(page, '谢谢');
    assert.equal(service.requests.at(-1).history[1].content, '我在。');
    assert.equal(await page.locator('.turn:last-child .notice').isVisible(), false);
    assert.equal(await page.locator('.turn:last-child [data-task="crisis"]').count(), 0);
  });

  await on('tasks switched on are asked for, shown, spread out and remembered', replying('好。'), async (page) => {
    assert.deepEqual(await page.locator('.task .words > span').allTextContents(), ['情感判断', '情绪', '意图', '紧急程度', '危机识别']);
    await page.locator('[data-task="emotion"] input').check();
    await page.reload();
    assert.equal(await page.locator('[data-task="emotion"] input').isChecked(), true);
    await say(page, '甲');
    assert.deepEqual(service.requests[0].tasks, ['sentiment', 'emotion', 'crisis']);
    assert.match(await page.textContent('.chip'), /情绪.*开心 90%/);
    await page.click('.chip');
    assert.equal(await page.locator('.spread .row').count(), 6);
    assert.equal(await page.getAttribute('.chip', 'aria-expanded'), 'true');
    await page.locator('[data-task="sentiment"] input').uncheck();
    await page.locator('[data-task="emotion"] input').uncheck();
    await say(page, '乙');
    assert.deepEqual(service.requests[1].tasks, ['crisis']);
    assert.equal(await page.locator('.turn:last-child .moods').isVisible(), false);
  });

  const chooseWay = (page, name) => page.click(`[data-way="${name}"] input`);

  await on('tasks that answer with a text are offered, but not those that this model does badly', replying('好。'), async (page) => {
    assert.deepEqual(await page.locator('.way').allTextContents(), ['对话', '关键词', '润色', '客服回复']);
    assert.equal(await page.locator('[data-way="talking"] input').isChecked(), true);
    await page.click('#language');
    assert.deepEqual(await page.locator('.way').allTextContents(), ['Chat', 'Keywords', 'Polish', 'Customer service']);
  });

  await on('the arrow keys choose a task and stay in the row', replying('好。'), async (page) => {
    await page.focus('[data-way="talking"] input');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.evaluate(() => document.activeElement.value), 'polish');
    assert.match(await page.getAttribute('#message', 'placeholder'), /润色/);
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'message');
    await page.keyboard.type('甲');
    await page.keyboard.press('Enter');
    await ended(page);
    assert.equal(service.requests[0].reply, 'polish');
  });

  await on('keywords: choose, type, and the words appear one by one, beside the labels', null, async (page, context) => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const pause = gate();
    service.script = async (exchange) => {
      exchange.label('sentiment', 'negative', 0.97);
      exchange.say('考', '试', '、', '心');
      await pause.opened;
      exchange.say('情');
      exchange.done();
    };
    await chooseWay(page, 'keywords');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'message');
    assert.match(await page.getAttribute('#message', 'placeholder'), /关键词/);
    await say(page, EXAMPLES[0], 'replying');
    await eventually('the first words', async () => (await page.locator('.keywords li').allTextContents()).join() === '考试,心');
    pause.open();
    await ended(page);
    assert.deepEqual(service.requests[0], { text: EXAMPLES[0], tasks: ['sentiment', 'crisis'], reply: 'keywords', history: [], stream: true });
    assert.deepEqual(await page.locator('.keywords li').allTextContents(), ['考试', '心情']);
    assert.equal(await page.textContent('.by'), '关键词');
    assert.equal(await page.locator('.mood.negative').count(), 1);
    assert.match(await page.textContent('#announcer'), /负面 97%。关键词：考试、心情/);
    await page.click('.copy');
    await page.locator('#toast', { hasText: '已复制' }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), '考试、心情');
    assert.equal(await page.locator('[data-way="keywords"] input').isChecked(), true, 'it stays chosen');
  });

  await on('a generated answer is no part of the conversation, and comes again by the same task', replying('第一句。'), async (page) => {
    await say(page, '甲');
    await chooseWay(page, 'polish');
    service.script = replying('润色过的乙');
    await say(page, '乙');
    assert.deepEqual([service.requests[1].reply, service.requests[1].history], ['polish', []]);
    await chooseWay(page, 'talking');
    await page.reload();
    await page.locator('.turn:last-child .by', { hasText: '润色' }).waitFor();
    assert.equal(await page.locator('[data-way="talking"] input').isChecked(), true);
    await page.click('.again:visible');
    await eventually('asked again', () => service.requests.length === 3);
    await ended(page);
    assert.equal(service.requests[2].reply, 'polish');
    await say(page, '丙');
    assert.equal(service.requests[3].reply, true);
    assert.deepEqual(service.requests[3].history, [{ role: 'user', content: '甲' }, { role: 'assistant', content: '第一句。' }]);
    assert.equal(await page.locator('.turn:last-child .by').isVisible(), false);
  });

  await on('a reply that labels route says by which prompt, and is part of the conversation', null, async (page) => {
    service.script = async (exchange) => {
      exchange.label('sentiment', 'negative', 0.97);
      exchange.event('route', { task: 'service', route: { id: 'soothe', title: { zh: '先道歉安抚', en: 'Apologise first' }, when: { sentiment: 'negative' } } });
      exchange.say('真抱歉。');
      exchange.done();
    };
    await chooseWay(page, 'service');
    await say(page, '快递又丢了');
    assert.equal(await page.textContent('.by'), '客服回复 · 先道歉安抚');
    await say(page, '怎么办');
    assert.equal(service.requests[1].reply, 'service');
    assert.equal(service.requests[1].history.length, 2);
  });

  await on('a text whose words do not fit a task comes back with it', (exchange) => exchange.refuse(400, '900 tokens', 'context_length_exceeded'), async (page) => {
    await chooseWay(page, 'polish');
    await say(page, '很长的话', 'failed');
    await chooseWay(page, 'talking');
    await page.click('.edit');
    assert.equal(await page.locator('[data-way="polish"] input').isChecked(), true);
  });

  await on('how labels are read can be chosen, and is remembered', replying('好。'), async (page) => {
    await page.click('.advanced summary');
    await page.selectOption('#layout', 'shared');
    await say(page, '甲');
    assert.equal(service.requests[0].layout, 'shared');
    await page.reload();
    await page.click('.advanced summary');
    assert.equal(await page.inputValue('#layout'), 'shared');
    await page.selectOption('#layout', '');
    await say(page, '乙');
    assert.equal('layout' in service.requests[1], false);
  });

  await on('the curve has a point for every mood, high for positive', null, async (page) => {
    for (const [text, mood] of [['甲', 'negative'], ['乙', 'positive'], ['丙', 'negative']]) {
      service.script = async (exchange) => {
        exchange.label('sentiment', mood, 0.95);
        exchange.say('好。');
        exchange.done();
      };
      await say(page, text);
    }
    const heights = await page.locator('.curve circle').evaluateAll((points) => points.map((point) => Number(point.getAttribute('cy'))));
    assert.equal(heights.length, 3);
    assert.ok(heights[1] < heights[0] && heights[1] < heights[2], `heights ${heights}`);
    assert.match(await page.getAttribute('.curve svg', 'aria-label'), /3 次.*5%/);
  });

  await on('text from anyone stays text', null, async (page) => {
    const evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>&amp;';
    service.script = async (exchange) => {
      exchange.event('label', { task: '<b>t</b>', label: '<b>l</b>', text: '<b>w</b>', emoji: '<i>', probability: 0.9, probabilities: { '<b>l</b>': 0.9 } });
      exchange.say(evil.slice(0, 9), evil.slice(9));
      exchange.done();
    };
    await say(page, evil);
    assert.equal(await page.textContent('.me .text'), evil);
    assert.equal(await lastReply(page).textContent(), evil);
    await page.click('.chip');
    assert.equal(await page.locator('.turns img, .turns script, .turns b:not(.emoji), .turns i:not(.bar i)').count(), 0);
    await page.reload();
    assert.equal(await lastReply(page).textContent(), evil);
    assert.equal(await page.title(), 'Qwen All-in-One：情感分析 + 智能对话');
  });

  await on('an event stream cut at any byte, with any line ends and comments, reads the same', null, async (page) => {
    service.script = async (exchange) => {
      const label = JSON.stringify({ task: 'sentiment', label: 'positive', text: '正面', emoji: '😄', probability: 0.9, probabilities: { positive: 0.9, negative: 0.1 } });
      const stream = Buffer.from(`: hello\r\nevent: label\r\ndata: ${label}\r\n\r\nevent: delta\rdata: {"text":"好😄"}\r\r: ping\n\nevent:delta\ndata:{"text":\ndata:"啊"}\n\n`);
      for (const byte of stream) {
        await exchange.raw(Buffer.from([byte]));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      exchange.done();
    };
    await say(page, '甲');
    assert.equal(await lastReply(page).textContent(), '好😄啊');
    assert.equal(await page.textContent('.mood'), '😄正面 90%');
  });
}

async function writing(on, service) {
  await on('Enter sends, Shift+Enter breaks the line, the box grows and shrinks back', replying('好。'), async (page) => {
    const height = () => page.locator('#message').evaluate((box) => box.clientHeight);
    const low = await height();
    await page.locator('#message').pressSequentially('一');
    for (const letter of '二三四') {
      await page.press('#message', 'Shift+Enter');
      await page.locator('#message').pressSequentially(letter);
    }
    assert.ok((await height()) > low * 2);
    await page.press('#message', 'Enter');
    await ended(page);
    assert.equal(service.requests[0].text, '一\n二\n三\n四');
    assert.equal(await height(), low);
    assert.equal(await page.inputValue('#message'), '');
  });

  await on('nothing to say is not sent', replying('好。'), async (page) => {
    assert.equal(await page.locator('#send').isDisabled(), true);
    await page.fill('#message', '  \n ');
    await page.press('#message', 'Enter');
    assert.equal(await page.locator('#send').isDisabled(), true);
    assert.equal(await page.locator('.turn').count(), 0);
  });

  const busy = heldReply();
  await on('what is typed during a reply stays in the box', busy.script, async (page) => {
    await say(page, '甲', 'replying');
    await page.fill('#message', '下一句');
    await page.press('#message', 'Enter');
    assert.equal(await page.inputValue('#message'), '下一句');
    assert.equal(await page.locator('.turn').count(), 1);
    busy.goOn();
    await ended(page);
    await page.press('#message', 'Enter');
    await eventually('the second turn', async () => (await page.locator('.turn').count()) === 2);
  });

  await on('the Enter that confirms a candidate of an input method never sends', replying('好。'), async (page, context) => {
    const devtools = await context.newCDPSession(page);
    const enter = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13 };
    await page.focus('#message');
    await devtools.send('Input.imeSetComposition', { text: 'nihao', selectionStart: 5, selectionEnd: 5 });
    await devtools.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', ...enter });
    await devtools.send('Input.dispatchKeyEvent', { type: 'keyUp', ...enter });
    assert.equal(await page.locator('.turn').count(), 0);
    await devtools.send('Input.insertText', { text: '你好' });
    const enterAfter = (eventType, keyCode) =>
      page.evaluate(([type, code]) => {
        const box = document.getElementById('message');
        box.dispatchEvent(new CompositionEvent(type, { data: '你好', bubbles: true }));
        box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: code, bubbles: true, cancelable: true }));
      }, [eventType, keyCode]);
    await enterAfter('compositionend', 13); // in the same moment as the end of the composition
    await page.waitForTimeout(100);
    await enterAfter('compositionupdate', 229); // Safari: late, and no longer said to be composing
    assert.equal(await page.locator('.turn').count(), 0);
    assert.equal(await page.inputValue('#message'), '你好');
    await page.waitForTimeout(100);
    await page.press('#message', 'Enter');
    await ended(page);
    assert.equal(service.requests[0].text, '你好');
  });

  await on('a reader who scrolled up is not pulled down', null, async (page) => {
    const pause = gate();
    service.script = async (exchange) => {
      exchange.label('sentiment', 'positive', 0.9);
      for (let i = 0; i < 60; i++) exchange.say(`第${i}行\n`);
      await pause.opened;
      for (let i = 0; i < 60; i++) exchange.say(`又${i}行\n`);
      exchange.done();
    };
    const place = () => page.locator('#talk').evaluate((box) => ({ top: box.scrollTop, rest: box.scrollHeight - box.scrollTop - box.clientHeight }));
    await say(page, '甲', 'replying');
    await eventually('the last line so far', async () => (await lastReply(page).textContent()).includes('第59行'));
    assert.ok((await place()).rest < 2, 'follows the reply at its end');
    await page.locator('#talk').evaluate((box) => { box.scrollTop = 100; });
    pause.open();
    await ended(page);
    assert.equal((await place()).top, 100);
    await page.click('#latest');
    assert.ok((await place()).rest < 2);
    await eventually('the button goes', async () => !(await page.locator('#latest').isVisible()));
  });
}

async function trouble(on, service) {
  const refusals = [
    ['a busy service', (exchange) => exchange.refuse(429, 'busy', 'busy'), /稍等几秒/],
    ['a service in trouble', (exchange) => exchange.refuse(500, 'disk full'), /服务出了点问题：disk full/],
    ['a refused request', (exchange) => exchange.refuse(400, 'no such thing'), /没能处理：no such thing/],
    ['a service that is gone', (exchange) => exchange.breakOff(), /连不上服务/],
    ['a failure inside the stream', (exchange) => {
      exchange.label('sentiment', 'positive', 0.9);
      exchange.event('error', { error: { message: 'out of memory', type: 'server_error', param: null, code: null } });
    }, /服务出了点问题：out of memory/],
    ['a reply that breaks off', (exchange) => {
      exchange.label('sentiment', 'positive', 0.9);
      exchange.say('说到一');
      setTimeout(() => exchange.breakOff(), 100);
    }, /说到一半断了/],
  ];
  for (const [name, script, message] of refusals) {
    await on(`${name} is told in the conversation, and can be tried again`, script, async (page) => {
      await say(page, '甲', 'failed');
      assert.match(await page.textContent('.failure'), message);
      service.script = replying('好了。');
      await page.click('.again');
      await ended(page);
      assert.equal(await lastReply(page).textContent(), '好了。');
      assert.equal(await page.locator('.failure').count(), 0);
    });
  }

  await on('a failed turn is no history', (exchange) => exchange.refuse(500, 'x'), async (page) => {
    await say(page, '甲', 'failed');
    service.script = replying('好。');
    await say(page, '乙');
    assert.deepEqual(service.requests.at(-1).history, []);
  });

  await on('a text that is too long comes back for editing', (exchange) => exchange.refuse(400, '900 tokens', 'context_length_exceeded'), async (page) => {
    await say(page, '很长的话', 'failed');
    assert.match(await page.textContent('.failure'), /太长/);
    assert.equal(await page.locator('.again').count(), 0);
    await page.click('.edit');
    assert.equal(await page.inputValue('#message'), '很长的话');
    assert.equal(await page.locator('.turn').count(), 0);
  });

  await on('a service that starts later is found', replying('好。'), async (page, context) => {
    await context.route('**/v1/**', (route) => route.abort());
    await page.reload();
    await page.locator('#service[data-state="offline"]').waitFor();
    await context.unroute('**/v1/**');
    await page.locator('#service[data-state="ready"]').waitFor();
    assert.equal(await page.locator('.task').count(), 5);
  });

  service.key = 'open sesame';
  await on('a service with a key asks for it and remembers it for the tab only', replying('好。'), async (page) => {
    await page.locator('#key-dialog[open]').waitFor();
    await page.fill('#key', 'wrong');
    await page.press('#key', 'Enter');
    await page.locator('#key-wrong', { hasText: '不对' }).waitFor();
    await page.fill('#key', 'open sesame');
    await page.press('#key', 'Enter');
    await page.locator('#service[data-state="ready"]').waitFor();
    await say(page, '甲');
    await page.reload();
    await page.locator('#service[data-state="ready"]').waitFor();
    const kept = await page.evaluate(() => [JSON.stringify(localStorage).includes('sesame'), JSON.stringify(sessionStorage).includes('sesame')]);
    assert.deepEqual(kept, [false, true]);
    service.key = 'changed';
    await page.fill('#message', '乙');
    await page.press('#message', 'Enter');
    await page.locator('#key-dialog[open]').waitFor();
    await page.fill('#key', 'changed');
    await page.press('#key', 'Enter');
    await ended(page);
    assert.equal(await lastReply(page).textContent(), '好。');
  });
  service.key = null;
}

async function looks(on, service) {
  const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const LIGHT = 'rgb(247, 246, 243)';
  const DARK = 'rgb(23, 24, 28)';

  await on('dark and light follow the system until the user chooses', null, async (page) => {
    assert.equal(await background(page), LIGHT);
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.equal(await background(page), DARK);
    await page.click('#theme');
    assert.equal(await background(page), LIGHT);
    await page.reload();
    assert.equal(await background(page), LIGHT);
    await page.click('#theme');
    await page.emulateMedia({ colorScheme: 'light' });
    assert.equal(await background(page), LIGHT, 'back at the choice of the system, it is followed again');
  });

  await on('the language follows the browser until the user chooses', replying('好。'), async (page) => {
    assert.equal(await page.getAttribute('html', 'lang'), 'en');
    assert.equal(await page.textContent('h2[data-t="greeting"]'), 'How was your day?');
    assert.equal(await page.title(), 'Qwen All-in-One：情感分析 + 智能对话');
    await say(page, '甲');
    assert.equal(await page.textContent('.mood'), '😄Positive 90%');
    await page.click('#language');
    assert.equal(await page.textContent('.mood'), '😄正面 90%');
    assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
    await page.reload();
    assert.match(await page.getAttribute('#message', 'placeholder'), /Enter 发送/);
  }, { locale: 'en-US' });

  for (const width of [320, 390]) {
    await on(`at ${width} px nothing is cut or scrolls sideways, the panel is a drawer`, replying('长'.repeat(200), 'x'.repeat(300)), async (page) => {
      await say(page, 'y'.repeat(300));
      const cut = await page.evaluate(() => {
        const boxes = [...document.querySelectorAll('header *, main *')].filter((node) => node.getClientRects().length && !node.closest('.unseen, .word'));
        return [document.documentElement, document.getElementById('talk')].filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.id || 'page')
          .concat(boxes.filter((node) => node.getBoundingClientRect().right > innerWidth + 0.5).map((node) => node.outerHTML.slice(0, 80)));
      });
      assert.deepEqual(cut, []);
      assert.equal(await page.locator('#panel').isVisible(), false);
      await page.tap('#open-panel');
      await page.locator('#panel').waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.id), 'close-panel');
      await page.keyboard.press('Escape');
      await eventually('the drawer is closed', async () => !(await page.locator('#panel').isVisible()));
      assert.equal(await page.evaluate(() => document.activeElement.id), 'open-panel');
    }, { viewport: { width, height: 760 }, isMobile: true, hasTouch: true });
  }

  await on('the keyboard reaches everything in order, and it is seen where it is', replying('好。'), async (page) => {
    await say(page, '甲');
    await page.focus('#language');
    const order = ['language'];
    while (order.at(-1) !== 'urgency' && order.length < 30) {
      await page.keyboard.press('Tab');
      const [name, isSeen] = await page.evaluate(() => {
        const node = document.activeElement;
        const style = getComputedStyle(node.id === 'message' ? node.closest('.box') : node);
        return [node.id || node.className || node.closest('[data-task]')?.dataset.task, node.id === 'message' || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2)];
      });
      assert.ok(isSeen, `${name} has the focus and does not show it`);
      order.push(name);
    }
    const want = ['language', 'theme', 'clear', 'talk', 'mood positive', 'copy', 'again last-only', 'message', 'sentiment', 'emotion', 'intent', 'urgency'];
    assert.deepEqual(order.filter((name) => want.includes(name)), want);
  });

  await on('with reduced motion nothing moves', heldReply().script, async (page) => {
    await page.emulateMedia({ reducedMotion: 'reduce' });
    await say(page, '甲', 'replying');
    assert.deepEqual(await page.evaluate(() => document.getAnimations().length), 0);
  });

  for (const colorScheme of ['light', 'dark']) {
    await on(`axe finds no fault, ${colorScheme}`, replying('好。'), async (page) => {
      await page.locator('[data-task="emotion"] input').check();
      const faults = [];
      const look = async (where) => {
        await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
        const { violations } = await page.evaluate(() => globalThis.axe.run());
        for (const { id, nodes } of violations) faults.push(`${where}: ${id} ${nodes.map(({ html }) => html.slice(0, 100)).join(' ')}`);
      };
      await page.evaluate(await readAxe());
      await page.click('.advanced summary');
      await look('empty');
      await page.click('[data-way="keywords"] input');
      await say(page, '甲');
      await page.click('.chip');
      service.script = (exchange) => exchange.refuse(500, 'x');
      await say(page, '乙', 'failed');
      await look('conversation');
      assert.deepEqual(faults, []);
      assert.equal(await lastState(page), 'failed');
    }, { colorScheme });
  }
}

async function readAxe() {
  const { readFile } = await import('node:fs/promises');
  return readFile(AXE, 'utf8');
}

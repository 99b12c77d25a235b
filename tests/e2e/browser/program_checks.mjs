/* The page as the program serves it, with the program's own model. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';

import { eventually } from './harness.mjs';

const START_MS = 60000;
const ended = (page, n) => page.locator(`.turn:nth-child(${n}):is([data-state="done"], [data-state="failed"])`).waitFor();

/* {url, stop()} */
async function startProgram(path) {
  const program = spawn(path, ['serve', '--port', '0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const url = await new Promise((resolve, reject) => {
    const listen = (chunk) => {
      said += chunk;
      const found = /http:\/\/[^\s/]+:\d+/.exec(said);
      if (found) resolve(`${found[0]}/`);
    };
    program.stdout.on('data', listen);
    program.stderr.on('data', listen);
    program.on('error', reject);
    program.on('exit', (code) => reject(new Error(`it ended with ${code} and said: ${said}`)));
    setTimeout(() => reject(new Error(`no address within ${START_MS} ms, it said: ${said}`)), START_MS).unref();
  });
  const stop = () =>
    new Promise((resolve) => {
      program.on('exit', (code) => resolve(code));
      program.kill('SIGTERM');
    });
  return { url, stop };
}

/* Writes down, from inside the page, in which order badge and words appear and how the reply grows. */
function record(page) {
  return page.evaluate(() => {
    globalThis.seen = [];
    const look = () => {
      const turn = document.querySelector('.turn:last-child');
      const state = `${turn?.querySelector('.mood') ? 'mood' : ''} ${turn?.querySelector('.say')?.textContent.length ?? 0}`;
      if (globalThis.seen.at(-1) !== state) globalThis.seen.push(state);
    };
    new MutationObserver(look).observe(document.getElementById('turns'), { childList: true, subtree: true, characterData: true });
  });
}

export async function programChecks(harness, path, screenshot) {
  let program = null;
  await harness.check('the program starts and says where it listens', async () => {
    program = await startProgram(path);
  });
  if (!program) return;

  await harness.check('the program serves the page with a strict Content-Security-Policy', async () => {
    const response = await fetch(program.url);
    assert.equal(response.status, 200);
    assert.match(await response.text(), /<title>Qwen All-in-One：情感分析 \+ 智能对话<\/title>/);
    assert.match(response.headers.get('content-security-policy'), /default-src 'none'/);
    assert.doesNotMatch(response.headers.get('content-security-policy'), /unsafe/);
  });

  await harness.check('an example: the right mood, then a reply that grows, with its figures', () =>
    harness.withPage(program.url, async (page) => {
      await record(page);
      await page.click('.examples button >> nth=0');
      await ended(page, 1);
      assert.match(await page.textContent('.mood'), /^😢负面 \d+%$/);
      const seen = await page.evaluate(() => globalThis.seen);
      const firstMood = seen.findIndex((state) => state.startsWith('mood'));
      const firstWord = seen.findIndex((state) => !state.endsWith(' 0'));
      assert.ok(firstMood >= 0 && firstMood < firstWord, `badge and words in order: ${seen}`);
      assert.ok(seen.length - firstWord >= 3, `the reply arrives in pieces: ${seen}`);
      assert.match(await page.textContent('.figures'), /首字 .*词元\/秒.*缓存 \d+\/\d+/);
    }));

  await harness.check('the other examples are positive, the conversation goes on and survives a reload', () =>
    harness.withPage(program.url, async (page) => {
      await page.click('.examples button >> nth=1');
      await ended(page, 1);
      await page.fill('#message', '天气真不错,适合出去走走。');
      await page.press('#message', 'Enter');
      await ended(page, 2);
      assert.equal(await page.locator('.mood.positive').count(), 2);
      const said = await page.locator('.say').allTextContents();
      assert.ok(said.every((text) => text.length > 0));
      await page.reload();
      assert.deepEqual(await page.locator('.say').allTextContents(), said);
    }));

  await harness.check('every task of the panel is answered', () =>
    harness.withPage(program.url, async (page) => {
      await page.locator('.task input').first().waitFor();
      const tasks = page.locator('.task input');
      for (let i = 0; i < (await tasks.count()); i++) await tasks.nth(i).check();
      await page.click('.examples button >> nth=0');
      await ended(page, 1);
      assert.equal(await page.locator('.turn').getAttribute('data-state'), 'done');
      assert.equal(await page.locator('.mood, .chip').count(), (await tasks.count()) - 1); // "no crisis" is no news
    }));

  await harness.check('keywords are words of the text, beside its mood; what the built-in model does badly is not offered', () =>
    harness.withPage(program.url, async (page) => {
      assert.deepEqual(await page.locator('.way').allTextContents(), ['对话', '关键词']);
      await page.click('[data-way="keywords"] input');
      const text = '明天上午要去医院复查，记得带上病历。';
      await page.fill('#message', text);
      await page.press('#message', 'Enter');
      await ended(page, 1);
      const words = await page.locator('.keywords li').allTextContents();
      assert.ok(words.length && words.every((word) => word && text.includes(word)), `${words}`);
      assert.equal(await page.locator('.mood').count(), 1);
    }));

  await harness.check('a crisis is met with the hotline first', () =>
    harness.withPage(program.url, async (page) => {
      await page.fill('#message', '我真的不想活了');
      await page.press('#message', 'Enter');
      await ended(page, 1);
      assert.match(await page.textContent('.notice'), /12356/);
      assert.equal(await page.locator('[data-task="crisis"]').first().count(), 1);
    }));

  await harness.check('stop leaves the program ready for the next message', () =>
    harness.withPage(program.url, async (page) => {
      await page.fill('#message', '给我讲一个很长很长的故事吧。');
      await page.press('#message', 'Enter');
      await eventually('the first words', async () => (await page.locator('.say').textContent()) !== '');
      await page.press('#message', 'Escape');
      await page.locator('.turn:is([data-state="stopped"], [data-state="done"])').waitFor();
      await page.fill('#message', '谢谢你。');
      await page.press('#message', 'Enter');
      await ended(page, 2);
      assert.equal(await page.locator('.turn').nth(1).getAttribute('data-state'), 'done');
    }));

  await harness.check('a text longer than the context is told kindly', () =>
    harness.withPage(program.url, async (page) => {
      await page.fill('#message', '今天天气很好我们去公园散步。'.repeat(2000));
      await page.press('#message', 'Enter');
      await ended(page, 1);
      assert.match(await page.textContent('.failure'), /太长/);
    }));

  if (screenshot) {
    await takePicture(harness, program.url, screenshot, 'light');
    await takePicture(harness, program.url, screenshot.replace(/\.png$/, '-dark.png'), 'dark');
  }

  await harness.check('SIGTERM ends the program cleanly', async () => {
    assert.equal(await program.stop(), 0);
  });
}

async function takePicture(harness, url, file, colorScheme) {
  await harness.withPage(url, async (page) => {
    for (const name of ['emotion', 'intent']) {
      const box = page.locator(`[data-task="${name}"] input`);
      if (await box.count()) await box.check();
    }
    const says = [
      ['keywords', '快递又丢了，客服电话一直打不通。'],
      ['keywords', '我刚收到了梦寐以求的offer!'],
      ['talking', '今天考试没考好,心情很低落。'],
      ['keywords', '周末和朋友去爬山，看到了特别美的日出。'],
    ];
    for (const [i, [way, text]] of says.entries()) {
      await page.click(`[data-way="${way}"] input`);
      await page.fill('#message', text);
      await page.press('#message', 'Enter');
      await ended(page, i + 1);
    }
    await page.click('.turn:nth-child(3) [data-task="emotion"]');
    await page.locator('#talk').evaluate((box) => { box.scrollTop = box.scrollHeight; });
    await page.screenshot({ path: file });
  }, { colorScheme, reducedMotion: 'reduce', viewport: { width: 1180, height: 820 } });
}

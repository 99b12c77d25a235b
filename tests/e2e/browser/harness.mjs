/* Checks as TAP lines, one page a check; every page also reports what it must never do. */

import { chromium } from 'playwright-core';

const PATIENCE_MS = 10000;

export class Harness {
  #browser;
  #count = 0;
  #failed = 0;
  violations = []; // of the Content-Security-Policy, exceptions, requests to elsewhere

  static async start() {
    const harness = new Harness();
    harness.#browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] });
    return harness;
  }

  /* Runs one check; a thrown error is its failure. */
  async check(name, run) {
    this.#count++;
    try {
      await run();
      console.log(`ok ${this.#count} - ${name}`);
    } catch (error) {
      this.#failed++;
      console.log(`not ok ${this.#count} - ${name}`);
      for (const line of String(error.stack ?? error).split('\n').slice(0, 12)) console.log(`#   ${line}`);
    }
  }

  /* Runs use(page) on a fresh page, with nothing remembered. */
  async withPage(url, use, options = {}) {
    const context = await this.#browser.newContext({ viewport: { width: 1180, height: 760 }, locale: 'zh-CN', ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
    });
    try {
      const page = await context.newPage();
      this.#watch(page, url);
      await page.goto(url);
      await page.locator('#service:not([data-state="connecting"])').waitFor({ state: 'attached' });
      return await use(page, context);
    } finally {
      await context.close();
    }
  }

  #watch(page, url) {
    const { origin } = new URL(url);
    page.on('pageerror', (error) => this.violations.push(`exception: ${error.message}`));
    page.on('console', (message) => {
      if (/CSP|Content.Security.Policy/i.test(message.text())) this.violations.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(`${origin}/`) && !request.url().startsWith('data:')) this.violations.push(`outside request: ${request.url()}`);
    });
  }

  async end() {
    await this.#browser.close();
    console.log(`1..${this.#count}`);
    console.log(`# ${this.#count - this.#failed} passed, ${this.#failed} failed`);
    return this.#failed === 0;
  }
}

/* Waits until probe() is true; says what it waited for when it never is. */
export async function eventually(what, probe) {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end) {
    if (await probe()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never happened: ${what}`);
}

/* A promise and the function that resolves it. */
export function gate() {
  let open;
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

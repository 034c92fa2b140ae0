/** Who may ask: names, origins, tokens, and what every answer says to the browser. */

import { readFile, writeFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, Server } from 'node:net'
import path from 'node:path'
import ddatabase, { type Feed } from 'ddatabase'
import RandomAccessMemory from 'random-access-memory'
import test, { type Test } from 'tape'
import { temporaryFolder } from '../../../test/helpers/folders.ts'
import { within } from '../../../test/helpers/watchdog.ts'
import { inspect, inspectWith } from '../src/inspect.ts'
import { openCommand } from '../src/open-browser.ts'
import { openWindow } from './helpers/open-window.ts'
import { request, send } from './helpers/requests.ts'

const TOKEN = 'a-token-of-this-test'

async function author(t: Test): Promise<Feed<Uint8Array>> {
  const feed = ddatabase(RandomAccessMemory)
  await feed.append([Buffer.from('one'), Buffer.from('<script>alert(1)</script>')])
  t.teardown(() => feed.close())
  return feed
}

test('guard: the page and its parts, with headers that keep it apart', async (t) => {
  const { url } = await openWindow(t, await author(t), { token: TOKEN })
  t.match(url, /^http:\/\/127\.0\.0\.1:\d+\/a-token-of-this-test\/$/)
  for (const path of [
    '',
    'page/main.js',
    'page/style.css',
    'api/feeds',
    'api/feeds/0/blocks?start=0&count=5',
    'nothing'
  ]) {
    const { status, headers: given } = await request(url + path)
    const headers = given as Record<string, string | undefined>
    t.equal(status, path === 'nothing' ? 404 : 200, path)
    const policy = headers['content-security-policy'] ?? ''
    t.match(policy, /default-src 'none'/)
    t.match(policy, /script-src 'self'(;|$)/)
    t.match(policy, /style-src 'self'(;|$)/)
    t.match(policy, /frame-ancestors 'none'/)
    t.match(policy, /require-trusted-types-for 'script'/)
    t.notOk(/unsafe|https?:|\*/.test(policy), 'nothing inline, nothing evaluated, nobody else')
    t.equal(headers['referrer-policy'], 'no-referrer')
    t.equal(headers['x-content-type-options'], 'nosniff')
    t.equal(headers['x-frame-options'], 'DENY')
    t.equal(headers['cross-origin-opener-policy'], 'same-origin')
    t.equal(headers['cross-origin-resource-policy'], 'same-origin')
    t.equal(headers['cache-control'], 'no-store')
    t.equal(headers['set-cookie'], undefined, 'no cookie, which every port of this machine would get')
    t.equal(headers['access-control-allow-origin'], undefined)
  }
})

test('guard: nothing without the token, whatever looks like it', async (t) => {
  const { url } = await openWindow(t, await author(t), { token: TOKEN })
  const wrong = [
    '/',
    '/api/feeds',
    '/page/main.js',
    `/${TOKEN.slice(0, -1)}/`,
    `/${TOKEN}x/`,
    `/${TOKEN.toUpperCase()}/api/feeds`,
    `/x/../${TOKEN.slice(1)}/api/feeds`,
    `//${TOKEN}x/api/feeds`,
    `/%00${TOKEN}/api/feeds`,
    `/api/feeds?token=${TOKEN}`,
    '/launch/',
    '/launch/x',
    '/launch/undefined',
    '/launch/null'
  ]
  for (const path of wrong) {
    const { status, body } = await request(url, { path })
    t.ok(status === 403 || status === 404, `${path}: ${status}`)
    t.notOk(body.includes('length'), 'and nothing of the feed')
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'TRACE']) {
    const { status } = await request(url, {
      method,
      path: '/wrong/api/feeds/0/append',
      headers: { origin: new URL(url).origin }
    })
    t.ok(status >= 400, `${method}: ${status}`)
  }
})

test('guard: another name for this machine is refused (DNS rebinding)', async (t) => {
  const { url } = await openWindow(t, await author(t), { token: TOKEN })
  const { port } = new URL(url)
  const refused = [
    'evil.example',
    `evil.example:${port}`,
    '127.0.0.1',
    `127.0.0.1:${Number(port) + 1}`,
    `127.0.0.1.evil.example:${port}`,
    `localhost.evil.example:${port}`,
    `0.0.0.0:${port}`,
    `[::1]:${port}`
  ]
  for (const host of refused) {
    const { status } = await request(`${url}api/feeds`, { headers: { host } })
    t.ok(status === 421 || status === 400, `"${host}": ${status}`)
  }
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`]) {
    t.equal((await request(`${url}api/feeds`, { headers: { host } })).status, 200, host)
  }
  // What no client of Node would send.
  for (const head of [
    `GET /${TOKEN}/api/feeds HTTP/1.1\r\nHost:`,
    `GET /${TOKEN}/api/feeds HTTP/1.1`,
    `GET /${TOKEN}/api/feeds HTTP/1.0`,
    `GET http://evil.example/${TOKEN}/api/feeds HTTP/1.1\r\nHost: evil.example`,
    `GET http://127.0.0.1:${port}/${TOKEN}/api/feeds HTTP/1.1\r\nHost: evil.example`
  ]) {
    const answer = await raw(Number(port), `${head}\r\nConnection: close\r\n\r\n`)
    t.match(answer, /^HTTP\/1\.1 4\d\d /, head.replace(/\r\n/g, ' | '))
    t.notOk(answer.includes('byteLength'))
  }
})

test('guard: other pages can neither read nor write (CSRF)', async (t) => {
  const feed = await author(t)
  const { url } = await openWindow(t, feed, { token: TOKEN })
  const own = new URL(url).origin
  const body = JSON.stringify({ values: ['from elsewhere'] })
  const type = { 'content-type': 'application/json' }
  const { port } = new URL(url)
  for (const origin of [
    'https://evil.example',
    'null',
    `http://localhost:${port}`,
    `https://127.0.0.1:${port}`,
    `${own}.evil.example`,
    `http://127.0.0.1:1`
  ]) {
    const get = await request(`${url}api/feeds`, { headers: { origin } })
    t.equal(get.status, 403, `GET from ${origin}`)
    const post = await request(`${url}api/feeds/0/append`, {
      method: 'POST',
      headers: { origin, ...type },
      body
    })
    t.equal(post.status, 403, `POST from ${origin}`)
  }
  t.equal(
    (await request(`${url}api/feeds/0/append`, { method: 'POST', headers: type, body })).status,
    403,
    'POST from nowhere'
  )
  for (const site of ['cross-site', 'same-site']) {
    const headers = { 'sec-fetch-site': site, 'sec-fetch-mode': 'no-cors' }
    t.equal(
      (await request(`${url}api/feeds/0/blocks/0/content`, { headers })).status,
      403,
      `${site} as a picture`
    )
    const post = {
      method: 'POST',
      headers: { ...type, 'sec-fetch-site': site, 'sec-fetch-mode': 'navigate', origin: own },
      body
    }
    t.equal((await request(`${url}api/feeds/0/append`, post)).status, 403, `${site} as a form`)
  }
  const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }
  t.equal((await request(url, { headers: link })).status, 200, 'a link with the token may be followed')
  t.equal(feed.length, 2, 'nothing was appended')
  const form = await send(url, 'api/feeds/0/append', body, 'text/plain')
  t.equal(form.status, 400, 'types that a form can send are not taken')
  t.equal((await send(url, 'api/feeds/0/append', body)).status, 200, 'the page itself may')
  t.equal(feed.length, 3)
})

test('guard: only addresses of this machine alone', async (t) => {
  const feed = await author(t)
  for (const host of ['0.0.0.0', '::', 'localhost', '127.0.0.2', '192.168.0.1', 'example.com', '']) {
    const opened = inspectWith(new Map(), feed, { host: host as '::1' })
    const error = await opened.then(
      (inspector) => inspector.close().then(() => null),
      (reason: Error) => reason
    )
    t.ok(error instanceof TypeError, `"${host}"`)
  }
  for (const token of [
    '',
    'short',
    `${'x'.repeat(20)}/`,
    `${'x'.repeat(20)}?`,
    'x'.repeat(257),
    '../../../../../etc/passwd'
  ]) {
    const error = await inspectWith(new Map(), feed, { token }).then(
      () => null,
      (reason: Error) => reason
    )
    t.ok(error instanceof TypeError, `token "${token.slice(0, 30)}"`)
  }
})

test('guard: what is no feed, and options of wrong types', async (t) => {
  const feed = await author(t)
  const code = async (feeds: unknown, options?: unknown) => {
    const opened = [inspect, inspectWith.bind(null, new Map())].map((call) =>
      call(feeds as never, options as never)
    )
    const codes = opened.map((one) =>
      one.then(
        (inspector) => inspector.close().then(() => 'opened'),
        (error: { code?: unknown }) => error.code
      )
    )
    const [first, second] = await Promise.all(codes)
    return first === second ? first : [first, second]
  }
  const none = [
    {},
    null,
    undefined,
    'feed',
    5,
    [{}],
    [feed, null],
    { feed: {} },
    { feed: null },
    { feed, name: 5 }
  ]
  for (const given of none) t.equal(await code(given), 'ERR_INVALID_ARG_TYPE', String(given))
  for (const options of [5, 'x', { port: '80' }, { port: {} }, { token: 1234567890123456 }, { token: {} }]) {
    t.equal(await code(feed, options), 'ERR_INVALID_ARG_TYPE', JSON.stringify(options))
  }
  for (const port of [-1, 0.5, Number.NaN, 65536])
    t.equal(await code(feed, { port }), 'ERR_OUT_OF_RANGE', `${port}`)
  t.equal(await code(feed, { token: 'short' }), 'ERR_INVALID_ARG_VALUE')
  t.equal(await code(feed, { host: '0.0.0.0' }), 'ERR_INVALID_ARG_VALUE')
  for (const options of [null, { port: null, host: null, token: null, open: null }]) {
    const inspector = await inspectWith(new Map(), { feed, name: null as never }, options as never)
    t.match(inspector.url, /^http:\/\/127/)
    await inspector.close()
  }
})

test('guard: the other loopback address', async (t) => {
  const feed = await author(t)
  const opened = await inspectWith(new Map(), feed, { host: '::1' }).catch(
    (error: NodeJS.ErrnoException) => error
  )
  if (opened instanceof Error) {
    t.ok(
      ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes((opened as NodeJS.ErrnoException).code!),
      'this machine has none'
    )
    return
  }
  t.match(opened.url, /^http:\/\/\[::1\]:\d+\//)
  t.equal((await request(`${opened.url}api/feeds`)).status, 200)
  await opened.close()
})

test('guard: the port that browsers leave out', async (t) => {
  const opened = await inspectWith(new Map(), await author(t), { port: 80 }).catch(
    (error: NodeJS.ErrnoException) => error
  )
  if (opened instanceof Error) {
    t.ok(['EACCES', 'EADDRINUSE'].includes((opened as NodeJS.ErrnoException).code!), 'it cannot be had here')
    return
  }
  const { pathname } = new URL(opened.url)
  t.equal((await fetch(`http://127.0.0.1${pathname}api/feeds`)).status, 200)
  t.equal((await fetch(`http://localhost${pathname}api/feeds`)).status, 200)
  await opened.close()
})

test('guard: random tokens, ports in use, and closing', async (t) => {
  const feed = await author(t)
  const first = await openWindow(t, feed)
  const second = await openWindow(t, feed)
  const [a, b] = [first.url, second.url].map((url) => new URL(url).pathname)
  t.ok(a!.length > 40 && a !== b, 'long, and different')
  const port = Number(new URL(first.url).port)
  const taken = await inspectWith(new Map(), feed, { port }).catch(
    (error: NodeJS.ErrnoException) => error.code
  )
  t.equal(taken, 'EADDRINUSE')

  const third = await inspectWith(new Map(), feed)
  const following = await new Promise<IncomingMessage>((resolve, reject) => {
    httpRequest(`${third.url}api/events?feed=0`, resolve).on('error', reject).end()
  })
  const ended = new Promise((resolve) =>
    following
      .on('error', () => {})
      .on('close', resolve)
      .resume()
  )
  await third.close()
  await third.close()
  const after = await request(third.url).catch((error: NodeJS.ErrnoException) => error.code)
  t.equal(after, 'ECONNREFUSED')
  await ended
  t.equal(feed.closed, false, 'the feed stays open')
  t.equal(await feed.append(Buffer.from('more')), 2)
})

test('guard: the browser is started with an address that works once', async (t) => {
  const folder = await temporaryFolder(t)
  const [command] = openCommand(process.platform, '')
  const noted = path.join(folder, 'noted')
  await writeFile(
    path.join(folder, command),
    `#!/bin/sh\nprintf %s "$1" > "${noted}.part" && mv "${noted}.part" "${noted}"\n`,
    { mode: 0o755 }
  )
  const before = process.env.PATH
  process.env.PATH = `${folder}${path.delimiter}${before}`
  t.teardown(() => {
    process.env.PATH = before
  })
  const { url } = await openWindow(t, await author(t), { open: true })
  const launched = await within(
    (async () => {
      for (;;) {
        const text = await readFile(noted, 'utf8').catch(() => null)
        if (text !== null) return text
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })(),
    'the browser'
  )
  t.notOk(
    launched.includes(new URL(url).pathname.split('/')[1]!),
    'the arguments of programs are no place for the token'
  )
  const first = await request(launched)
  t.equal(first.status, 303)
  t.equal(new URL(first.headers.location!, launched).href, url)
  t.equal((await request(launched)).status, 403, 'a second time it does not work')

  process.env.PATH = path.join(folder, 'nothing')
  const other = await openWindow(t, await author(t), { open: true })
  t.equal((await request(other.url)).status, 200, 'no browser is no failure')
})

test('guard: a package that was not built says so', async (t) => {
  const { readPage } = await import('../src/page-files.ts')
  const error = await readPage('/nowhere/at/all').catch((reason: NodeJS.ErrnoException) => reason.code)
  t.equal(error, 'ENOENT')
  t.equal(typeof inspect, 'function')
})

test('guard: errors of the running server do not end the process', async (t) => {
  const { listen } = Server.prototype
  let server: Server | undefined
  Server.prototype.listen = function (this: Server, ...values: unknown[]) {
    server = this
    return Reflect.apply(listen, this, values)
  } as typeof listen
  t.teardown(() => {
    Server.prototype.listen = listen
  })
  const { url } = await openWindow(t, await author(t))
  t.ok(server)
  for (let i = 0; i < 3; i++) server?.emit('error', new Error('accept EMFILE'))
  t.equal((await request(url)).status, 200)
})

/** What a server answers to these bytes. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    socket.setEncoding('utf8').on('data', (text) => {
      answer += text
    })
    socket.on('error', reject).on('close', () => resolve(answer))
  })
}

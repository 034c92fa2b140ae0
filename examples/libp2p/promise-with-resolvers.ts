// libp2p 3 uses `Promise.withResolvers`, which Node.js has from version 22 on. To be imported before it.
const promises = Promise as unknown as {
  withResolvers?: <T>() => {
    promise: Promise<T>
    resolve(value: T): void
    reject(reason: unknown): void
  }
}

promises.withResolvers ??= <T>() => {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((...functions) => {
    ;[resolve, reject] = functions
  })
  return { promise, resolve, reject }
}

// Types of `require('ddatabase/hypercore')`: the callable with the named exports as its properties.
// The namespace repeats every exported type of dist/hypercore.d.ts (test/package compares the two lists). It must
// hold nothing but type aliases: any other declaration would make it a second value of the same name.
import type * as api from '../dist/hypercore.js' with { 'resolution-mode': 'import' }

declare const hypercore: typeof api.hypercore & typeof api

declare namespace hypercore {
  type DDatabaseError = api.DDatabaseError
  type ErrorCode = api.ErrorCode
  type Feed<T = Uint8Array> = api.Feed<T>
  type FeedOptions<T = Uint8Array> = api.FeedOptions<T>
}

export = hypercore

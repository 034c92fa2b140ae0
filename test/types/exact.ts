/** Assertions for the compiler: nothing here does anything when it runs. */

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false

/** `exact<T>()(value)` compiles only if `value` is of type `T`, neither wider nor narrower. */
export function exact<Expected>() {
  return check
  function check<Given>(
    _given: Given,
    ..._wrong: Same<Expected, Given> extends true ? [] : [expected: Expected]
  ): void {}
}

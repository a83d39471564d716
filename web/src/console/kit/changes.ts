/** What of a form differs from what was given. Pure. */

/** Equal as JSON is: a set order of keys is not promised, so objects are compared by their entries. */
export function equal(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const keys = Object.keys(one);
  if (keys.length !== Object.keys(other).length) return false;
  return keys.every((key) => equal((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]));
}

/** The fields of `now` that differ from `before`. */
export function changedFields<V extends object>(before: V, now: V): Partial<V> {
  const changed: Partial<V> = {};
  for (const key of Object.keys(now) as (keyof V)[]) if (!equal(before[key], now[key])) changed[key] = now[key];
  return changed;
}

export interface Difference {
  field: string;
  mine: unknown;
  theirs: unknown;
  /** Changed here since the form was opened: both have changed it, or only I. */
  touched: boolean;
}

/** Where mine and theirs differ, given what both began from. */
export function differences<V extends object>(began: V, mine: V, theirs: V): Difference[] {
  return (Object.keys(mine) as (keyof V & string)[])
    .filter((field) => !equal(mine[field], theirs[field]))
    .map((field) => ({
      field,
      mine: mine[field],
      theirs: theirs[field],
      touched: !equal(began[field], mine[field]),
    }));
}

/** Mine where I changed something, theirs elsewhere: what "save mine over theirs" sends. */
export function merged<V extends object>(began: V, mine: V, theirs: V): V {
  return { ...theirs, ...changedFields(began, mine) };
}

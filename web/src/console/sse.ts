/** Reads a stream of server-sent events piece by piece. Pure. */

export interface ServerEvent {
  name: string;
  text: string;
}

export class EventReader {
  private rest = "";

  /** The events that are whole with this piece; what is not yet whole waits for the next. */
  read(piece: string): ServerEvent[] {
    const blocks = (this.rest + piece).replace(/\r\n?/g, "\n").split("\n\n");
    this.rest = blocks.pop() ?? "";
    return blocks.flatMap((block) => {
      const event = parse(block);
      return event === null ? [] : [event];
    });
  }
}

function parse(block: string): ServerEvent | null {
  let name = "message";
  const lines: string[] = [];
  for (const line of block.split("\n")) {
    const [field, ...parts] = line.split(":");
    const value = parts.join(":").replace(/^ /, "");
    if (field === "event") name = value;
    else if (field === "data") lines.push(value);
  }
  return lines.length > 0 ? { name, text: lines.join("\n") } : null;
}

/** Milliseconds before try number `attempt` (from 0): doubles from one second to half a minute, spread by chance. */
export function liveDelay(attempt: number, chance = Math.random()): number {
  const full = Math.min(30_000, 1000 * 2 ** Math.min(attempt, 6));
  return full * (0.5 + chance / 2);
}

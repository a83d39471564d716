import { describe, expect, it } from "vitest";
import { slugOf } from "../src/console/api/assistants";
import { fieldsOf, sent } from "../src/console/assistants/fields";
import { LOST, Trial } from "../src/console/assistants/trial.svelte";
import type { SocketLike } from "../src/chat/socket";

const DRAFT = { name: "L", instructions: "Be exact.", model: "auto", knowledge_base_ids: [] };

class Wire implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onclose: SocketLike["onclose"] = null;
  onmessage: SocketLike["onmessage"] = null;
  sent: Record<string, unknown>[] = [];

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {}

  open(): void {
    this.onopen?.call(null as never, {} as Event);
  }

  tell(frame: object): void {
    this.onmessage?.call(null as never, { data: JSON.stringify(frame) } as MessageEvent);
  }

  lose(code: number): void {
    this.onclose?.call(null as never, { code } as CloseEvent);
  }
}

function begin() {
  const wires: Wire[] = [];
  const trial = new Trial({
    open: () => {
      const wire = new Wire();
      wires.push(wire);
      return wire;
    },
    random: () => 0,
    delay: () => () => undefined,
  });
  return { trial, wires };
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 300));

async function answered(wire: Wire, id: string, text: string) {
  const request = (wire.sent.at(-1) as { request_id: string }).request_id;
  wire.tell({ type: "message.started", message_id: id, seq: 1, request_id: request, conversation_id: null });
  wire.tell({ type: "message.routed", message_id: id, seq: 2, model: "tiny" });
  wire.tell({ type: "message.delta", message_id: id, seq: 3, text });
  wire.tell({ type: "message.completed", message_id: id, seq: 4, usage: {} });
  await settle();
}

describe("a trial", () => {
  it("connects with the first question and sends the draft with what was said before", async () => {
    const { trial, wires } = begin();
    expect(wires).toHaveLength(0);
    trial.ask("One?", DRAFT);
    wires[0]!.open();
    expect(wires[0]!.sent[0]).toMatchObject({ type: "message.create", content: "One?", draft: DRAFT, history: [] });
    await answered(wires[0]!, "m1", "First.");
    expect(trial.turns[0]!.stream).toMatchObject({ phase: "completed", text: "First.", model: "tiny" });
    trial.ask("Two?", { ...DRAFT, instructions: "Be kind." });
    expect(wires[0]!.sent[1]).toMatchObject({
      draft: { instructions: "Be kind." },
      history: [
        { role: "user", content: "One?" },
        { role: "assistant", content: "First." },
      ],
    });
  });

  it("asks one thing at a time, and stops it", async () => {
    const { trial, wires } = begin();
    trial.ask("One?", DRAFT);
    trial.ask("Two?", DRAFT);
    wires[0]!.open();
    expect(wires[0]!.sent).toHaveLength(1);
    const request = (wires[0]!.sent[0] as { request_id: string }).request_id;
    wires[0]!.tell({ type: "message.started", message_id: "m1", seq: 1, request_id: request });
    await settle();
    trial.stop();
    expect(wires[0]!.sent[1]).toEqual({ type: "message.stop", message_id: "m1" });
  });

  it("tells a refusal, and a lost connection", async () => {
    const { trial, wires } = begin();
    trial.ask("One?", DRAFT);
    wires[0]!.open();
    const request = (wires[0]!.sent[0] as { request_id: string }).request_id;
    wires[0]!.tell({ type: "error", code: "permission_denied", message: "No.", request_id: request });
    expect(trial.turns[0]!.stream.failure).toEqual({ code: "permission_denied", message: "No." });
    trial.ask("Two?", DRAFT);
    const second = (wires[0]!.sent.at(-1) as { request_id: string }).request_id;
    wires[0]!.tell({ type: "message.started", message_id: "m2", seq: 1, request_id: second });
    await settle();
    wires[0]!.lose(1006);
    expect(trial.turns[1]!.stream.failure?.code).toBe(LOST);
    // Failed turns are nothing the model ever said.
    trial.ask("Three?", DRAFT);
    wires[1]?.open();
    const frames = wires.flatMap((wire) => wire.sent);
    expect(frames.filter((frame) => frame.content === "Three?").every((frame) => (frame.history as []).length === 0)).toBe(true);
  });
});

describe("an assistant's fields", () => {
  it("makes a slug of a name", () => {
    expect(slugOf("Rechts­abteilung & Größe 2")).toMatch(/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/);
    expect(slugOf("Größe")).toBe("grosse");
    expect(slugOf("  --Ünal's  Bot!! ")).toBe("unal-s-bot");
    expect(slugOf("日本")).toBe("");
    expect(slugOf("a".repeat(90))).toHaveLength(64);
  });

  it("sends suggestions as a list, and only what changed", () => {
    expect(sent({ suggestions: " One?\n\n Two? " })).toEqual({ suggestions: ["One?", "Two?"] });
    expect(sent({ name: "x" })).toEqual({ name: "x" });
    expect(fieldsOf({ suggestions: ["a", "b"] } as never).suggestions).toBe("a\nb");
  });
});

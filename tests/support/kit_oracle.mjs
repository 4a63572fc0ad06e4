// Reads a case a line, {"kit", "texts": [an event stream, …]}; writes a line for each: what the kit's client holds after
// reading one after the other. It lies beside node_modules when it runs, since Node looks for packages there.
import { createInterface } from "node:readline";

console.warn = () => {};
const { readUIMessageStream, parseJsonEventStream, uiMessageChunkSchema } = await import("ai");

const parts = (text) => {  // as a network might cut it
  const bytes = new TextEncoder().encode(text);
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 4096) controller.enqueue(bytes.slice(at, at + 4096));
      controller.close();
    },
  });
};

async function agUi(version, texts) {
  const { HttpAgent } = await import(version);
  const answer = () => new Response(parts(texts.shift()), { headers: { "content-type": "text/event-stream" } });
  const agent = new HttpAgent({ url: "http://agent.example", threadId: "t", fetch: async () => answer() });
  const ends = [];
  const subscriber = {
    onRunFinishedEvent: ({ outcome }) => void ends.push(outcome === "interrupt" ? "waits" : "success"),
    onRunErrorEvent: () => void ends.push("error"),
    onRunFailed: ({ error }) => { ends.push("refused: " + error.message); return { stopPropagation: true }; },
  };
  while (texts.length) {
    ends.push("nothing");
    agent.pendingInterrupts = [];
    try {
      await agent.runAgent({}, subscriber);
    } catch (error) {
      ends.push("raised: " + error.message);
    }
  }
  return { messages: agent.messages, state: agent.state, end: ends.at(-1) };
}

async function aiSdk([text]) {
  const errors = [];
  const chunks = [];
  const stream = parseJsonEventStream({ stream: parts(text), schema: uiMessageChunkSchema }).pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        if (!chunk.success) throw chunk.error;
        chunks.push(chunk.value);
        controller.enqueue(chunk.value);
      },
    }),
  );
  let message = null;
  try {
    for await (message of readUIMessageStream({ stream, onError: (error) => errors.push(error.message) }));
  } catch (error) {
    errors.push("raised: " + error.message);
  }
  const last = chunks.filter((one) => ["finish", "abort", "error"].includes(one.type)).at(-1);
  return { message, errors, end: last?.finishReason ?? last?.type ?? "" };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { kit, texts } = JSON.parse(line);
  const held = kit === "ai" ? await aiSdk(texts) : await agUi(kit, texts);
  process.stdout.write(JSON.stringify(held) + "\n");
}

// Acts as pages of a server whose address is the first argument, in what the second names; writes what they hold then.
import { Chat } from "@ai-sdk/react";
import {
  DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
} from "ai";

console.warn = () => {};
const [base, act] = process.argv.slice(2);
const posts = [];
const counted = (url, init) => {
  posts.push(`${init.method} ${new URL(url).pathname}`);
  return fetch(url, init);
};

function page(more = {}) {
  const transport = new DefaultChatTransport({ api: `${base}/api/chat`, fetch: counted });
  return new Chat({ id: "c1", transport, ...more });
}

async function until(claim) {
  for (let tries = 0; tries < 600 && !claim(); tries++) await new Promise((go) => setTimeout(go, 10));
  if (!claim()) throw new Error("it never came");
}

const settled = (chat) => until(() => ["ready", "error"].includes(chat.status));
const held = (chat) => ({ messages: chat.messages, status: chat.status, error: chat.error?.message ?? null });

const acts = {
  async tools() {
    const chat = page({
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall({ toolCall }) {
        if (!toolCall.dynamic) chat.addToolOutput({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: "7 m" });
      },
    });
    await chat.sendMessage({ text: "How deep is it?" });
    await until(() => chat.status === "ready" && chat.messages.at(-1).parts.at(-1).type === "text");
    await new Promise((go) => setTimeout(go, 300));  // were it to go on by itself, it would now
    return { ...held(chat), posts };
  },
  async approval() {
    const chat = page({ sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses });
    await chat.sendMessage({ text: "Find a berth." });
    const asked = chat.messages.at(-1).parts.find((part) => part.state === "approval-requested");
    await chat.addToolApprovalResponse({ id: asked.approval.id, approved: true });
    await until(() => chat.status === "ready" && chat.messages.at(-1).parts.at(-1).type === "text");
    await new Promise((go) => setTimeout(go, 300));
    return { ...held(chat), posts };
  },
  async resume() {
    const chat = page();
    const sent = chat.sendMessage({ text: "How deep is it?" });
    await until(() => chat.messages[1]?.parts.some((part) => part.type === "text" && part.text));
    const again = page({ messages: structuredClone(chat.messages) });  // reloaded, with what it had stored
    const fresh = page({ messages: [structuredClone(chat.messages[0])] });
    await Promise.all([sent, again.resumeStream(), fresh.resumeStream()]);
    const late = page({ messages: structuredClone(chat.messages) });
    await late.resumeStream();
    return { pages: [chat, again, fresh, late].map(held) };
  },
  async stop() {
    const chat = page();
    const sent = chat.sendMessage({ text: "How deep is it?" });
    await until(() => chat.messages[1]?.parts.some((part) => part.type === "text" && part.text));
    const again = page({ messages: [structuredClone(chat.messages[0])] });
    const resumed = again.resumeStream();
    await until(() => again.messages.length > 1);
    const stopped = await fetch(`${base}/api/chat/c1/stop`, { method: "POST" });
    await Promise.all([sent, resumed]);
    return { stopped: stopped.status, pages: [chat, again].map(held) };
  },
  async agents() {
    const held = {};
    for (const version of ["agui1", "agui0"]) {
      const { HttpAgent } = await import(version);
      const agent = new HttpAgent({ url: `${base}/api/agent`, threadId: version, initialMessages: [] });
      const ends = [];
      const watch = { onRunFinishedEvent: ({ outcome }) => void ends.push(outcome), onRunErrorEvent: () => void ends.push("error") };
      agent.addMessage({ id: "u1", role: "user", content: "How deep is it?" });
      await agent.runAgent({}, watch);
      const asked = agent.pendingInterrupts;
      const resume = asked.map(({ id }) => ({ interruptId: id, status: "resolved", payload: "7 m" }));
      if (asked.length) await agent.runAgent({ resume }, watch);
      held[version] = { ends, messages: agent.messages, state: agent.state };
    }
    return held;
  },
};

process.stdout.write(JSON.stringify(await acts[act]()));
process.exit(0);

// A page of `useChat` that a test looks into by `window`.
import { useEffect } from "react";
import { createRoot } from "react-dom/client";
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const transport = new DefaultChatTransport({ api: "/api/chat" });

function Page() {
  const { messages, sendMessage, status, error } = useChat({ id: "c1", resume: true, transport });
  useEffect(() => {
    window.say = (text) => sendMessage({ text });
    window.held = () => ({ messages, status, error: error?.message ?? null });
  });
  return <ul>{messages.map((one) => <li key={one.id}>{one.parts.map((part) => part.text ?? "").join("")}</li>)}</ul>;
}

createRoot(document.getElementById("root")).render(<Page />);

// The tools of ../bare.py with the TypeScript SDK and Node's own fetch.

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const server = new McpServer({ name: "typescript", version: "1" });

async function request(method, path, body) {
  const headers = { Authorization: `Bearer ${process.env.TTP_API_TOKEN}`, "Content-Type": "application/json" };
  const response = await fetch(process.env.TTP_API_URL + path, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const reply = await response.json();
  return { content: [{ type: "text", text: JSON.stringify(reply) }], structuredContent: reply };
}

function addTool(name, description, inputSchema, run) {
  server.registerTool(name, { description, inputSchema }, run);
}

const text = z.string();
const texts = z.array(z.string()).optional();

addTool("list_posts", "List all posts.", {}, () => request("GET", "/posts"));
addTool("get_post", "Get one post.", { post_id: text }, ({ post_id }) => request("GET", `/posts/${post_id}`));
addTool(
  "create_post",
  "Create a post.",
  {
    content: text,
    account_ids: texts,
    platforms: texts,
    media_urls: texts,
    thread: texts,
    scheduled_at: text.optional(),
  },
  ({ content, account_ids, platforms, media_urls, thread, scheduled_at }) =>
    request("POST", "/posts", {
      content,
      accountIds: account_ids,
      platforms,
      mediaUrls: media_urls,
      thread,
      scheduledAt: scheduled_at,
    }),
);
addTool("delete_post", "Delete a post.", { post_id: text }, ({ post_id }) => request("DELETE", `/posts/${post_id}`));
addTool("list_integrations", "List the accounts.", {}, () => request("GET", "/integrations"));
addTool("optimal_times", "Best times.", { platform: text.optional() }, ({ platform }) =>
  request("GET", "/analytics/optimal-times" + (platform ? `?platform=${encodeURIComponent(platform)}` : "")),
);
addTool("optimal_times_by_account", "Best times by account.", {}, () =>
  request("GET", "/analytics/optimal-times/by-account"),
);
addTool("next_optimal_time", "Next best time.", {}, () => request("GET", "/analytics/next-optimal-time"));
addTool("weekly_schedule", "Weekly schedule.", {}, () => request("GET", "/analytics/weekly-schedule"));
addTool("engagement_summary", "Engagement.", {}, () => request("GET", "/analytics/engagement-summary"));
addTool(
  "presign_media",
  "Presign an upload.",
  { filename: text, content_type: text, size: z.number().int() },
  ({ filename, content_type, size }) =>
    request("POST", "/media/presign", { filename, contentType: content_type, size }),
);

await server.connect(new StdioServerTransport());

// The TypeScript SDK's client against one transport: node client.mjs stdio|sse|http COMMAND-OR-URL…
// Lists tools, calls each tool that needs no arguments, reads a prompt and a resource. Needs the SDK in NODE_PATH's parent folder.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [kind, ...target] = process.argv.slice(2);
const from = createRequire(pathToFileURL(`${process.env.TTP_NODE_MODULES}/`));
const load = (name) => import(pathToFileURL(from.resolve(`@modelcontextprotocol/sdk/client/${name}.js`)).href);
const { Client } = await load("index");

async function transport() {
  if (kind === "stdio") {
    const { StdioClientTransport } = await load("stdio");
    return new StdioClientTransport({ command: target[0], args: target.slice(1), env: { ...process.env } });
  }
  if (kind === "sse") {
    const { SSEClientTransport } = await load("sse");
    return new SSEClientTransport(new URL(target[0]));
  }
  const { StreamableHTTPClientTransport } = await load("streamableHttp");
  return new StreamableHTTPClientTransport(new URL(target[0]));
}

const client = new Client({ name: "check", version: "1" });
await client.connect(await transport());
const { tools } = await client.listTools();
// These two need one of several arguments, which a schema that clients understand can't express.
const needing = ["create_post", "check_post"];
const plain = tools
  .filter((tool) => !(tool.inputSchema.required ?? []).length && !needing.includes(tool.name))
  .map((tool) => tool.name);
for (const name of plain) {
  const result = await client.callTool({ name, arguments: {} });
  if (result.isError) throw new Error(`${name}: ${result.content[0].text}`);
}
const { prompts } = await client.listPrompts();
const { resources } = await client.listResources();
await client.readResource({ uri: resources[0].uri });
console.log(`${kind}: ${tools.length} tools listed, ${plain.length} called, ${prompts.length} prompts, ${resources.length} resources`);
await client.close();

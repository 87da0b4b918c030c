// The official SDK as a client: node mcp.mjs URL MODE. Writes one JSON object per line.
// {"authorize": URL} asks for the authorization code, which comes as a line of standard input.
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";

const [url, mode] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");

const provider = {
  redirectUrl: "http://127.0.0.1:3030/callback",
  clientMetadata: {
    client_name: "An agent",
    redirect_uris: ["http://127.0.0.1:3030/callback"],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  clientMetadataUrl: mode === "document" ? "https://agent.example/client.json" : undefined,
  stored: mode === "registered" ? { client_id: "acme-cli" } : undefined,
  clientInformation() { return this.stored; },
  saveClientInformation(client) { this.stored = client; },
  saveTokens(tokens) { this.kept = tokens; },
  tokens() {
    if (!this.kept) return undefined;
    // The SDK would refresh the token to get more scopes, and a refresh never gives more.
    const { refresh_token: _, ...rest } = this.kept;
    return rest;
  },
  saveCodeVerifier(verifier) { this.verifier = verifier; },
  codeVerifier() { return this.verifier; },
  redirectToAuthorization(target) { say({ authorize: String(target) }); },
};

async function connected() {
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
  const client = new Client({ name: "test", version: "1" });
  try {
    await client.connect(transport);
    return [client, transport];
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await transport.finishAuth((await lines.next()).value);
    return connected();
  }
}

async function call(client, transport, name, args) {
  try {
    return await client.callTool({ name, arguments: args });
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await transport.finishAuth((await lines.next()).value);
    return client.callTool({ name, arguments: args });
  }
}

const [client, transport] = await connected();
const names = async () => (await client.listTools()).tools.map((tool) => tool.name).sort();
const before = await names();
const listed = await call(client, transport, "list_payments", {});
const paid = await call(client, transport, "make_payment", { amount: "3.50" });
say({
  before,
  after: await names(),
  failed: [listed, paid].filter((each) => each.isError),
  scope: provider.kept.scope,
  client: provider.stored.client_id,
});
await client.close();
process.exit(0);

// Other OAuth clients: node clients.mjs NAME SITE. Speaks like mcp.mjs, and ends with {"token": …}.
import { createHash, randomBytes } from "node:crypto";
import { createInterface } from "node:readline";

const [name, site] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");
const redirect = "http://127.0.0.1:3030/callback";
const issuer = new URL(`${site}/o`);
const scope = "payments:read";

function pkce() {
  const verifier = randomBytes(32).toString("base64url");
  return [verifier, createHash("sha256").update(verifier).digest("base64url")];
}

async function answer(url) {
  say({ authorize: String(url) });
  const found = new URL(redirect);
  const query = JSON.parse((await lines.next()).value);
  for (const [key, value] of Object.entries(query)) found.searchParams.set(key, value);
  return found;
}

const clients = {
  async "openid-client"() {
    const client = await import("openid-client");
    const config = await client.discovery(issuer, "acme-cli", undefined, client.None(), {
      algorithm: "oauth2",
      execute: [client.allowInsecureRequests],
    });
    const pkceCodeVerifier = client.randomPKCECodeVerifier();
    const expectedState = client.randomState();
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: redirect,
      scope,
      state: expectedState,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: "S256",
    });
    const tokens = await client.authorizationCodeGrant(config, await answer(url), {
      pkceCodeVerifier,
      expectedState,
    });
    return client.refreshTokenGrant(config, tokens.refresh_token);
  },

  async oauth4webapi() {
    const oauth = await import("oauth4webapi");
    const plain = { [oauth.allowInsecureRequests]: true };
    const found = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...plain });
    const server = await oauth.processDiscoveryResponse(issuer, found);
    const client = { client_id: "acme-cli" };
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const url = new URL(server.authorization_endpoint);
    url.search = new URLSearchParams({
      client_id: client.client_id,
      response_type: "code",
      redirect_uri: redirect,
      scope,
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
    });
    const params = oauth.validateAuthResponse(server, client, await answer(url), state);
    const response = await oauth.authorizationCodeGrantRequest(
      server, client, oauth.None(), params, redirect, verifier, plain,
    );
    return oauth.processAuthorizationCodeResponse(server, client, response);
  },

  async "simple-oauth2"() {
    const { ClientCredentials } = (await import("simple-oauth2")).default;
    const [id, secret] = process.env.CLIENT.split(" ");
    const client = new ClientCredentials({
      client: { id, secret },
      auth: { tokenHost: site, tokenPath: "/o/token/" },
    });
    return (await client.getToken({ scope })).token;
  },

  async "simple-oauth2-code"() {
    const { AuthorizationCode } = (await import("simple-oauth2")).default;
    const client = new AuthorizationCode({
      client: { id: "acme-cli", secret: "" },
      auth: { tokenHost: site, tokenPath: "/o/token/", authorizePath: "/o/authorize/" },
      options: { authorizationMethod: "body" },
    });
    const [verifier, challenge] = pkce();
    const url = client.authorizeURL({
      redirect_uri: redirect, scope, state: "s", code_challenge: challenge, code_challenge_method: "S256",
    });
    const code = (await answer(url)).searchParams.get("code");
    const found = await client.getToken({ code, redirect_uri: redirect, code_verifier: verifier });
    return (await found.refresh()).token;
  },

  async "passport-oauth2"() {
    const { Strategy } = (await import("passport-oauth2")).default;
    const strategy = new Strategy(
      {
        authorizationURL: `${site}/o/authorize/`,
        tokenURL: `${site}/o/token/`,
        clientID: "acme-cli",
        callbackURL: redirect,
        scope,
        state: true,
        pkce: true,
      },
      (access, refresh, params, profile, done) => done(null, params),
    );
    const session = {};
    // As passport does for each request.
    const run = (query) => new Promise((resolve, reject) => {
      const each = Object.create(strategy);
      Object.assign(each, { redirect: resolve, success: resolve, fail: reject, error: reject });
      each.authenticate({ query, session });
    });
    return run(Object.fromEntries((await answer(await run({}))).searchParams));
  },
};

const token = await clients[name]();
say({ token: token.access_token, scope: token.scope });
process.exit(0);

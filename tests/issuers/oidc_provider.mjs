// A certified provider, for tests/issuers/test_oidc_provider.py. It prints its URL, and answers
// each line on standard input.
import { createInterface } from "node:readline";
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const [, , audience, logoutUri] = process.argv;
// The notices of the library are on standard output too.
const say = (text) => console.log(`=> ${text}`);
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const jwk = (type, options, rest) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }), ...rest,
  });
  const provider = new Provider(issuer, {
    jwks: { keys: [jwk("rsa", { modulusLength: 2048 }, { use: "sig", kid: "r1" })] },
    clients: [{
      client_id: "web", client_secret: "s".repeat(43), redirect_uris: ["https://app.example.com/"],
      grant_types: ["authorization_code", "client_credentials"],
      backchannel_logout_uri: logoutUri, backchannel_logout_session_required: false,
    }],
    // The site of the test is on this computer, which the library would refuse.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: "payments:read", audience: resource, accessTokenFormat: "jwt",
          accessTokenTTL: 600, jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  });
  server.on("request", provider.callback());
  const resourceServer = (aud) => new provider.ResourceServer(aud, {
    scope: "payments:read", accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } },
  });
  const actions = {
    async access_token(aud = audience) {
      const client = await provider.Client.find("web");
      const token = new provider.AccessToken({
        accountId: "u-1", client, grantId: "g", gty: "authorization_code",
        scope: "payments:read", aud,
      });
      token.resourceServer = resourceServer(aud);
      return token.save();
    },
    async id_token() {
      const client = await provider.Client.find("web");
      const token = new provider.IdToken({ sub: "u-1" }, { client });
      token.set("nonce", "n-0S6");
      return token.issue({ use: "idtoken" });
    },
    async logout() {
      const client = await provider.Client.find("web");
      await client.backchannelLogout("u-1", "session-1");
      return "done";
    },
  };
  say(issuer);
  createInterface({ input: process.stdin }).on("line", async (line) => {
    const [action, ...rest] = line.split(" ");
    try {
      say(await actions[action](...rest));
    } catch (error) {
      say(`error: ${error.message} ${error.cause ?? ""}`);
    }
  }).on("close", () => process.exit());
});

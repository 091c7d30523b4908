// A real OAuth 2.0 server, oidc-provider, with one client: node server.mjs CLIENT_ID CLIENT_SECRET REDIRECT_URI
//
// Authorization code with PKCE, and refresh tokens that are good once: a second use ends the whole grant. Whoever comes to its pages is
// signed in and consents at once. When it listens it prints one line of JSON: {"url"}. GET /asked answers how many token requests came.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [clientId, clientSecret, redirectUri] = process.argv.slice(2);
let asked = 0;

const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const url = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(url, {
  clients: [
    {
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code", "refresh_token"],
      token_endpoint_auth_method: "client_secret_post",
    },
  ],
  scopes: ["openid", "offline_access", "api", "refresh_token"],
  features: { devInteractions: { enabled: false }, introspection: { enabled: true } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: () => true,
  rotateRefreshToken: () => true,
  ttl: { AccessToken: 3600, AuthorizationCode: 60, Grant: 86400, Interaction: 600, RefreshToken: 86400, Session: 86400 },
  cookies: { keys: ["only for tests"] },
});

// Signs in whoever comes, and consents to what was asked for.
async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    return provider.interactionFinished(request, response, { login: { accountId: "partner" } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

const answer = provider.callback();
server.on("request", (request, response) => {
  if (request.url === "/asked") {
    return response.end(JSON.stringify(asked));
  }
  if (request.url.startsWith("/interaction/")) {
    return interact(request, response).catch((error) => {
      response.statusCode = 500;
      response.end(String(error));
    });
  }
  if (request.method === "POST" && request.url === "/token") {
    asked += 1;
  }
  return answer(request, response);
});

process.stdin.on("end", () => process.exit(0)).resume();
console.log(JSON.stringify({ url }));

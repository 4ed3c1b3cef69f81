// A certified OpenID provider on this machine, for tests: node server.mjs PORT CALLBACK...
// Whoever signs in is whom they say they are; "banned" and the like are the app's business.
import Provider from "oidc-provider";

const [port, ...redirectUris] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "playground",
      client_secret: "a secret that both know",
      redirect_uris: redirectUris,
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  pkce: { required: () => true },
  scopes: ["openid", "profile", "email", "inference-api"],
  claims: {
    openid: ["sub"],
    profile: ["name", "preferred_username", "orgs"],
    email: ["email", "email_verified"],
  },
  cookies: { keys: ["a key for signatures of this test"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: `${id} of the test`,
      preferred_username: id,
      email: `${id}@example.org`,
      email_verified: true,
      orgs: [{ preferred_username: "makers", name: "Makers" }],
    }),
  }),
});

provider.listen(Number(port), "127.0.0.1");

// An OpenID Connect issuer that others wrote (oidc-provider), with its own pages for signing in and consenting. Whoever types a name is it.
// Keeps everything in memory; a name in MEMBERS has those groups. Runs until it is killed.
//
// ISSUER, a URL; TLS_CERTIFICATE and TLS_KEY, files; CLIENT, as `id secret redirect-uri`; MEMBERS, JSON: groups by name.
'use strict';

const { generateKeyPairSync, randomBytes } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { createServer } = require('node:https');
const { pathToFileURL } = require('node:url');

async function main() {
  // It is an ES module, and those are not looked for in NODE_PATH.
  const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
  const { ISSUER, TLS_CERTIFICATE, TLS_KEY, CLIENT, MEMBERS } = process.env;
  const [client_id, client_secret, redirect_uri] = CLIENT.split(' ');
  const groups = JSON.parse(MEMBERS);
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

  const provider = new Provider(ISSUER, {
    clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
    jwks: { keys: [{ ...key, kid: 'first', alg: 'RS256', use: 'sig' }] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    pkce: { required: () => true },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
    // The ID token itself has what the scopes are for.
    conformIdTokenClaims: false,
    ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    findAccount: async (_, name) => ({
      accountId: name,
      claims: async () => ({ sub: name, email: `${name}@example.com`, email_verified: true, groups: groups[name] ?? [] }),
    }),
  });
  const tls = { cert: readFileSync(TLS_CERTIFICATE), key: readFileSync(TLS_KEY) };
  createServer(tls, provider.callback()).listen(new URL(ISSUER).port, () => console.log(JSON.stringify({ event: 'listening' })));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

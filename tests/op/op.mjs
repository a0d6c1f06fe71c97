// An OpenID Provider for the tests: oidc-provider with the habits of Keycloak or of Auth0, on 127.0.0.1 only.
//
//   OP_ISSUER=http://127.0.0.1:9400/realms/demo node op.mjs 9401    Keycloak's habits: a path with /realms/
//   OP_ISSUER=http://127.0.0.1:9400/            node op.mjs 9401    Auth0's: the slash at the end, several audiences
//
// It listens at the issuer's port; the argument is the port of its control plane:
//
//   GET /state                                   counters, modes, and the names of the keys
//   GET /set?jwksMode=ok|500|garbage|empty|hang&jwksDelayMs=&discMode=ok|500&discIssuer=&atTtl=&format=jwt|opaque
//   GET /users?u=alice&roles=user,admin          other roles, from the next token on
//   GET /rotate?step=publish|promote|retire|hard
import http from 'node:http';
import { Provider } from 'oidc-provider';
import { generateKeyPair, exportJWK } from 'jose';

const HOST = '127.0.0.1';
const ISSUER = process.env.OP_ISSUER;
const KEYCLOAK = ISSUER.includes('/realms/');
const MOUNT = new URL(ISSUER).pathname.replace(/\/$/, '');
const API = 'https://api.example.test';
const CALLBACK = 'https://gate.example.test/callback';
const SCOPE = 'openid profile email roles';
const ALGORITHMS = ['RS256', 'ES256', 'EdDSA'];
const USERS = { alice: ['user', 'admin'], bob: ['user'], carol: [] };   // the password is the name
const CLIENTS = { gate: 'RS256', 'gate-es': 'ES256', 'gate-ed': 'EdDSA' };
const ctl = { jwksHits: 0, discHits: 0, jwksMode: 'ok', jwksDelayMs: 0, discMode: 'ok', discIssuer: '', atTtl: 300, format: 'jwt' };

async function generate(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: `${alg}-${Math.random().toString(36).slice(2, 10)}`, use: 'sig', alg };
}
const generation = () => Promise.all(ALGORITHMS.map(generate));
let keys = await generation();

// One store for every Provider that a rotation makes, so that sessions and grants survive it.
const store = new Map();
class Memory {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload, ttl) {
    store.set(this.key(id), { payload, until: ttl ? Date.now() + ttl * 1e3 : Infinity });
    if (payload.uid) store.set(`uid:${this.model}:${payload.uid}`, id);
  }
  async find(id) { const found = store.get(this.key(id)); return found && found.until > Date.now() ? found.payload : undefined; }
  async findByUid(uid) { return this.find(store.get(`uid:${this.model}:${uid}`)); }
  async consume(id) { store.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1e3); }
  async destroy(id) { store.delete(this.key(id)); }
  async revokeByGrantId(grant) { for (const [key, entry] of store) if (entry?.payload?.grantId === grant) store.delete(key); }
}

const claimsOf = (user) => KEYCLOAK
  ? { preferred_username: user, realm_access: { roles: USERS[user] }, resource_access: { gate: { roles: USERS[user] } } }
  : { 'https://gate.example.test/roles': USERS[user], permissions: USERS[user].map((role) => `do:${role}`) };

function build() {
  return new Provider(ISSUER, {
    adapter: Memory, jwks: { keys }, cookies: { keys: ['test-only'] }, pkce: { required: () => true },
    clients: [
      ...Object.entries(CLIENTS).map(([client_id, alg]) => ({
        client_id, client_secret: 'secret', id_token_signed_response_alg: alg, redirect_uris: [CALLBACK],
        grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] })),
      { client_id: 'svc', client_secret: 'secret', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] },
    ],
    scopes: SCOPE.split(' '),
    issueRefreshToken: () => ctl.format === 'opaque',
    claims: { openid: ['sub', 'sid', 'typ'], profile: ['preferred_username'], email: ['email'],
      roles: ['realm_access', 'resource_access', 'permissions', 'https://gate.example.test/roles'] },
    conformIdTokenClaims: false,   // as both do, the ID token says everything, too
    findAccount: (ctx, id) => (USERS[id] ? { accountId: id,
      claims: () => ({ sub: id, ...(KEYCLOAK && { typ: 'ID' }), email: `${id}@example.test`, ...claimsOf(id) }) } : undefined),
    extraTokenClaims: (ctx, token) => ({ azp: token.clientId, ...(KEYCLOAK && { typ: 'Bearer' }), ...(token.accountId && claimsOf(token.accountId)) }),
    formats: { customizers: { jwt: (ctx, token, jwt) => {
      jwt.header = { typ: 'JWT' };   // both write this by default, not at+jwt
      if (!KEYCLOAK) jwt.payload.aud = [jwt.payload.aud, `${ISSUER}userinfo`];
    } } },
    ttl: { AccessToken: () => ctl.atTtl, ClientCredentials: () => ctl.atTtl, IdToken: 300, Session: 3600, Grant: 3600, Interaction: 600 },
    features: { devInteractions: { enabled: false }, clientCredentials: { enabled: true }, revocation: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: { enabled: true, defaultResource: () => API, useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource, client) => ({ scope: SCOPE, audience: resource, accessTokenFormat: ctl.format,
          jwt: { sign: { alg: CLIENTS[client.clientId] ?? 'RS256' } } }) } },
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ accountId: ctx.oidc.session.accountId, clientId: ctx.oidc.client.clientId });
      grant.addOIDCScope(SCOPE);
      grant.addResourceScope(API, SCOPE);
      await grant.save();
      return grant;
    },
    interactions: { url: (ctx, interaction) => `${MOUNT}/login/${interaction.uid}` },
  }).on('server_error', (ctx, error) => console.error(error));
}
let provider = build(), answer = provider.callback();

const json = (response, status, document) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(typeof document === 'string' ? document : JSON.stringify(document));

async function jwks(response) {
  ctl.jwksHits++;
  if (ctl.jwksDelayMs) await new Promise((done) => setTimeout(done, ctl.jwksDelayMs));
  switch (ctl.jwksMode) {
    case '500': return response.writeHead(500).end('boom');
    case 'garbage': return json(response, 200, '{"keys":[{');
    case 'empty': return json(response, 200, { keys: [] });
    case 'hang': return response;
    default: return null;
  }
}

async function login(request, response) {
  if (request.method !== 'POST') return response.writeHead(200, { 'content-type': 'text/html' }).end('<form method=post>');
  let form = '';
  for await (const chunk of request) form += chunk;
  const user = new URLSearchParams(form).get('username');
  if (!USERS[user] || new URLSearchParams(form).get('password') !== user) return response.writeHead(401).end('no');
  return provider.interactionFinished(request, response, { login: { accountId: user } }, { mergeWithLastSubmission: false });
}

http.createServer(async (request, response) => {
  if (!request.url.startsWith(MOUNT)) return response.writeHead(404).end();
  request.originalUrl = request.url;
  request.url = request.url.slice(MOUNT.length) || '/';
  const [path] = request.url.split('?');
  if (path === '/jwks' && (await jwks(response))) return undefined;
  if (path.startsWith('/.well-known')) {
    ctl.discHits++;
    if (ctl.discMode === '500') return response.writeHead(503).end();
    if (ctl.discIssuer) return json(response, 200, { issuer: ctl.discIssuer, jwks_uri: `${ISSUER.replace(/\/$/, '')}/jwks` });
  }
  if (path.startsWith('/login/')) return login(request, response).catch((error) => response.writeHead(400).end(String(error)));
  return answer(request, response);
}).listen(new URL(ISSUER).port, HOST, () => console.log('ready'));

http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://control');
  if (pathname === '/set') for (const [name, value] of searchParams) ctl[name] = typeof ctl[name] === 'number' ? +value : value;
  if (pathname === '/users') USERS[searchParams.get('u')] = searchParams.get('roles').split(',').filter(Boolean);
  if (pathname === '/rotate') {
    const step = searchParams.get('step'), many = ALGORITHMS.length;
    const fresh = step === 'publish' || step === 'hard' ? await generation() : [];
    if (step === 'publish') keys = [...keys, ...fresh];
    if (step === 'promote') keys = [...keys.slice(many), ...keys.slice(0, many)];
    if (step === 'retire') keys = keys.slice(0, many);
    if (step === 'hard') keys = fresh;
    provider = build();
    answer = provider.callback();
  }
  json(response, 200, { ...ctl, kids: keys.map((key) => key.kid) });
}).listen(process.argv[2], HOST);

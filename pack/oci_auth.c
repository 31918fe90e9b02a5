/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/oci_auth.h"

#include "core/json.h"
#include "core/text.h"
#include "pack/credentials.h"

#include <stdio.h>

#define DOCKER_HUB_HOST "registry-1.docker.io"
#define WAITERS_STEP 8
#define FRESH_SECONDS 10 /* a token younger than that has not run out: it is not enough */

struct registry {
    struct registry *next;
    const char *host, *name; /* the name credentials are kept under: "docker.io" */
    const struct kp_site *site;
    struct kp_credential credential;
    bool credential_read;
    struct kp_challenge
        challenge; /* the last one seen; its scheme is what later requests begin with */
};

struct access { /* to one repository */
    struct access *next;
    struct kp_oci_auth *auth;
    struct registry *registry;
    const char *repository;
    struct kp_fetch_authority authority;
    const char *token; /* NULL: none yet */
    double token_since;
    const char *scope; /* as the registry last asked for; NULL: pull of this repository */
    bool as_nobody;
    struct kp_fetch_job job;   /* the token request */
    struct kp_credential sent; /* borrowed strings of the registry's credential or site */
    const char *realm_host;
    struct kp_fetch_job **waiters;
    size_t waiter_count;
};

struct kp_oci_auth {
    struct kp_fetch *fetch;
    struct kp_arena *arena; /* tokens too: a request under way may still point to an older one */
    struct kp_credentials *credentials;
    struct registry *registries;
    struct access *accesses;
};

struct kp_oci_auth *kp_oci_auth_new(struct kp_fetch *fetch)
{
    struct kp_oci_auth *auth = kp_alloc(sizeof(*auth));
    auth->fetch = fetch;
    auth->arena = kp_arena_new();
    auth->credentials = kp_credentials_new(NULL);
    return auth;
}

void kp_oci_auth_free(struct kp_oci_auth *auth)
{
    if (!auth)
        return;
    for (struct registry *r = auth->registries; r; r = r->next)
        kp_credential_release(&r->credential);
    for (struct access *a = auth->accesses; a; a = a->next) {
        kp_buf_release(&a->job.body);
        kp_free(a->waiters);
    }
    kp_credentials_free(auth->credentials);
    kp_arena_free(auth->arena);
    kp_free(auth);
}

/* What is sent as user and password to this registry; {0}: nobody. Borrowed. */
static int credential_of(struct access *access, struct kp_credential *out, struct kp_err *err)
{
    struct registry *registry = access->registry;
    const struct kp_site *site = registry->site;
    if (site && site->username) {
        *out = (struct kp_credential){(char *)site->username, (char *)site->password, NULL};
        return 0;
    }
    if (!registry->credential_read && kp_credentials_find(access->auth->credentials, registry->name,
                                                          &registry->credential, err) < 0)
        return -1;
    registry->credential_read = true;
    *out = registry->credential;
    return 0;
}

static void wake_waiters(struct access *access)
{
    for (size_t i = 0; i < access->waiter_count; i++)
        kp_fetch_wake(access->auth->fetch, access->waiters[i]);
    access->waiter_count = 0;
}

static void add_waiter(struct access *access, struct kp_fetch_job *job)
{
    if (access->waiter_count % WAITERS_STEP == 0)
        access->waiters = kp_realloc_array(access->waiters, access->waiter_count + WAITERS_STEP,
                                           sizeof(struct kp_fetch_job *));
    access->waiters[access->waiter_count++] = job;
}

static int refused(struct access *access, unsigned status, struct kp_err *err)
{
    const char *host = access->registry->host;
    kp_fail_as(err, KP_FAILED, "unauthorized", "%s/%s: not allowed (HTTP %u, token server %s)",
               host, access->repository, status, access->realm_host);
    if (access->sent.username || access->sent.identity)
        return kp_hint(err, "the credentials for %s were refused, or may not pull this", host);
    if (access->as_nobody)
        return kp_hint(err,
                       "the credentials for %s were not sent, because its token server has another "
                       "name; to allow it, put realms: [%s] beside them in the mirrors file",
                       host, access->realm_host);
    return kp_hint(err, "docker login %s, or username and password_file in the mirrors file",
                   access->registry->name);
}

static int take_token(void *user, struct kp_fetch_job *job, struct kp_err *err)
{
    struct access *access = user;
    if (job->status != 200) {
        kp_buf_release(&job->body);
        return refused(access, job->status, err);
    }
    const char *token = NULL;
    int parsed = kp_token_parse(&token, access->auth->arena, kp_buf_slice(&job->body), job->url,
                                access->realm_host, err);
    if (job->body.data)
        explicit_bzero(job->body.data, job->body.len);
    kp_buf_release(&job->body);
    if (parsed < 0)
        return -1;
    access->token = token;
    access->token_since = kp_now();
    wake_waiters(access);
    return 0;
}

static void add_escaped(struct kp_buf *out, const char *name, const char *value)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    kp_buf_addf(out, "%s%s=", out->len ? "&" : "", name);
    for (const char *p = value; *p; p++) {
        if (strchr(plain, *p))
            kp_buf_add(out, p, 1);
        else
            kp_buf_addf(out, "%%%02X", (unsigned)(unsigned char)*p);
    }
}

static const char *scope_of(struct access *access)
{
    if (access->scope)
        return access->scope;
    return kp_arena_printf(access->auth->arena, "repository:%s:pull", access->repository);
}

static int form_of(struct access *access, char **out, struct kp_err *err)
{
    kp_auto_value(kp_buf) form = KP_BUF_SECRET(KP_TOKEN_MAX);
    const struct kp_challenge *challenge = &access->registry->challenge;
    if (access->sent.identity) {
        add_escaped(&form, "grant_type", "refresh_token");
        add_escaped(&form, "client_id", "kpack");
        add_escaped(&form, "refresh_token", access->sent.identity);
    }
    if (*challenge->service)
        add_escaped(&form, "service", challenge->service);
    add_escaped(&form, "scope", scope_of(access));
    if (form.overflow)
        return kp_fail(err, KP_FAILED, "%s: credentials are too long", access->registry->host);
    *out = kp_arena_strdup(access->auth->arena, form.data);
    return 0;
}

/* Where tokens of this registry come from, and whether it may learn who we are. */
static int check_realm(struct access *access, struct kp_err *err)
{
    const struct registry *registry = access->registry;
    const char *realm = registry->challenge.realm;
    const char *host = kp_https_authority(access->auth->arena, realm);
    struct kp_credential known = {0};
    access->sent = known;
    access->as_nobody = false;
    // why: a registry that is spoken to without TLS, by the mirrors file's word, has its tokens
    // there too
    kp_auto_free char *own = kp_asprintf("http://%s/", registry->host);
    if (!*host && registry->site && registry->site->plain_http && kp_starts_with(realm, own))
        host = registry->host;
    if (!*host)
        return kp_fail_as(err, KP_FAILED, "unauthorized",
                          "%s: its token server is no https URL ('%.200s'); refused",
                          registry->host, realm);
    access->realm_host = host;
    if (credential_of(access, &known, err) < 0)
        return -1;
    bool allowed = kp_realm_may_have_credentials(registry->host, host,
                                                 registry->site ? registry->site->realms : NULL);
    if (allowed)
        access->sent = known;
    access->as_nobody = !allowed && known.username;
    return 0;
}

static int fetch_token(struct access *access, struct kp_err *err)
{
    struct kp_arena *arena = access->auth->arena;
    const char *realm = access->registry->challenge.realm;
    struct kp_fetch_job *job = &access->job;
    const struct kp_site *site = NULL;
    char *form = NULL;
    if (check_realm(access, err) < 0 || form_of(access, &form, err) < 0)
        return -1;
    kp_auto_free char *url =
        kp_mirrors_url(kp_fetch_options(access->auth->fetch)->mirrors, realm, &site);
    *job = (struct kp_fetch_job){.name = access->realm_host,
                                 .site_given = true,
                                 .site = site ? site : access->registry->site,
                                 .max = KP_TOKEN_MAX,
                                 .to_memory = true,
                                 .any_status = true,
                                 .quiet = true,
                                 .done = take_token,
                                 .user = access};
    if (access->sent.identity) {
        job->url = kp_arena_strdup(arena, url);
        job->post = form;
    } else {
        job->url = kp_arena_printf(arena, "%s%s%s", url, strchr(url, '?') ? "&" : "?", form);
        job->auth.username = access->sent.username;
        job->auth.password = access->sent.password;
    }
    access->waiter_count = 0; // those of a run that was broken off
    kp_fetch_add(access->auth->fetch, job);
    return 0;
}

/* Waits for the token that is under way, or asks for one. */
static int await_token(struct access *access, struct kp_fetch_job *job, struct kp_err *err)
{
    if (!access->job.queued && fetch_token(access, err) < 0)
        return -1;
    add_waiter(access, job);
    return 0;
}

static int use_basic(struct access *access, struct kp_fetch_job *job, bool challenged, bool *ready,
                     struct kp_err *err)
{
    struct kp_credential known = {0};
    if (credential_of(access, &known, err) < 0)
        return -1;
    bool had = job->auth.username != NULL;
    if (challenged && (had || !known.password)) {
        kp_fail_as(err, KP_FAILED, "unauthorized", "%s/%s: not allowed (HTTP 401)",
                   access->registry->host, access->repository);
        return kp_hint(err,
                       had ? "the credentials for %s were refused"
                           : "docker login %s, or username and password_file in the mirrors file",
                       access->registry->name);
    }
    if (known.password) {
        job->auth.username = known.username;
        job->auth.password = known.password;
    }
    *ready = true;
    return 0;
}

static int ask(void *user, struct kp_fetch_job *job, const char *challenge, bool *ready,
               struct kp_err *err)
{
    struct access *access = user;
    struct registry *registry = access->registry;
    if (challenge) {
        struct kp_challenge seen;
        kp_challenge_parse(&seen, access->auth->arena, challenge);
        if (seen.scheme == KP_CHALLENGE_NONE)
            return kp_fail_as(err, KP_FAILED, "unauthorized",
                              "%s/%s: not allowed (HTTP 401), and it says no way that is known "
                              "(Bearer, Basic)",
                              registry->host, access->repository);
        registry->challenge = seen;
        if (*seen.scope)
            access->scope = seen.scope;
        if (access->token && access->token == job->auth.bearer) {
            if (kp_now() - access->token_since < FRESH_SECONDS)
                return refused(access, 401, err);
            access->token = NULL; // it has run out
        }
    }
    job->auth.bearer = access->token;
    if (registry->challenge.scheme == KP_CHALLENGE_BASIC)
        return use_basic(access, job, challenge != NULL, ready, err);
    if (registry->challenge.scheme == KP_CHALLENGE_BEARER && !access->token)
        return await_token(access, job, err);
    *ready = true;
    return 0;
}

static struct registry *find_registry(struct kp_oci_auth *auth,
                                      const struct kp_registry_place *place)
{
    for (struct registry *r = auth->registries; r; r = r->next)
        if (strcmp(r->host, place->host) == 0 && r->site == place->site)
            return r;
    struct registry *r = kp_arena_alloc(auth->arena, sizeof(*r));
    r->host = kp_arena_strdup(auth->arena, place->host);
    r->name = strcmp(r->host, DOCKER_HUB_HOST) == 0 ? KP_DOCKER_HUB : r->host;
    r->site = place->site;
    r->next = auth->registries;
    auth->registries = r;
    return r;
}

const struct kp_fetch_authority *kp_oci_authority(struct kp_oci_auth *auth,
                                                  const struct kp_registry_place *place)
{
    struct registry *r = find_registry(auth, place);
    for (struct access *a = auth->accesses; a; a = a->next)
        if (a->registry == r && strcmp(a->repository, place->repository) == 0)
            return &a->authority;
    struct access *a = kp_arena_alloc(auth->arena, sizeof(*a));
    a->auth = auth;
    a->registry = r;
    a->repository = kp_arena_strdup(auth->arena, place->repository);
    a->authority = (struct kp_fetch_authority){ask, a};
    a->next = auth->accesses;
    auth->accesses = a;
    return &a->authority;
}

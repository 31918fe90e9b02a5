/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A web server and registry that misbehaves on purpose, on loopback, for hostile_upstream.sh:
 *   hostile_server CERT KEY BADCERT BADKEY LOG
 * prints "TLS BAD PLAIN" (ports: TLS with the good certificate, with the bad one, without TLS) and
 * serves until killed. Each request goes to LOG: "HOST METHOD PATH range=… authorization=…". What a
 * path does is in the tables at the end.
 */
#include "core/file.h"
#include "core/hash.h"
#include "core/slice.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX 16384
#define KEYS_MAX 64
#define BLOCK 65536

struct server {
    SSL_CTX *tls;
    int listener;
    unsigned port;
};

struct state { /* of the process; a test server may */
    struct server servers[3];
    FILE *log;
    pthread_mutex_t lock;
    struct {
        char key[64];
        unsigned seen;
    } counts[KEYS_MAX];
};
static struct state state = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct peer {
    int fd;
    SSL *ssl;
    char request[REQUEST_MAX];
    char host[256], path[2048];
    bool has_range;
    uint64_t from;
};

static bool put(struct peer *peer, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        int n = peer->ssl ? SSL_write(peer->ssl, p, (int)len) : (int)send(peer->fd, p, len, 0);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool puts_(struct peer *peer, const char *text)
{
    return put(peer, text, strlen(text));
}

static bool say(struct peer *peer, const char *fmt, ...) KP_PRINTF(2, 3);
static bool say(struct peer *peer, const char *fmt, ...)
{
    char text[8192];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return puts_(peer, text);
}

/* How often this key was asked for before. */
static unsigned count(const char *key)
{
    unsigned seen = 0;
    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < KEYS_MAX; i++) {
        if (state.counts[i].key[0] && strcmp(state.counts[i].key, key) != 0)
            continue;
        snprintf(state.counts[i].key, sizeof(state.counts[i].key), "%s", key);
        seen = state.counts[i].seen++;
        break;
    }
    pthread_mutex_unlock(&state.lock);
    return seen;
}

/* Bytes [from, to) of an endless file; `salt` tells files apart. */
static bool send_bytes(struct peer *peer, uint64_t from, uint64_t to, unsigned salt)
{
    char block[BLOCK];
    while (from < to) {
        size_t n = to - from < BLOCK ? (size_t)(to - from) : BLOCK;
        for (size_t i = 0; i < n; i++) {
            uint64_t at = from + i;
            block[i] = (char)(at * 131 + (at >> 8) * 17 + (at >> 16) * 7 + salt);
        }
        if (!put(peer, block, n))
            return false;
        from += n;
    }
    return true;
}

static bool send_file(struct peer *peer, uint64_t size, uint64_t stop_after, unsigned salt,
                      bool ranges, const char *etag)
{
    uint64_t from = ranges && peer->has_range ? peer->from : 0;
    if (from > size)
        return say(peer,
                   "HTTP/1.1 416 No\r\nContent-Range: bytes */%llu\r\nContent-Length: 0\r\n\r\n",
                   (unsigned long long)size);
    say(peer, "HTTP/1.1 %s\r\nETag: \"%s\"\r\nContent-Length: %llu\r\n",
        from ? "206 Partial Content" : "200 OK", etag, (unsigned long long)(size - from));
    if (from)
        say(peer, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)from,
            (unsigned long long)size - 1, (unsigned long long)size);
    puts_(peer, "\r\n");
    uint64_t to = size - from > stop_after ? from + stop_after : size;
    return send_bytes(peer, from, to, salt) && to == size;
}

static uint64_t number(const char *path, unsigned index)
{
    struct kp_slice rest = kp_slice_of(path + 1), part;
    uint64_t value = 0;
    for (unsigned i = 0; i <= index; i++)
        if (!kp_slice_cut(&rest, '/', &part))
            part = rest;
    return kp_parse_u64(part, UINT64_MAX, &value) ? value : 0;
}

/* --- files -------------------------------------------------------------------------------- */

static bool do_ok(struct peer *peer)
{
    return send_file(peer, number(peer->path, 1), UINT64_MAX, 0, true, "v1");
}

static bool do_norange(struct peer *peer)
{
    return send_file(peer, number(peer->path, 1), UINT64_MAX, 0, false, "v1");
}

static bool do_cut(struct peer *peer) // /cut/SIZE/BYTES: at most BYTES with each answer
{
    return send_file(peer, number(peer->path, 1), number(peer->path, 2), 0, true, "v1");
}

static bool do_cutzero(struct peer *peer)
{
    return send_file(peer, number(peer->path, 1), 10, 0, false, "v1");
}

static bool do_loop(struct peer *peer)
{
    return say(peer, "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n");
}

static bool do_bounce(struct peer *peer) // to the other host name
{
    return say(peer,
               "HTTP/1.1 307 Temporary Redirect\r\nLocation: "
               "https://b.localhost:%u/ok/%llu?signed=secret\r\n"
               "Content-Length: 0\r\n\r\n",
               state.servers[0].port, (unsigned long long)number(peer->path, 1));
}

static bool do_askelse(struct peer *peer) // to the other host name, which asks for credentials
{
    return say(peer,
               "HTTP/1.1 302 Found\r\nLocation: https://b.localhost:%u/ask\r\n"
               "Content-Length: 0\r\n\r\n",
               state.servers[0].port);
}

static bool do_ask(struct peer *peer)
{
    return say(peer, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a.localhost\"\r\n"
                     "Content-Length: 0\r\n\r\n");
}

static bool do_chain(struct peer *peer) // /chain/LEFT/SIZE: LEFT redirects, from host to host
{
    unsigned long long left = number(peer->path, 1), size = number(peer->path, 2);
    if (!left)
        return send_file(peer, size, UINT64_MAX, 0, true, "v1");
    return say(peer,
               "HTTP/1.1 302 Found\r\nLocation: https://%c.localhost:%u/chain/%llu/%llu\r\n"
               "Content-Length: 0\r\n\r\n",
               left % 2 ? 'b' : 'a', state.servers[0].port, left - 1, size);
}

static bool do_within(struct peer *peer) // on the same host
{
    return say(peer, "HTTP/1.1 301 Moved\r\nLocation: /ok/%llu\r\nContent-Length: 0\r\n\r\n",
               (unsigned long long)number(peer->path, 1));
}

static bool do_downgrade(struct peer *peer)
{
    return say(peer,
               "HTTP/1.1 302 Found\r\nLocation: http://b.localhost:%u/ok/10\r\n"
               "Content-Length: 0\r\n\r\n",
               state.servers[2].port);
}

static bool do_filescheme(struct peer *peer)
{
    return say(peer,
               "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n");
}

static bool do_endless(struct peer *peer)
{
    say(peer, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    return send_bytes(peer, 0, UINT64_MAX, 0);
}

static bool do_endless404(struct peer *peer)
{
    say(peer, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
    return send_bytes(peer, 0, UINT64_MAX, 0);
}

static bool do_headers(struct peer *peer)
{
    say(peer, "HTTP/1.1 200 OK\r\n");
    while (say(peer, "X-More: %01000d\r\n", 1))
        ;
    return false;
}

static bool do_loris(struct peer *peer)
{
    say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    while (puts_(peer, "x"))
        usleep(200000);
    return false;
}

static bool do_lorishead(struct peer *peer)
{
    puts_(peer, "HTTP/1.1 200 OK\r\nX-Slow: ");
    while (puts_(peer, "H"))
        usleep(500000);
    return false;
}

static bool do_encoded(struct peer *peer)
{
    return say(peer, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd");
}

static bool do_busy(struct peer *peer) // /busy/KEY/TIMES/SECONDS/SIZE
{
    if (count(peer->path) < number(peer->path, 2))
        return say(peer, "HTTP/1.1 429 Too Many\r\nRetry-After: %llu\r\nContent-Length: 0\r\n\r\n",
                   (unsigned long long)number(peer->path, 3));
    return send_file(peer, number(peer->path, 4), UINT64_MAX, 0, true, "v1");
}

static bool do_changed(struct peer *peer) // /changed/KEY/SIZE: half of one version, then another
{
    uint64_t size = number(peer->path, 2);
    if (count(peer->path) == 0)
        return send_file(peer, size, size / 2, 9, true, "v1");
    return send_file(peer, size, UINT64_MAX, 0, false, "v2");
}

static bool do_stale(struct peer *peer) // /stale/KEY/SIZE: the rest of another version, as 206
{
    uint64_t size = number(peer->path, 2);
    return count(peer->path) == 0 ? send_file(peer, size, size / 2, 9, true, "v1")
                                  : send_file(peer, size, UINT64_MAX, 0, true, "v1");
}

static bool do_half(struct peer *peer) // /half/KEY/SIZE: half, then what is asked for
{
    uint64_t size = number(peer->path, 2);
    return send_file(peer, size, count(peer->path) == 0 ? size / 2 : UINT64_MAX, 0, true, "v1");
}

static bool do_never416(struct peer *peer) // /never416/KEY/SIZE: half, then 416 to any Range
{
    uint64_t size = number(peer->path, 2);
    if (count(peer->path) == 0)
        return send_file(peer, size, size / 2, 0, false, "v1");
    if (peer->has_range)
        return say(peer, "HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n");
    return send_file(peer, size, UINT64_MAX, 0, false, "v1");
}

static bool do_wrongpart(struct peer *peer) // /wrongpart/KEY/SIZE: half, then a 206 from byte 0
{
    uint64_t size = number(peer->path, 2);
    if (count(peer->path) == 0)
        return send_file(peer, size, size / 2, 0, false, "v1");
    if (!peer->has_range)
        return send_file(peer, size, UINT64_MAX, 0, false, "v1");
    say(peer, "HTTP/1.1 206 P\r\nContent-Range: bytes 0-%llu/%llu\r\nContent-Length: %llu\r\n\r\n",
        (unsigned long long)size - 1, (unsigned long long)size, (unsigned long long)size);
    return send_bytes(peer, 0, size, 0);
}

static bool do_status(struct peer *peer) // /status/N
{
    return say(peer, "HTTP/1.1 %llu X\r\nContent-Length: 0\r\n\r\n",
               (unsigned long long)number(peer->path, 1));
}

/* --- a registry --------------------------------------------------------------------------- */

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define CONFIG_TEXT "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\"}}"
#define LAYER_TEXT "a layer"

static const char *digest_of(const char *text, char out[80])
{
    struct kp_digest digest;
    kp_sha256(text, strlen(text), &digest);
    snprintf(out, 80, "sha256:%s", kp_digest_hex(&digest).hex);
    return out;
}

static void manifest_text(char *out, size_t size, const char *type, const char *layer_type,
                          unsigned layers, const char *more)
{
    char config[80], layer[80];
    int n = snprintf(out, size,
                     "{\"schemaVersion\":2,\"mediaType\":\"%s\",%s\"config\":{\"mediaType\":"
                     "\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
                     "\"layers\":[",
                     type, more, digest_of(CONFIG_TEXT, config), strlen(CONFIG_TEXT));
    for (unsigned i = 0; i < layers; i++)
        n += snprintf(out + n, size - (size_t)n,
                      "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu,"
                      "\"urls\":[\"https://b.localhost/elsewhere\"]}",
                      i ? "," : "", layer_type, digest_of(LAYER_TEXT, layer), strlen(LAYER_TEXT));
    snprintf(out + n, size - (size_t)n, "]}");
}

static void index_text(char *out, size_t size, const char *child, const char *child_type)
{
    char digest[80];
    snprintf(
        out, size,
        "{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\",\"manifests\":[{\"mediaType\":\"%s\","
        "\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":"
        "\"amd64\"}},{\"mediaType\":\"" OCI_MANIFEST "\",\"digest\":\"sha256:%064d\",\"size\":5,"
        "\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}]}",
        child_type, digest_of(child, digest), strlen(child), 7);
}

static bool send_document(struct peer *peer, const char *type, const char *text)
{
    say(peer, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", type,
        strlen(text));
    return puts_(peer, text);
}

static bool is_path(const struct peer *peer, const char *suffix)
{
    return kp_ends_with(peer->path, suffix);
}

/* Documents under one repository; found by what the path ends with. */
static bool send_image(struct peer *peer, const char *manifest, const char *type, unsigned nesting)
{
    static __thread char texts[6][8192];
    char digest[80];
    snprintf(texts[0], sizeof(texts[0]), "%s", manifest);
    for (unsigned i = 1; i <= nesting; i++)
        index_text(texts[i], sizeof(texts[i]), texts[i - 1], i == 1 ? type : OCI_INDEX);
    if (is_path(peer, "/manifests/1"))
        return send_document(peer, nesting ? OCI_INDEX : type, texts[nesting]);
    for (unsigned i = 0; i <= nesting; i++)
        if (is_path(peer, digest_of(texts[i], digest)))
            return send_document(peer, i ? OCI_INDEX : type, texts[i]);
    if (is_path(peer, digest_of(CONFIG_TEXT, digest)))
        return send_document(peer, "application/octet-stream", CONFIG_TEXT);
    if (is_path(peer, digest_of(LAYER_TEXT, digest)))
        return send_document(peer, "application/octet-stream", LAYER_TEXT);
    return say(peer, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

static bool challenge(struct peer *peer, const char *scheme, const char *realm)
{
    return say(peer,
               "HTTP/1.1 401 No\r\nWWW-Authenticate: %s realm=\"%s\",service=\"x\",scope="
               "\"repository:x:pull\"\r\nContent-Length: 0\r\n\r\n",
               scheme, realm);
}

/* Lets through what has the token, sends others to the token server of that host. */
static bool token_image(struct peer *peer, const char *realm_format, const char *manifest)
{
    char realm[256];
    if (strstr(peer->request, "\r\nAuthorization: Bearer good-token\r\n"))
        return send_image(peer, manifest, OCI_MANIFEST, 1);
    if (strcmp(realm_format, "https") == 0)
        snprintf(realm, sizeof(realm), "https://b.localhost:%u/token", state.servers[0].port);
    else if (strcmp(realm_format, "http") == 0)
        snprintf(realm, sizeof(realm), "http://a.localhost:%u/token", state.servers[2].port);
    else
        snprintf(realm, sizeof(realm), "https://a.localhost:%u/token", state.servers[0].port);
    return challenge(peer, "Bearer", realm);
}

static bool do_token(struct peer *peer)
{
    return send_document(peer, "application/json", "{\"token\":\"good-token\",\"expires_in\":60}");
}

static bool do_registry(struct peer *peer) // /v2/KIND/…
{
    static __thread char text[400000];
    const char *kind = peer->path + 4;
    const char *layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    manifest_text(text, sizeof(text), OCI_MANIFEST, layer, 1, "");
    if (kp_starts_with(kind, "fine/"))
        return send_image(peer, text, OCI_MANIFEST, 1);
    if (kp_starts_with(kind, "nested/"))
        return send_image(peer, text, OCI_MANIFEST, 2);
    if (kp_starts_with(kind, "deep/"))
        return send_image(peer, text, OCI_MANIFEST, 5);
    if (kp_starts_with(kind, "own/"))
        return token_image(peer, "own", text);
    if (kp_starts_with(kind, "elsewhere/"))
        return token_image(peer, "https", text);
    if (kp_starts_with(kind, "httprealm/"))
        return token_image(peer, "http", text);
    if (kp_starts_with(kind, "basic/"))
        return strstr(peer->request, "\r\nAuthorization: Basic ")
                   ? send_image(peer, text, OCI_MANIFEST, 1)
                   : challenge(peer, "Basic", "x");
    if (kp_starts_with(kind, "type/"))
        return send_image(peer, text, "application/vnd.docker.distribution.manifest.v2+json", 0);
    if (kp_starts_with(kind, "both/")) {
        manifest_text(text, sizeof(text), OCI_MANIFEST, layer, 1, "\"manifests\":[],");
        return send_image(peer, text, OCI_MANIFEST, 0);
    }
    if (kp_starts_with(kind, "foreign/")) {
        manifest_text(text, sizeof(text), OCI_MANIFEST,
                      "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 1, "");
        return send_image(peer, text, OCI_MANIFEST, 0);
    }
    if (kp_starts_with(kind, "layers/")) {
        manifest_text(text, sizeof(text), OCI_MANIFEST, layer, 600, "");
        return send_document(peer, OCI_MANIFEST, text);
    }
    if (kp_starts_with(kind, "schema1/"))
        return send_document(peer, "application/vnd.docker.distribution.manifest.v1+prettyjws",
                             "{\"schemaVersion\":1}");
    if (kp_starts_with(kind, "huge/")) {
        say(peer, "HTTP/1.1 200 OK\r\nContent-Type: " OCI_MANIFEST "\r\nConnection: close\r\n\r\n");
        return send_bytes(peer, 0, UINT64_MAX, 0);
    }
    if (kp_starts_with(kind, "lie/")) {
        say(peer,
            "HTTP/1.1 200 OK\r\nContent-Type: " OCI_MANIFEST "\r\nDocker-Content-Digest: "
            "sha256:%064d\r\nContent-Length: %zu\r\n\r\n",
            1, strlen(text));
        return puts_(peer, text);
    }
    return say(peer, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

static const struct {
    const char *prefix;
    bool (*act)(struct peer *peer); /* false: close the connection */
} routes[] = {
    {"/ok/", do_ok},
    {"/norange/", do_norange},
    {"/cut/", do_cut},
    {"/cutzero/", do_cutzero},
    {"/loop", do_loop},
    {"/bounce/", do_bounce},
    {"/askelse", do_askelse},
    {"/ask", do_ask},
    {"/chain/", do_chain},
    {"/within/", do_within},
    {"/downgrade", do_downgrade},
    {"/filescheme", do_filescheme},
    {"/endless404", do_endless404},
    {"/endless", do_endless},
    {"/headers", do_headers},
    {"/lorishead", do_lorishead},
    {"/loris", do_loris},
    {"/encoded", do_encoded},
    {"/busy/", do_busy},
    {"/changed/", do_changed},
    {"/stale/", do_stale},
    {"/half/", do_half},
    {"/never416/", do_never416},
    {"/wrongpart/", do_wrongpart},
    {"/status/", do_status},
    {"/token", do_token},
    {"/v2/", do_registry},
};

/* --- connections -------------------------------------------------------------------------- */

static bool read_request(struct peer *peer)
{
    size_t len = 0;
    peer->request[0] = '\0';
    while (len + 1 < REQUEST_MAX && !strstr(peer->request, "\r\n\r\n")) {
        char *at = peer->request + len;
        int n = peer->ssl ? SSL_read(peer->ssl, at, (int)(REQUEST_MAX - 1 - len))
                          : (int)recv(peer->fd, at, REQUEST_MAX - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        peer->request[len] = '\0';
    }
    return true;
}

static void header(const struct peer *peer, const char *name, char *out, size_t size)
{
    kp_auto_free char *start = kp_asprintf("\r\n%s: ", name);
    const char *at = strcasestr(peer->request, start);
    snprintf(out, size, "-");
    if (at) {
        at += strlen(start);
        snprintf(out, size, "%.*s", (int)strcspn(at, "\r"), at);
    }
}

static bool serve_request(struct peer *peer)
{
    char method[16] = "", range[64], authorization[512];
    if (sscanf(peer->request, "%15s %2047s", method, peer->path) != 2)
        return false;
    peer->path[strcspn(peer->path, "?")] = '\0';
    header(peer, "Host", peer->host, sizeof(peer->host));
    header(peer, "Range", range, sizeof(range));
    header(peer, "Authorization", authorization, sizeof(authorization));
    struct kp_slice from = kp_slice_of(range), value;
    peer->has_range = kp_slice_cut(&from, '=', &value) && kp_slice_cut(&from, '-', &value) &&
                      kp_parse_u64(value, UINT64_MAX, &peer->from);
    pthread_mutex_lock(&state.lock);
    fprintf(state.log, "%s %s %s range=%s authorization=%s\n", peer->host, method, peer->path,
            range, authorization);
    fflush(state.log);
    pthread_mutex_unlock(&state.lock);
    for (size_t i = 0; i < KP_COUNT(routes); i++)
        if (kp_starts_with(peer->path, routes[i].prefix))
            return routes[i].act(peer);
    return say(peer, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

static void *serve_peer(void *arg)
{
    struct peer *peer = arg;
    if (!peer->ssl || SSL_accept(peer->ssl) == 1)
        while (read_request(peer) && serve_request(peer))
            ;
    SSL_free(peer->ssl);
    close(peer->fd);
    kp_free(peer);
    return NULL;
}

static void *accept_peers(void *arg)
{
    struct server *server = arg;
    for (;;) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        struct peer *peer = kp_alloc(sizeof(*peer));
        pthread_t thread;
        peer->fd = fd;
        if (server->tls) {
            peer->ssl = SSL_new(server->tls);
            SSL_set_fd(peer->ssl, fd);
        }
        if (pthread_create(&thread, NULL, serve_peer, peer) == 0)
            pthread_detach(thread);
    }
    return NULL;
}

static bool open_server(struct server *server, const char *cert, const char *key)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->listener < 0 || bind(server->listener, (struct sockaddr *)&address, len) < 0 ||
        listen(server->listener, 64) < 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &len) < 0)
        return false;
    server->port = ntohs(address.sin_port);
    if (!cert)
        return true;
    server->tls = SSL_CTX_new(TLS_server_method());
    return SSL_CTX_use_certificate_chain_file(server->tls, cert) == 1 &&
           SSL_CTX_use_PrivateKey_file(server->tls, key, SSL_FILETYPE_PEM) == 1;
}

int main(int argc, char **argv)
{
    pthread_t threads[KP_COUNT(state.servers)];
    signal(SIGPIPE, SIG_IGN);
    if (argc != 6 || !(state.log = fopen(argv[5], "ae")) ||
        !open_server(&state.servers[0], argv[1], argv[2]) ||
        !open_server(&state.servers[1], argv[3], argv[4]) ||
        !open_server(&state.servers[2], NULL, NULL)) {
        fprintf(stderr, "usage: hostile_server CERT KEY BADCERT BADKEY LOG (%s)\n",
                strerror(errno));
        return 2;
    }
    printf("%u %u %u\n", state.servers[0].port, state.servers[1].port, state.servers[2].port);
    fflush(stdout);
    for (size_t i = 0; i < KP_COUNT(state.servers); i++)
        pthread_create(&threads[i], NULL, accept_peers, &state.servers[i]);
    pthread_join(threads[0], NULL);
    return 0;
}

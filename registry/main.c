/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/set.h"
#include "core/cli.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/slice.h"
#include "core/text.h"
#include "registry/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct options {
    struct kp_text_list bundles, ids, keys, listen, plain;
    const char *cert, *key_file, *access_log;
    uint64_t workers, checkers, connections, per_address, head_time, idle_time, stall_time,
        drain_time, accepted;
    bool no_background, quiet;
};

static const struct kp_option options[] = {
    {"bundle", 'b', KP_OPT_LIST, offsetof(struct options, bundles), "FILE[,id=HEX]",
     "bundle to serve; may be given several times, the newest serial wins a tag", 0},
    {"id", 0, KP_OPT_LIST, offsetof(struct options, ids), "HEX",
     "accepted id of the bundle at the same place in order: it is the only thing checked about who "
     "signed it",
     0},
    {"accepted", 0, KP_OPT_NUMBER, offsetof(struct options, accepted), "SECONDS",
     "when the first bundle was accepted, since 1970: other mirrors go by the later one",
     INT64_MAX},
    {"key", 0, KP_OPT_LIST, offsetof(struct options, keys), "FILE",
     "trust this public key, for bundles without an id", 0},
    {"listen", 'l', KP_OPT_LIST, offsetof(struct options, listen), "ADDRESS:PORT",
     "serve TLS there; [::]:5000 and :5000 are all addresses", 0},
    {"plain", 0, KP_OPT_LIST, offsetof(struct options, plain), "ADDRESS:PORT",
     "serve without TLS there; only loopback addresses are taken", 0},
    {"tls-cert", 0, KP_OPT_TEXT, offsetof(struct options, cert), "FILE", "certificate chain, PEM",
     0},
    {"tls-key", 0, KP_OPT_TEXT, offsetof(struct options, key_file), "FILE", "its key, PEM", 0},
    {"workers", 0, KP_OPT_NUMBER, offsetof(struct options, workers), "N",
     "serving threads; default one per core", 64},
    {"checkers", 0, KP_OPT_NUMBER, offsetof(struct options, checkers), "N",
     "verifying threads; default one per core", 64},
    {"no-background", 0, KP_OPT_FLAG, offsetof(struct options, no_background), NULL,
     "verify only what is asked for, not the rest of the bundle as well", 0},
    {"access-log", 0, KP_OPT_TEXT, offsetof(struct options, access_log), "FILE|-",
     "append one JSON object per request; - is stdout", 0},
    {"connections", 0, KP_OPT_NUMBER, offsetof(struct options, connections), "N",
     "most connections at once; default 4096", 1000000},
    {"per-address", 0, KP_OPT_NUMBER, offsetof(struct options, per_address), "N",
     "most connections at once from one address (IPv6: from one /64); default no limit", 1000000},
    {"head-time", 0, KP_OPT_NUMBER, offsetof(struct options, head_time), "SECONDS",
     "for a TLS handshake or a request's head; default 10", 3600},
    {"idle-time", 0, KP_OPT_NUMBER, offsetof(struct options, idle_time), "SECONDS",
     "between requests of a connection; default 60", 86400},
    {"stall-time", 0, KP_OPT_NUMBER, offsetof(struct options, stall_time), "SECONDS",
     "without a byte going out; default 60", 86400},
    {"drain-time", 0, KP_OPT_NUMBER, offsetof(struct options, drain_time), "SECONDS",
     "for running replies after SIGTERM; default 30", 3600},
    {"quiet", 'q', KP_OPT_FLAG, offsetof(struct options, quiet), NULL, "say nothing at start", 0},
    {NULL, 0, KP_OPT_FLAG, 0, NULL, NULL, 0}};

struct opened {
    struct kp_bundle *items[KP_REGISTRY_BUNDLES_MAX];
    size_t count;
};

static void opened_release(struct opened *opened)
{
    for (size_t i = 0; i < opened->count; i++)
        kp_bundle_free(opened->items[i]);
}

/* FILE,id=HEX: the id is cut off path. */
static int split_id(char *path, const char *option, const char **id, struct kp_err *err)
{
    char *comma = strstr(path, ",id=");
    *id = option;
    if (!comma)
        return 0;
    if (option)
        return kp_fail(err, KP_USAGE, "--id %s: this bundle has an id= already", option);
    *comma = '\0';
    *id = comma + strlen(",id=");
    return 0;
}

static int open_bundle(struct opened *opened, const struct options *o, size_t i,
                       const struct kp_trust *trust, struct kp_err *err)
{
    kp_auto_free char *path = kp_strdup(o->bundles.items[i]);
    const char *id_text;
    struct kp_digest id;
    if (split_id(path, i < o->ids.count ? o->ids.items[i] : NULL, &id_text, err) < 0)
        return -1;
    if (id_text && !kp_parse_hex(kp_slice_of(id_text), id.bytes, KP_SHA256_LEN))
        return kp_fail(err, KP_USAGE, "%s: an id is 64 hexadecimal digits", id_text);
    int result = id_text ? kp_bundle_open_id(&opened->items[i], path, &id, err)
                         : kp_bundle_open(&opened->items[i], path, trust, NULL, err);
    if (result < 0)
        return -1;
    opened->count++;
    return 0;
}

static bool needs_keys(const struct options *o)
{
    for (size_t i = o->ids.count; i < o->bundles.count; i++)
        if (!strstr(o->bundles.items[i], ",id="))
            return true;
    return false;
}

static int open_bundles(struct opened *opened, const struct options *o, struct kp_err *err)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    if (!o->bundles.count)
        return kp_fail(err, KP_USAGE, "--bundle FILE is needed");
    if (o->bundles.count > KP_REGISTRY_BUNDLES_MAX)
        return kp_fail(err, KP_USAGE, "at most %d bundles at once", KP_REGISTRY_BUNDLES_MAX);
    if (o->ids.count > o->bundles.count)
        return kp_fail(err, KP_USAGE, "more --id than --bundle");
    for (size_t i = 0; i < o->keys.count; i++)
        if (kp_trust_add_file(trust, o->keys.items[i], err) < 0)
            return -1;
    // With an id for each no key is needed, and the service may not see the folders.
    if (needs_keys(o) && kp_trust_add_default(trust, err) < 0)
        return -1;
    for (size_t i = 0; i < o->bundles.count; i++)
        if (open_bundle(opened, o, i, trust, err) < 0)
            return -1;
    return 0;
}

static bool is_given(const struct opened *opened, const struct kp_digest *id)
{
    for (size_t i = 0; i < opened->count; i++)
        if (kp_digest_equal(&kp_bundle_manifest(opened->items[i])->id, id))
            return true;
    return false;
}

static bool is_base_of_another(const struct opened *opened, const struct kp_manifest *m)
{
    for (size_t i = 0; i < opened->count; i++) {
        const struct kp_manifest *other = kp_bundle_manifest(opened->items[i]);
        for (size_t k = 0; k < other->base_count; k++)
            if (kp_digest_equal(&other->bases[k].id, &m->id))
                return true;
    }
    return false;
}

/* What is served whole must be whole. A delta that is here for another's sake only needs not. */
static int check_bases(const struct opened *opened, struct kp_err *err)
{
    const struct kp_base *missing[KP_BASES_MAX];
    for (size_t i = 0; i < opened->count; i++) {
        const struct kp_manifest *m = kp_bundle_manifest(opened->items[i]);
        size_t count = 0;
        for (size_t k = 0; k < m->base_count; k++)
            if (!is_given(opened, &m->bases[k].id))
                missing[count++] = &m->bases[k];
        if (!count || is_base_of_another(opened, m))
            continue;
        kp_missing_bases(kp_bundle_path(opened->items[i]), missing, count, err);
        return kp_hint(err, "give each of them by another --bundle");
    }
    return 0;
}

static int add_listener(struct kp_http_server_settings *http, const char *text, bool tls,
                        struct kp_err *err)
{
    if (http->listen_count == KP_HTTP_LISTENERS_MAX)
        return kp_fail(err, KP_USAGE, "at most %d listeners", KP_HTTP_LISTENERS_MAX);
    struct kp_http_listen *listen = &http->listen[http->listen_count];
    if (kp_net_parse_listen(text, &listen->address, err) < 0)
        return kp_wrap(err, tls ? "--listen" : "--plain");
    if (!tls && !kp_net_is_loopback(&listen->address)) {
        kp_fail(err, KP_USAGE, "--plain %s: not a loopback address", text);
        return kp_hint(
            err, "beyond this host only TLS is served: --listen %s --tls-cert … --tls-key …", text);
    }
    listen->tls = tls;
    http->listen_count++;
    return 0;
}

static int read_http(struct kp_http_server_settings *http, const struct options *o,
                     struct kp_err *err)
{
    *http = (struct kp_http_server_settings){.cert_file = o->cert,
                                             .key_file = o->key_file,
                                             .workers = (unsigned)o->workers,
                                             .connections = (unsigned)o->connections,
                                             .per_address = (unsigned)o->per_address,
                                             .head_seconds = (double)o->head_time,
                                             .idle_seconds = (double)o->idle_time,
                                             .stall_seconds = (double)o->stall_time,
                                             .drain_seconds = (double)o->drain_time};
    if (!o->cert != !o->key_file)
        return kp_fail(err, KP_USAGE, "--tls-cert and --tls-key go together");
    if (o->listen.count && !o->cert)
        return kp_fail(err, KP_USAGE,
                       "--listen needs --tls-cert and --tls-key; "
                       "without TLS: --plain 127.0.0.1:PORT");
    if (!o->listen.count && !o->plain.count)
        return kp_fail(err, KP_USAGE, "--listen ADDRESS:PORT (or --plain) is needed");
    for (size_t i = 0; i < o->listen.count; i++)
        if (add_listener(http, o->listen.items[i], true, err) < 0)
            return -1;
    for (size_t i = 0; i < o->plain.count; i++)
        if (add_listener(http, o->plain.items[i], false, err) < 0)
            return -1;
    return 0;
}

static int open_log(int *fd, const char *path, struct kp_err *err)
{
    if (!path)
        return 0;
    *fd = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO)
                                 : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    return *fd < 0 ? kp_fail_sys(err, errno, "--access-log %s", path) : 0;
}

static void announce(const struct opened *opened, struct kp_http_server *server,
                     const struct kp_http_server_settings *http)
{
    for (size_t i = 0; i < opened->count; i++) {
        const struct kp_manifest *m = kp_bundle_manifest(opened->items[i]);
        fprintf(stderr, "kregistry: %s  serial %llu  %zu images, %s  id %s\n", m->name,
                (unsigned long long)m->serial, m->image_count,
                kp_text_bytes(kp_bundle_size(opened->items[i])).s, kp_digest_hex(&m->id).hex);
    }
    for (size_t i = 0; i < http->listen_count; i++)
        fprintf(stderr, "kregistry: serving on %s://%s\n", http->listen[i].tls ? "https" : "http",
                kp_net_address_text(kp_http_server_address(server, i)).s);
}

static int run(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *o = user;
    (void)argc;
    (void)argv;
    __attribute__((cleanup(opened_release))) struct opened opened = {.count = 0};
    struct kp_registry_settings settings = {.access_log = -1,
                                            .error_log = STDERR_FILENO,
                                            .checkers = (unsigned)o->checkers,
                                            .no_background = o->no_background,
                                            .accepted = o->accepted};
    kp_auto_fd int log = -1;
    kp_interrupt_catch();
    if (read_http(&settings.http, o, err) < 0 || open_log(&log, o->access_log, err) < 0 ||
        open_bundles(&opened, o, err) < 0 || check_bases(&opened, err) < 0)
        return -1;
    settings.access_log = log;
    settings.bundles = opened.items;
    settings.bundle_count = opened.count;
    kp_auto(kp_registry) registry = NULL;
    if (kp_registry_new(&registry, &settings, err) < 0)
        return -1;
    if (!o->quiet)
        announce(&opened, kp_registry_server(registry), &settings.http);
    return kp_registry_run(registry, err);
}

static const struct kp_command commands[] = {
    {.name = "",
     .arguments = "",
     .summary = "serve the images and files of bundles, read-only",
     .details = "Answers the pull side of the OCI distribution specification straight out of "
                "bundle files: "
                "nothing is unpacked. Each blob is verified before it is served for the first "
                "time; one that "
                "is damaged is answered with 404, so that clients ask the next mirror, and named "
                "on stderr.",
     .options = options,
     .size = sizeof(struct options),
     .run = run},
    {.name = NULL}};

static const struct kp_program program = {
    .name = "kregistry",
    .summary = "a read-only registry that serves bundles",
    .commands = commands,
    .epilogue =
        "exit codes: 0 ended by SIGTERM or SIGINT, 1 failed, 2 usage, 3 not trusted, 4 damaged, "
        "5 something missing"};

int main(int argc, char **argv)
{
    kp_net_init(); // before anything else touches libcrypto
    return kp_cli_main(&program, argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/serve.h"

#include "bundle/checked.h"
#include "bundle/medium.h"
#include "core/file.h"
#include "core/text.h"
#include "registry/checker.h"
#include "registry/metrics.h"
#include "registry/oci.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_TEXT_MAX 512
#define PATH_MAX_LEN 2048

struct kp_registry {
    struct kp_registry_settings settings;
    struct kp_bundle *bundles[KP_REGISTRY_BUNDLES_MAX];
    struct kp_leaves *leaves[KP_REGISTRY_BUNDLES_MAX]; /* read when needed first, under the lock */
    pthread_mutex_t leaves_lock;
    struct kp_catalog *catalog;
    struct kp_checker *checker;
    struct kp_http_server *server;
    struct kp_metrics metrics;
};

struct source { /* where a body's bytes come from; lives as long as the exchange */
    struct kp_registry *registry;
    size_t index; /* of the bundle */
    const struct kp_bundle *bundle;
    size_t entry;
};

/* Bytes that came from a file which is not the one that was verified do not go out. */
static int trust_read(const struct source *source, int result)
{
    if (result == 0 && kp_medium_unchanged(kp_bundle_medium(source->bundle), NULL) == 0)
        return 0;
    kp_checker_doubt(source->registry->checker, source->index);
    return -1;
}

/* NULL where they cannot be read. */
static const struct kp_leaves *leaves_of(struct kp_registry *registry, size_t bundle)
{
    struct kp_leaves **leaves = &registry->leaves[bundle];
    pthread_mutex_lock(&registry->leaves_lock);
    int failed = *leaves ? 0 : kp_leaves_load(leaves, registry->bundles[bundle], NULL);
    const struct kp_leaves *out = failed < 0 ? NULL : *leaves;
    pthread_mutex_unlock(&registry->leaves_lock);
    return out;
}

/* Where nothing tells that the file was changed since it was verified, what is read now is. */
static int read_proven(const struct source *source, uint64_t offset, void *out, size_t len)
{
    const struct kp_leaves *leaves = leaves_of(source->registry, source->index);
    return leaves ? kp_leaves_read(leaves, source->bundle, source->entry, offset, out, len, NULL)
                  : -1;
}

static int read_blob(void *user, uint64_t offset, void *out, size_t len)
{
    const struct source *source = user;
    bool told = kp_medium_tells_changes(kp_bundle_medium(source->bundle));
    return trust_read(
        source, told ? kp_bundle_read_entry(source->bundle, source->entry, offset, out, len, NULL)
                     : read_proven(source, offset, out, len));
}

static int read_file(void *user, uint64_t offset, void *out, size_t len)
{
    const struct source *source = user;
    return trust_read(source,
                      kp_medium_read(kp_bundle_medium(source->bundle), out, len, offset, NULL));
}

static void set_source(struct kp_http_response *response, kp_http_read *read,
                       struct kp_registry *registry, size_t bundle, size_t entry)
{
    struct source *source = kp_alloc(sizeof(*source));
    source->registry = registry;
    source->index = bundle;
    source->bundle = registry->bundles[bundle];
    source->entry = entry;
    response->read = read;
    response->user = source;
    response->release = kp_free;
}

/* --- answers --- */

enum outcome { OUTCOME_LATER, OUTCOME_READY, OUTCOME_NOWHERE, OUTCOME_UNREADABLE };

/* A bundle in which the blob is good. LATER: one is being checked now. */
static enum outcome find_good(struct kp_registry *registry, const struct kp_holding *holding,
                              uint64_t ticket, size_t *bundle, size_t *entry)
{
    enum outcome outcome = OUTCOME_NOWHERE;
    for (size_t i = 0; i < holding->count; i++) {
        uint64_t size;
        *bundle = holding->bundles[i];
        if (!kp_bundle_find(registry->bundles[*bundle], &holding->blob->sha256, entry, &size))
            continue;
        switch (kp_checker_ask(registry->checker, *bundle, *entry, ticket)) {
        case KP_CHECK_GOOD:
            return OUTCOME_READY;
        case KP_CHECK_UNREADABLE:
            outcome = OUTCOME_UNREADABLE;
            break; // another bundle may have it whole
        case KP_CHECK_DAMAGED:
            break;
        default:
            return OUTCOME_LATER;
        }
    }
    return outcome;
}

static bool attach_blob(struct kp_registry *registry, struct kp_answer *answer, uint64_t ticket,
                        struct kp_http_response *response)
{
    size_t bundle, entry;
    switch (find_good(registry, &answer->holding, ticket, &bundle, &entry)) {
    case OUTCOME_LATER:
        return false;
    case OUTCOME_READY:
        set_source(response, read_blob, registry, bundle, entry);
        return true;
    case OUTCOME_UNREADABLE:
        kp_oci_unreadable(answer);
        return true;
    case OUTCOME_NOWHERE:
        break;
    }
    kp_oci_damaged(answer);
    return true;
}

static void put_health(struct kp_registry *registry, struct kp_answer *answer)
{
    struct kp_checker_counters checks = kp_checker_counters(registry->checker);
    kp_buf_adds(&answer->fields, "Content-Type: text/plain\r\nCache-Control: no-store\r\n");
    kp_buf_addf(&answer->text, "%s\nbundles %zu\nentries %llu\nverified %llu\ndamaged %llu\n",
                checks.bad ? "degraded" : "ok", kp_catalog_offers(registry->catalog),
                (unsigned long long)checks.entries, (unsigned long long)checks.good,
                (unsigned long long)checks.bad);
}

static void put_metrics(struct kp_registry *registry, struct kp_answer *answer)
{
    struct kp_checker_counters checks = kp_checker_counters(registry->checker);
    struct kp_http_counters http = kp_http_server_counters(registry->server);
    kp_buf_adds(&answer->fields, "Content-Type: text/plain; version=0.0.4\r\n"
                                 "Cache-Control: no-store\r\n");
    kp_metrics_format(&registry->metrics, registry->catalog, &http, &checks, &answer->text);
}

static void move_buf(struct kp_buf *to, struct kp_buf *from)
{
    size_t max = to->max;
    *to = *from;
    to->max = max;
    *from = (struct kp_buf){0};
}

static bool handle(void *user, const struct kp_http_request *request,
                   struct kp_http_response *response)
{
    struct kp_registry *registry = user;
    kp_auto_value(kp_answer) answer;
    kp_oci_answer(registry->catalog, request->head, &answer);
    if (answer.route == KP_ROUTE_HEALTH && answer.status == 200)
        put_health(registry, &answer);
    if (answer.route == KP_ROUTE_METRICS && answer.status == 200)
        put_metrics(registry, &answer);
    bool content = answer.status == 200 || answer.status == 206;
    if (content && answer.body == KP_BODY_BLOB &&
        !attach_blob(registry, &answer, request->ticket, response))
        return false;
    if (content && answer.body == KP_BODY_BUNDLE)
        set_source(response, read_file, registry, answer.bundle, 0);
    response->status = answer.status;
    response->offset = answer.offset;
    response->length = answer.length;
    move_buf(&response->fields, &answer.fields);
    move_buf(&response->text, &answer.text);
    return true;
}

/* --- logs --- */

/* Only printable ASCII goes into the log as it is. */
static void put_log_text(struct kp_buf *line, const char *key, struct kp_slice text)
{
    kp_buf_addf(line, ",\"%s\":\"", key);
    for (size_t i = 0; i < text.len && i < LOG_TEXT_MAX; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            kp_buf_addf(line, "\\u%04x", c);
        else
            kp_buf_add(line, text.ptr + i, 1);
    }
    kp_buf_adds(line, "\"");
}

static void write_line(int fd, const struct kp_buf *line)
{
    // One write per line: lines of several threads do not mix. A full disk must not stop pulls.
    ssize_t ignored = write(fd, line->data, line->len);
    (void)ignored;
}

static void log_access(const struct kp_registry *registry, const struct kp_http_record *record)
{
    kp_auto_value(kp_buf) line = KP_BUF(16384);
    kp_buf_addf(&line, "{\"time\":\"%s\",\"client\":\"%s\"", kp_text_utc(time(NULL)).s,
                kp_net_address_text(record->peer).s);
    put_log_text(&line, "method", record->method);
    put_log_text(&line, "target", record->target);
    kp_buf_addf(&line, ",\"status\":%u,\"bytes\":%llu,\"seconds\":%.6f,\"complete\":%s",
                record->status, (unsigned long long)record->bytes, record->seconds,
                record->complete ? "true" : "false");
    put_log_text(&line, "agent", record->agent);
    kp_buf_adds(&line, "}\n");
    write_line(registry->settings.access_log, &line);
}

static enum kp_route route_of(struct kp_slice target)
{
    char path[PATH_MAX_LEN];
    struct kp_slice before = target;
    if (kp_slice_cut(&target, '?', &before))
        target = before;
    if (!target.len || !kp_http_decode(target, false, path, sizeof(path)))
        return KP_ROUTE_NONE;
    return kp_oci_route(path).route;
}

static void finished(void *user, const struct kp_http_record *record)
{
    struct kp_registry *registry = user;
    kp_metrics_count(&registry->metrics, route_of(record->target), record->status, record->bytes,
                     record->complete);
    if (registry->settings.access_log >= 0)
        log_access(registry, record);
}

static void on_ready(void *user, uint64_t ticket)
{
    struct kp_registry *registry = user;
    kp_http_server_resume(registry->server, ticket);
}

static void on_failed(void *user, const struct kp_bundle *bundle, size_t entry,
                      const struct kp_err *err)
{
    struct kp_registry *registry = user;
    kp_auto_value(kp_buf) line = KP_BUF(16384);
    (void)entry;
    kp_buf_addf(&line, "kregistry: %s: %s: %s; it is not served, everything else is\n",
                kp_bundle_path(bundle), err->code == KP_DAMAGED ? "damaged" : "unreadable",
                err->message);
    if (registry->settings.error_log >= 0)
        write_line(registry->settings.error_log, &line);
}

/* --- life --- */

int kp_registry_new(struct kp_registry **out, const struct kp_registry_settings *settings,
                    struct kp_err *err)
{
    kp_auto(kp_registry) registry = kp_alloc(sizeof(*registry));
    struct kp_offer offers[KP_REGISTRY_BUNDLES_MAX];
    if (settings->bundle_count > KP_REGISTRY_BUNDLES_MAX)
        return kp_fail(err, KP_USAGE, "at most %d bundles at once", KP_REGISTRY_BUNDLES_MAX);
    registry->settings = *settings;
    pthread_mutex_init(&registry->leaves_lock, NULL);
    for (size_t i = 0; i < settings->bundle_count; i++) {
        registry->bundles[i] = settings->bundles[i];
        offers[i].manifest = kp_bundle_manifest(settings->bundles[i]);
        offers[i].size = kp_bundle_size(settings->bundles[i]);
    }
    registry->catalog = kp_catalog_new(offers, settings->bundle_count);
    kp_catalog_set_accepted(registry->catalog, settings->accepted);
    struct kp_checker_events events = {.ready = on_ready, .failed = on_failed, .user = registry};
    registry->checker = kp_checker_new(registry->bundles, settings->bundle_count, &events);
    struct kp_http_server_settings http = settings->http;
    http.handle = handle;
    http.finished = finished;
    http.user = registry;
    if (kp_http_server_new(&registry->server, &http, err) < 0)
        return -1;
    *out = kp_steal(&registry);
    return 0;
}

void kp_registry_free(struct kp_registry *registry)
{
    if (!registry)
        return;
    kp_checker_free(registry->checker); // its threads post to the server
    kp_http_server_free(registry->server);
    kp_catalog_free(registry->catalog);
    for (size_t i = 0; i < KP_REGISTRY_BUNDLES_MAX; i++)
        kp_leaves_free(registry->leaves[i]);
    pthread_mutex_destroy(&registry->leaves_lock);
    kp_free(registry);
}

struct kp_http_server *kp_registry_server(struct kp_registry *registry)
{
    return registry->server;
}

int kp_registry_run(struct kp_registry *registry, struct kp_err *err)
{
    if (kp_checker_start(registry->checker, registry->settings.checkers,
                         !registry->settings.no_background, err) < 0)
        return -1;
    return kp_http_server_run(registry->server, err);
}
